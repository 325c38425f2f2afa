//! Positions over REST: the holdings of each account with cost, value and profit, and the request to close one.
//!
//! Prices are in the quote currency of their instrument. Values, profits and totals are in the base currency, at the rates
//! of the settings (`risk.rates`), rounded down to a millionth. Positions are for display: no risk rule reads them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::Mode;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::field_checks::parse_signed_quantity;
use crate::wire::report::ExecutionReport;
use crate::wire::schema_numbers::{NumberInput, PlainNumber};
use crate::wire::schema_patterns::UtcTimestamp;
use crate::wire::strict_object::StrictObject;

/// The portfolios of the accounts, in the mode in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PositionsAnswer")]
pub struct PortfolioList {
    /// One portfolio per account that has had a position, sorted by account id.
    pub items: Vec<Portfolio>,
    /// When the holdings were valued.
    #[schemars(with = "UtcTimestamp")]
    pub as_of: Timestamp,
}

/// The holdings of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Portfolio {
    /// The account's id.
    pub id: String,
    /// The portfolio's name: the account's id, because an account has no other name.
    pub name: String,
    /// The portfolio's owner: the account's id, because the router records no other owner.
    pub owner: String,
    /// The value of all holdings, in the base currency, short positions below zero; null while a price is missing.
    #[schemars(with = "Option<PlainNumber>")]
    pub total_value: Option<Decimal>,
    /// The positions that are not flat, sorted by venue and symbol.
    pub holdings: Vec<PortfolioHolding>,
}

/// One position that is not flat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Holding")]
pub struct PortfolioHolding {
    /// The opaque id of the position, which a request to close it uses.
    pub id: String,
    /// The id of the portfolio: the account's id.
    pub portfolio_id: String,
    /// The name of the portfolio: the account's id.
    pub portfolio: String,
    /// The account that holds the position.
    pub account_id: String,
    /// The broker of the instrument.
    pub broker: String,
    /// The venue of the instrument.
    pub venue: String,
    /// The normalised symbol.
    pub symbol: String,
    /// The mode that the position is held in.
    pub mode: Mode,
    /// The currency of the prices; null for an instrument that is no longer in the settings.
    pub quote_currency: Option<String>,
    /// The position, in units of the instrument; below zero for a short position.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// The average cost of one unit (of a short position: the average proceeds), in the quote currency, with at most 12
    /// decimals, rounded half-even. Null if it cannot be computed exactly.
    #[schemars(with = "Option<PlainNumber>")]
    pub average_price: Option<Decimal>,
    /// The newest market price, in the quote currency. Before the first one, the reference price of the settings, except in
    /// mode `live`; null without either.
    #[schemars(with = "Option<PlainNumber>")]
    pub current_price: Option<Decimal>,
    /// The value of the position at the current price, in the base currency, below zero for a short position; null without a
    /// price.
    #[schemars(with = "Option<PlainNumber>")]
    pub market_value: Option<Decimal>,
    /// The profit (above zero) or loss from closing parts of the position so far, less fees, in the base currency; null if
    /// it cannot be computed exactly.
    #[schemars(with = "Option<PlainNumber>")]
    pub realized_pnl: Option<Decimal>,
    /// The profit (above zero) or loss from closing the whole position at the current price, in the base currency; null
    /// without a price or an average price.
    #[schemars(with = "Option<PlainNumber>")]
    pub unrealized_pnl: Option<Decimal>,
}

/// A request to close a position, wholly or in part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ClosePositionRequest {
    /// The position to keep, in units of the instrument: between zero and the quantity that is held. Default 0. The quantity
    /// to close is rounded down to whole lots, so that the order never closes too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_quantity: Option<NumberInput>,
}

/// The outcome of a request to close a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClosePositionAnswer")]
pub struct ClosePositionResponse {
    /// The report of the closing order; a receipt while its outcome is unknown.
    pub order: ExecutionReport,
    /// The account's portfolio after that order; null while the order log has not applied it yet.
    pub positions: Option<PortfolioList>,
}

/// Decodes a [`ClosePositionRequest`] and returns the quantity to keep. An empty body closes the whole position.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_close_position(body: &[u8]) -> Result<Decimal, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Decimal::ZERO);
    }
    let mut object = StrictObject::from_body(body)?;
    let target = object.optional_amount("target_quantity", parse_signed_quantity)?;
    object.reject_unknown()?;
    Ok(target.unwrap_or(Decimal::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    #[test]
    fn position_is_closed_whole_without_a_target() {
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
