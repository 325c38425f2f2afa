//! Who may use REST (`[[keys]]`): the hash of each key, what it allows, and at which rate.
//!
//! A key is random from end to end: nobody finds one by trying, whatever a hash costs. So a plain SHA-256 keeps it as
//! well as a slow one would, and costs every request a microsecond.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::config::nats::Secret;
use crate::domain::id::AccountId;

/// The most keys there may be: each request is held against all of them.
pub const MAX_KEYS: usize = 1_000;
/// The most accounts one key may name.
pub const MAX_KEY_ACCOUNTS: usize = 1_000;
/// The longest name of a key, in characters.
const MAX_KEY_ID_CHARACTERS: usize = 32;
/// The longest name of a customer, in characters.
const MAX_CUSTOMER_CHARACTERS: usize = 64;
/// The most requests a second, and the most at once, that a key may be given.
const MAX_REQUESTS_PER_SECOND: u32 = 1_000_000;
/// How many requests a second a key has unless its settings say otherwise.
const DEFAULT_REQUESTS_PER_SECOND: u32 = 200;
/// Stands for every account.
const ALL_ACCOUNTS: &str = "*";
/// Opens every key, so that people and scanners know one when they see it.
const KEY_PREFIX: &str = "ork_";
/// How many hex digits follow.
const KEY_DIGITS: usize = 64;
/// The length of a SHA-256.
const HASH_BYTES: usize = 32;

/// What a key may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Capability {
    /// To read.
    #[serde(rename = "can.read")]
    Read,
    /// To submit and cancel orders, and to read the reports of single ones.
    #[serde(rename = "can.route_orders")]
    RouteOrders,
    /// To change the router's state and to lift locks.
    #[serde(rename = "can.manage_state")]
    ManageState,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 3] = [Self::Read, Self::RouteOrders, Self::ManageState];

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "can.read",
            Self::RouteOrders => "can.route_orders",
            Self::ManageState => "can.manage_state",
        }
    }
}

/// Which accounts somebody may speak for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccountScope {
    /// Every one.
    #[default]
    All,
    /// These alone.
    Only(Vec<AccountId>),
}

impl AccountScope {
    /// Whether an account is among them.
    pub fn includes(&self, account: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.iter().any(|known| known.as_str() == account),
        }
    }
}

/// The hash of a key.
pub type KeyHash = [u8; HASH_BYTES];

/// A key, as its holder presents it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Returns a new key. Its digits are those of two random UUIDs: 244 bits from the system's generator, the others fixed.
    pub fn generate() -> Self {
        let (first, second) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self(format!("{KEY_PREFIX}{first}{second}"))
    }

    /// Returns the key that a text holds, if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(KEY_PREFIX)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (digits.len() == KEY_DIGITS && digits.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// Returns the text, for whoever has to present it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns its SHA-256.
    pub fn hash(&self) -> KeyHash {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"***\"")
    }
}

/// The keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyList(pub Vec<KeySettings>);

/// One key: whose it is, what it allows, and at which rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// A short name, for logs and the journal.
    pub id: String,
    /// Who holds it.
    pub customer: String,
    /// The SHA-256 of the whole key, in hex digits.
    pub sha256: Secret,
    /// What it may be used for.
    pub capabilities: Vec<Capability>,
    /// The accounts it may be used for; `*` alone stands for every one.
    pub accounts: Vec<String>,
    /// How many requests a second it may make in the long run; default 200.
    #[serde(default = "default_rate")]
    pub requests_per_second: u32,
    /// How many of them may come at once; default as many as in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

fn default_rate() -> u32 {
    DEFAULT_REQUESTS_PER_SECOND
}

impl KeyList {
    /// Adds a sentence for each key that cannot hold. No sentence shows a hash: a key may stand there by mistake.
    pub fn validate(&self, errors: &mut Vec<String>) {
        if self.0.len() > MAX_KEYS {
            let named = self.0.len();
            errors.push(format!("there are {named} keys; at most {MAX_KEYS} are allowed"));
        }
        let (mut ids, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for key in &self.0 {
            key.validate(errors);
            if !ids.insert(&key.id) {
                errors.push(format!("the key {:?} stands twice", key.id));
            }
            if key.parse_hash().is_some_and(|hash| !hashes.insert(hash)) {
                errors.push(format!("the key {:?} has the hash of another", key.id));
            }
        }
    }
}

impl KeySettings {
    /// Returns the settings of a key with the usual rate.
    pub fn new(key: &ApiKey, id: &str, customer: &str, capabilities: &[Capability], accounts: &[&str]) -> Self {
        let digits = key.hash().map(|byte| format!("{byte:02x}"));
        Self {
            id: id.to_owned(),
            customer: customer.to_owned(),
            sha256: Secret::new(digits.concat()),
            capabilities: capabilities.to_vec(),
            accounts: accounts.iter().map(|&account| account.to_owned()).collect(),
            requests_per_second: DEFAULT_REQUESTS_PER_SECOND,
            burst: None,
        }
    }

