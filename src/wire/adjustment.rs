//! Adjustments on the bus: the request, and the event that is both the journal's record and the answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::adjustment::{Adjustment, AdjustmentEffect};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId, ContentHash, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::intent::Symbol;
use crate::domain::money::{MICROS_SCALE, Micros, Rounding};
use crate::domain::order_terms::Mode;
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price, QUANTITY_BOUND};
use crate::domain::settlement::SumDeltas;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::wire::schema_numbers::{MoneyInput, NumberInput, PlainNumber, PriceInput, SignedQuantityInput};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::settlement::SettlementDeltas;
use crate::wire::state::{MAX_OPERATOR_TEXT_CHARACTERS, parse_operator_text};
use crate::wire::strict_object::StrictObject;

/// An adjustment of an account: either a position (`venue`, `symbol`, `quantity`, `price`) or `cash`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AdjustmentRequest {
    /// What it is booked once by, whatever is sent again; assigned where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ADJUSTMENT_ID))]
    pub adjustment_id: Option<String>,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::TOKEN))]
    pub account_id: Option<String>,
    /// The venue of the position that is adjusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::VENUE))]
    pub venue: Option<String>,
    /// The symbol of the position that is adjusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::SYMBOL))]
    pub symbol: Option<String>,
    /// How much the position grows by, a whole number of lots; below zero, how much it shrinks by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SignedQuantityInput>")]
    pub quantity: Option<NumberInput>,
    /// What the position is valued at, in the quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub price: Option<NumberInput>,
    /// A deposit, or below zero a withdrawal, in the base currency; at most 6 decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub cash: Option<NumberInput>,
    /// Who makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub reason: Option<String>,
}

/// An adjustment that is booked: the journal's record of it (`orders.events.adjustment.{account}`), and the answer to
/// who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdjustmentEvent {
    /// What it is booked once by.
    pub adjustment_id: String,
    /// The account.
    pub account_id: String,
    /// The mode whose sums it moved.
    pub mode: Mode,
    /// The day it was booked on; none before the first day has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CivilDate>")]
    pub trading_date: Option<TradingDate>,
    /// The position it adjusted; none for cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionAdjustment>,
    /// The deposit, or below zero the withdrawal, in the base currency; none for a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PlainNumber>")]
    pub cash: Option<Decimal>,
    /// How far it moved the sums: of the account in the instrument, or for cash its `cash_flow` beside all instruments.
    pub deltas: SettlementDeltas,
    /// Who made it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The hash of the request's content.
    pub content: String,
    /// The store's epoch it was booked in.
    pub epoch: i64,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// A position adjustment with the figures it was valued by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PositionAdjustment {
    /// The instrument's venue.
    pub venue: String,
    /// The instrument's symbol.
    pub symbol: String,
    /// How much was added; below zero, how much was taken away.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// What it was valued at, in the quote currency.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// The lot that the deltas count in.
    #[schemars(with = "PlainNumber")]
    pub lot_size: Decimal,
    /// What a unit of the quote currency was worth in the base currency.
    #[schemars(with = "PlainNumber")]
    pub base_rate: Decimal,
}

/// Under which circumstances an adjustment is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookingContext {
    /// The mode in force.
    pub mode: Mode,
    /// The trading date in force; none before the first day.
    pub trading_date: Option<TradingDate>,
    /// The store's epoch.
    pub epoch: i64,
}

/// An event that does not tell an adjustment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the adjustment event cannot be read: {0}")]
pub struct AdjustmentEventError(String);

/// An event of the journal, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedAdjustment {
    /// What it was booked once by.
    pub adjustment_id: AdjustmentId,
    /// The hash of its content.
    pub content: ContentHash,
    /// The account.
    pub account_id: AccountId,
    /// The instrument; none for cash.
    pub instrument: Option<(VenueId, Symbol)>,
    /// The moves of the sums.
    pub deltas: SumDeltas,
    /// Mode, day and epoch it was booked in.
    pub context: BookingContext,
    /// When it was made.
    pub made_at: Timestamp,
}

