//! The beginning of a trading day. It is on the journal before it counts; of two workers that see the new date the first
//! on the journal is taken by both, and one that died in between is finished by whoever looks next.

use super::{DayParts, Timestamp};
use crate::bus::headers::EXPECTED_LAST_SUBJECT_SEQUENCE;
use crate::bus::journal::{AppendError, Entry, Reader};
use crate::bus::subjects;
use crate::domain::day::DayStart;
use crate::domain::id::ContentHash;
use crate::domain::terms::Mode;
use crate::domain::time::TradingDate;
use crate::fault::{Code, Fault};
use crate::store::day::{DayBeginning, DayBegun};
use crate::store::epoch::Healing;
use crate::wire::day::{DayEvent, DayStartOfMode};
use crate::worker::Router;
use crate::worker::claim::unavailable;
use crate::worker::healing::HealingError;

/// What JetStream says of an append whose subject has moved on (its error 10071).
const WRONG_LAST_SEQUENCE: &str = "wrong last sequence";
/// How often it is tried again where another worker came first.
const MAX_TRIES: usize = 8;

/// Begins the day `today`, or the day on the journal where that is as late: `in_force` is the day that counts now.
///
/// # Errors
/// When store or journal do not answer, or the journal does not take it.
pub async fn roll(parts: &DayParts, in_force: Option<TradingDate>, today: TradingDate) -> Result<(), Fault> {
    for _ in 0..MAX_TRIES {
        let newest = newest(&parts.reader).await?;
        let (sequence, event) = newest.map_or((0, None), |(sequence, event)| (sequence, Some(event)));
        let event = match event.filter(|event| event.trading_date >= today) {
            Some(event) => event,
            None => match journaled(parts, today, sequence).await? {
                Some(event) => event,
                None => continue,
            },
        };
        return begin(parts, in_force, &beginning(&event)?).await;
    }
    let detail = "nothing was sent: the trading day begins on several workers at once; try again";
    Err(Fault::new(Code::StoreUnavailable, detail))
}

/// Puts the newest day of the journal in force in a store that is being healed.
///
/// # Errors
/// When store or journal do not answer, or the journal holds something that is no day.
pub async fn restore(router: &Router, healing: &Healing) -> Result<(), HealingError> {
    let Some((_, event)) = newest(&router.reader).await? else {
        return Ok(());
    };
    let (day, mut previous) = (beginning(&event)?, None);
    for _ in 0..MAX_TRIES {
        match router.store.begin_day_to_heal(healing, previous, &day).await? {
            DayBegun::Begun | DayBegun::Kept(_) => return Ok(()),
            DayBegun::Superseded(date) => previous = date,
        }
    }
    Err(HealingError::Busy)
}

/// Returns the newest day of the journal, with its sequence.
async fn newest(reader: &Reader) -> Result<Option<(u64, DayEvent)>, Fault> {
    let stored = reader.last_of(&subjects::event(subjects::DAY_EVENT, None)).await;
    let stored = stored.map_err(|error| Fault::new(Code::BusUnavailable, error.to_string()))?;
    let Some(stored) = stored else { return Ok(None) };
    let event = serde_json::from_slice(&stored.body)
        .map_err(|error| Fault::new(Code::BusUnavailable, format!("the journal's day event: {error}")))?;
    Ok(Some((stored.sequence, event)))
}

/// Takes what accounts are worth and journals it as the day's start; `None` where another day came first.
async fn journaled(parts: &DayParts, today: TradingDate, last_sequence: u64) -> Result<Option<DayEvent>, Fault> {
    let mut starts = Vec::with_capacity(Mode::ALL.len());
    for mode in Mode::ALL {
        let look = parts
            .store
            .day_look(*mode, today)
            .await
            .map_err(|error| unavailable(&error))?;
        let (equities, marks) = parts.worth(&look.holdings, *mode);
        starts.push(DayStartOfMode::of(*mode, &DayStart::of(&equities), &marks));
    }
    let event = DayEvent {
        trading_date: today,
        starts,
        timestamp: Timestamp::now(),
    };
    let document =
        serde_json::to_vec(&event).map_err(|error| Fault::new(Code::PersistenceFailed, error.to_string()))?;
    let entry = Entry {
        message_id: format!("day:{today}:{}", ContentHash::of(&document).0),
        subject: subjects::event(subjects::DAY_EVENT, None),
        body: document.into(),
        headers: vec![(EXPECTED_LAST_SUBJECT_SEQUENCE.to_owned(), last_sequence.to_string())],
    };
    match parts.journal.append(entry).await {
        Ok(_) => Ok(Some(event)),
        Err(AppendError::Refused(reason)) if reason.contains(WRONG_LAST_SEQUENCE) => Ok(None),
        Err(error) => Err(Fault::new(Code::BusUnavailable, error.to_string())),
    }
}

/// Puts a journaled day in force, unless it is or a later one.
async fn begin(parts: &DayParts, in_force: Option<TradingDate>, day: &DayBeginning) -> Result<(), Fault> {
    let mut previous = in_force;
    for _ in 0..MAX_TRIES {
        let begun = parts.store.begin_day(previous, day).await;
        match begun.map_err(|error| unavailable(&error))? {
            DayBegun::Begun => {
                tracing::info!(trading_date = %day.trading_date, "a trading day begins");
                return Ok(());
            }
            DayBegun::Kept(_) => return Ok(()),
            DayBegun::Superseded(date) => previous = date,
        }
    }
    let detail = "nothing was sent: the trading day changes faster than it can begin";
    Err(Fault::new(Code::StoreUnavailable, detail))
}

fn beginning(event: &DayEvent) -> Result<DayBeginning, Fault> {
    let starts = event.starts();
    Ok(DayBeginning {
        trading_date: event.trading_date,
        starts: starts.map_err(|error| Fault::new(Code::StoreUnavailable, error.to_string()))?,
    })
}
