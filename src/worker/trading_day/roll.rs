//! The beginning of a trading day. It is on the journal before it counts; of two workers that see the new date the first
//! on the journal is taken by both, and one that died in between is finished by whoever looks next.

use crate::bus::headers::EXPECTED_LAST_SUBJECT_SEQUENCE;
use crate::bus::journal::{AppendError, JournalEntry, JournalReader};
use crate::bus::subjects;
use crate::domain::daily_pnl::DayStartEquity;
use crate::domain::id::ContentHash;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;
use crate::fault::{Fault, FaultCode};
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::sums::day::{DayRoll, DayRollOutcome};
use crate::wire::day::{DayEvent, ModeDayStart};
use crate::worker::Router;
use crate::worker::rebuild::StoreRebuildError;
use crate::worker::submission::claim::store_unavailable;
use crate::worker::trading_day::{Timestamp, TradingDayDependencies};

/// What JetStream says of an append whose subject has moved on (its error 10071).
const WRONG_LAST_SEQUENCE: &str = "wrong last sequence";
/// How often it is tried again where another worker came first.
const MAX_ROLL_ATTEMPTS: usize = 8;

/// Begins the day `today`, or the day on the journal where that is as late: `in_force` is the day that counts now.
///
/// # Errors
/// When store or journal do not answer, or the journal does not take it.
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
        return activate_day(dependencies, active_date, &day_beginning_from_event(&event)?).await;
    }
    let detail = "nothing was sent: the trading day begins on several workers at once; try again";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

/// Puts the newest day of the journal in force in a store that is being healed.
///
/// # Errors
/// When store or journal do not answer, or the journal holds something that is no day.
pub async fn restore_day(router: &Router, rebuild: &StoreRebuild) -> Result<(), StoreRebuildError> {
    let Some((_, event)) = latest_day_event(&router.journal_reader).await? else {
        return Ok(());
    };
    let (day, mut previous) = (day_beginning_from_event(&event)?, None);
    for _ in 0..MAX_ROLL_ATTEMPTS {
        match router.store.roll_day_for_rebuild(rebuild, previous, &day).await? {
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
    let stored = stored.map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))?;
    let Some(stored) = stored else { return Ok(None) };
    let event = serde_json::from_slice(&stored.body)
        .map_err(|error| Fault::new(FaultCode::BusUnavailable, format!("the journal's day event: {error}")))?;
    Ok(Some((stored.sequence, event)))
}

/// Takes what accounts are worth and journals it as the day's start; `None` where another day came first.
async fn append_day_start(
    dependencies: &TradingDayDependencies,
    today: TradingDate,
    last_sequence: u64,
) -> Result<Option<DayEvent>, Fault> {
    let mut starts = Vec::with_capacity(Mode::ALL.len());
    for mode in Mode::ALL {
        let look = dependencies
            .store
            .read_day_inputs(*mode, today)
            .await
            .map_err(|error| store_unavailable(&error))?;
        let (equities, marks) = dependencies.value_holdings(&look.holdings, *mode);
        starts.push(ModeDayStart::of(
            *mode,
            &DayStartEquity::from_equities(&equities),
            &marks,
        ));
    }
    let event = DayEvent {
        trading_date: today,
        starts,
        timestamp: Timestamp::now(),
    };
    let document =
        serde_json::to_vec(&event).map_err(|error| Fault::new(FaultCode::PersistenceFailed, error.to_string()))?;
    let entry = JournalEntry {
        message_id: format!("day:{today}:{}", ContentHash::of(&document).0),
        subject: subjects::event(subjects::DAY_EVENT_KIND, None),
        body: document.into(),
        headers: vec![(EXPECTED_LAST_SUBJECT_SEQUENCE.to_owned(), last_sequence.to_string())],
    };
    match dependencies.journal.append(entry).await {
        Ok(_) => Ok(Some(event)),
        Err(AppendError::Refused(reason)) if reason.contains(WRONG_LAST_SEQUENCE) => Ok(None),
        Err(error) => Err(Fault::new(FaultCode::BusUnavailable, error.to_string())),
    }
}

/// Puts a journaled day in force, unless it is or a later one.
async fn activate_day(
    dependencies: &TradingDayDependencies,
    active_date: Option<TradingDate>,
    day: &DayRoll,
) -> Result<(), Fault> {
    let mut previous = active_date;
    for _ in 0..MAX_ROLL_ATTEMPTS {
        let begun = dependencies.store.roll_day(previous, day).await;
        match begun.map_err(|error| store_unavailable(&error))? {
            DayRollOutcome::Rolled => {
                tracing::info!(trading_date = %day.trading_date, "a trading day begins");
                return Ok(());
            }
            DayRollOutcome::AlreadyRolled(_) => return Ok(()),
            DayRollOutcome::Superseded(date) => previous = date,
        }
    }
    let detail = "nothing was sent: the trading day changes faster than it can begin";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

fn day_beginning_from_event(event: &DayEvent) -> Result<DayRoll, Fault> {
    let starts = event.to_day_starts();
    Ok(DayRoll {
        trading_date: event.trading_date,
        starts: starts.map_err(|error| Fault::new(FaultCode::StoreUnavailable, error.to_string()))?,
    })
}
