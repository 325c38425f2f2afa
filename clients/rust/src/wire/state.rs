//! The router's state (mode, trading state and daily limits), and the requests to change it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::control::OperatorOverrides;
use crate::domain::decimal::Decimal;
use crate::domain::id::AccountId;
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::wire::field_checks::{MAX_OPERATOR_TEXT_CHARACTERS, parse_limit, parse_operator_text};
use crate::wire::schema_numbers::{NumberInput, PlainNumber, PositiveMoneyInput};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::strict_object::StrictObject;

/// An alias of the mode `paper`.
const SANDBOX_ALIAS: &str = "sandbox";

/// The maximum number of earlier changes in one event.
pub const MAX_EARLIER_CHANGES: usize = 16;
/// The maximum number of accounts whose totals one reply lists.
pub const MAX_STATE_ACCOUNTS: usize = 64;
/// The maximum number of open orders that a reply lists.
pub const MAX_REMAINING_ORDERS: usize = 500;

/// The state in force: mode, trading state, daily limits and the day's totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouterState {
    /// The mode in force: where orders take effect.
    pub mode: Mode,
    /// The trading state in force: `active` admits every order, `reduce_only` only reductions, `halted` only cancels.
    pub trading_state: TradingState,
    /// The cap on the notional routed in one trading day over all accounts, in the base currency: above zero, at most
    /// 9007199254.740991.
    #[schemars(with = "PlainNumber")]
    pub daily_notional_limit: Decimal,
    /// The notional routed in the current trading day over all accounts, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub notional_routed: Decimal,
    /// The loss of one trading day from which on only reductions pass, in the base currency: above zero, at most
    /// 9007199254.740991.
    #[schemars(with = "PlainNumber")]
    pub daily_loss_limit: Decimal,
    /// The current trading day's profit (above zero) or loss (below zero) over all accounts, in the base currency; null
    /// while a price is missing.
    #[schemars(with = "Option<PlainNumber>")]
    pub daily_pnl: Option<Decimal>,
    /// The trading day that the daily totals and limits apply to.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// The number of changes so far; 0 while the values of the settings are in force.
    pub version: u64,
    /// The last change of the state. Absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LastStateChange")]
    pub last_change: Option<LastStateChange>,
    /// The day's totals of the accounts that the request names, in its order, at most 64. Absent where it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<AccountDay>", length(max = MAX_STATE_ACCOUNTS))]
    pub accounts: Vec<AccountDay>,
    /// The number of orders that were cancelled because trading was halted. Present only in the reply to the change that
    /// halts trading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub cancelled: Option<u64>,
    /// The ids of orders that are still open, at most 500. Present only in the reply to the change that halts trading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(max = MAX_REMAINING_ORDERS))]
    pub remaining: Option<Vec<String>>,
    /// The number of orders that are still open. Present only in the reply to the change that halts trading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub remaining_total: Option<u64>,
}

/// The origin of the last change of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastStateChange {
    /// The person or system that changed the state.
    pub actor: String,
    /// The reason for the change.
    pub reason: String,
    /// When the state changed.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// One account's totals of the current trading day, and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountDay {
    /// The account.
    pub account_id: String,
    /// The notional that the account has routed in the current trading day, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub notional_routed: Decimal,
    /// The account's own cap on it, in the base currency; null for an account that only the cap over all accounts applies
    /// to.
    #[schemars(with = "Option<PlainNumber>")]
    pub daily_notional_limit: Option<Decimal>,
    /// The account's profit (above zero) or loss (below zero) of the current trading day, in the base currency; null while
    /// a price is missing or it cannot be read in time.
    #[schemars(with = "Option<PlainNumber>")]
    pub daily_pnl: Option<Decimal>,
    /// The loss of one trading day from which on only the account's reductions pass, in the base currency: the tighter of
    /// its own limit and the general one.
    #[schemars(with = "PlainNumber")]
    pub daily_loss_limit: Decimal,
}

/// A request for the state. Its body may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StateGetRequest {
    /// The accounts whose totals of the day the reply lists, at most 64, each of 1-64 characters of `[A-Za-z0-9_-]`, not
    /// `_` alone. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "account_list_schema")]
    pub accounts: Vec<String>,
}

