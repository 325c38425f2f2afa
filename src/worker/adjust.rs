//! Adjustments: booked in the shared state once, brought to the journal, and told only then. What a worker that died left
//! waiting is brought there by any other.

use std::time::Duration;

use super::claim::unavailable;
use super::recovery::OUTBOX_PATIENCE;
use super::router::Router;
use super::{admission, stop_point};
use crate::bus::call::{Answer, Call};
use crate::bus::journal::{Entry, Stored};
use crate::bus::subjects;
use crate::domain::adjustment::{Adjustment, Effect, position_deltas};
use crate::domain::control::Control;
use crate::domain::id::{AdjustmentId, ContentHash};
use crate::domain::settlement::Deltas;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::store::StoreError;
use crate::store::adjustment::{Adjusted, Booking, KnownAdjustment, MarkedAdjustment};
use crate::store::epoch::Healing;
use crate::wire::adjustment::{AdjustmentEvent, Circumstances, EventError, decode_adjustment, read_event};

/// How often a booking is tried whose answer was lost, or that met another mode or day.
const MAX_TRIES: usize = 8;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Books an adjustment and answers with its event, which is on the journal then.
///
/// # Errors
/// A request that is not whole, an id that was used with other content, or what keeps it from being booked or journaled.
/// Asked again under the same id it is booked at most once.
pub async fn adjust(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let adjustment = decode_adjustment(&call.body)?;
    let deadline = call
        .deadline
        .unwrap_or_else(|| call.arrived_at.after(router.patience.request));
    let answer = answer(router, &adjustment, deadline).await;
    answer.map_err(|fault| named(fault, &adjustment.adjustment_id))
}

/// Names the adjustment in a fault: an id that was assigned here has to be known for the next try.
fn named(mut fault: Fault, adjustment_id: &AdjustmentId) -> Fault {
    fault.metadata = fault.metadata.with("adjustment_id", adjustment_id.as_str());
    fault
}

async fn answer(router: &Router, adjustment: &Adjustment, deadline: Timestamp) -> Result<Answer, Fault> {
    let known = router.store.adjustment(&adjustment.adjustment_id).await;
    if let Some(known) = known.map_err(|error| unavailable(&error))? {
        return repeated(router, adjustment, known).await;
    }
    if !router.room.is_left() {
        let detail = "the journal is nearly full or out of reach and takes no adjustment; nothing was booked";
        return Err(Fault::new(Code::PersistenceFailed, detail));
    }
    match book(router, adjustment, deadline).await? {
        Outcome::Known(known) => repeated(router, adjustment, known).await,
        Outcome::Booked(booking) => {
            stop_point::reach("after_adjust");
            let sequence = record(router, &booking).await?;
            tracing::warn!(
                adjustment_id = %adjustment.adjustment_id,
                account_id = %adjustment.account_id,
                actor = adjustment.actor,
                reason = adjustment.reason,
                event = %String::from_utf8_lossy(&booking.event),
                "an adjustment was booked"
            );
            Ok(told(booking.event.to_vec(), sequence, false))
        }
    }
}

/// What became of a booking that was not refused.
enum Outcome {
    Booked(Booking),
    Known(KnownAdjustment),
}

/// Books an adjustment in the mode and on the day in force.
async fn book(router: &Router, adjustment: &Adjustment, deadline: Timestamp) -> Result<Outcome, Fault> {
    let mut may_be_booked = false;
    for attempt in 0..MAX_TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let control = router.control.refresh().await.map_err(|error| unavailable(&error))?;
        let booking = booking(router, adjustment, &control)?;
        match router.store.adjust(&booking, deadline).await {
            Ok(Adjusted::Booked) => return Ok(Outcome::Booked(booking)),
            // The answer to an earlier try of ours may have been lost: then this is our own.
            Ok(Adjusted::Known(known)) => return Ok(Outcome::Known(known)),
            Ok(Adjusted::MovedOn) => {}
            Ok(Adjusted::Late) => return Err(admission::expired(deadline)),
            Ok(Adjusted::Full) => {
                let detail =
                    "too many adjustments wait for the journal, or the shared state is full; nothing was booked";
                return Err(Fault::new(Code::QueueFull, detail));
            }
            Ok(Adjusted::Inexact) => return Err(inexact(adjustment)),
            Err(error) if error.may_have_happened() => may_be_booked = true,
            Err(error) => return Err(unavailable(&error)),
        }
    }
    let detail = if may_be_booked {
        "the shared state does not answer: whether the adjustment is booked is not known; send it again under the same id"
    } else {
        "mode and trading day change faster than the adjustment can be booked; send it again"
    };
    Err(Fault::new(Code::StoreUnavailable, detail))
}

fn inexact(adjustment: &Adjustment) -> Fault {
    let field = match adjustment.effect {
        Effect::Position { .. } => "quantity",
        Effect::Cash(_) => "cash",
    };
    let rule =
        "would move a sum beyond what is counted exactly (9007199254740991 lots or millionths); nothing was booked";
    Fault::field(Code::InvalidField, field, rule)
}

