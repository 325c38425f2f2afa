//! The booking of an adjustment, built from a request or decoded from its event.

use crate::domain::adjustment::{Adjustment, AdjustmentEffect, position_adjustment_deltas};
use crate::domain::control::ControlState;
use crate::domain::settlement::SumDeltas;
use crate::fault::{Fault, FaultCode};
use crate::store::sums::adjustment::AdjustmentBooking;
use crate::wire::adjustment::{AdjustmentEvent, AdjustmentEventError, BookingContext, decode_adjustment_event};
use crate::worker::reply::encode_json;
use crate::worker::router::Router;

/// Returns the booking of an adjustment in the active mode and on the active trading day.
///
/// # Errors
/// An instrument that the venue does not trade, or a quantity that the sums cannot hold exactly.
pub(in crate::worker) fn build_booking(
    router: &Router,
    adjustment: &Adjustment,
    control: &ControlState,
) -> Result<AdjustmentBooking, Fault> {
    let epoch = router.store.epoch();
    let epoch = epoch.ok_or_else(|| Fault::new(FaultCode::StoreUnavailable, "the shared state is being rebuilt"))?;
    let context = BookingContext {
        mode: control.mode,
        trading_date: control.trading_date,
        epoch,
    };
    let limits = router.limits();
    let (instrument, deltas) = match &adjustment.effect {
        AdjustmentEffect::Cash(amount) => {
            let deltas = SumDeltas {
                cash_flow: amount.units(),
                ..SumDeltas::default()
            };
            (None, deltas)
        }
        AdjustmentEffect::Position {
            venue,
            symbol,
            quantity,
            price,
        } => {
            let instrument = limits.instruments.get(venue, symbol).ok_or_else(|| {
                let rule = format!("is {symbol}, which {venue} does not trade");
                Fault::for_field(FaultCode::UnsupportedPair, "symbol", rule)
            })?;
            let deltas = position_adjustment_deltas(instrument, *quantity, *price);
            let deltas = deltas.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "quantity", rule))?;
            (Some(instrument), deltas)
        }
    };
    let event = AdjustmentEvent::of(adjustment, instrument, deltas, context);
    let (created_at, event_document) = (event.timestamp, encode_json(&event)?);
    Ok(AdjustmentBooking {
        adjustment_id: adjustment.adjustment_id.clone(),
        content_hash: adjustment.content_hash(),
        event_document: event_document.into(),
        mode: control.mode,
        trading_date: control.trading_date,
        account_id: adjustment.account_id.clone(),
        instrument: instrument.map(|one| (one.venue.clone(), one.symbol.clone())),
        deltas,
        created_at,
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
