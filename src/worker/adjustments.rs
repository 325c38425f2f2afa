//! Adjustments: booked once in the shared state, journaled, and returned only then. Any worker journals the adjustments
//! of a worker that died.

pub mod booking;

use std::time::Duration;

use crate::bus::journal::JournalEntry;
use crate::bus::request::{BusReply, BusRequest};
use crate::bus::subjects;
use crate::domain::adjustment::{Adjustment, AdjustmentEffect};
use crate::domain::content_hash::ContentHash;
use crate::domain::id::AdjustmentId;
use crate::domain::order_terms::Mode;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::store::sums::adjustment::{
    AdjustmentBooking, AdjustmentMode, BookAdjustmentOutcome, KnownAdjustment, MarkAdjustmentOutcome,
};
use crate::wire::adjustment::decode_adjustment;
use crate::worker::adjustments::booking::{booking_from_event, build_booking};
use crate::worker::faults::{deadline_passed, store_unavailable, unreadable_document};
use crate::worker::queue_cursor::QueueCursor;
use crate::worker::router::Router;
use crate::worker::stop_point;

/// How often a booking is tried if its reply is lost, or if mode or trading day change.
const MAX_BOOKING_ATTEMPTS: usize = 8;
/// The pause between two attempts.
const BOOKING_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How many waiting adjustments are journaled at a time.
const APPEND_CONCURRENCY: usize = 16;

/// Books and journals an adjustment and replies with its event. An id is booked at most once, however often the request
/// is repeated.
///
/// # Errors
/// An invalid request, an id that was used with other content, or a store or journal that does not confirm it.
pub async fn submit_adjustment(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let adjustment = decode_adjustment(&call.body)?;
    let deadline = router.default_deadlines.request_deadline(call);
    let result = book_and_journal(router, &adjustment, deadline).await;
    result.map_err(|fault| with_adjustment_id(fault, &adjustment.adjustment_id))
}

/// Adds the adjustment's id to a fault: the caller needs an id that was assigned here for its next attempt.
fn with_adjustment_id(mut fault: Fault, adjustment_id: &AdjustmentId) -> Fault {
    fault.metadata = fault.metadata.with("adjustment_id", adjustment_id.as_str());
    fault
}

async fn book_and_journal(router: &Router, adjustment: &Adjustment, deadline: Timestamp) -> Result<BusReply, Fault> {
    let known = router.store.read_adjustment(&adjustment.adjustment_id).await;
    if let Some(known) = known.map_err(store_unavailable)? {
        return replay_reply(router, adjustment, known).await;
    }
    router.journal_capacity.check("adjustments", "nothing was booked")?;
    match book_adjustment(router, adjustment, None, deadline).await? {
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
                "booked an adjustment"
            );
            Ok(adjustment_reply(booking.event_document.to_vec(), sequence, false))
        }
    }
}

/// The result of a booking that was not refused.
enum AdjustmentOutcome {
    Booked(AdjustmentBooking),
    Known(KnownAdjustment),
}

/// Books and journals an adjustment that a fill at a venue requires, in the mode of that venue. A known id is that fill's,
/// whatever its content: its account or its price may have been others when it was booked.
///
/// # Errors
/// An instrument or a currency that this router does not know, or a store or journal that does not confirm it: it can be
/// repeated.
pub(in crate::worker) async fn book_venue_adjustment(
    router: &Router,
    adjustment: &Adjustment,
    mode: Mode,
    deadline: Timestamp,
) -> Result<(), Fault> {
    let booking = match book_adjustment(router, adjustment, Some(mode), deadline).await? {
        AdjustmentOutcome::Booked(booking) => booking,
        AdjustmentOutcome::Known(known) if known.journal_sequence.is_some() => return Ok(()),
        AdjustmentOutcome::Known(known) => {
            let decoded = booking_from_event(&known.event_document);
            decoded.map_err(|error| unreadable_document(&error))?.0
        }
    };
    append_and_mark(router, &booking).await.map(drop)
}

/// Books an adjustment in a mode, or else in the active one, and on the active trading day.
async fn book_adjustment(
    router: &Router,
    adjustment: &Adjustment,
    mode: Option<Mode>,
    deadline: Timestamp,
) -> Result<AdjustmentOutcome, Fault> {
    let mut may_be_booked = false;
    for attempt in 0..MAX_BOOKING_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(BOOKING_RETRY_DELAY).await;
        }
        let control = router.control.refresh().await.map_err(store_unavailable)?;
        let booking = build_booking(router, adjustment, mode.unwrap_or(control.mode), control.trading_date)?;
        let scope = match mode {
            Some(_) => AdjustmentMode::Fixed,
            None => AdjustmentMode::Active,
        };
        match router.store.book_adjustment(&booking, scope, deadline).await {
            Ok(BookAdjustmentOutcome::Booked) => return Ok(AdjustmentOutcome::Booked(booking)),
            // The reply to an earlier attempt of this call may have been lost: then this is its own booking.
            Ok(BookAdjustmentOutcome::AlreadyKnown(known)) => return Ok(AdjustmentOutcome::Known(known)),
            Ok(BookAdjustmentOutcome::ModeOrDateChanged) => {}
            Ok(BookAdjustmentOutcome::DeadlinePassed) => return Err(deadline_passed(deadline)),
            Ok(BookAdjustmentOutcome::StoreFull) => {
                let detail =
                    "too many adjustments are waiting for the journal, or the shared state is full; nothing was booked";
                return Err(Fault::new(FaultCode::QueueFull, detail));
            }
            Ok(BookAdjustmentOutcome::SumOutOfRange) => return Err(inexact_sum_fault(adjustment)),
            Ok(BookAdjustmentOutcome::TooManyFeesPriced(unpriced)) => {
                let rule = format!(
                    "is more than the account has: the fees of {unpriced} of its fills have no price; nothing was booked"
                );
                return Err(Fault::for_field(FaultCode::InvalidField, "fee_fills", rule));
            }
            Err(error) if error.may_have_executed() => may_be_booked = true,
            Err(error) => return Err(store_unavailable(error)),
        }
    }
    let detail = if may_be_booked {
        "the shared state does not reply, and the adjustment may be booked or not; send it again under the same id"
    } else {
        "the mode or the trading day changes faster than the adjustment can be booked; send it again"
    };
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

