//! Settings of live trading at Binance Spot (`[brokers.binance_live]`): where the venue is, whose keys are used, and how long
//! its replies may take.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;
use crate::domain::id::AccountId;

const BALANCE_INTERVAL_MS_BOUNDS: RangeInclusive<u64> = 100..=3_600_000;
const BALANCE_LOCK_S_BOUNDS: RangeInclusive<u64> = 0..=86_400;
const TIMEOUT_MS_BOUNDS: RangeInclusive<u64> = 100..=30_000;
/// What the venue can do about a trade of an account with itself ("Self Trade Prevention FAQ").
const SELF_TRADE_PREVENTION_MODES: &[&str] = &["EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "NONE"];
/// The most accounts that trade live.
const MAX_ACCOUNTS: usize = 100;
/// The prefix of a key that is in the environment: `env:` and the names of two variables.
const ENVIRONMENT_PREFIX: &str = "env:";

/// Live trading at Binance Spot. It is used only where `brokers.allow_live` is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinanceLiveSettings {
    /// The environment of the venue: `testnet`, or `production`, where real money is traded. Default `testnet`.
    pub environment: String,
    /// Another address of the REST API, such as `http://127.0.0.1:8200` for a local exchange. Empty, the default: the environment's.
    pub rest_url: String,
    /// Another address of the WebSocket API, with its path. Empty, the default: the environment's.
    pub websocket_api_url: String,
    /// Another address of the market data streams, without a path. Empty, the default: the environment's.
    pub market_streams_url: String,
    /// The API key of each account that trades live: a file that only its owner may read, with `api_key` and `secret` or `private_key`, or `env:KEY:SECRET` with the names of two environment variables. An account that is not listed gets 409 in live. Default: none.
    pub keys: BTreeMap<String, String>,
    /// What the venue does with an order that would trade with another one of the same account: `EXPIRE_MAKER`, `EXPIRE_TAKER`, `EXPIRE_BOTH`, or `NONE` to let them trade. Default `EXPIRE_MAKER`.
    pub self_trade_prevention: String,
    /// The time between two comparisons of the venue's balances with the journal, in milliseconds, 100 to 3600000; default 60000.
    pub balance_interval_ms: u64,
    /// How long a balance may differ before the symbols of its asset are closed to openings, by a lock that an operator lifts, in seconds, 0 to 86400; default 60.
    pub balance_lock_after_s: u64,
    /// Whether what an account holds when its key is first used becomes a position, where the asset has one instrument and the key one account: `false` for an account that also holds what the router shall not trade. Default true.
    pub book_opening_positions: bool,
    /// Time limit of opening a connection, TLS included, in milliseconds, 100 to 30000; default 2000.
    pub connect_timeout_ms: u64,
    /// Time limit of a placement or a cancel, in milliseconds, 100 to 30000, less than `brokers.task.call_timeout_ms`; default 4000. After it the outcome is unknown.
    pub order_timeout_ms: u64,
    /// Time limit of each attempt of a read, in milliseconds, 100 to 30000; default 2000.
    pub read_timeout_ms: u64,
}

/// Where the API key of an account is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum VenueKeySource {
    /// In a file.
    File(PathBuf),
    /// In two environment variables: one has the key, one the secret or the private key.
    Environment {
        /// The variable with the key.
        key_variable: String,
        /// The variable with the secret.
        secret_variable: String,
    },
}

impl Default for BinanceLiveSettings {
    fn default() -> Self {
        Self {
            environment: "testnet".to_owned(),
            rest_url: String::new(),
            websocket_api_url: String::new(),
            market_streams_url: String::new(),
            keys: BTreeMap::new(),
            self_trade_prevention: "EXPIRE_MAKER".to_owned(),
            balance_interval_ms: 60_000,
            balance_lock_after_s: 60,
            book_opening_positions: true,
            connect_timeout_ms: 2_000,
            order_timeout_ms: 4_000,
            read_timeout_ms: 2_000,
        }
    }
}

impl BinanceLiveSettings {
    /// Returns the accounts of each key, in the order of their names, without invalid ones.
    pub fn accounts_by_key(&self) -> BTreeMap<VenueKeySource, Vec<AccountId>> {
        let mut by_key: BTreeMap<VenueKeySource, Vec<AccountId>> = BTreeMap::new();
        for (account, text) in &self.keys {
            if let (Ok(account_id), Some(source)) = (AccountId::new(account), parse_key_source(text)) {
                by_key.entry(source).or_default().push(account_id);
            }
        }
        by_key
    }

