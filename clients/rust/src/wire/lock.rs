//! Locks on the bus: the lock itself, its journal event, and the requests to set and lift one.
//!
//! On the wire a lock's id is named `latch_id`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::control::{Lock, LockScope};
use crate::domain::id::{AccountId, BrokerId, VenueId};
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::Mode;
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::wire::field_checks::{MAX_OPERATOR_TEXT_CHARACTERS, parse_operator_text, parse_plain_text};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::strict_object::StrictObject;

/// The maximum number of locks in one reply.
pub const MAX_LISTED_LOCKS: usize = 500;
/// The maximum length of a lock's id, in characters.
pub const MAX_LOCK_ID_CHARACTERS: usize = 256;

/// The orders that a lock applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "LockScope")]
pub enum LockScopeDocument {
    /// Every order.
    All,
    /// The orders of one account.
    Account {
        /// The account, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone.
        #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
        account_id: String,
    },
    /// The orders in one symbol at one venue, of all accounts.
    Symbol {
        /// The venue, 1-64 characters of `[A-Za-z0-9_.-]`.
        #[schemars(regex(pattern = schema_patterns::VENUE))]
        venue: String,
        /// The symbol, at most 128 characters before it is normalised.
        #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
        symbol: String,
    },
    /// The orders of one account in one symbol at one venue.
    AccountSymbol {
        /// The account, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone.
        #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
        account_id: String,
        /// The venue, 1-64 characters of `[A-Za-z0-9_.-]`.
        #[schemars(regex(pattern = schema_patterns::VENUE))]
        venue: String,
        /// The symbol, at most 128 characters before it is normalised.
        #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
        symbol: String,
    },
    /// The orders at one broker.
    Broker {
        /// The broker, 1-64 characters of `[A-Za-z0-9_-]`.
        #[schemars(regex(pattern = schema_patterns::TOKEN))]
        broker: String,
    },
}

/// A lock: in its scope only reductions and cancels pass, on all workers, until an operator lifts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Lock")]
pub struct LockDocument {
    /// The lock's id, 1-256 characters: the name that a request to lift the lock uses.
    pub latch_id: String,
    /// The orders that the lock applies to.
    pub scope: LockScopeDocument,
    /// The mode whose orders the lock stops.
    pub mode: Mode,
    /// The id of the risk rule that set the lock, or `operator`.
    pub rule_id: String,
    /// A sentence that explains the lock to a person.
    pub message: String,
    /// The measured values that the rule set the lock for, by name; empty for an operator's lock.
    pub metadata: Metadata,
    /// When the lock was set.
    #[schemars(with = "UtcTimestamp")]
    pub since: Timestamp,
    /// The trading day on which the lock was set; null before the first trading day.
    #[schemars(with = "Option<CivilDate>")]
    pub trading_date: Option<TradingDate>,
    /// The person or system that set the lock; `order-router` for a rule.
    pub actor: String,
    /// The reason for the lock.
    pub reason: String,
}

/// The change of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockChange {
    /// The lock was set.
    Locked,
    /// The lock was lifted.
    Lifted,
}

/// A lock was set or lifted (`orders.events.lock.{account}`; the account is `_` for a lock without an account).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockEvent {
    /// The change: `locked` or `lifted`.
    pub event: LockChange,
    /// The person or system that set or lifted the lock.
    pub actor: String,
    /// The reason for the change.
    pub reason: String,
    /// When the lock was set or lifted.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
    /// The lock, as it was set.
    pub lock: LockDocument,
}

/// The locks in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LocksAnswer")]
pub struct LockList {
    /// The locks in force, at most 500, the newest first.
    #[schemars(length(max = MAX_LISTED_LOCKS))]
    pub items: Vec<LockDocument>,
    /// The number of locks in force, those that `items` leaves out included.
    pub total: u64,
}

