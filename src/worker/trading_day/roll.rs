//! The day roll: a new trading day is journaled before it becomes active. If two workers see the new date, both
//! activate the day that is first on the journal. If a worker dies in between, the next worker to check activates the
//! day.

use crate::bus::journal::{JournalEntry, JournalReader};
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;
use crate::domain::order_terms::Mode;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::{Fault, FaultCode};
use crate::store::Store;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::sums::day::{DayRoll, DayRollOutcome};
use crate::wire::day::{DayEvent, ModeDayStart};
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::reply::encode_json;
use crate::worker::trading_day::valuation::TradingDayDependencies;

/// How often the roll is tried because another worker came first.
const MAX_ROLL_ATTEMPTS: usize = 8;

/// Opens the day `today`, or the newest day on the journal if that is as late. `active_date` is the day that is active
/// now.
///
/// # Errors
/// If store or journal do not reply, or do not confirm the day.
pub async fn roll_day(
    dependencies: &TradingDayDependencies,
    active_date: Option<TradingDate>,
    today: TradingDate,
) -> Result<(), Fault> {
    for _ in 0..MAX_ROLL_ATTEMPTS {
        let newest = latest_day_event(&dependencies.journal_reader).await?;
        let (sequence, event) = newest.map_or((0, None), |(sequence, event)| (sequence, Some(event)));
        let event = match event.filter(|event| event.trading_date >= today) {
            Some(event) => event,
            None => match append_day_start(dependencies, today, sequence).await? {
                Some(event) => event,
                None => continue,
            },
        };
        return activate_day(dependencies, active_date, &day_roll_from_event(&event)?).await;
    }
    let detail = "nothing was sent: several workers open the trading day at once; try again";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

/// Activates the newest day of the journal in a store that is being rebuilt.
///
/// # Errors
/// If store or journal do not reply, or the event cannot be decoded.
pub async fn restore_day(
    store: &Store,
    reader: &JournalReader,
    rebuild: &StoreRebuild,
) -> Result<(), StoreRebuildError> {
    let Some((_, event)) = latest_day_event(reader).await? else {
        return Ok(());
    };
    let (day, mut previous) = (day_roll_from_event(&event)?, None);
    for _ in 0..MAX_ROLL_ATTEMPTS {
        match store.roll_day_for_rebuild(rebuild, previous, &day).await? {
            DayRollOutcome::Rolled | DayRollOutcome::AlreadyRolled(_) => return Ok(()),
            DayRollOutcome::Superseded(date) => previous = date,
        }
    }
    Err(StoreRebuildError::Busy)
}

/// Returns the newest day of the journal, with its sequence.
async fn latest_day_event(reader: &JournalReader) -> Result<Option<(u64, DayEvent)>, Fault> {
    let stored = reader
        .read_last_for_subject(&subjects::event(subjects::DAY_EVENT_KIND, None))
        .await;
    let stored = stored.map_err(|error| bus_unavailable(&error))?;
    let Some(stored) = stored else { return Ok(None) };
    let event = serde_json::from_slice(&stored.body)
        .map_err(|error| Fault::new(FaultCode::BusUnavailable, format!("the journal's day event: {error}")))?;
    Ok(Some((stored.sequence, event)))
}

/// Journals the marks of the day's start. Returns `None` if another day came first.
async fn append_day_start(
    dependencies: &TradingDayDependencies,
    today: TradingDate,
    last_sequence: u64,
) -> Result<Option<DayEvent>, Fault> {
    let starts = Mode::ALL
        .iter()
        .map(|mode| ModeDayStart::of(*mode, &dependencies.mark_prices(*mode)));
    let event = DayEvent {
        trading_date: today,
        starts: starts.collect(),
        timestamp: Timestamp::now(),
    };
    let document = encode_json(&event)?;
    let entry = JournalEntry {
        message_id: format!("day:{today}:{}", ContentHash::of(&document).0),
        subject: subjects::event(subjects::DAY_EVENT_KIND, None),
        body: document.into(),
        headers: Vec::new(),
    };
    let appended = dependencies.journal.append_if_last(entry, last_sequence).await;
    Ok(appended.map_err(|error| bus_unavailable(&error))?.map(|_| event))
}

/// Activates a journaled day unless the same or a later day is already active.
async fn activate_day(
    dependencies: &TradingDayDependencies,
    active_date: Option<TradingDate>,
    day: &DayRoll,
) -> Result<(), Fault> {
    let mut previous = active_date;
    for _ in 0..MAX_ROLL_ATTEMPTS {
        let rolled = dependencies.store.roll_day(previous, day).await;
        match rolled.map_err(store_unavailable)? {
            DayRollOutcome::Rolled => {
                tracing::info!(trading_date = %day.trading_date, "opened a trading day");
                return Ok(());
            }
            DayRollOutcome::AlreadyRolled(_) => return Ok(()),
            DayRollOutcome::Superseded(date) => previous = date,
        }
    }
    let detail = "nothing was sent: other workers changed the trading day first too often; try again";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

fn day_roll_from_event(event: &DayEvent) -> Result<DayRoll, Fault> {
    let marks = event.to_marks();
    Ok(DayRoll {
        trading_date: event.trading_date,
        marks: marks.map_err(|error| Fault::new(FaultCode::StoreUnavailable, error.to_string()))?,
    })
}