    /// Returns the hash, if it is one.
    pub fn parse_hash(&self) -> Option<KeyHash> {
        let digits = self.sha256.reveal().as_bytes();
        if digits.len() != 2 * HASH_BYTES {
            return None;
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: &u8| char::from(*digit).to_digit(16);
            let [high, low] = pair else { return None };
            *byte = u8::try_from(value(high)? * 16 + value(low)?).ok()?;
        }
        Some(hash)
    }

    /// Returns the accounts it may be used for.
    pub fn account_scope(&self) -> AccountScope {
        match self.accounts.as_slice() {
            [all] if all == ALL_ACCOUNTS => AccountScope::All,
            named => AccountScope::Only(named.iter().filter_map(|name| AccountId::new(name).ok()).collect()),
        }
    }

    /// Returns how many of its requests may come at once.
    pub fn effective_burst(&self) -> u32 {
        self.burst.unwrap_or(self.requests_per_second)
    }

    fn validate(&self, errors: &mut Vec<String>) {
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
            if !(1..=MAX_REQUESTS_PER_SECOND).contains(&rate) {
                errors.push(format!(
                    "{what} of the key {id:?} is {rate}; it must lie between 1 and {MAX_REQUESTS_PER_SECOND}"
                ));
            }
        }
    }

    fn validate_accounts(&self, errors: &mut Vec<String>) {
        let (id, named) = (&self.id, self.accounts.len());
        if !(1..=MAX_KEY_ACCOUNTS).contains(&named) {
            errors.push(format!(
                "accounts of the key {id:?} must name 1 to {MAX_KEY_ACCOUNTS} accounts, or \"{ALL_ACCOUNTS}\" for every one"
            ));
        }
        for name in &self.accounts {
            if name == ALL_ACCOUNTS && named > 1 {
                errors.push(format!(
                    "accounts of the key {id:?} must name accounts or \"{ALL_ACCOUNTS}\", not both"
                ));
            } else if name != ALL_ACCOUNTS && AccountId::new(name).is_err() {
                errors.push(format!(
                    "accounts of the key {id:?} names {name:?}, which is no account id"
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
    fn a_key_is_new_each_time_and_known_by_its_form() {
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
        // As `printf %s ork_000… | sha256sum` tells it.
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
    fn nothing_shows_a_key_or_its_hash() {
        let key = ApiKey::generate();
        let mut one = KeySettings::new(&key, "a", "b", &[Capability::Read], &["*"]);
        let shown = format!("{key:?} {one:?}");
        assert!(
            !shown.contains(&key.reveal()[4..]) && !shown.contains(one.sha256.reveal()),
            "{shown}"
        );
        // The key itself where its hash belongs.
        one.sha256 = Secret::new(key.reveal());
        let told = errors(&[one]);
        assert!(told.len() == 1 && !told[0].contains(key.reveal()), "{told:?}");
    }

    #[test]
    fn keys_that_cannot_hold_are_told_all_at_once() {
        let good = settings("a");
        assert_eq!(errors(std::slice::from_ref(&good)), Vec::<String>::new());
        let twin = KeySettings {
            id: "b".to_owned(),
            ..good.clone()
        };
        assert_eq!(errors(&[good.clone(), twin]), ["the key \"b\" has the hash of another"]);
        assert_eq!(errors(&[good.clone(), settings("a")]), ["the key \"a\" stands twice"]);
        let bad = KeySettings {
            id: "a b".to_owned(),
            customer: "x\ny".to_owned(),
            sha256: Secret::new("12"),
            capabilities: Vec::new(),
            accounts: vec!["*".to_owned(), "a.b".to_owned()],
            requests_per_second: 0,
            burst: Some(1_000_001),
        };
        let told = errors(&[bad]);
        assert_eq!(told.len(), 8, "{told:?}");
        let nobody = KeySettings {
            accounts: Vec::new(),
            ..good
        };
        assert_eq!(errors(&[nobody]).len(), 1);
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
