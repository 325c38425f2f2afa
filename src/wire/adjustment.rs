//! Adjustments (FIX 35=AL): the request, and the event that is both the journal's record and the reply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::adjustment::{Adjustment, AdjustmentEffect};
use crate::domain::content_hash::ContentHash;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::settlement::SumDeltas;
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::wire::field_checks::{MAX_OPERATOR_TEXT_CHARACTERS, parse_cash, parse_operator_text, parse_quantity_change};
use crate::wire::schema_numbers::{MoneyInput, NumberInput, PlainNumber, PriceInput, SignedQuantityInput};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::settlement::{InvalidSettledQuantity, SettlementDeltas};
use crate::wire::strict_object::StrictObject;

/// An adjustment of an account that no order made: of a position (`venue`, `symbol`, `quantity`, `price`) or of `cash`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AdjustmentRequest {
    /// The idempotency key, 1-64 printable ASCII characters without a space: an adjustment is booked once per id. Assigned
    /// if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ADJUSTMENT_ID))]
    pub adjustment_id: Option<String>,
    /// The account to adjust, 1-64 characters of `[A-Za-z0-9_-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::TOKEN))]
    pub account_id: Option<String>,
    /// The venue of the position to adjust, 1-64 characters of `[A-Za-z0-9_.-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::VENUE))]
    pub venue: Option<String>,
    /// The symbol of the position to adjust.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::SYMBOL))]
    pub symbol: Option<String>,
    /// The quantity to add to the position (below zero: to take away), in units of the instrument: within ±10^11,
    /// not zero, at most 8 decimals. It need be no multiple of the lot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SignedQuantityInput>")]
    pub quantity: Option<NumberInput>,
    /// The price to value the quantity at, in the quote currency: above zero, below 10^9, at most 8 decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub price: Option<NumberInput>,
    /// The deposit (below zero: withdrawal), in the base currency: within ±9007199254.740991, not zero, at most 6 decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub cash: Option<NumberInput>,
    /// The person or system that makes the adjustment, 1-256 characters without control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: Option<String>,
    /// The reason for the adjustment, 1-256 characters without control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: Option<String>,
}

/// A booked adjustment (`orders.events.adjustment.{account}`), also the reply to the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdjustmentEvent {
    /// The idempotency key. Of two events with one id, the first on the journal counts.
    pub adjustment_id: String,
    /// The account that was adjusted.
    pub account_id: String,
    /// The mode whose sums the adjustment moved.
    pub mode: Mode,
    /// The trading day on which the adjustment was booked. Absent before the first trading day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CivilDate>")]
    pub trading_date: Option<TradingDate>,
    /// The change of the position. Absent for cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionAdjustment>,
    /// The deposit (below zero: withdrawal), in the base currency. Absent for a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PlainNumber>")]
    pub cash: Option<Decimal>,
    /// The moves of the shared sums of the account in the instrument; for cash, of the account's `cash_flow` outside all
    /// instruments.
    pub deltas: SettlementDeltas,
    /// The person or system that made the adjustment.
    pub actor: String,
    /// The reason for the adjustment.
    pub reason: String,
    /// The SHA-256 of the request's content, in 64 hex digits: a repeated `adjustment_id` must have the same.
    pub content: String,
    /// The epoch of the store that the adjustment was booked in.
    pub epoch: i64,
    /// When the adjustment was booked.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// The change of a position, and the terms it was valued with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PositionAdjustment {
    /// The instrument's venue.
    pub venue: String,
    /// The instrument's normalised symbol.
    pub symbol: String,
    /// The quantity that was added (below zero: taken away), in units of the instrument.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// The price that the quantity was valued at, in the quote currency.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// The instrument's lot.
    #[schemars(with = "PlainNumber")]
    pub lot_size: Decimal,
    /// The value of one unit of the quote currency, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub base_rate: Decimal,
}

/// The mode, trading day and epoch that an adjustment is booked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookingContext {
    /// The mode in force.
    pub mode: Mode,
    /// The trading day in force; none before the first trading day.
    pub trading_date: Option<TradingDate>,
    /// The store's epoch.
    pub epoch: i64,
}

