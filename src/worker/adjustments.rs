//! Adjustments: booked in the shared state once, brought to the journal, and told only then. What a worker that died left
//! waiting is brought there by any other.

use std::time::Duration;

use crate::bus::journal::{JournalEntry, StoredEntry};
use crate::bus::request::{BusReply, BusRequest};
use crate::bus::subjects;
use crate::domain::adjustment::{Adjustment, AdjustmentEffect, position_adjustment_deltas};
use crate::domain::control::ControlState;
use crate::domain::id::{AdjustmentId, ContentHash};
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::StoreError;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::sums::adjustment::{
    AdjustmentBooking, BookAdjustmentOutcome, KnownAdjustment, MarkAdjustmentOutcome,
};
use crate::wire::adjustment::{
    AdjustmentEvent, AdjustmentEventError, BookingContext, decode_adjustment, decode_adjustment_event,
};
use crate::worker::background::recovery::OUTBOX_GRACE_PERIOD;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::admission;
use crate::worker::submission::claim::store_unavailable;

/// How often a booking is tried whose answer was lost, or that met another mode or day.
const MAX_BOOKING_ATTEMPTS: usize = 8;
/// The pause between two tries.
const BOOKING_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Books an adjustment and answers with its event, which is on the journal then.
///
/// # Errors
/// A request that is not whole, an id that was used with other content, or what keeps it from being booked or journaled.
/// Asked again under the same id it is booked at most once.
pub async fn submit_adjustment(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let adjustment = decode_adjustment(&call.body)?;
    let deadline = call
        .deadline
        .unwrap_or_else(|| call.received_at.saturating_add(router.default_deadlines.request));
    let answer = book_and_journal(router, &adjustment, deadline).await;
    answer.map_err(|fault| with_adjustment_id(fault, &adjustment.adjustment_id))
}

/// Names the adjustment in a fault: an id that was assigned here has to be known for the next try.
fn with_adjustment_id(mut fault: Fault, adjustment_id: &AdjustmentId) -> Fault {
    fault.metadata = fault.metadata.with("adjustment_id", adjustment_id.as_str());
    fault
}

async fn book_and_journal(router: &Router, adjustment: &Adjustment, deadline: Timestamp) -> Result<BusReply, Fault> {
    let known = router.store.read_adjustment(&adjustment.adjustment_id).await;
    if let Some(known) = known.map_err(|error| store_unavailable(&error))? {
        return replay_reply(router, adjustment, known).await;
    }
    if !router.journal_capacity.has_room() {
        let detail = "the journal is nearly full or out of reach and takes no adjustment; nothing was booked";
        return Err(Fault::new(FaultCode::PersistenceFailed, detail));
    }
    match book_adjustment(router, adjustment, deadline).await? {
        AdjustmentOutcome::Known(known) => replay_reply(router, adjustment, known).await,
        AdjustmentOutcome::Booked(booking) => {
            stop_point::reach("after_adjust");
            let sequence = append_and_mark(router, &booking).await?;
            tracing::warn!(
                adjustment_id = %adjustment.adjustment_id,
                account_id = %adjustment.account_id,
                actor = adjustment.actor,
                reason = adjustment.reason,
                event = %String::from_utf8_lossy(&booking.event_document),
                "an adjustment was booked"
            );
            Ok(adjustment_reply(booking.event_document.to_vec(), sequence, false))
        }
    }
}

/// What became of a booking that was not refused.
enum AdjustmentOutcome {
    Booked(AdjustmentBooking),
    Known(KnownAdjustment),
}

