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
    /// One portfolio per account that holds a position, sorted by account id.
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
    /// The position to keep, in units of the instrument: between zero and the quantity that is held, unless `allow_increase`
    /// is true. Default 0. The quantity of the order is rounded down to whole lots, so that it never trades too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_quantity: Option<NumberInput>,
    /// Whether the target may lie beyond the quantity that is held, or on the other side of zero. The order to such a target
    /// is an ordinary one, which every limit applies to. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_increase: Option<bool>,
}

/// A decoded [`ClosePositionRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionTarget {
    /// The position to keep, below zero for a short one.
    pub quantity: Decimal,
    /// Whether the target may lie beyond the held quantity, or on the other side of zero.
    pub allow_increase: bool,
}

/// The outcome of a request to close a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClosePositionAnswer")]
pub struct ClosePositionResponse {
    /// The report of the closing order; a receipt while its outcome is unknown.
    pub order: ExecutionReport,
    /// The part of the order that is not filled, in units of the instrument: `quantity` − `filled_quantity`, at least 0. If it
    /// is above zero and `order.leaves_quantity` is 0, the order has ended short of the target: close the position again,
    /// with another key.
    #[schemars(with = "PlainNumber")]
    pub remaining_quantity: Decimal,
    /// The part of the position beyond the target that is less than one lot: no order can trade it. Null where there is none,
    /// and while the order log has not applied the order yet.
    #[serde(default)]
    pub remainder_below_lot: Option<RemainderBelowLot>,
    /// The portfolios that the caller may see, after that order, as `GET /positions` lists them; null while the order log has
    /// not applied the order yet.
    pub positions: Option<PortfolioList>,
}

/// The part of a position that is less than one lot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemainderBelowLot {
    /// The quantity that stays, in units of the instrument; below zero for a short position.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// The instrument's lot: the quantity of every order is a multiple of it.
    #[schemars(with = "PlainNumber")]
    pub lot_size: Decimal,
    /// Why it stays, and how an operator clears it.
    pub detail: String,
}

/// Decodes a [`ClosePositionRequest`]. An empty body closes the whole position.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_close_position(body: &[u8]) -> Result<PositionTarget, Fault> {
    let body: &[u8] = if body.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        body
    };
    let mut object = StrictObject::from_body(body)?;
    let quantity = object.optional_amount("target_quantity", parse_signed_quantity)?;
    let allow_increase = object.optional("allow_increase", "must be true or false")?;
    object.reject_unknown()?;
    Ok(PositionTarget {
        quantity: quantity.unwrap_or(Decimal::ZERO),
        allow_increase: allow_increase.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    #[test]
    fn position_is_closed_whole_without_a_target() {
        for (body, target, allow_increase) in [
            ("", "0", false),
            (" \n", "0", false),
            ("{}", "0", false),
            (r#"{"target_quantity":null,"allow_increase":null}"#, "0", false),
            (r#"{"target_quantity":"0.50","allow_increase":false}"#, "0.5", false),
            (r#"{"target_quantity":-2,"allow_increase":true}"#, "-2", true),
        ] {
            let expected = PositionTarget {
                quantity: target.parse().unwrap(),
                allow_increase,
            };
            assert_eq!(decode_close_position(body.as_bytes()), Ok(expected), "{body}");
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
            (
                r#"{"allow_increase":"true"}"#,
                FaultCode::InvalidField,
                Some("allow_increase"),
            ),
            (r#"{"target":0}"#, FaultCode::UnknownField, Some("target")),
        ] {
            let fault = decode_close_position(body.as_bytes()).unwrap_err();
            assert_eq!((fault.code, fault.field.as_deref()), (code, field), "{body}");
        }
    }
}