/// A request to lock an account, a symbol, both, a broker or everything to all but reductions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LockSetRequest {
    /// The orders to lock.
    pub scope: LockScopeDocument,
    /// The person or system that sets the lock, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: String,
    /// The reason for the lock, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// A request to lift a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LockLiftRequest {
    /// The id of the lock to lift, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_LOCK_ID_CHARACTERS))]
    pub latch_id: String,
    /// The person or system that lifts the lock, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: String,
    /// The reason for lifting the lock, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// A request to lift a lock over REST. The path names the lock, and the sidecar adds the actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LockLiftBody {
    /// The reason for lifting the lock, 1-256 characters without control characters.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// A checked request to set a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLock {
    /// The orders to lock.
    pub scope: LockScope,
    /// The person or system that sets the lock.
    pub actor: String,
    /// The reason for the lock.
    pub reason: String,
}

impl From<&LockScope> for LockScopeDocument {
    fn from(scope: &LockScope) -> Self {
        match scope {
            LockScope::All => Self::All,
            LockScope::Account(account_id) => Self::Account {
                account_id: account_id.to_string(),
            },
            LockScope::Symbol(venue, symbol) => Self::Symbol {
                venue: venue.to_string(),
                symbol: symbol.to_string(),
            },
            LockScope::AccountSymbol(account_id, venue, symbol) => Self::AccountSymbol {
                account_id: account_id.to_string(),
                venue: venue.to_string(),
                symbol: symbol.to_string(),
            },
            LockScope::Broker(broker) => Self::Broker {
                broker: broker.to_string(),
            },
        }
    }
}

impl LockScopeDocument {
    /// Returns the scope as a domain value, or `None` if a name in it is invalid.
    pub fn to_lock_scope(&self) -> Option<LockScope> {
        Some(match self {
            Self::All => LockScope::All,
            Self::Account { account_id } => LockScope::Account(AccountId::new(account_id).ok()?),
            Self::Symbol { venue, symbol } => LockScope::Symbol(VenueId::new(venue).ok()?, Symbol::parse(symbol).ok()?),
            Self::AccountSymbol {
                account_id,
                venue,
                symbol,
            } => LockScope::AccountSymbol(
                AccountId::new(account_id).ok()?,
                VenueId::new(venue).ok()?,
                Symbol::parse(symbol).ok()?,
            ),
            Self::Broker { broker } => LockScope::Broker(BrokerId::new(broker).ok()?),
        })
    }
}

