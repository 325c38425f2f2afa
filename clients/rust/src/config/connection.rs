//! The connection to NATS: addresses, credentials, certificates and time limits.

use std::time::Duration;

use crate::config::secret::Secret;
use crate::config::tls::TlsSettings;

/// The schemes of a server's address.
const URL_SCHEMES: [&str; 2] = ["nats", "tls"];
/// The scheme of an address with TLS.
const TLS_SCHEME: &str = "tls";
/// What every inbox begins with: workers reply to no other.
pub const INBOX_ROOT: &str = "_INBOX";

/// The connection to NATS. The default is a server on this machine, without credentials.
///
/// ```
/// use order_router_client::{ConnectionSettings, Secret};
///
/// let settings = ConnectionSettings {
///     user: Some("client".to_owned()),
///     password: Some(Secret::new("hunter2")),
///     ..ConnectionSettings::new("tls://nats-1.example:4222,tls://nats-2.example:4222")
/// };
/// let mut errors = Vec::new();
/// settings.validate(&mut errors);
/// assert!(settings.uses_tls() && errors.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// One or more server addresses, separated by commas; default `nats://127.0.0.1:4222`. `tls://HOST:PORT` uses TLS.
    pub url: String,
    /// The user name; default none.
    pub user: Option<String>,
    /// The user's password; default none.
    pub password: Option<Secret>,
    /// A file with a user's JWT and key (`.creds`); default none.
    pub credentials_file: Option<String>,
    /// A file with a user's NKey seed (`SU…`), closed to other users; default none.
    pub nkey_file: Option<String>,
    /// What the subjects of replies begin with; default `_INBOX`. A user that is fenced into an account has its own, such as
    /// `_INBOX.alpha`.
    pub inbox_prefix: String,
    /// Certificates for TLS.
    pub tls: TlsSettings,
    /// Time limit of one connection attempt; default 2 s.
    pub connect_timeout: Duration,
    /// Time limit of one exchange with the server; default 5 s.
    pub request_timeout: Duration,
    /// The ping interval; default 5 s. Two unanswered pings end a connection.
    pub ping_interval: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self::new("nats://127.0.0.1:4222")
    }
}

impl From<&Self> for ConnectionSettings {
    fn from(settings: &Self) -> Self {
        settings.clone()
    }
}

impl ConnectionSettings {
    /// Returns the settings of a connection to these addresses, without credentials.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user: None,
            password: None,
            credentials_file: None,
            nkey_file: None,
            inbox_prefix: INBOX_ROOT.to_owned(),
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
        }
    }

    /// Reports whether every address uses TLS.
    pub fn uses_tls(&self) -> bool {
        let mut addresses = self.url.split(',').map(str::trim);
        addresses.all(|address| {
            address
                .split_once("://")
                .is_some_and(|(scheme, _)| scheme == TLS_SCHEME)
        })
    }

    /// Adds a sentence for every setting that is invalid. It names the setting as the router's settings file does, such as
    /// `nats.url`.
    pub fn validate(&self, errors: &mut Vec<String>) {
        // An address with a password is not shown: it has an error of its own.
        for address in self
            .url
            .split(',')
            .map(str::trim)
            .filter(|address| !address.contains('@'))
        {
            let (scheme, host) = address.split_once("://").unwrap_or(("nats", address));
            if !URL_SCHEMES.contains(&scheme) || host.is_empty() || host.contains('/') {
                errors.push(format!(
                    "nats.url names {address:?}, which is no address of NATS: use nats://HOST:PORT, or tls:// for TLS"
                ));
            }
        }
        if self.url.contains('@') {
            // Addresses are logged.
            errors.push("nats.url must not contain a password: use nats.user and nats.password".to_owned());
        }
        if self.user.is_some() != self.password.is_some() {
            errors.push("nats.user and nats.password must be set together".to_owned());
        }
        let ways = [
            self.user.is_some(),
            self.credentials_file.is_some(),
            self.nkey_file.is_some(),
        ];
        if ways.iter().filter(|&&is_set| is_set).count() > 1 {
            errors.push("set one of nats.user, nats.credentials_file and nats.nkey_file".to_owned());
        }
        if !is_inbox_prefix(&self.inbox_prefix) {
            errors.push(format!(
                "nats.inbox_prefix {:?} must be {INBOX_ROOT} or begin with {INBOX_ROOT}., without wildcards and spaces",
                self.inbox_prefix
            ));
        }
        self.tls.validate("nats", TLS_SCHEME, self.uses_tls(), errors);
    }
}

fn is_inbox_prefix(prefix: &str) -> bool {
    let mut tokens = prefix.split('.');
    let is_plain = |token: &str| {
        let mut bytes = token.bytes();
        !token.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    tokens.next() == Some(INBOX_ROOT) && tokens.all(is_plain)
}