    /// Adds a sentence to `errors` for every invalid setting. `is_used` says whether live trading is allowed, and
    /// `call_timeout_ms` is the time limit of a broker call.
    pub fn validate(&self, is_used: bool, call_timeout_ms: u64, errors: &mut Vec<String>) {
        if !["testnet", "production"].contains(&self.environment.as_str()) {
            errors.push(format!(
                "brokers.binance_live.environment is {:?}; it must be \"testnet\" or \"production\"",
                self.environment
            ));
        }
        for (name, url, schemes) in [
            ("rest_url", &self.rest_url, ["http://", "https://"]),
            ("websocket_api_url", &self.websocket_api_url, ["ws://", "wss://"]),
            ("market_streams_url", &self.market_streams_url, ["ws://", "wss://"]),
        ] {
            if !url.is_empty() && !schemes.iter().any(|scheme| url.starts_with(scheme)) {
                let [plain, secure] = schemes;
                errors.push(format!(
                    "brokers.binance_live.{name} is {url:?}; it must begin with {plain} or {secure}"
                ));
            }
        }
        if !SELF_TRADE_PREVENTION_MODES.contains(&self.self_trade_prevention.as_str()) {
            errors.push(format!(
                "brokers.binance_live.self_trade_prevention is {:?}; it must be one of {}",
                self.self_trade_prevention,
                SELF_TRADE_PREVENTION_MODES.join(", ")
            ));
        }
        self.validate_keys(is_used, errors);
        for (name, value) in [
            ("brokers.binance_live.connect_timeout_ms", self.connect_timeout_ms),
            ("brokers.binance_live.order_timeout_ms", self.order_timeout_ms),
            ("brokers.binance_live.read_timeout_ms", self.read_timeout_ms),
        ] {
            check_range(errors, name, value, &TIMEOUT_MS_BOUNDS);
        }
        let name = "brokers.binance_live.balance_interval_ms";
        check_range(errors, name, self.balance_interval_ms, &BALANCE_INTERVAL_MS_BOUNDS);
        let name = "brokers.binance_live.balance_lock_after_s";
        check_range(errors, name, self.balance_lock_after_s, &BALANCE_LOCK_S_BOUNDS);
        if is_used && self.order_timeout_ms >= call_timeout_ms {
            errors.push(format!(
                "brokers.binance_live.order_timeout_ms is {}; it must be less than brokers.task.call_timeout_ms, which is \
                 {call_timeout_ms}",
                self.order_timeout_ms
            ));
        }
    }

    fn validate_keys(&self, is_used: bool, errors: &mut Vec<String>) {
        if is_used && self.keys.is_empty() {
            errors.push(
                "brokers.binance_live.keys names no account; with brokers.allow_live at least one account needs a key"
                    .to_owned(),
            );
        }
        if self.keys.len() > MAX_ACCOUNTS {
            errors.push(format!(
                "brokers.binance_live.keys names {} accounts; at most {MAX_ACCOUNTS} are allowed",
                self.keys.len()
            ));
        }
        for (account, text) in &self.keys {
            if AccountId::new(account).is_err() {
                errors.push(format!(
                    "brokers.binance_live.keys names {account:?}, which is not an account id"
                ));
            }
            // The text itself is not shown: a key pasted here by mistake must not reach a log.
            if parse_key_source(text).is_none() {
                errors.push(format!(
                    "brokers.binance_live.keys of the account {account} must be the path of a key file, or env:KEY:SECRET \
                     with the names of two environment variables"
                ));
            }
        }
    }
}

fn parse_key_source(text: &str) -> Option<VenueKeySource> {
    let is_variable =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match text.strip_prefix(ENVIRONMENT_PREFIX) {
        Some(names) => {
            let (key, secret) = names.split_once(':')?;
            (is_variable(key) && is_variable(secret)).then(|| VenueKeySource::Environment {
                key_variable: key.to_owned(),
                secret_variable: secret.to_owned(),
            })
        }
        None => (!text.is_empty()).then(|| VenueKeySource::File(PathBuf::from(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(text: &str, is_used: bool) -> Vec<String> {
        let settings: BinanceLiveSettings = toml::from_str(text).unwrap();
        let mut errors = Vec::new();
        settings.validate(is_used, 5_000, &mut errors);
        errors
    }

    #[test]
    fn accounts_with_one_source_share_its_key() {
        let text = "[keys]\na = \"/etc/one.toml\"\nb = \"env:KEY:SECRET\"\nc = \"/etc/one.toml\"\n";
        let settings: BinanceLiveSettings = toml::from_str(text).unwrap();
        let by_key: Vec<Vec<String>> = settings
            .accounts_by_key()
            .into_values()
            .map(|accounts| accounts.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(by_key, [vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()]]);
        assert_eq!(errors_of(text, true), Vec::<String>::new());
    }

    #[test]
    fn invalid_settings_are_reported_without_the_text_of_a_key() {
        assert_eq!(errors_of("", false), Vec::<String>::new());
        assert_eq!(errors_of("", true).len(), 1);
        let errors = errors_of(
            "environment = \"live\"\nself_trade_prevention = \"DECREMENT\"\nrest_url = \"ftp://x\"\norder_timeout_ms = 5000\nread_timeout_ms = 0\n\
             [keys]\n\"a.b\" = \"env:only_one\"\nc = \"env:sec ret:x\"\n",
            true,
        );
        assert_eq!(errors.len(), 8, "{errors:?}");
        assert!(
            errors
                .iter()
                .all(|error| !error.contains("only_one") && !error.contains("sec ret"))
        );
    }
}