fn inexact_sum_fault(adjustment: &Adjustment) -> Fault {
    let field = match adjustment.effect {
        AdjustmentEffect::Position { .. } => "quantity",
        AdjustmentEffect::Cash(_) => "cash",
        AdjustmentEffect::Fee { .. } | AdjustmentEffect::UnpricedFee { .. } => "fee",
    };
    let rule =
        "would move a sum beyond the range of exact numbers (9007199254740991 lots or millionths); nothing was booked";
    Fault::for_field(FaultCode::InvalidField, field, rule)
}

/// Replies to a known id with its event, which is journaled first if it is not yet. Other content is a conflict.
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
            let (booking, _) =
                booking_from_event(&known.event_document).map_err(|error| unreadable_document(&error))?;
            append_and_mark(router, &booking).await?
        }
    };
    Ok(adjustment_reply(known.event_document.to_vec(), sequence, true))
}

fn adjustment_reply(body: Vec<u8>, sequence: u64, is_replay: bool) -> BusReply {
    BusReply {
        body,
        journal_sequence: Some(sequence),
        is_replay,
    }
}

/// Appends a booked adjustment to the journal and marks it as journaled. Returns its sequence.
async fn append_and_mark(router: &Router, booking: &AdjustmentBooking) -> Result<u64, Fault> {
    let entry = JournalEntry {
        subject: subjects::adjustment(&booking.account_id),
        // Another event of the same id must not count as a repetition of this one.
        message_id: format!("adjustment:{}", ContentHash::of(&booking.event_document).0),
        body: booking.event_document.clone(),
        headers: Vec::new(),
    };
    let sequence = router.journal_writer.append(entry).await.map_err(|error| {
        let detail =
            format!("the adjustment is booked and not journaled yet ({error}); send it again under the same id");
        Fault::new(FaultCode::BusUnavailable, detail)
    })?;
    stop_point::reach("after_adjust_journal");
    let marked = router
        .store
        .mark_adjustment_journaled(&booking.adjustment_id, &booking.event_document, sequence)
        .await;
    let is_booked = match marked {
        Ok(MarkAdjustmentOutcome::Marked) => true,
        Ok(MarkAdjustmentOutcome::IdTaken) => false,
        // The store was rebuilt or lost its last writes after the booking: the journaled event is applied to it.
        Ok(MarkAdjustmentOutcome::NeedsReplay) => {
            router
                .store
                .replay_adjustment(None, booking, sequence)
                .await
                .map_err(store_unavailable)?
                || is_booked_in_store(router, booking).await?
        }
        Err(error) => {
            let detail = format!("the adjustment is journaled and takes effect once the shared state replies: {error}");
            return Err(Fault::new(FaultCode::StoreUnavailable, detail));
        }
    };
    stop_point::reach("after_adjust_mark");
    if is_booked {
        return Ok(sequence);
    }
    let detail = "another adjustment took the id while the shared state was rebuilt; send it again under the same id";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

/// Reports whether the store holds exactly this event under the adjustment's id.
async fn is_booked_in_store(router: &Router, booking: &AdjustmentBooking) -> Result<bool, Fault> {
    let known = router.store.read_adjustment(&booking.adjustment_id).await;
    let known = known.map_err(store_unavailable)?;
    Ok(known.is_some_and(|known| known.event_document == booking.event_document))
}

/// Journals the adjustments that have waited for the journal longer than `grace_period`: their workers may have died.
pub(in crate::worker) async fn append_waiting_adjustments(
    router: &Router,
    grace_period: Duration,
    cursor: &mut QueueCursor,
) {
    let waiting = router
        .store
        .list_unjournaled_adjustments(grace_period, cursor.skip())
        .await;
    if let Ok(page) = waiting {
        let append = |adjustment_id| append_waiting_adjustment(router, adjustment_id);
        cursor.process_page(page, APPEND_CONCURRENCY, append).await;
    }
}

/// Journals one adjustment. Reports whether it waits no more.
async fn append_waiting_adjustment(router: &Router, adjustment_id: AdjustmentId) -> bool {
    let Ok(Some(known)) = router.store.read_adjustment(&adjustment_id).await else {
        return false;
    };
    let appended = match booking_from_event(&known.event_document) {
        Ok((booking, _)) => append_and_mark(router, &booking).await,
        Err(error) => Err(unreadable_document(&error)),
    };
    match appended {
        Ok(_) => {
            tracing::warn!(%adjustment_id, "journaled a waiting adjustment");
            true
        }
        Err(fault) => {
            log_at_intervals!(warn, %adjustment_id, %fault, "an adjustment could not be journaled yet");
            false
        }
    }
}
