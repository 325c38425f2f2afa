//! Adjustments (FIX 35=AL): the request, and the event that is both the journal's record and the reply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::adjustment::{Adjustment, AdjustmentEffect};
use crate::domain::content_hash::ContentHash;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId, VenueId};
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::settlement::SumDeltas;
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::wire::field_checks::{
    MAX_OPERATOR_TEXT_CHARACTERS, parse_cash, parse_currency, parse_operator_text, parse_quantity_change,
};
use crate::wire::schema_numbers::{MoneyInput, NumberInput, PlainNumber, PriceInput, SignedQuantityInput};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::settlement::{InvalidSettledQuantity, SettlementDeltas};
use crate::wire::strict_object::StrictObject;

/// The most fills whose fees one adjustment prices.
pub const MAX_FEE_FILLS: u32 = 10_000;

/// An adjustment of an account that no order made: of a position (`venue`, `symbol`, `quantity`, `price`), of `cash`, or the
/// price of a fee that had none when its fill was booked (`venue`, `symbol`, `fee`, `fee_currency`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AdjustmentRequest {
    /// The idempotency key, 1-64 printable ASCII characters without a space: an adjustment is booked once per id. Assigned
    /// if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ADJUSTMENT_ID))]
    pub adjustment_id: Option<String>,
    /// The account to adjust, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::ACCOUNT))]
    pub account_id: Option<String>,
    /// The venue of the position to adjust, or of the fills whose fee is priced, 1-64 characters of `[A-Za-z0-9_.-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::VENUE))]
    pub venue: Option<String>,
    /// The symbol of the position to adjust, or of the fills whose fee is priced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::SYMBOL))]
    pub symbol: Option<String>,
    /// The quantity to add to the position (below zero: to take away), in units of the instrument: within ±10^11,
    /// not zero, at most 8 decimals. It need be no multiple of the lot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SignedQuantityInput>")]
    pub quantity: Option<NumberInput>,
    /// The price to value the quantity at, in the quote currency: above zero, below 10^9, at most 8 decimals. With a fee: the
    /// value of one unit of its currency, in the base currency; it may be absent if `risk.rates` has a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub price: Option<NumberInput>,
    /// The deposit (below zero: withdrawal), in the base currency: within ±9007199254.740991, not zero, at most 6 decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub cash: Option<NumberInput>,
    /// The fee to price (below zero: a rebate), in `fee_currency`: within ±10^11, not zero, at most 8 decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SignedQuantityInput>")]
    pub fee: Option<NumberInput>,
    /// The currency of the fee, 1-32 characters of `[A-Za-z0-9._-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CURRENCY))]
    pub fee_currency: Option<String>,
    /// How many fills the fee is of, 1-10000. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_FEE_FILLS))]
    pub fee_fills: Option<u32>,
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
    /// The fee that was priced, or that has no price yet. Absent for a position or cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<FeeAdjustment>,
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

/// A fee that had no price when its fills were booked, and the price it is counted at; or a fee without a price of a fill
/// that no order here made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeeAdjustment {
    /// The venue of the instrument that was traded.
    pub venue: String,
    /// The instrument's normalised symbol.
    pub symbol: String,
    /// The fee (below zero: a rebate), in `currency`.
    #[schemars(with = "PlainNumber")]
    pub amount: Decimal,
    /// The currency of the fee.
    pub currency: String,
    /// The value of one unit of that currency, in the base currency. Absent where it has no rate: the account opens nothing
    /// until another adjustment prices the fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PlainNumber>")]
    pub price: Option<Decimal>,
    /// How many fills the fee is of.
    pub fills: u32,
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

/// What an adjustment changed, with the terms it was valued with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuedEffect {
    /// A position.
    Position(PositionAdjustment),
    /// Cash, in the base currency.
    Cash(Decimal),
    /// A fee.
    Fee(FeeAdjustment),
}

