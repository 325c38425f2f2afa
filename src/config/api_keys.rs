//! API keys (`[[keys]]`): the hash of each key, its capabilities, its accounts and its rate.
//!
//! A key has 244 random bits, so it cannot be guessed, however cheap the hash is. A plain SHA-256 protects it as well as a
//! slow hash would, and costs a request one microsecond.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::config::nats::Secret;
use crate::config::range::check_range;
use crate::domain::hex;
use crate::domain::id::AccountId;

/// The maximum number of keys. Each request is compared with all of them.
pub const MAX_KEYS: usize = 1_000;
/// The maximum number of accounts of one key.
pub const MAX_KEY_ACCOUNTS: usize = 1_000;
/// The maximum length of a key's id, in characters.
const MAX_KEY_ID_CHARACTERS: usize = 32;
/// The maximum length of a customer's name, in characters.
const MAX_CUSTOMER_CHARACTERS: usize = 64;
/// The maximum rate and the maximum burst of a key, in requests a second and requests.
const MAX_REQUESTS_PER_SECOND: u32 = 1_000_000;
/// The default rate of a key, in requests a second.
const DEFAULT_REQUESTS_PER_SECOND: u32 = 200;
/// The entry that means every account.
const ALL_ACCOUNTS: &str = "*";
/// The prefix of every key, by which people and secret scanners recognize it.
const KEY_PREFIX: &str = "ork_";
/// The number of hex digits after the prefix.
const KEY_DIGITS: usize = 64;
/// The length of a SHA-256, in bytes.
const HASH_BYTES: usize = 32;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Capability {
    /// Read everything of its accounts.
    #[serde(rename = "can.read")]
    Read,
    /// Submit and cancel orders, and read the report of one order.
    #[serde(rename = "can.route_orders")]
    RouteOrders,
    /// Change the router's state and lift locks.
    #[serde(rename = "can.manage_state")]
    ManageState,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 3] = [Self::Read, Self::RouteOrders, Self::ManageState];

    /// Returns the name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "can.read",
            Self::RouteOrders => "can.route_orders",
            Self::ManageState => "can.manage_state",
        }
    }
}

/// The accounts that a caller may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccountScope {
    /// Every account.
    #[default]
    All,
    /// Only these accounts.
    Only(Vec<AccountId>),
}

impl AccountScope {
    /// Reports whether the scope includes an account.
    pub fn includes(&self, account: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.iter().any(|known| known.as_str() == account),
        }
    }
}

/// The SHA-256 of a key.
pub type KeyHash = [u8; HASH_BYTES];

/// A key in plain text.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Returns a new key. Its digits are those of two random UUIDs: 244 bits from the system's generator, the others fixed.
    pub fn generate() -> Self {
        let (first, second) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self(format!("{KEY_PREFIX}{first}{second}"))
    }

    /// Returns the key in a text; `None` if the text does not have the form of a key.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(KEY_PREFIX)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (digits.len() == KEY_DIGITS && digits.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// Returns the text, to show it once to its holder.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the SHA-256 of the whole key.
    pub fn hash(&self) -> KeyHash {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"***\"")
    }
}

/// All keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyList(pub Vec<KeySettings>);

/// One key: its holder, its capabilities, its accounts and its rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// The key's id in logs and the journal: 1 to 32 characters of `[A-Za-z0-9_-]`.
    pub id: String,
    /// The holder: 1 to 64 characters.
    pub customer: String,
    /// The SHA-256 of the whole key, 64 hex digits.
    pub sha256: Secret,
    /// What the key allows; at least one.
    pub capabilities: Vec<Capability>,
    /// The accounts that the key may use, 1 to 1000; `*` alone means every account.
    pub accounts: Vec<String>,
    /// The sustained rate, in requests a second, 1 to 1000000; default 200.
    #[serde(default = "default_rate")]
    pub requests_per_second: u32,
    /// The burst, in requests, 1 to 1000000; default `requests_per_second`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

fn default_rate() -> u32 {
    DEFAULT_REQUESTS_PER_SECOND
}

