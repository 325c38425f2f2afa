//! The booking of an adjustment, built from a request or decoded from its event.

use crate::domain::adjustment::{Adjustment, AdjustmentEffect};
use crate::domain::adjustment_deltas::{fee_adjustment_deltas, position_adjustment_deltas, unpriced_fee_deltas};
use crate::domain::decimal::Decimal;
use crate::domain::id::VenueId;
use crate::domain::instrument::Instrument;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::settlement::SumDeltas;
use crate::domain::symbol::Symbol;
use crate::domain::time::TradingDate;
use crate::fault::{Fault, FaultCode};
use crate::store::sums::adjustment::AdjustmentBooking;
use crate::wire::adjustment::{
    AdjustmentEvent, AdjustmentEventError, BookingContext, FeeAdjustment, PositionAdjustment, ValuedEffect,
    decode_adjustment_event,
};
use crate::worker::control::limits::EnforcedLimits;
use crate::worker::reply::encode_json;
use crate::worker::router::Router;

/// Returns the booking of an adjustment in a mode and on a trading day.
///
/// # Errors
/// An instrument that the venue does not trade, a fee without a price, or an amount that the sums cannot hold exactly.
pub(in crate::worker) fn build_booking(
    router: &Router,
    adjustment: &Adjustment,
    mode: Mode,
    trading_date: Option<TradingDate>,
) -> Result<AdjustmentBooking, Fault> {
    let epoch = router.store.epoch();
    let epoch = epoch.ok_or_else(|| Fault::new(FaultCode::StoreUnavailable, "the shared state is being rebuilt"))?;
    let context = BookingContext {
        mode,
        trading_date,
        epoch,
    };
    let valued = value_effect(router, &adjustment.effect)?;
    let (instrument, deltas) = (valued.instrument, valued.deltas);
    let event = AdjustmentEvent::of(adjustment, valued.effect, deltas, context);
    let (created_at, event_document) = (event.timestamp, encode_json(&event)?);
    Ok(AdjustmentBooking {
        adjustment_id: adjustment.adjustment_id.clone(),
        content_hash: adjustment.content_hash(),
        event_document: event_document.into(),
        mode,
        trading_date,
        account_id: adjustment.account_id.clone(),
        instrument,
        deltas,
        created_at,
    })
}

/// An effect with its terms, the instrument whose sums it moves, and how far.
struct Valued {
    effect: ValuedEffect,
    instrument: Option<(VenueId, Symbol)>,
    deltas: SumDeltas,
}

/// Returns what an effect moves.
///
/// # Errors
/// An instrument that the venue does not trade, a fee without a price, or an amount that the sums cannot hold exactly.
fn value_effect(router: &Router, effect: &AdjustmentEffect) -> Result<Valued, Fault> {
    let limits = router.limits();
    match effect {
        AdjustmentEffect::Cash(amount) => Ok(Valued {
            effect: ValuedEffect::Cash(amount.decimal()),
            instrument: None,
            deltas: SumDeltas {
                cash_flow: amount.units(),
                ..SumDeltas::default()
            },
        }),
        AdjustmentEffect::Position {
            venue,
            symbol,
            quantity,
            price,
        } => {
            let instrument = find_instrument(&limits, venue, symbol)?;
            let deltas = position_adjustment_deltas(instrument, *quantity, *price);
            Ok(Valued {
                effect: ValuedEffect::Position(PositionAdjustment {
                    venue: venue.to_string(),
                    symbol: symbol.to_string(),
                    quantity: *quantity,
                    price: price.decimal(),
                    lot_size: instrument.lot_size.decimal(),
                    base_rate: instrument.base_rate,
                }),
                instrument: Some((venue.clone(), symbol.clone())),
                deltas: deltas.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "quantity", rule))?,
            })
        }
        AdjustmentEffect::Fee {
            venue,
            symbol,
            amount,
            currency,
            price,
            fills,
        } => {
            find_instrument(&limits, venue, symbol)?;
            let price = price.or_else(|| Price::new(limits.rates.get(currency)?).ok());
            let price = price.ok_or_else(|| {
                let rule = format!("is required: {currency} has no rate in risk.rates; nothing was booked");
                Fault::for_field(FaultCode::InvalidField, "price", rule)
            })?;
            let deltas = fee_adjustment_deltas(*amount, price, *fills);
            Ok(Valued {
                effect: ValuedEffect::Fee(FeeAdjustment {
                    venue: venue.to_string(),
                    symbol: symbol.to_string(),
                    amount: *amount,
                    currency: currency.clone(),
                    price: Some(price.decimal()),
                    fills: *fills,
                }),
                instrument: Some((venue.clone(), symbol.clone())),
                deltas: deltas.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "fee", rule))?,
            })
        }
        AdjustmentEffect::UnpricedFee {
            venue,
            symbol,
            amount,
            currency,
        } => {
            find_instrument(&limits, venue, symbol)?;
            Ok(value_unpriced_fee((venue, symbol), *amount, currency))
        }
    }
}

fn value_unpriced_fee((venue, symbol): (&VenueId, &Symbol), amount: Decimal, currency: &str) -> Valued {
    Valued {
        effect: ValuedEffect::Fee(FeeAdjustment {
            venue: venue.to_string(),
            symbol: symbol.to_string(),
            amount,
            currency: currency.to_owned(),
            price: None,
            fills: 1,
        }),
        instrument: Some((venue.clone(), symbol.clone())),
        deltas: unpriced_fee_deltas(),
    }
}

fn find_instrument<'a>(limits: &'a EnforcedLimits, venue: &VenueId, symbol: &Symbol) -> Result<&'a Instrument, Fault> {
    limits.instruments.get(venue, symbol).ok_or_else(|| {
        let rule = format!("is {symbol}, which {venue} does not trade");
        Fault::for_field(FaultCode::UnsupportedPair, "symbol", rule)
    })
}

/// Returns the booking of an event, and the epoch in which it was booked.
///
/// # Errors
/// If the event cannot be decoded.
pub(in crate::worker) fn booking_from_event(
    event: &bytes::Bytes,
) -> Result<(AdjustmentBooking, i64), AdjustmentEventError> {
    let decoded = decode_adjustment_event(event)?;
    let booking = AdjustmentBooking {
        adjustment_id: decoded.adjustment_id,
        content_hash: decoded.content,
        event_document: event.clone(),
        mode: decoded.context.mode,
        trading_date: decoded.context.trading_date,
        account_id: decoded.account_id,
        instrument: decoded.instrument,
        deltas: decoded.deltas,
        created_at: decoded.made_at,
    };
    Ok((booking, decoded.context.epoch))
}