/// Values an adjustment under the control in force.
fn booking(router: &Router, adjustment: &Adjustment, control: &Control) -> Result<Booking, Fault> {
    let epoch = router.store.epoch();
    let epoch = epoch.ok_or_else(|| Fault::new(Code::StoreUnavailable, "the shared state is being rebuilt"))?;
    let circumstances = Circumstances {
        mode: control.mode,
        trading_date: control.trading_date,
        epoch,
    };
    let (instrument, deltas) = match &adjustment.effect {
        Effect::Cash(amount) => {
            let deltas = Deltas {
                cash_flow: amount.units(),
                ..Deltas::default()
            };
            (None, deltas)
        }
        Effect::Position {
            venue,
            symbol,
            quantity,
            price,
        } => {
            let instrument = router.instruments.get(venue, symbol).ok_or_else(|| {
                let rule = format!("is {symbol}, which {venue} does not trade");
                Fault::field(Code::UnsupportedPair, "symbol", rule)
            })?;
            let deltas = position_deltas(instrument, *quantity, *price);
            let deltas = deltas.map_err(|rule| Fault::field(Code::InvalidField, "quantity", rule))?;
            (Some(instrument), deltas)
        }
    };
    let event = AdjustmentEvent::of(adjustment, instrument, deltas, circumstances);
    let made_at = event.timestamp;
    let event = serde_json::to_vec(&event).map_err(|error| Fault::new(Code::PersistenceFailed, error.to_string()))?;
    Ok(Booking {
        adjustment_id: adjustment.adjustment_id.clone(),
        content: adjustment.content_hash(),
        event: event.into(),
        mode: control.mode,
        trading_date: control.trading_date,
        account_id: adjustment.account_id.clone(),
        instrument: instrument.map(|one| (one.venue.clone(), one.symbol.clone())),
        deltas,
        made_at,
    })
}

/// Answers an id that was booked before: with the same content by its event, which is journaled first where it is not.
async fn repeated(router: &Router, adjustment: &Adjustment, known: KnownAdjustment) -> Result<Answer, Fault> {
    if known.content != adjustment.content_hash() {
        let detail = format!(
            "the adjustment id {} was used with other content; nothing was booked",
            adjustment.adjustment_id
        );
        return Err(Fault::new(Code::ClientOrderIdConflict, detail));
    }
    let sequence = match known.sequence {
        Some(sequence) => sequence,
        None => record(router, &booked(&known.event).map_err(|error| unreadable(&error))?.0).await?,
    };
    Ok(told(known.event.to_vec(), sequence, true))
}

fn told(body: Vec<u8>, sequence: u64, replayed: bool) -> Answer {
    Answer {
        body,
        journal_sequence: Some(sequence),
        replayed,
    }
}

fn unreadable(error: &EventError) -> Fault {
    Fault::new(Code::StoreUnavailable, error.to_string())
}

/// Brings a booked adjustment to the journal, and ends its waiting there. Returns its sequence.
async fn record(router: &Router, booking: &Booking) -> Result<u64, Fault> {
    let entry = Entry {
        subject: subjects::adjustment(&booking.account_id),
        // Another event of the same id must not pass for a repetition of this one.
        message_id: format!("adjustment:{}", ContentHash::of(&booking.event).0),
        body: booking.event.clone(),
        headers: Vec::new(),
    };
    let sequence = router.journal.append(entry).await.map_err(|error| {
        let detail =
            format!("the adjustment is booked and not on the journal yet ({error}); ask again under the same id");
        Fault::new(Code::BusUnavailable, detail)
    })?;
    stop_point::reach("after_adjust_journal");
    let marked = router
        .store
        .mark_adjustment(&booking.adjustment_id, &booking.event, sequence)
        .await;
    let counts = match marked {
        Ok(MarkedAdjustment::Marked) => true,
        Ok(MarkedAdjustment::Void) => false,
        // The store was rebuilt, or lost its last writes, after the booking: the journal's event is applied to it.
        Ok(MarkedAdjustment::Lost) => {
            router
                .store
                .replay_adjustment(None, booking, sequence)
                .await
                .map_err(|error| unavailable(&error))?
                || is_known(router, booking).await?
        }
        Err(error) => {
            let detail = format!("the adjustment is on the journal and counts once the shared state answers: {error}");
            return Err(Fault::new(Code::StoreUnavailable, detail));
        }
    };
    stop_point::reach("after_adjust_mark");
    if counts {
        return Ok(sequence);
    }
    let detail = "another adjustment has taken the id while the shared state was rebuilt; ask again under the same id";
    Err(Fault::new(Code::StoreUnavailable, detail))
}

/// Whether the store knows an adjustment by this very event.
async fn is_known(router: &Router, booking: &Booking) -> Result<bool, Fault> {
    let known = router.store.adjustment(&booking.adjustment_id).await;
    let known = known.map_err(|error| unavailable(&error))?;
    Ok(known.is_some_and(|known| known.event == booking.event))
}

/// Brings adjustments to the journal that somebody else booked and did not bring there.
pub(super) async fn bring_waiting(router: &Router) {
    let Ok(waiting) = router.store.waiting_adjustments(OUTBOX_PATIENCE).await else {
        return;
    };
    for adjustment_id in waiting {
        let Ok(Some(known)) = router.store.adjustment(&adjustment_id).await else {
            continue;
        };
        let brought = match booked(&known.event) {
            Ok((booking, _)) => record(router, &booking).await,
            Err(error) => Err(unreadable(&error)),
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
pub(super) async fn replay(
    router: &Router,
    healing: Option<&Healing>,
    entry: &Stored,
) -> Result<(i64, bool), ReplayError> {
    let (booking, epoch) = booked(&entry.body)?;
    let changed = router
        .store
        .replay_adjustment(healing, &booking, entry.sequence)
        .await?;
    Ok((epoch, changed))
}

/// Why an adjustment of the journal could not be applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads an event back into what was booked, and the epoch it was booked in.
fn booked(event: &bytes::Bytes) -> Result<(Booking, i64), EventError> {
    let read = read_event(event)?;
    let booking = Booking {
        adjustment_id: read.adjustment_id,
        content: read.content,
        event: event.clone(),
        mode: read.circumstances.mode,
        trading_date: read.circumstances.trading_date,
        account_id: read.account_id,
        instrument: read.instrument,
        deltas: read.deltas,
        made_at: read.made_at,
    };
    Ok((booking, read.circumstances.epoch))
}