impl KeyList {
    /// Adds a sentence for each invalid key. No sentence shows a hash: the field may contain a key by mistake.
    pub fn validate(&self, errors: &mut Vec<String>) {
        if self.0.len() > MAX_KEYS {
            let named = self.0.len();
            errors.push(format!("there are {named} keys; at most {MAX_KEYS} are allowed"));
        }
        let (mut ids, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for key in &self.0 {
            key.validate(errors);
            if !ids.insert(&key.id) {
                errors.push(format!("the key {:?} is listed twice", key.id));
            }
            if key.parse_hash().is_some_and(|hash| !hashes.insert(hash)) {
                errors.push(format!("the key {:?} has the hash of another", key.id));
            }
        }
    }
}

impl KeySettings {
    /// Returns the settings of a key with the default rate.
    pub fn new(key: &ApiKey, id: &str, customer: &str, capabilities: &[Capability], accounts: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            customer: customer.to_owned(),
            sha256: Secret::new(hex::encode(&key.hash())),
            capabilities: capabilities.to_vec(),
            accounts: accounts.iter().map(|&account| account.to_owned()).collect(),
            requests_per_second: DEFAULT_REQUESTS_PER_SECOND,
            burst: None,
        }
    }

    /// Returns a valid entry, to parse the fields of others with.
    pub(in crate::config) fn sample() -> Self {
        Self::new(
            &ApiKey(String::new()),
            "sample",
            "sample",
            &[Capability::Read],
            &[ALL_ACCOUNTS],
        )
    }

    /// Returns the hash; `None` if the field is not 64 hex digits.
    pub fn parse_hash(&self) -> Option<KeyHash> {
        hex::decode(self.sha256.reveal())?.try_into().ok()
    }

    /// Returns the accounts that the key may use.
    pub fn account_scope(&self) -> AccountScope {
        match self.accounts.as_slice() {
            [all] if all == ALL_ACCOUNTS => AccountScope::All,
            named => AccountScope::Only(named.iter().filter_map(|name| AccountId::new(name).ok()).collect()),
        }
    }

    /// Returns the burst, in requests.
    pub fn effective_burst(&self) -> u32 {
        self.burst.unwrap_or(self.requests_per_second)
    }