fn account_list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "pattern": schema_patterns::ACCOUNT},
        "maxItems": MAX_STATE_ACCOUNTS,
    })
}

/// A change of the state: at least one new value, the actor and the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = at_least_one_value()))]
pub struct StateChangeRequest {
    /// The new mode: `paper` (or its alias `sandbox`), `live` or `dry_run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["paper", "sandbox", "live", "dry_run"]))]
    pub mode: Option<String>,
    /// The new trading state. `halted` also cancels every open order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TradingState")]
    pub trading_state: Option<TradingState>,
    /// The new cap on the notional routed in one trading day, in the base currency: above zero, at most
    /// 9007199254.740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PositiveMoneyInput")]
    pub daily_notional_limit: Option<NumberInput>,
    /// The new loss of one trading day from which on only reductions pass, in the base currency: above zero, at most
    /// 9007199254.740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PositiveMoneyInput")]
    pub daily_loss_limit: Option<NumberInput>,
    /// The person or system that changes the state, 1-256 characters without control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: Option<String>,
    /// The reason for the change, 1-256 characters without control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: Option<String>,
}

/// A change of the state over REST: at least one new value, and optionally the reason. The sidecar adds the actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = at_least_one_value()))]
pub struct StateChangeBody {
    /// The new mode: `paper` (or its alias `sandbox`), `live` or `dry_run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["paper", "sandbox", "live", "dry_run", null]))]
    pub mode: Option<String>,
    /// The new trading state. `halted` also cancels every open order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trading_state: Option<TradingState>,
    /// The new cap on the notional routed in one trading day, in the base currency: above zero, at most
    /// 9007199254.740991.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveMoneyInput>")]
    pub daily_notional_limit: Option<NumberInput>,
    /// The new loss of one trading day from which on only reductions pass, in the base currency: above zero, at most
    /// 9007199254.740991.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveMoneyInput>")]
    pub daily_loss_limit: Option<NumberInput>,
    /// The reason for the change, 1-256 characters without control characters. Recorded as `not given` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: Option<String>,
}

/// Returns the schema's rule that a change has at least one value.
fn at_least_one_value() -> serde_json::Value {
    json!([
        {"required": ["mode"]},
        {"required": ["trading_state"]},
        {"required": ["daily_notional_limit"]},
        {"required": ["daily_loss_limit"]},
    ])
}

/// A checked change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The new values; at least one.
    pub values: OperatorOverrides,
    /// The person or system that changes the state.
    pub actor: String,
    /// The reason for the change.
    pub reason: String,
}

/// A change of the state (`orders.events.state._`): the values that operators have set, as they are after the change. An
/// absent value is that of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateEvent {
    /// The state's version after the change, from 1.
    pub version: u64,
    /// The mode: where orders take effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Mode")]
    pub mode: Option<Mode>,
    /// The trading state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TradingState")]
    pub trading_state: Option<TradingState>,
    /// The cap on the notional routed in one trading day, in the base currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PlainNumber")]
    pub daily_notional_limit: Option<Decimal>,
    /// The loss of one trading day from which on only reductions pass, in the base currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PlainNumber")]
    pub daily_loss_limit: Option<Decimal>,
    /// The person or system that changed the state.
    pub actor: String,
    /// The reason for the change.
    pub reason: String,
    /// When the state changed.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
    /// Earlier changes that were in force and may have no event of their own, because the journal was unavailable: at most
    /// 16, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<EarlierChange>", length(max = MAX_EARLIER_CHANGES))]
    pub earlier: Vec<EarlierChange>,
}

/// The origin of an earlier change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierChange {
    /// The state's version after that change.
    pub version: u64,
    /// The person or system that made the change.
    pub actor: String,
    /// The reason for the change.
    pub reason: String,
    /// When the change was made.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

impl StateEvent {
    /// Returns the values after the change, or `None` if a limit is beyond the exact range.
    pub fn to_operator_values(&self) -> Option<OperatorOverrides> {
        let micros = |limit: Option<Decimal>| match limit {
            None => Some(None),
            Some(limit) => Micros::from_decimal(limit, Rounding::Down).map(Some),
        };
        Some(OperatorOverrides {
            mode: self.mode,
            trading_state: self.trading_state,
            daily_notional_limit: micros(self.daily_notional_limit)?,
            daily_loss_limit: micros(self.daily_loss_limit)?,
        })
    }