/// Books an adjustment in the mode and on the day in force.
async fn book_adjustment(
    router: &Router,
    adjustment: &Adjustment,
    deadline: Timestamp,
) -> Result<AdjustmentOutcome, Fault> {
    let mut may_be_booked = false;
    for attempt in 0..MAX_BOOKING_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(BOOKING_RETRY_DELAY).await;
        }
        let control = router
            .control
            .refresh()
            .await
            .map_err(|error| store_unavailable(&error))?;
        let booking = build_booking(router, adjustment, &control)?;
        match router.store.book_adjustment(&booking, deadline).await {
            Ok(BookAdjustmentOutcome::Booked) => return Ok(AdjustmentOutcome::Booked(booking)),
            // The answer to an earlier try of ours may have been lost: then this is our own.
            Ok(BookAdjustmentOutcome::AlreadyKnown(known)) => return Ok(AdjustmentOutcome::Known(known)),
            Ok(BookAdjustmentOutcome::ModeOrDateChanged) => {}
            Ok(BookAdjustmentOutcome::DeadlinePassed) => return Err(admission::expired_fault(deadline)),
            Ok(BookAdjustmentOutcome::StoreFull) => {
                let detail =
                    "too many adjustments wait for the journal, or the shared state is full; nothing was booked";
                return Err(Fault::new(FaultCode::QueueFull, detail));
            }
            Ok(BookAdjustmentOutcome::SumOutOfRange) => return Err(inexact_sum_fault(adjustment)),
            Err(error) if error.may_have_executed() => may_be_booked = true,
            Err(error) => return Err(store_unavailable(&error)),
        }
    }
    let detail = if may_be_booked {
        "the shared state does not answer: whether the adjustment is booked is not known; send it again under the same id"
    } else {
        "mode and trading day change faster than the adjustment can be booked; send it again"
    };
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

fn inexact_sum_fault(adjustment: &Adjustment) -> Fault {
    let field = match adjustment.effect {
        AdjustmentEffect::Position { .. } => "quantity",
        AdjustmentEffect::Cash(_) => "cash",
    };
    let rule =
        "would move a sum beyond what is counted exactly (9007199254740991 lots or millionths); nothing was booked";
    Fault::for_field(FaultCode::InvalidField, field, rule)
}

/// Values an adjustment under the control in force.
fn build_booking(router: &Router, adjustment: &Adjustment, control: &ControlState) -> Result<AdjustmentBooking, Fault> {
    let epoch = router.store.epoch();
    let epoch = epoch.ok_or_else(|| Fault::new(FaultCode::StoreUnavailable, "the shared state is being rebuilt"))?;
    let circumstances = BookingContext {
        mode: control.mode,
        trading_date: control.trading_date,
        epoch,
    };
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
            let instrument = router.instruments.get(venue, symbol).ok_or_else(|| {
                let rule = format!("is {symbol}, which {venue} does not trade");
                Fault::for_field(FaultCode::UnsupportedPair, "symbol", rule)
            })?;
            let deltas = position_adjustment_deltas(instrument, *quantity, *price);
            let deltas = deltas.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "quantity", rule))?;
            (Some(instrument), deltas)
        }
    };
    let event = AdjustmentEvent::of(adjustment, instrument, deltas, circumstances);
    let made_at = event.timestamp;
    let event =
        serde_json::to_vec(&event).map_err(|error| Fault::new(FaultCode::PersistenceFailed, error.to_string()))?;
    Ok(AdjustmentBooking {
        adjustment_id: adjustment.adjustment_id.clone(),
        content_hash: adjustment.content_hash(),
        event_document: event.into(),
        mode: control.mode,
        trading_date: control.trading_date,
        account_id: adjustment.account_id.clone(),
        instrument: instrument.map(|one| (one.venue.clone(), one.symbol.clone())),
        deltas,
        created_at: made_at,
    })
}

/// Answers an id that was booked before: with the same content by its event, which is journaled first where it is not.
async fn replay_reply(router: &Router, adjustment: &Adjustment, known: KnownAdjustment) -> Result<BusReply, Fault> {
    if known.content_hash != adjustment.content_hash() {
        let detail = format!(
            "the adjustment id {} was used with other content; nothing was booked",
            adjustment.adjustment_id
        );
        return Err(Fault::new(FaultCode::ClientOrderIdConflict, detail));
    }
    let sequence = match known.journal_sequence {
        Some(sequence) => sequence,
        None => {
            append_and_mark(
                router,
                &booking_from_event(&known.event_document)
                    .map_err(|error| unreadable_event_fault(&error))?
                    .0,
            )
            .await?
        }
    };
    Ok(adjustment_reply(known.event_document.to_vec(), sequence, true))
}

fn adjustment_reply(body: Vec<u8>, sequence: u64, replayed: bool) -> BusReply {
    BusReply {
        body,
        journal_sequence: Some(sequence),
        is_replay: replayed,
    }
}

fn unreadable_event_fault(error: &AdjustmentEventError) -> Fault {
    Fault::new(FaultCode::StoreUnavailable, error.to_string())
}