impl LockDocument {
    /// Returns the document of a lock.
    pub fn of(lock: &Lock, actor: &str, reason: &str) -> Self {
        Self {
            latch_id: lock.lock_id.to_string(),
            scope: LockScopeDocument::from(&lock.scope),
            mode: lock.mode,
            rule_id: lock.rule_id.to_string(),
            message: lock.message.clone(),
            metadata: lock.metadata.clone(),
            since: lock.locked_at,
            trading_date: lock.trading_date,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Returns the lock as a domain value, or `None` if a name in it is invalid.
    pub fn to_lock(&self) -> Option<Lock> {
        Some(Lock {
            lock_id: self.latch_id.as_str().into(),
            scope: self.scope.to_lock_scope()?,
            mode: self.mode,
            rule_id: self.rule_id.as_str().into(),
            message: self.message.clone(),
            metadata: self.metadata.clone(),
            locked_at: self.since,
            trading_date: self.trading_date,
        })
    }
}

/// Decodes a [`LockSetRequest`].
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_lock_request(body: &[u8]) -> Result<NewLock, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let mut scope = object
        .optional_object("scope.")?
        .ok_or_else(|| object.invalid_field("scope", "is required"))?;
    let kind = scope.required_text("kind", |text| Ok::<_, String>(text.to_owned()))?;
    let lock_scope = match kind.as_str() {
        "all" => LockScope::All,
        "account" => LockScope::Account(scope.required_text("account_id", AccountId::new)?),
        "symbol" => LockScope::Symbol(
            scope.required_text("venue", VenueId::new)?,
            scope.required_text("symbol", Symbol::parse)?,
        ),
        "account_symbol" => LockScope::AccountSymbol(
            scope.required_text("account_id", AccountId::new)?,
            scope.required_text("venue", VenueId::new)?,
            scope.required_text("symbol", Symbol::parse)?,
        ),
        "broker" => LockScope::Broker(scope.required_text("broker", BrokerId::new)?),
        _ => return Err(scope.invalid_field("kind", "must be all, account, symbol, account_symbol or broker")),
    };
    scope.reject_unknown()?;
    let actor = object.required_text("actor", parse_operator_text)?;
    let reason = object.required_text("reason", parse_operator_text)?;
    object.reject_unknown()?;
    Ok(NewLock {
        scope: lock_scope,
        actor,
        reason,
    })
}

/// Decodes a [`LockLiftRequest`].
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_lift_request(body: &[u8]) -> Result<LockLiftRequest, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let request = LockLiftRequest {
        latch_id: object.required_text("latch_id", |text| parse_plain_text(text, MAX_LOCK_ID_CHARACTERS))?,
        actor: object.required_text("actor", parse_operator_text)?,
        reason: object.required_text("reason", parse_operator_text)?,
    };
    object.reject_unknown()?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_has_exactly_the_fields_of_its_kind() {
        let decode = |scope: &str| {
            decode_lock_request(format!(r#"{{"scope":{scope},"actor":"a","reason":"r"}}"#).as_bytes())
                .map(|set| set.scope.to_string())
                .map_err(|fault| fault.field.unwrap_or_default())
        };
        for (scope, expected) in [
            (r#"{"kind":"all"}"#, Ok("all")),
            (r#"{"kind":"account","account_id":"fund-7"}"#, Ok("account.fund-7")),
            (
                r#"{"kind":"symbol","venue":"binance.spot","symbol":"btc/usdt"}"#,
                Ok("symbol.binance.spot.BTCUSDT"),
            ),
            (
                r#"{"kind":"account_symbol","account_id":"fund-7","venue":"binance.spot","symbol":"BTCUSDT"}"#,
                Ok("account_symbol.fund-7.binance.spot.BTCUSDT"),
            ),
            (
                r#"{"kind":"account_symbol","venue":"binance.spot","symbol":"BTCUSDT"}"#,
                Err("scope.account_id"),
            ),
            (r#"{"kind":"broker","broker":"ibkr"}"#, Ok("broker.ibkr")),
            (r#"{"kind":"everything"}"#, Err("scope.kind")),
            (r#"{"kind":"account"}"#, Err("scope.account_id")),
            (r#"{"kind":"all","account_id":"a"}"#, Err("scope.account_id")),
            (r#"{"kind":"symbol","symbol":"BTCUSDT"}"#, Err("scope.venue")),
            ("{}", Err("scope.kind")),
            ("null", Err("scope")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(decode(scope), expected, "{scope}");
        }
    }

    #[test]
    fn lock_survives_the_journal() {
        for scope in [
            LockScope::All,
            LockScope::Account(AccountId::new("a").unwrap()),
            LockScope::Broker(BrokerId::new("ibkr").unwrap()),
            LockScope::AccountSymbol(
                AccountId::new("a").unwrap(),
                VenueId::new("binance.spot").unwrap(),
                Symbol::parse("X").unwrap(),
            ),
            LockScope::Symbol(VenueId::new("binance.spot").unwrap(), Symbol::parse("X").unwrap()),
        ] {
            let lock = Lock {
                lock_id: Lock::compose_id(Mode::Paper, &scope, "operator"),
                scope,
                mode: Mode::Paper,
                rule_id: "operator".into(),
                message: "closed".to_owned(),
                metadata: Metadata::new().with("value", 7),
                locked_at: Timestamp::from_milliseconds(5),
                trading_date: TradingDate::parse("2026-03-02"),
            };
            let event = LockEvent {
                event: LockChange::Locked,
                actor: "a".to_owned(),
                reason: "r".to_owned(),
                timestamp: lock.locked_at,
                lock: LockDocument::of(&lock, "a", "r"),
            };
            let body = serde_json::to_vec(&event).unwrap();
            let decoded: LockEvent = serde_json::from_slice(&body).unwrap();
            assert_eq!(decoded, event);
            assert_eq!(decoded.lock.to_lock(), Some(lock));
        }
    }
}