/// A journal event that is not a valid adjustment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journaled adjustment is invalid: {0}")]
pub struct AdjustmentEventError(String);

/// An adjustment decoded from its journal event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedAdjustment {
    /// The idempotency key.
    pub adjustment_id: AdjustmentId,
    /// The hash of the request's content.
    pub content: ContentHash,
    /// The account that was adjusted.
    pub account_id: AccountId,
    /// The instrument's venue and symbol; none for cash.
    pub instrument: Option<(VenueId, Symbol)>,
    /// The moves of the shared sums.
    pub deltas: SumDeltas,
    /// The mode, trading day and epoch of the booking.
    pub context: BookingContext,
    /// When the adjustment was booked.
    pub made_at: Timestamp,
}

impl AdjustmentEvent {
    /// Returns the event of an adjustment. A position adjustment needs the `instrument` of its position.
    pub fn of(
        adjustment: &Adjustment,
        instrument: Option<&Instrument>,
        deltas: SumDeltas,
        context: BookingContext,
    ) -> Self {
        let (position, cash) = match &adjustment.effect {
            AdjustmentEffect::Cash(amount) => (None, Some(amount.decimal())),
            AdjustmentEffect::Position {
                venue,
                symbol,
                quantity,
                price,
            } => {
                let position = instrument.map(|instrument| PositionAdjustment {
                    venue: venue.to_string(),
                    symbol: symbol.to_string(),
                    quantity: *quantity,
                    price: price.decimal(),
                    lot_size: instrument.lot_size.decimal(),
                    base_rate: instrument.base_rate,
                });
                (position, None)
            }
        };
        Self {
            adjustment_id: adjustment.adjustment_id.to_string(),
            account_id: adjustment.account_id.to_string(),
            mode: context.mode,
            trading_date: context.trading_date,
            position,
            cash,
            deltas: deltas.into(),
            actor: adjustment.actor.clone(),
            reason: adjustment.reason.clone(),
            content: adjustment.content_hash().0.to_string(),
            epoch: context.epoch,
            timestamp: Timestamp::now(),
        }
    }
}

/// Decodes an event of the journal.
///
/// # Errors
/// When the body is not an adjustment event, or an id in it is invalid.
pub fn decode_adjustment_event(body: &[u8]) -> Result<DecodedAdjustment, AdjustmentEventError> {
    let invalid = |error: &dyn std::fmt::Display| AdjustmentEventError(error.to_string());
    let event: AdjustmentEvent = serde_json::from_slice(body).map_err(|error| invalid(&error))?;
    let instrument = event.position.as_ref().map(|position| {
        let venue = VenueId::new(&position.venue).map_err(|error| invalid(&error))?;
        let symbol = Symbol::parse(&position.symbol).map_err(|error| invalid(&error))?;
        Ok::<_, AdjustmentEventError>((venue, symbol))
    });
    Ok(DecodedAdjustment {
        adjustment_id: AdjustmentId::new(&event.adjustment_id).map_err(|error| invalid(&error))?,
        content: ContentHash(event.content.as_str().into()),
        account_id: AccountId::new(&event.account_id).map_err(|error| invalid(&error))?,
        instrument: instrument.transpose()?,
        deltas: event
            .deltas
            .try_into()
            .map_err(|error: InvalidSettledQuantity| invalid(&error))?,
        context: BookingContext {
            mode: event.mode,
            trading_date: event.trading_date,
            epoch: event.epoch,
        },
        made_at: event.timestamp,
    })
}