impl AdjustmentEvent {
    /// Returns the event of an adjustment. `instrument` is that of a position adjustment.
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

/// Reads an event of the journal.
///
/// # Errors
/// When it does not tell an adjustment.
pub fn decode_adjustment_event(body: &[u8]) -> Result<DecodedAdjustment, AdjustmentEventError> {
    let wrong = |error: &dyn std::fmt::Display| AdjustmentEventError(error.to_string());
    let event: AdjustmentEvent = serde_json::from_slice(body).map_err(|error| wrong(&error))?;
    let instrument = event.position.as_ref().map(|position| {
        let venue = VenueId::new(&position.venue).map_err(|error| wrong(&error))?;
        let symbol = Symbol::parse(&position.symbol).map_err(|error| wrong(&error))?;
        Ok::<_, AdjustmentEventError>((venue, symbol))
    });
    Ok(DecodedAdjustment {
        adjustment_id: AdjustmentId::new(&event.adjustment_id).map_err(|error| wrong(&error))?,
        content: ContentHash(event.content.as_str().into()),
        account_id: AccountId::new(&event.account_id).map_err(|error| wrong(&error))?,
        instrument: instrument.transpose()?,
        deltas: event.deltas.into(),
        context: BookingContext {
            mode: event.mode,
            trading_date: event.trading_date,
            epoch: event.epoch,
        },
        made_at: event.timestamp,
    })
}

/// Reads a request; an id is assigned where it brings none.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when it names neither a whole position nor cash, or both.
pub fn decode_adjustment(body: &[u8]) -> Result<Adjustment, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let adjustment_id = object.optional_text("adjustment_id", AdjustmentId::new)?;
    let account_id = object.required_text("account_id", AccountId::new)?;
    let actor = object.required_text("actor", parse_operator_text)?;
    let reason = object.required_text("reason", parse_operator_text)?;
    let cash = object.optional_amount("cash", parse_cash)?;
    let venue = object.optional_text("venue", VenueId::new)?;
    let symbol = object.optional_text("symbol", Symbol::parse)?;
    let quantity = object.optional_amount("quantity", parse_signed_quantity)?;
    let price = object.optional_amount("price", Price::new)?;
    let effect = match cash {
        Some(cash) => {
            let of_position = [
                ("venue", venue.is_some()),
                ("symbol", symbol.is_some()),
                ("quantity", quantity.is_some()),
                ("price", price.is_some()),
            ];
            if let Some((name, _)) = of_position.iter().find(|(_, is_there)| *is_there) {
                return Err(object.invalid_field(name, "must not stand beside cash: make two adjustments"));
            }
            AdjustmentEffect::Cash(cash)
        }
        None => {
            let missing = |name: &str| object.invalid_field(name, "is required, or else cash");
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

fn parse_cash(number: Decimal) -> Result<Micros, &'static str> {
    Micros::from_decimal(number, Rounding::Down)
        .filter(|_| number.scale() <= MICROS_SCALE && !number.is_zero())
        .ok_or("must not be zero, lie within ±9007199254.740991, and have at most 6 decimals")
}

fn parse_signed_quantity(number: Decimal) -> Result<Decimal, &'static str> {
    let is_held =
        !number.is_zero() && number.abs() < Decimal::from(QUANTITY_BOUND) && number.scale() <= MAX_AMOUNT_DECIMALS;
    is_held
        .then_some(number)
        .ok_or("must not be zero, lie within ±10^11, and have at most 8 decimals")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    #[test]
    fn a_request_names_a_position_or_cash() {
        let read = |fields: &str| {
            decode_adjustment(format!(r#"{{"account_id":"a","actor":"m","reason":"r"{fields}}}"#).as_bytes())
        };
        let position = r#","venue":"v","symbol":"btc/usdt","quantity":"-1.50","price":30000"#;
        let AdjustmentEffect::Position { symbol, quantity, .. } = read(position).unwrap().effect else {
            panic!("a position")
        };
        assert_eq!((symbol.as_str(), quantity.to_string().as_str()), ("BTCUSDT", "-1.5"));
        let cash = read(r#","cash":-0.000001,"adjustment_id":"x""#).unwrap();
        assert_eq!(cash.effect, AdjustmentEffect::Cash(Micros::new(-1).unwrap()));
        assert_eq!(cash.adjustment_id.as_str(), "x");
        assert_ne!(
            read(position).unwrap().adjustment_id,
            read(position).unwrap().adjustment_id
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
            let fault = read(fields).unwrap_err();
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
