//! Positions over REST: what each account holds, what it has cost and what it is worth; and the request to close one.
//!
//! Prices are in the quote currency of their instrument; values, profits and totals in the base currency, at the rates of
//! the settings (`risk.rates`), rounded down to a millionth. Positions are told for display: no rule judges by them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, QUANTITY_BOUND};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::report::ExecutionReport;
use crate::wire::schema_numbers::{NumberInput, PlainNumber};
use crate::wire::schema_patterns::UtcTimestamp;
use crate::wire::strict_object::StrictObject;

/// What the accounts hold in the mode in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PositionsAnswer")]
pub struct PortfolioList {
    /// Each account that has had a position, by its name.
    pub items: Vec<Portfolio>,
    /// When they were valued.
    #[schemars(with = "UtcTimestamp")]
    pub as_of: Timestamp,
}

/// What one account holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Portfolio {
    /// The account.
    pub id: String,
    /// What it is called: the account's id, since it has no other name.
    pub name: String,
    /// Whose it is: the account's own, since the router knows of no other owner.
    pub owner: String,
    /// What the holdings are worth together, in the base currency, short ones counted below zero; null while a price is
    /// missing.
    #[schemars(with = "Option<PlainNumber>")]
    pub total_value: Option<Decimal>,
    /// The positions that are not flat, by venue and symbol.
    pub holdings: Vec<PortfolioHolding>,
}

/// One position that is not flat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Holding")]
pub struct PortfolioHolding {
    /// What the position is closed by: a text without a meaning of its own.
    pub id: String,
    /// The account.
    pub portfolio_id: String,
    /// What the account is called.
    pub portfolio: String,
    /// The account.
    pub account_id: String,
    /// The broker.
    pub broker: String,
    /// The venue.
    pub venue: String,
    /// The normalised symbol.
    pub symbol: String,
    /// The mode it is held in.
    pub mode: Mode,
    /// The currency of the prices; null for an instrument that is not in the settings any more.
    pub quote_currency: Option<String>,
    /// How much is held; below zero for a short position.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// What a unit has cost on average, or of a short position has brought in, in the quote currency; 12 decimals, ties to
    /// even. Null where it cannot be told.
    #[schemars(with = "Option<PlainNumber>")]
    pub average_price: Option<Decimal>,
    /// The newest price of the market, in the quote currency. Until there is one, the reference price of the settings
    /// stands in, but never in `live`; null without either.
    #[schemars(with = "Option<PlainNumber>")]
    pub current_price: Option<Decimal>,
    /// What the quantity is worth at the current price, in the base currency, below zero for a short position.
    #[schemars(with = "Option<PlainNumber>")]
    pub market_value: Option<Decimal>,
    /// What closing has earned so far, less fees, in the base currency; null where it cannot be counted exactly.
    #[schemars(with = "Option<PlainNumber>")]
    pub realized_pnl: Option<Decimal>,
    /// What closing it all at the current price would earn, in the base currency.
    #[schemars(with = "Option<PlainNumber>")]
    pub unrealized_pnl: Option<Decimal>,
}

/// How far to close a position.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ClosePositionRequest {
    /// What is to be left of it: between zero, which it is unless given, and the quantity that is held. Of what is to be
    /// closed, no part of a lot is sold or bought, so that never too much is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_quantity: Option<NumberInput>,
}

/// What closing a position came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClosePositionAnswer")]
pub struct ClosePositionResponse {
    /// The order it was closed by; a receipt where nobody has said what became of it.
    pub order: ExecutionReport,
    /// What the account holds, that order included; null while the order log has not come that far.
    pub positions: Option<PortfolioList>,
}

/// Reads a request to close a position and returns what is to be left of it. No body at all closes it whole.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_close_position(body: &[u8]) -> Result<Decimal, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Decimal::ZERO);
    }
    let mut object = StrictObject::from_body(body)?;
    let target = object.optional_amount("target_quantity", parse_target_quantity)?;
    object.reject_unknown()?;
    Ok(target.unwrap_or(Decimal::ZERO))
}

fn parse_target_quantity(number: Decimal) -> Result<Decimal, &'static str> {
    let is_held = number.abs() < Decimal::from(QUANTITY_BOUND) && number.scale() <= MAX_AMOUNT_DECIMALS;
    is_held
        .then_some(number)
        .ok_or("must lie within ±10^11 and have at most 8 decimals")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    #[test]
    fn a_position_is_closed_whole_unless_a_target_is_named() {
        for (body, target) in [
            ("", "0"),
            (" \n", "0"),
            ("{}", "0"),
            (r#"{"target_quantity":null}"#, "0"),
            (r#"{"target_quantity":"0.50"}"#, "0.5"),
            (r#"{"target_quantity":-2}"#, "-2"),
        ] {
            assert_eq!(
                decode_close_position(body.as_bytes()),
                Ok(target.parse().unwrap()),
                "{body}"
            );
        }
        for (body, code, field) in [
            ("[]", FaultCode::Malformed, None),
            (
                r#"{"target_quantity":true}"#,
                FaultCode::InvalidField,
                Some("target_quantity"),
            ),
            (
                r#"{"target_quantity":1e11}"#,
                FaultCode::InvalidField,
                Some("target_quantity"),
            ),
            (
                r#"{"target_quantity":0.000000001}"#,
                FaultCode::InvalidField,
                Some("target_quantity"),
            ),
            (
                r#"{"target_quantity":0,"target_quantity":0}"#,
                FaultCode::InvalidField,
                Some("target_quantity"),
            ),
            (r#"{"target":0}"#, FaultCode::UnknownField, Some("target")),
        ] {
            let fault = decode_close_position(body.as_bytes()).unwrap_err();
            assert_eq!((fault.code, fault.field.as_deref()), (code, field), "{body}");
        }
    }
}