    /// Returns the event with these values.
    #[must_use]
    pub fn with_operator_values(self, values: OperatorOverrides) -> Self {
        Self {
            mode: values.mode,
            trading_state: values.trading_state,
            daily_notional_limit: values.daily_notional_limit.map(Micros::decimal),
            daily_loss_limit: values.daily_loss_limit.map(Micros::decimal),
            ..self
        }
    }

    /// Returns the earlier changes that the next event carries: this one and those before it, at most 16, the newest last.
    pub fn to_earlier_changes(&self) -> Vec<EarlierChange> {
        let mut earlier = self.earlier.clone();
        earlier.push(EarlierChange {
            version: self.version,
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            timestamp: self.timestamp,
        });
        let surplus = earlier.len().saturating_sub(MAX_EARLIER_CHANGES);
        earlier.split_off(surplus)
    }
}

/// Decodes a [`StateGetRequest`] and returns its accounts. An empty body names none.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_state_get(body: &[u8]) -> Result<Vec<AccountId>, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let mut object = StrictObject::from_body(body)?;
    let names: Option<Vec<String>> = object.optional("accounts", "must be a list of account ids")?;
    let accounts: Result<Vec<AccountId>, _> = names
        .unwrap_or_default()
        .iter()
        .map(|name| AccountId::new(name))
        .collect();
    let accounts = accounts.map_err(|rule| object.invalid_field("accounts", rule))?;
    if accounts.len() > MAX_STATE_ACCOUNTS {
        return Err(object.invalid_field("accounts", format!("must name at most {MAX_STATE_ACCOUNTS} accounts")));
    }
    object.reject_unknown()?;
    Ok(accounts)
}

/// Decodes a [`StateChangeRequest`].
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when it changes no value or has no actor or reason.
pub fn decode_state_change(body: &[u8]) -> Result<StateChange, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let values = OperatorOverrides {
        mode: object.optional_text("mode", parse_mode)?,
        trading_state: object.optional_text("trading_state", |text| {
            TradingState::parse(text).ok_or("must be active, reduce_only or halted")
        })?,
        daily_notional_limit: object.optional_amount("daily_notional_limit", parse_limit)?,
        daily_loss_limit: object.optional_amount("daily_loss_limit", parse_limit)?,
    };
    let actor = object.required_text("actor", parse_operator_text)?;
    let reason = object.required_text("reason", parse_operator_text)?;
    if values == OperatorOverrides::default() {
        let rule = "is required, or another of mode, trading_state and daily_loss_limit";
        return Err(object.invalid_field("daily_notional_limit", rule));
    }
    object.reject_unknown()?;
    Ok(StateChange { values, actor, reason })
}

fn parse_mode(text: &str) -> Result<Mode, &'static str> {
    let text = if text == SANDBOX_ALIAS {
        Mode::Paper.as_str()
    } else {
        text
    };
    Mode::parse(text).ok_or("must be paper (or sandbox), live or dry_run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_request_names_accounts_or_none() {
        for (body, expected) in [
            ("", &[][..]),
            ("{}", &[]),
            (r#"{"accounts":["a","fund-7"]}"#, &["a", "fund-7"]),
        ] {
            let accounts = decode_state_get(body.as_bytes()).unwrap();
            assert_eq!(
                accounts.iter().map(AccountId::as_str).collect::<Vec<_>>(),
                expected,
                "{body}"
            );
        }
        let many = format!(r#"{{"accounts":{:?}}}"#, vec!["a"; MAX_STATE_ACCOUNTS + 1]);
        for (body, field) in [
            (r#"{"accounts":["_"]}"#, "accounts"),
            (r#"{"accounts":"a"}"#, "accounts"),
            (r#"{"account":"a"}"#, "account"),
            (many.as_str(), "accounts"),
        ] {
            let fault = decode_state_get(body.as_bytes()).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{body}");
        }
    }
}