    /// Adds a sentence for each invalid field.
    pub(in crate::config) fn validate(&self, errors: &mut Vec<String>) {
        let id = &self.id;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=MAX_KEY_ID_CHARACTERS).contains(&id.len()) || !id.bytes().all(is_name) {
            errors.push(format!(
                "the key {id:?} needs an id of 1-{MAX_KEY_ID_CHARACTERS} characters of [A-Za-z0-9_-]"
            ));
        }
        let characters = self.customer.chars().count();
        if !(1..=MAX_CUSTOMER_CHARACTERS).contains(&characters) || self.customer.chars().any(char::is_control) {
            errors.push(format!(
                "customer of the key {id:?} must be 1-{MAX_CUSTOMER_CHARACTERS} characters without control characters"
            ));
        }
        if self.parse_hash().is_none() {
            errors.push(format!(
                "sha256 of the key {id:?} must be the {} hex digits of the whole key's SHA-256; `order-router key new` \
                 prints them",
                2 * HASH_BYTES
            ));
        }
        if self.capabilities.is_empty() {
            let all = Capability::ALL.map(Capability::as_str).join(", ");
            errors.push(format!("capabilities of the key {id:?} must name some of {all}"));
        }
        self.validate_accounts(errors);
        for (what, rate) in [
            ("requests_per_second", self.requests_per_second),
            ("burst", self.effective_burst()),
        ] {
            let setting = format!("{what} of the key {id:?}");
            check_range(errors, &setting, rate, &(1..=MAX_REQUESTS_PER_SECOND));
        }
    }

    fn validate_accounts(&self, errors: &mut Vec<String>) {
        let (id, named) = (&self.id, self.accounts.len());
        if !(1..=MAX_KEY_ACCOUNTS).contains(&named) {
            errors.push(format!(
                "accounts of the key {id:?} must name 1 to {MAX_KEY_ACCOUNTS} accounts, or \"{ALL_ACCOUNTS}\" for all"
            ));
        }
        for name in &self.accounts {
            if name == ALL_ACCOUNTS && named > 1 {
                errors.push(format!(
                    "accounts of the key {id:?} must name accounts or \"{ALL_ACCOUNTS}\", not both"
                ));
            } else if name != ALL_ACCOUNTS && AccountId::new(name).is_err() {
                errors.push(format!(
                    "accounts of the key {id:?} names {name:?}, which is not an account id"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(id: &str) -> KeySettings {
        KeySettings::new(&ApiKey::generate(), id, "Fund 7", &[Capability::Read], &["fund-7"])
    }

    fn errors(keys: &[KeySettings]) -> Vec<String> {
        let mut errors = Vec::new();
        KeyList(keys.to_vec()).validate(&mut errors);
        errors
    }

    #[test]
    fn generated_keys_differ_and_have_the_form_of_a_key() {
        let (one, other) = (ApiKey::generate(), ApiKey::generate());
        assert_ne!(one, other);
        assert_eq!(ApiKey::parse(one.reveal()), Some(one.clone()));
        let upper = one.reveal().to_uppercase();
        let longer = format!("{}0", one.reveal());
        for text in ["", "ork_", &one.reveal()[4..], &one.reveal()[..67], &upper, &longer] {
            assert_eq!(ApiKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_hash_is_the_sha_256_of_the_whole_key() {
        let key = ApiKey::parse(&format!("ork_{}", "0".repeat(64))).unwrap();
        let settings = KeySettings::new(&key, "a", "b", &[Capability::Read], &["*"]);
        // The output of `printf %s ork_000… | sha256sum`.
        let expected = "eaa3aa65f289c32ecf3325758d3e2987697b053b935ba3ef3ee584c8b8fd574d";
        assert_eq!(settings.sha256.reveal(), expected);
        assert_eq!(settings.parse_hash(), Some(key.hash()));
        let upper = KeySettings {
            sha256: Secret::new(expected.to_uppercase()),
            ..settings
        };
        assert_eq!(upper.parse_hash(), Some(key.hash()));
    }

    #[test]
    fn keys_and_hashes_are_hidden() {
        let key = ApiKey::generate();
        let mut one = KeySettings::new(&key, "a", "b", &[Capability::Read], &["*"]);
        let shown = format!("{key:?} {one:?}");
        assert!(
            !shown.contains(&key.reveal()[4..]) && !shown.contains(one.sha256.reveal()),
            "{shown}"
        );
        // The key itself where its hash belongs.
        one.sha256 = Secret::new(key.reveal());
        let reported = errors(&[one]);
        assert!(
            reported.len() == 1 && !reported[0].contains(key.reveal()),
            "{reported:?}"
        );
    }

    #[test]
    fn all_errors_of_keys_are_reported_at_once() {
        let good = settings("a");
        assert_eq!(errors(std::slice::from_ref(&good)), Vec::<String>::new());
        let twin = KeySettings {
            id: "b".to_owned(),
            ..good.clone()
        };
        assert_eq!(errors(&[good.clone(), twin]), ["the key \"b\" has the hash of another"]);
        assert_eq!(
            errors(&[good.clone(), settings("a")]),
            ["the key \"a\" is listed twice"]
        );
        let bad = KeySettings {
            id: "a b".to_owned(),
            customer: "x\ny".to_owned(),
            sha256: Secret::new("12"),
            capabilities: Vec::new(),
            accounts: vec!["*".to_owned(), "a.b".to_owned()],
            requests_per_second: 0,
            burst: Some(1_000_001),
        };
        let reported = errors(&[bad]);
        assert_eq!(reported.len(), 8, "{reported:?}");
        let without_accounts = KeySettings {
            accounts: Vec::new(),
            ..good
        };
        assert_eq!(errors(&[without_accounts]).len(), 1);
        let many: Vec<KeySettings> = (0..=MAX_KEYS).map(|number| settings(&format!("k{number}"))).collect();
        assert_eq!(errors(&many), ["there are 1001 keys; at most 1000 are allowed"]);
    }

    #[test]
    fn a_file_names_capabilities_by_their_words() {
        let hash = "0".repeat(64);
        let text = |rest: &str| {
            format!("id = \"a\"\ncustomer = \"b\"\nsha256 = \"{hash}\"\naccounts = [\"x\", \"y\"]\n{rest}")
        };
        let all = "capabilities = [\"can.read\", \"can.route_orders\", \"can.manage_state\"]\n";
        let read: KeySettings = toml::from_str(&text(all)).unwrap();
        assert_eq!(read.capabilities, Capability::ALL);
        assert_eq!((read.requests_per_second, read.effective_burst()), (200, 200));
        assert!(
            read.account_scope().includes("x")
                && !read.account_scope().includes("z")
                && !read.account_scope().includes("*")
        );
        for bad in ["capabilities = [\"can.fly\"]\n", "", &format!("{all}key = \"x\"\n")] {
            assert!(toml::from_str::<KeySettings>(&text(bad)).is_err(), "{bad}");
        }
    }
}
