//! The router's state: what is in force, and requests to change it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grammar::{self, CivilDate, UtcTimestamp};
use super::number::{NumberInput, PlainNumber, PositiveMoneyInput};
use super::object::Object;
use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding};
use crate::domain::terms::Mode;
use crate::domain::time::TradingDate;
use crate::fault::Fault;

/// The longest `actor` or `reason`, in characters.
pub const MAX_NOTE_CHARACTERS: usize = 256;

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouterState {
    /// Where orders' effects land.
    pub mode: Mode,
    /// The cap of the notional routed in one day over all accounts, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub daily_notional_limit: Decimal,
    /// What has been routed today, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub notional_routed: Decimal,
    /// The day the daily figures count for.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// Counts the changes; 0 while the settings' values are in force.
    pub version: u64,
}

/// A change of the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StateChangeRequest {
    /// The new cap of a day's routed notional, above zero, in the base currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, with = "PositiveMoneyInput")]
    pub daily_notional_limit: Option<NumberInput>,
    /// Who changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = grammar::PLAIN_TEXT), length(min = 1, max = MAX_NOTE_CHARACTERS))]
    pub actor: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = grammar::PLAIN_TEXT), length(min = 1, max = MAX_NOTE_CHARACTERS))]
    pub reason: Option<String>,
}

/// A checked change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The new cap.
    pub daily_notional_limit: Micros,
    /// Who changes it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// The journal's record of a change (`orders.events.state._`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateEvent {
    /// The version after the change.
    pub version: u64,
    /// The cap after the change, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub daily_notional_limit: Decimal,
    /// Who changed it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: crate::domain::time::Timestamp,
}

/// Reads a change.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when it changes nothing or names no actor or reason.
pub fn decode_change(body: &[u8]) -> Result<StateChange, Fault> {
    let mut object = Object::read(body)?;
    let limit = object.optional_amount("daily_notional_limit", |number| {
        let micros = Micros::from_decimal(number, Rounding::Down);
        micros
            .filter(|limit| limit.units() > 0)
            .ok_or("must be above zero and at most 9007199254.740991")
    })?;
    let actor = object.required_text("actor", note)?;
    let reason = object.required_text("reason", note)?;
    let limit = limit.ok_or_else(|| object.invalid("daily_notional_limit", "is required"))?;
    object.finish()?;
    Ok(StateChange {
        daily_notional_limit: limit,
        actor,
        reason,
    })
}

/// Reads an `actor` or a `reason`.
pub(super) fn note(text: &str) -> Result<String, String> {
    let characters = text.chars().count();
    if (1..=MAX_NOTE_CHARACTERS).contains(&characters) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1-{MAX_NOTE_CHARACTERS} characters without control characters"
        ))
    }
}
