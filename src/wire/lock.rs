//! Latches as the bus tells of them: locks that stay until somebody lifts them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::control::{Lock, LockScope};
use crate::domain::id::{AccountId, BrokerId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::Mode;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::state::{MAX_OPERATOR_TEXT_CHARACTERS, parse_operator_text};
use crate::wire::strict_object::StrictObject;

/// The most locks one answer names.
pub const MAX_LISTED_LOCKS: usize = 500;
/// The longest name of a lock, in characters.
pub const MAX_LOCK_ID_CHARACTERS: usize = 256;

/// What a lock closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "LockScope")]
pub enum LockScopeDocument {
    /// Everything.
    All,
    /// One account.
    Account {
        /// The account.
        #[schemars(regex(pattern = schema_patterns::TOKEN))]
        account_id: String,
    },
    /// One symbol of one venue, for all accounts.
    Symbol {
        /// The venue.
        #[schemars(regex(pattern = schema_patterns::VENUE))]
        venue: String,
        /// The symbol.
        #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
        symbol: String,
    },
    /// One broker.
    Broker {
        /// The broker.
        #[schemars(regex(pattern = schema_patterns::TOKEN))]
        broker: String,
    },
}

/// A lock that stays until somebody lifts it: in its scope only reductions pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Lock")]
pub struct LockDocument {
    /// What it is lifted by.
    pub latch_id: String,
    /// What it closes.
    pub scope: LockScopeDocument,
    /// The mode whose orders it stops.
    pub mode: Mode,
    /// The rule that closed it, or `operator`.
    pub rule_id: String,
    /// A sentence for people.
    pub message: String,
    /// The figures it was closed by.
    pub metadata: Metadata,
    /// Since when.
    #[schemars(with = "UtcTimestamp")]
    pub since: Timestamp,
    /// The day it was closed on.
    #[schemars(with = "Option<CivilDate>")]
    pub trading_date: Option<TradingDate>,
    /// Who closed it: an operator, or `order-router` for a rule.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What happened to a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockChange {
    /// It is closed from now on.
    Locked,
    /// It is open again.
    Lifted,
}

/// The journal's record of a lock that was closed or lifted (`orders.events.lock.{account}`, `_` where it is no
/// account's).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockEvent {
    /// What happened.
    pub event: LockChange,
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
    /// The lock.
    pub lock: LockDocument,
}

/// The locks in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LocksAnswer")]
pub struct LockList {
    /// The locks, the newest first, at most 500.
    #[schemars(length(max = MAX_LISTED_LOCKS))]
    pub items: Vec<LockDocument>,
    /// How many there are.
    pub total: u64,
}

/// Closes an account, a symbol, a broker or everything to all but reductions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LockSetRequest {
    /// What to close.
    pub scope: LockScopeDocument,
    /// Who closes it.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: String,
    /// Why.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// Lifts a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LockLiftRequest {
    /// Which one.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_LOCK_ID_CHARACTERS))]
    pub latch_id: String,
    /// Who lifts it.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: String,
    /// Why.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// Lifts a lock, over REST: the path names it, and the sidecar who lifts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LockLiftBody {
    /// Why.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// A checked request to close something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLock {
    /// What to close.
    pub scope: LockScope,
    /// Who closes it.
    pub actor: String,
    /// Why.
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
            LockScope::Broker(broker) => Self::Broker {
                broker: broker.to_string(),
            },
        }
    }
}

impl LockScopeDocument {
    /// Returns what it closes, or `None` where a name in it is none.
    pub fn to_lock_scope(&self) -> Option<LockScope> {
        Some(match self {
            Self::All => LockScope::All,
            Self::Account { account_id } => LockScope::Account(AccountId::new(account_id).ok()?),
            Self::Symbol { venue, symbol } => LockScope::Symbol(VenueId::new(venue).ok()?, Symbol::parse(symbol).ok()?),
            Self::Broker { broker } => LockScope::Broker(BrokerId::new(broker).ok()?),
        })
    }
}

impl LockDocument {
    /// Returns a latch as it is told of.
    pub fn of(latch: &Lock, actor: &str, reason: &str) -> Self {
        Self {
            latch_id: latch.lock_id.to_string(),
            scope: LockScopeDocument::from(&latch.scope),
            mode: latch.mode,
            rule_id: latch.rule_id.to_string(),
            message: latch.message.clone(),
            metadata: latch.metadata.clone(),
            since: latch.locked_at,
            trading_date: latch.trading_date,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Returns the latch, or `None` where a name in it is none.
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

/// Reads what is to be closed.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_lock_request(body: &[u8]) -> Result<NewLock, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let mut scope = object
        .optional_object("scope.")?
        .ok_or_else(|| object.invalid_field("scope", "is required"))?;
    let kind = scope.required_text("kind", |text| Ok::<_, String>(text.to_owned()))?;
    let closes = match kind.as_str() {
        "all" => LockScope::All,
        "account" => LockScope::Account(scope.required_text("account_id", AccountId::new)?),
        "symbol" => LockScope::Symbol(
            scope.required_text("venue", VenueId::new)?,
            scope.required_text("symbol", Symbol::parse)?,
        ),
        "broker" => LockScope::Broker(scope.required_text("broker", BrokerId::new)?),
        _ => return Err(scope.invalid_field("kind", "must be all, account, symbol or broker")),
    };
    scope.reject_unknown()?;
    let actor = object.required_text("actor", parse_operator_text)?;
    let reason = object.required_text("reason", parse_operator_text)?;
    object.reject_unknown()?;
    Ok(NewLock {
        scope: closes,
        actor,
        reason,
    })
}

/// Reads which lock is to be lifted.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_lift_request(body: &[u8]) -> Result<LockLiftRequest, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let request = LockLiftRequest {
        latch_id: object.required_text("latch_id", parse_lock_id)?,
        actor: object.required_text("actor", parse_operator_text)?,
        reason: object.required_text("reason", parse_operator_text)?,
    };
    object.reject_unknown()?;
    Ok(request)
}

fn parse_lock_id(text: &str) -> Result<String, String> {
    let characters = text.chars().count();
    if (1..=MAX_LOCK_ID_CHARACTERS).contains(&characters) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1-{MAX_LOCK_ID_CHARACTERS} characters without control characters"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_names_one_thing_and_nothing_else() {
        let read = |scope: &str| {
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
            (r#"{"kind":"broker","broker":"ibkr"}"#, Ok("broker.ibkr")),
            (r#"{"kind":"everything"}"#, Err("scope.kind")),
            (r#"{"kind":"account"}"#, Err("scope.account_id")),
            (r#"{"kind":"all","account_id":"a"}"#, Err("scope.account_id")),
            (r#"{"kind":"symbol","symbol":"BTCUSDT"}"#, Err("scope.venue")),
            ("{}", Err("scope.kind")),
            ("null", Err("scope")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(read(scope), expected, "{scope}");
        }
    }

    #[test]
    fn a_lock_makes_its_latch_again() {
        for scope in [
            LockScope::All,
            LockScope::Account(AccountId::new("a").unwrap()),
            LockScope::Broker(BrokerId::new("ibkr").unwrap()),
            LockScope::Symbol(VenueId::new("binance.spot").unwrap(), Symbol::parse("X").unwrap()),
        ] {
            let latch = Lock {
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
                timestamp: latch.locked_at,
                lock: LockDocument::of(&latch, "a", "r"),
            };
            let written = serde_json::to_vec(&event).unwrap();
            let read: LockEvent = serde_json::from_slice(&written).unwrap();
            assert_eq!(read, event);
            assert_eq!(read.lock.to_lock(), Some(latch));
        }
    }
}
