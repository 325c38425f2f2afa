//! Settings of the NATS connection and of the streams.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;
use crate::config::tls::TlsSettings;

pub use order_router_client::config::connection::{ConnectionSettings, INBOX_ROOT};
pub use order_router_client::config::secret::Secret;

/// JetStream's maximum number of replicas.
const MAX_REPLICAS: usize = 5;
/// The longest time limit of one exchange with the server, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// The connection to NATS, its time limits, and the bounds of the streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
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
    /// Time limit of one connection attempt, in milliseconds, 1 to 60000; default 2000.
    pub connect_timeout_ms: u64,
    /// Time limit of one exchange with the server, in milliseconds, 1 to 60000; default 5000.
    pub request_timeout_ms: u64,
    /// The ping interval, in milliseconds, 1 to 60000; default 5000. Two unanswered pings end a connection.
    pub ping_interval_ms: u64,
    /// Replicas of each stream, 1 to 5; default 1. Use 3 in production, in separate failure domains.
    pub replicas: usize,
    /// The journal's duplicate window for message ids, in seconds, 1 to 100000; default 120.
    pub duplicate_window_s: u64,
    /// Maximum size of the work queue, in bytes; -1 (the default) sets no limit.
    pub intents_max_bytes: i64,
    /// Maximum size of the journal, in bytes; -1 (the default) sets no limit.
    pub reports_max_bytes: i64,
    /// Retention of alerts, in hours, 1 to 100000; default 720.
    pub alerts_max_age_h: u64,
    /// Retention of dead letters, in hours, 1 to 100000; default 2160.
    pub dead_max_age_h: u64,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            user: None,
            password: None,
            credentials_file: None,
            nkey_file: None,
            inbox_prefix: INBOX_ROOT.to_owned(),
            tls: TlsSettings::default(),
            connect_timeout_ms: 2_000,
            request_timeout_ms: 5_000,
            ping_interval_ms: 5_000,
            replicas: 1,
            duplicate_window_s: 120,
            intents_max_bytes: -1,
            reports_max_bytes: -1,
            alerts_max_age_h: 720,
            dead_max_age_h: 2_160,
        }
    }
}

impl NatsSettings {
    /// Returns the time limit of one connection attempt.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Returns the time limit of one exchange with the server.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Returns the settings of a connection.
    pub fn connection(&self) -> ConnectionSettings {
        ConnectionSettings {
            url: self.url.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            credentials_file: self.credentials_file.clone(),
            nkey_file: self.nkey_file.clone(),
            inbox_prefix: self.inbox_prefix.clone(),
            tls: self.tls.clone(),
            connect_timeout: self.connect_timeout(),
            request_timeout: self.request_timeout(),
            ping_interval: Duration::from_millis(self.ping_interval_ms),
        }
    }

    /// Adds a sentence for every setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        self.connection().validate(errors);
        for (name, value) in [
            ("nats.connect_timeout_ms", self.connect_timeout_ms),
            ("nats.request_timeout_ms", self.request_timeout_ms),
            ("nats.ping_interval_ms", self.ping_interval_ms),
        ] {
            check_range(errors, name, value, &(1..=MAX_TIMEOUT_MS));
        }
        check_range(errors, "nats.replicas", self.replicas, &(1..=MAX_REPLICAS));
        for (name, value) in [
            ("nats.duplicate_window_s", self.duplicate_window_s),
            ("nats.alerts_max_age_h", self.alerts_max_age_h),
            ("nats.dead_max_age_h", self.dead_max_age_h),
        ] {
            check_range(errors, name, value, &(1..=100_000));
        }
        for (name, value) in [
            ("intents_max_bytes", self.intents_max_bytes),
            ("reports_max_bytes", self.reports_max_bytes),
        ] {
            if value != -1 && value < 1 {
                errors.push(format!("nats.{name} must be -1 (no limit) or above 0"));
            }
        }
    }
}

impl From<&NatsSettings> for ConnectionSettings {
    fn from(settings: &NatsSettings) -> Self {
        settings.connection()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_all_errors_are_reported() {
        let settings = NatsSettings {
            url: "nats://u:p@h".into(),
            password: Some(Secret::new("hunter2")),
            replicas: 0,
            reports_max_bytes: 0,
            ..NatsSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        let mut errors = Vec::new();
        settings.validate(&mut errors);
        assert_eq!(errors.len(), 4, "{errors:?}");
        for (url, expected) in [
            ("nats://a:4222, tls://b", 0),
            ("a:4222", 0),
            ("nats://[::1]:4222/", 1),
            ("http://127.0.0.1:8222", 1),
            ("nats://a,redis://b", 1),
            ("", 1),
            ("nats://a,", 1),
        ] {
            errors.clear();
            let settings = NatsSettings {
                url: url.into(),
                ..NatsSettings::default()
            };
            settings.validate(&mut errors);
            assert_eq!(errors.len(), expected, "{url}: {errors:?}");
        }
        errors.clear();
        NatsSettings::default().validate(&mut errors);
        assert!(errors.is_empty());
    }

    #[test]
    fn replies_stay_below_the_inbox_that_workers_reply_to() {
        for (prefix, is_valid) in [
            ("_INBOX", true),
            ("_INBOX.alpha", true),
            ("_INBOX.alpha.1", true),
            ("", false),
            ("_INBOX.", false),
            ("_INBOX.>", false),
            ("_INBOX.a b", false),
            ("_INBOXES", false),
            ("orders.submit", false),
        ] {
            let mut errors = Vec::new();
            let settings = NatsSettings {
                inbox_prefix: prefix.into(),
                ..NatsSettings::default()
            };
            settings.validate(&mut errors);
            assert_eq!(errors.is_empty(), is_valid, "{prefix}: {errors:?}");
        }
    }

    #[test]
    fn files_of_tls_need_an_address_with_tls_and_each_other() {
        let ca = TlsSettings {
            ca_file: Some("ca.pem".into()),
            ..TlsSettings::default()
        };
        let certificate = TlsSettings {
            cert_file: Some("cert.pem".into()),
            key_file: Some(String::new()),
            ..TlsSettings::default()
        };
        for (url, tls, expected) in [
            ("tls://a,tls://b", ca.clone(), ""),
            ("nats://a", TlsSettings::default(), ""),
            (
                "tls://a,nats://b",
                ca.clone(),
                "nats.tls.ca_file is set, but nats.url does not use TLS",
            ),
            ("a:4222", ca, "write tls://HOST:PORT"),
            ("tls://a", certificate, "must be set together"),
        ] {
            let mut errors = Vec::new();
            let settings = NatsSettings {
                url: url.into(),
                tls,
                ..NatsSettings::default()
            };
            settings.validate(&mut errors);
            assert!(errors.concat().contains(expected), "{url}: {errors:?}");
            assert_eq!(errors.len(), usize::from(!expected.is_empty()), "{url}: {errors:?}");
        }
    }
}