impl AdjustmentEvent {
    /// Returns the event of an adjustment.
    pub fn of(adjustment: &Adjustment, effect: ValuedEffect, deltas: SumDeltas, context: BookingContext) -> Self {
        let (mut position, mut cash, mut fee) = (None, None, None);
        match effect {
            ValuedEffect::Position(valued) => position = Some(valued),
            ValuedEffect::Cash(amount) => cash = Some(amount),
            ValuedEffect::Fee(valued) => fee = Some(valued),
        }
        Self {
            adjustment_id: adjustment.adjustment_id.to_string(),
            account_id: adjustment.account_id.to_string(),
            mode: context.mode,
            trading_date: context.trading_date,
            position,
            cash,
            fee,
            deltas: deltas.into(),
            actor: adjustment.actor.clone(),
            reason: adjustment.reason.clone(),
            content: adjustment.content_hash().0.to_string(),
            epoch: context.epoch,
            timestamp: Timestamp::now(),
        }
    }

    /// Returns the venue and symbol of the instrument whose sums the adjustment moves; `None` for cash.
    fn instrument(&self) -> Option<(&str, &str)> {
        let of_position = self.position.as_ref().map(|one| (&*one.venue, &*one.symbol));
        of_position.or_else(|| self.fee.as_ref().map(|one| (&*one.venue, &*one.symbol)))
    }
}