/// Decodes an [`AdjustmentRequest`]. Assigns an id to a request without one.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when the request has neither a whole position nor cash, or both.
pub fn decode_adjustment(body: &[u8]) -> Result<Adjustment, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let adjustment_id = object.optional_text("adjustment_id", AdjustmentId::new)?;
    let account_id = object.required_text("account_id", AccountId::new)?;
    let actor = object.required_text("actor", parse_operator_text)?;
    let reason = object.required_text("reason", parse_operator_text)?;
    let cash = object.optional_amount("cash", parse_cash)?;
    let venue = object.optional_text("venue", VenueId::new)?;
    let symbol = object.optional_text("symbol", Symbol::parse)?;
    let quantity = object.optional_amount("quantity", parse_quantity_change)?;
    let price = object.optional_amount("price", Price::new)?;
    let effect = match cash {
        Some(cash) => {
            let position_fields = [
                ("venue", venue.is_some()),
                ("symbol", symbol.is_some()),
                ("quantity", quantity.is_some()),
                ("price", price.is_some()),
            ];
            if let Some((name, _)) = position_fields.iter().find(|(_, is_present)| *is_present) {
                return Err(object.invalid_field(name, "and cash are both given: send two adjustments"));
            }
            AdjustmentEffect::Cash(cash)
        }
        None => {
            let missing = |name: &str| object.invalid_field(name, "is required unless cash is given");
            AdjustmentEffect::Position {
                venue: venue.ok_or_else(|| missing("venue"))?,
                symbol: symbol.ok_or_else(|| missing("symbol"))?,
                quantity: quantity.ok_or_else(|| missing("quantity"))?,
                price: price.ok_or_else(|| missing("price"))?,
            }
        }
    };
    object.reject_unknown()?;
    Ok(Adjustment {
        adjustment_id: adjustment_id.unwrap_or_else(AdjustmentId::generate),
        account_id,
        effect,
        actor,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Micros;
    use crate::fault::FaultCode;

    #[test]
    fn request_adjusts_a_position_or_cash() {
        let decode = |fields: &str| {
            decode_adjustment(format!(r#"{{"account_id":"a","actor":"m","reason":"r"{fields}}}"#).as_bytes())
        };
        let position = r#","venue":"v","symbol":"btc/usdt","quantity":"-1.50","price":30000"#;
        let AdjustmentEffect::Position { symbol, quantity, .. } = decode(position).unwrap().effect else {
            panic!("a position")
        };
        assert_eq!((symbol.as_str(), quantity.to_string().as_str()), ("BTCUSDT", "-1.5"));
        let cash = decode(r#","cash":-0.000001,"adjustment_id":"x""#).unwrap();
        assert_eq!(cash.effect, AdjustmentEffect::Cash(Micros::new(-1).unwrap()));
        assert_eq!(cash.adjustment_id.as_str(), "x");
        assert_ne!(
            decode(position).unwrap().adjustment_id,
            decode(position).unwrap().adjustment_id
        );
        for (fields, field) in [
            ("", "venue"),
            (r#","cash":0"#, "cash"),
            (r#","cash":0.0000001"#, "cash"),
            (r#","cash":9007199254.740992"#, "cash"),
            (r#","cash":1,"price":1"#, "price"),
            (r#","cash":1,"adjustment_id":"a b""#, "adjustment_id"),
            (r#","venue":"v","symbol":"s","quantity":1"#, "price"),
            (r#","venue":"v","symbol":"s","quantity":0,"price":1"#, "quantity"),
            (
                r#","venue":"v","symbol":"s","quantity":100000000000,"price":1"#,
                "quantity",
            ),
            (r#","venue":"v","symbol":"s","quantity":1,"price":-1"#, "price"),
            (r#","cash":1,"colour":1"#, "colour"),
        ] {
            let fault = decode(fields).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{fields}");
            assert!(
                [FaultCode::InvalidField, FaultCode::UnknownField].contains(&fault.code),
                "{fields}"
            );
        }
        for missing in ["account_id", "actor", "reason"] {
            let body = [("account_id", "a"), ("actor", "m"), ("reason", "r")]
                .iter()
                .filter(|(name, _)| *name != missing)
                .map(|(name, text)| format!("{name:?}:{text:?},"))
                .collect::<String>();
            let fault = decode_adjustment(format!(r#"{{{body}"cash":1}}"#).as_bytes()).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(missing));
        }
    }
}
