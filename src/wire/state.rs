//! The router's state: what is in force, and requests to change it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::control::OperatorOverrides;
use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::wire::schema_numbers::{NumberInput, PlainNumber, PositiveMoneyInput};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::strict_object::StrictObject;

/// The longest `actor` or `reason`, in characters.
pub const MAX_OPERATOR_TEXT_CHARACTERS: usize = 256;
/// Another word for the mode `paper`.
const SANDBOX_ALIAS: &str = "sandbox";

/// The most earlier changes one event names.
pub const MAX_EARLIER_CHANGES: usize = 16;
/// The most orders an answer names that remain open.
pub const MAX_REMAINING_ORDERS: usize = 500;

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouterState {
    /// Where orders' effects land.
    pub mode: Mode,
    /// What is let pass: everything, reductions only, or nothing but cancels.
    pub trading_state: TradingState,
    /// The cap of the notional routed in one day over all accounts, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub daily_notional_limit: Decimal,
    /// What has been routed today, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub notional_routed: Decimal,
    /// The loss of a day, in the base currency, at which only reductions pass.
    #[schemars(with = "PlainNumber")]
    pub daily_loss_limit: Decimal,
    /// Today's profit (above zero) or loss over all accounts, in the base currency; null while a price is missing.
    #[schemars(with = "Option<PlainNumber>")]
    pub daily_pnl: Option<Decimal>,
    /// The day the daily figures count for.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// Counts the changes; 0 while the settings' values are in force.
    pub version: u64,
    /// How many orders were cancelled because trading was halted; only in the answer to the change that halts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub cancelled: Option<u64>,
    /// The ids of orders that are still open all the same, at most 500; only in the answer to the change that halts
    /// trading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(max = MAX_REMAINING_ORDERS))]
    pub remaining: Option<Vec<String>>,
    /// How many orders are still open; only in the answer to the change that halts trading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub remaining_total: Option<u64>,
}

/// A change of the state: at least one value, and who changes it, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = json!([
    {"required": ["mode"]},
    {"required": ["trading_state"]},
    {"required": ["daily_notional_limit"]},
    {"required": ["daily_loss_limit"]},
])))]
pub struct StateChangeRequest {
    /// Where orders' effects land from now on; `sandbox` is another word for `paper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["paper", "sandbox", "live", "dry_run"]))]
    pub mode: Option<String>,
    /// What is let pass from now on. `halted` also cancels every open order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TradingState")]
    pub trading_state: Option<TradingState>,
    /// The new cap of a day's routed notional, above zero, in the base currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PositiveMoneyInput")]
    pub daily_notional_limit: Option<NumberInput>,
    /// The new loss of a day at which only reductions pass, above zero, in the base currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PositiveMoneyInput")]
    pub daily_loss_limit: Option<NumberInput>,
    /// Who changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: Option<String>,
}

/// A change of the state over REST: at least one value, and why. Who changes it the sidecar says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = json!([
    {"required": ["mode"]},
    {"required": ["trading_state"]},
    {"required": ["daily_notional_limit"]},
    {"required": ["daily_loss_limit"]},
])))]
pub struct StateChangeBody {
    /// Where orders' effects land from now on; `sandbox` is another word for `paper`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["paper", "sandbox", "live", "dry_run", null]))]
    pub mode: Option<String>,
    /// What is let pass from now on. `halted` also cancels every open order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trading_state: Option<TradingState>,
    /// The new cap of a day's routed notional, above zero, in the base currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveMoneyInput>")]
    pub daily_notional_limit: Option<NumberInput>,
    /// The new loss of a day at which only reductions pass, above zero, in the base currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveMoneyInput>")]
    pub daily_loss_limit: Option<NumberInput>,
    /// Why.
    #[schemars(regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: String,
}

/// A checked change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The new values; at least one.
    pub values: OperatorOverrides,
    /// Who changes it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// The journal's record of a change (`orders.events.state._`): what operators have set, as it is after the change. A
/// value that is missing is that of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateEvent {
    /// The version after the change.
    pub version: u64,
    /// Where orders' effects land.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Mode")]
    pub mode: Option<Mode>,
    /// What is let pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TradingState")]
    pub trading_state: Option<TradingState>,
    /// The cap of a day's routed notional, in the base currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PlainNumber")]
    pub daily_notional_limit: Option<Decimal>,
    /// The loss of a day at which only reductions pass, in the base currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PlainNumber")]
    pub daily_loss_limit: Option<Decimal>,
    /// Who changed it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
    /// Changes before this one that were in force and may have no event of their own: the journal was away. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<EarlierChange>", length(max = MAX_EARLIER_CHANGES))]
    pub earlier: Vec<EarlierChange>,
}

/// Who made an earlier change, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierChange {
    /// The version after it.
    pub version: u64,
    /// Who made it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

impl StateEvent {
    /// Returns the values after the change, or `None` where one of them cannot be counted.
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

    /// Returns what a later event tells of this one and those before it, the newest last.
    pub fn to_earlier_changes(&self) -> Vec<EarlierChange> {
        let mut earlier = self.earlier.clone();
        earlier.push(EarlierChange {
            version: self.version,
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            timestamp: self.timestamp,
        });
        let beyond = earlier.len().saturating_sub(MAX_EARLIER_CHANGES);
        earlier.split_off(beyond)
    }
}

/// Reads a change.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when it changes nothing or names no actor or reason.
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

fn parse_limit(number: Decimal) -> Result<Micros, &'static str> {
    Micros::from_decimal(number, Rounding::Down)
        .filter(|limit| limit.units() > 0)
        .ok_or("must be above zero and at most 9007199254.740991")
}

/// Checks an operator's text: an actor or a reason.
///
/// # Errors
/// Says what it must be when it is not.
pub(super) fn parse_operator_text(text: &str) -> Result<String, String> {
    let characters = text.chars().count();
    if (1..=MAX_OPERATOR_TEXT_CHARACTERS).contains(&characters) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1-{MAX_OPERATOR_TEXT_CHARACTERS} characters without control characters"
        ))
    }
}