/// Decodes an event of the journal.
///
/// # Errors
/// When the body is not an adjustment event, or an id in it is invalid.
pub fn decode_adjustment_event(body: &[u8]) -> Result<DecodedAdjustment, AdjustmentEventError> {
    let invalid = |error: &dyn std::fmt::Display| AdjustmentEventError(error.to_string());
    let event: AdjustmentEvent = serde_json::from_slice(body).map_err(|error| invalid(&error))?;
    let instrument = event.instrument().map(|(venue, symbol)| {
        let venue = VenueId::new(venue).map_err(|error| invalid(&error))?;
        let symbol = Symbol::parse(symbol).map_err(|error| invalid(&error))?;
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
/// `malformed`, `invalid_field` or `unknown_field`; also when the request has no whole effect, or more than one.
pub fn decode_adjustment(body: &[u8]) -> Result<Adjustment, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let adjustment_id = object.optional_text("adjustment_id", AdjustmentId::new)?;
    let account_id = object.required_text("account_id", AccountId::new)?;
    let actor = object.required_text("actor", parse_operator_text)?;
    let reason = object.required_text("reason", parse_operator_text)?;
    let fields = EffectFields {
        cash: object.optional_amount("cash", parse_cash)?,
        venue: object.optional_text("venue", VenueId::new)?,
        symbol: object.optional_text("symbol", Symbol::parse)?,
        quantity: object.optional_amount("quantity", parse_quantity_change)?,
        price: object.optional_amount("price", Price::new)?,
        fee: object.optional_amount("fee", parse_quantity_change)?,
        fee_currency: object.optional_text("fee_currency", parse_currency)?,
        fee_fills: object.optional("fee_fills", "must be a whole number from 1 to 10000")?,
    };
    let effect = fields.into_effect(&object)?;
    object.reject_unknown()?;
    Ok(Adjustment {
        adjustment_id: adjustment_id.unwrap_or_else(AdjustmentId::generate),
        account_id,
        effect,
        actor,
        reason,
    })
}

/// The fields of a request that say what it changes.
struct EffectFields {
    cash: Option<Micros>,
    venue: Option<VenueId>,
    symbol: Option<Symbol>,
    quantity: Option<Decimal>,
    price: Option<Price>,
    fee: Option<Decimal>,
    fee_currency: Option<String>,
    fee_fills: Option<u32>,
}

impl EffectFields {
    /// Returns the effect that the fields describe.
    ///
    /// # Errors
    /// `invalid_field`, which names the field that is missing or does not belong to the effect.
    fn into_effect(self, object: &StrictObject<'_>) -> Result<AdjustmentEffect, Fault> {
        let required = |name: &str, effect: &str| object.invalid_field(name, format!("is required {effect}"));
        let reject = |fields: &[(&str, bool)], effect: &str| {
            let found = fields.iter().find(|(_, is_present)| *is_present);
            found.map_or(Ok(()), |(name, _)| {
                let rule = format!("and {effect} are both given: send two adjustments");
                Err(object.invalid_field(name, rule))
            })
        };
        let of_fee = [
            ("fee_currency", self.fee_currency.is_some()),
            ("fee_fills", self.fee_fills.is_some()),
        ];
        if let Some(cash) = self.cash {
            let of_position = [
                ("venue", self.venue.is_some()),
                ("symbol", self.symbol.is_some()),
                ("quantity", self.quantity.is_some()),
                ("price", self.price.is_some()),
                ("fee", self.fee.is_some()),
            ];
            reject(&of_position, "cash")?;
            reject(&of_fee, "cash")?;
            return Ok(AdjustmentEffect::Cash(cash));
        }
        if let Some(amount) = self.fee {
            reject(&[("quantity", self.quantity.is_some())], "fee")?;
            let fills = self.fee_fills.unwrap_or(1);
            if !(1..=MAX_FEE_FILLS).contains(&fills) {
                return Err(object.invalid_field("fee_fills", "must be a whole number from 1 to 10000"));
            }
            return Ok(AdjustmentEffect::Fee {
                venue: self.venue.ok_or_else(|| required("venue", "with fee"))?,
                symbol: self.symbol.ok_or_else(|| required("symbol", "with fee"))?,
                amount,
                currency: self.fee_currency.ok_or_else(|| required("fee_currency", "with fee"))?,
                price: self.price,
                fills,
            });
        }
        let unless = "unless cash or fee is given";
        let effect = AdjustmentEffect::Position {
            venue: self.venue.ok_or_else(|| required("venue", unless))?,
            symbol: self.symbol.ok_or_else(|| required("symbol", unless))?,
            quantity: self.quantity.ok_or_else(|| required("quantity", unless))?,
            price: self.price.ok_or_else(|| required("price", "unless cash is given"))?,
        };
        reject(&of_fee, "quantity")?;
        Ok(effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let fee = decode(r#","venue":"v","symbol":"btc/usdt","fee":"0.50","fee_currency":"BNB""#).unwrap();
        let expected = AdjustmentEffect::Fee {
            venue: VenueId::new("v").unwrap(),
            symbol: Symbol::parse("BTCUSDT").unwrap(),
            amount: "0.5".parse().unwrap(),
            currency: "BNB".to_owned(),
            price: None,
            fills: 1,
        };
        assert_eq!(fee.effect, expected);
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
            (r#","cash":1,"fee":1"#, "fee"),
            (r#","cash":1,"fee_fills":1"#, "fee_fills"),
            (r#","fee":1"#, "venue"),
            (r#","venue":"v","symbol":"s","fee":1"#, "fee_currency"),
            (r#","venue":"v","symbol":"s","fee":0,"fee_currency":"BNB""#, "fee"),
            (
                r#","venue":"v","symbol":"s","fee":1,"fee_currency":"B B""#,
                "fee_currency",
            ),
            (
                r#","venue":"v","symbol":"s","fee":1,"fee_currency":"BNB","price":0"#,
                "price",
            ),
            (
                r#","venue":"v","symbol":"s","fee":1,"fee_currency":"BNB","quantity":1"#,
                "quantity",
            ),
            (
                r#","venue":"v","symbol":"s","fee":1,"fee_currency":"BNB","fee_fills":0"#,
                "fee_fills",
            ),
            (
                r#","venue":"v","symbol":"s","fee":1,"fee_currency":"BNB","fee_fills":10001"#,
                "fee_fills",
            ),
            (
                r#","venue":"v","symbol":"s","fee":1,"fee_currency":"BNB","fee_fills":1.5"#,
                "fee_fills",
            ),
            (
                r#","venue":"v","symbol":"s","quantity":1,"price":1,"fee_currency":"BNB""#,
                "fee_currency",
            ),
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