/// Brings a booked adjustment to the journal, and ends its waiting there. Returns its sequence.
async fn append_and_mark(router: &Router, booking: &AdjustmentBooking) -> Result<u64, Fault> {
    let entry = JournalEntry {
        subject: subjects::adjustment(&booking.account_id),
        // Another event of the same id must not pass for a repetition of this one.
        message_id: format!("adjustment:{}", ContentHash::of(&booking.event_document).0),
        body: booking.event_document.clone(),
        headers: Vec::new(),
    };
    let sequence = router.journal_writer.append(entry).await.map_err(|error| {
        let detail =
            format!("the adjustment is booked and not on the journal yet ({error}); ask again under the same id");
        Fault::new(FaultCode::BusUnavailable, detail)
    })?;
    stop_point::reach("after_adjust_journal");
    let marked = router
        .store
        .mark_adjustment_journaled(&booking.adjustment_id, &booking.event_document, sequence)
        .await;
    let counts = match marked {
        Ok(MarkAdjustmentOutcome::Marked) => true,
        Ok(MarkAdjustmentOutcome::IdTaken) => false,
        // The store was rebuilt, or lost its last writes, after the booking: the journal's event is applied to it.
        Ok(MarkAdjustmentOutcome::NeedsReplay) => {
            router
                .store
                .replay_adjustment(None, booking, sequence)
                .await
                .map_err(|error| store_unavailable(&error))?
                || is_booked(router, booking).await?
        }
        Err(error) => {
            let detail = format!("the adjustment is on the journal and counts once the shared state answers: {error}");
            return Err(Fault::new(FaultCode::StoreUnavailable, detail));
        }
    };
    stop_point::reach("after_adjust_mark");
    if counts {
        return Ok(sequence);
    }
    let detail = "another adjustment has taken the id while the shared state was rebuilt; ask again under the same id";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

/// Whether the store knows an adjustment by this very event.
async fn is_booked(router: &Router, booking: &AdjustmentBooking) -> Result<bool, Fault> {
    let known = router.store.read_adjustment(&booking.adjustment_id).await;
    let known = known.map_err(|error| store_unavailable(&error))?;
    Ok(known.is_some_and(|known| known.event_document == booking.event_document))
}

/// Brings adjustments to the journal that somebody else booked and did not bring there.
pub(in crate::worker) async fn append_waiting_adjustments(router: &Router) {
    let Ok(waiting) = router.store.list_unjournaled_adjustments(OUTBOX_GRACE_PERIOD).await else {
        return;
    };
    for adjustment_id in waiting {
        let Ok(Some(known)) = router.store.read_adjustment(&adjustment_id).await else {
            continue;
        };
        let brought = match booking_from_event(&known.event_document) {
            Ok((booking, _)) => append_and_mark(router, &booking).await,
            Err(error) => Err(unreadable_event_fault(&error)),
        };
        match brought {
            Ok(_) => tracing::warn!(%adjustment_id, "brought a waiting adjustment to the journal"),
            Err(fault) => tracing::warn!(%adjustment_id, %fault, "an adjustment waits for the journal"),
        }
    }
}

/// Applies an adjustment of the journal to a store that is being healed, or with `None` a late one to a store in use.
/// Returns the epoch it was booked in, and whether it changed the sums.
///
/// # Errors
/// When the event cannot be read, or the store does not answer.
pub(in crate::worker) async fn replay_adjustment(
    router: &Router,
    rebuild: Option<&StoreRebuild>,
    entry: &StoredEntry,
) -> Result<(i64, bool), AdjustmentReplayError> {
    let (booking, epoch) = booking_from_event(&entry.body)?;
    let changed = router
        .store
        .replay_adjustment(rebuild, &booking, entry.sequence)
        .await?;
    Ok((epoch, changed))
}

/// Why an adjustment of the journal could not be applied.
#[derive(Debug, thiserror::Error)]
pub(in crate::worker) enum AdjustmentReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Event(#[from] AdjustmentEventError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads an event back into what was booked, and the epoch it was booked in.
fn booking_from_event(event: &bytes::Bytes) -> Result<(AdjustmentBooking, i64), AdjustmentEventError> {
    let read = decode_adjustment_event(event)?;
    let booking = AdjustmentBooking {
        adjustment_id: read.adjustment_id,
        content_hash: read.content,
        event_document: event.clone(),
        mode: read.context.mode,
        trading_date: read.context.trading_date,
        account_id: read.account_id,
        instrument: read.instrument,
        deltas: read.deltas,
        created_at: read.made_at,
    };
    Ok((booking, read.context.epoch))
}
