//! The journal against Redis. A part that seems to differ is read again, at one moment, until it is equal or differs while
//! Redis holds nothing that the journal does not have: so orders that run meanwhile make no break.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::audit::error::AuditError;
use crate::audit::finding::{Finding, FindingKind, FindingLevel, Findings};
use crate::bus::journal::JournalReader;
use crate::bus::subjects;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::Store;
use crate::store::comparison::{
    ExpectedControl, ExpectedLimits, ExpectedOperatorState, PartReading, StoreDifference, StoreExpectation,
    StoreMoment, StorePart, StorePlace, differences_of,
};
use crate::store::rebuild::fold::FoldedState;
use crate::store::sums::day::DayRoll;
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::day::DayEvent;
use crate::wire::state::StateEvent;
use crate::worker::rebuild::error::StoreRebuildError;

/// How many parts are read at one moment.
const PARTS_AT_A_TIME: usize = 8;
/// For how long a part has to differ while Redis is settled, before it counts as a difference: workers apply what others
/// have journaled within a second.
const CONFIRMED_AFTER: Duration = Duration::from_millis(1_500);
/// The pause between two reads of a part.
const READ_INTERVAL: Duration = Duration::from_millis(200);
/// How long a part is read again while Redis does not settle.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The state that a journal makes, up to any sequence.
pub(super) trait JournalState {
    /// Returns the state up to the last entry that was read.
    fn state(&self) -> &FoldedState;

    /// Returns when the journal last moved each ledger, as far as that is known.
    fn last_moved(&self) -> Option<&std::collections::HashMap<LedgerOwner, Timestamp>>;

    /// Reads on, up to a sequence.
    fn advance_to(&mut self, sequence: u64) -> impl Future<Output = Result<(), AuditError>> + Send;
}

/// What a comparison with Redis has compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StoreCounts {
    /// The ledgers that the journal makes.
    pub ledgers: u64,
    /// The open orders that it makes.
    pub open_orders: u64,
    /// The ids that are remembered.
    pub remembered_ids: u64,
    /// The locks in force.
    pub locks: u64,
}

/// A comparison of Redis with a journal.
pub(super) struct StoreComparison<'a, J> {
    pub(super) store: &'a Store,
    pub(super) reader: &'a JournalReader,
    pub(super) retention: Duration,
    pub(super) journal: &'a mut J,
}

impl<J: JournalState> StoreComparison<'_, J> {
    /// Compares everything. Returns what was compared, and adds a finding for each difference.
    ///
    /// # Errors
    /// When Redis or the journal do not reply.
    pub(super) async fn run(mut self, findings: &mut Findings) -> Result<StoreCounts, AuditError> {
        let control = read_control(self.reader).await?;
        let now = self.store.read_clock().await?;
        let differing = self.store.find_differing_parts(&self.expect(&control, now)).await?;
        if differing.has_more {
            let pair = ("fewer differing parts", "more than are read again");
            findings.add(Finding::of_break(FindingKind::StoreOrder, "parts", pair));
        }
        let mut chunks = differing.parts.chunks(PARTS_AT_A_TIME).peekable();
        if chunks.peek().is_none() {
            self.confirm(Vec::new(), findings).await?;
        }
        for chunk in chunks {
            self.confirm(chunk.to_vec(), findings).await?;
        }
        let state = self.journal.state();
        let is_open = |key| state.orders.get(key).is_some_and(|order| order.is_open());
        Ok(StoreCounts {
            ledgers: state.ledgers.len() as u64,
            open_orders: state.orders.keys().filter(|key| is_open(key)).count() as u64,
            remembered_ids: state.remembered.len() as u64,
            locks: state.locks.len() as u64,
        })
    }

    fn expect<'e>(&'e self, control: &'e ExpectedControl, now: Timestamp) -> StoreExpectation<'e> {
        StoreExpectation {
            state: self.journal.state(),
            control,
            last_moved: self.journal.last_moved(),
            retention: self.retention,
            now,
        }
    }

    /// Reads parts until each is equal, or differs for sure.
    async fn confirm(&mut self, mut parts: Vec<StorePart>, findings: &mut Findings) -> Result<(), AuditError> {
        let end = Instant::now() + SETTLE_TIMEOUT;
        let mut settled_since = None;
        loop {
            let (moment, mut readings, control) = self.read(&parts).await?;
            let now = self.store.read_clock().await?;
            let unsettled = moment.find_unsettled(self.journal.state());
            let mut found = moment.differences(self.journal.state(), &control.journal_created);
            for reading in &readings {
                found.extend(differences_of(reading, &self.expect(&control, now))?);
            }
            found = self.without_repeats(found).await?;
            if found.is_empty() {
                return Ok(());
            }
            settled_since = match &unsettled {
                None => settled_since.or_else(|| Some(Instant::now())),
                Some(_) => None,
            };
            if settled_since.is_some_and(|since| since.elapsed() >= CONFIRMED_AFTER) {
                found.into_iter().for_each(|one| findings.add(finding_of(one)));
                return Ok(());
            }
            if Instant::now() >= end {
                let reason = unsettled.unwrap_or_else(|| "it changes all the time".to_owned());
                let pair = ("what the journal has", format!("{reason}; {} differences", found.len()));
                let finding = Finding::new(FindingLevel::Undecided, FindingKind::StoreUnsettled, "Redis", pair);
                findings.add(finding);
                return Ok(());
            }
            let expected = self.expect(&control, now);
            let differs =
                |reading: &PartReading| differences_of(reading, &expected).map_or(true, |all| !all.is_empty());
            readings.retain(|reading| differs(reading));
            // A part that is equal once was only moving.
            parts = readings.into_iter().map(|reading| reading.part).collect();
            sleep(READ_INTERVAL).await;
        }
    }

    /// Reads parts at one moment, and the journal up to it.
    async fn read(
        &mut self,
        parts: &[StorePart],
    ) -> Result<(StoreMoment, Vec<PartReading>, ExpectedControl), AuditError> {
        let control = read_control(self.reader).await?;
        let before = self.reader.read_extent().await?.last_sequence;
        let (moment, readings) = self.store.read_parts(parts, self.journal.state()).await?;
        let after = self.reader.read_extent().await?.last_sequence;
        self.journal
            .advance_to(before.max(moment.journal_sequence).min(after))
            .await?;
        Ok((moment, readings, control))
    }

    /// Drops the differences of sequences where the store names an identical repeat of the report: the journal may hold an
    /// event twice.
    async fn without_repeats(&self, differences: Vec<StoreDifference>) -> Result<Vec<StoreDifference>, AuditError> {
        let mut kept = Vec::with_capacity(differences.len());
        for one in differences {
            if let (Some(first), Some(second)) = (one.sequence, one.repeated_at) {
                let (first, second) = (
                    self.reader.read_entry(first).await?,
                    self.reader.read_entry(second).await?,
                );
                if first
                    .zip(second)
                    .is_some_and(|(first, second)| first.body == second.body)
                {
                    continue;
                }
            }
            kept.push(one);
        }
        Ok(kept)
    }
}

/// Returns what the journal's newest events say of state, limits and trading day.
///
/// # Errors
/// When the journal does not reply, or an event cannot be decoded.
async fn read_control(reader: &JournalReader) -> Result<ExpectedControl, AuditError> {
    let newest = |kind: &str| subjects::event(kind, None);
    let unreadable = |what: &str, error: &dyn std::fmt::Display| {
        let fault = Fault::new(FaultCode::BusUnavailable, format!("the journal's {what}: {error}"));
        AuditError::from(StoreRebuildError::from(fault))
    };
    let state = reader
        .read_last_for_subject(&newest(subjects::STATE_EVENT_KIND))
        .await?;
    let state = state.map(|stored| {
        let event: StateEvent =
            serde_json::from_slice(&stored.body).map_err(|error| unreadable("state event", &error))?;
        let values = event.to_operator_values();
        Ok::<_, AuditError>(ExpectedOperatorState {
            version: event.version,
            values: values.ok_or_else(|| unreadable("state event", &"a limit is out of range"))?,
        })
    });
    let day = reader.read_last_for_subject(&newest(subjects::DAY_EVENT_KIND)).await?;
    let day = day.map(|stored| {
        let event: DayEvent = serde_json::from_slice(&stored.body).map_err(|error| unreadable("day event", &error))?;
        Ok::<_, AuditError>(DayRoll {
            trading_date: event.trading_date,
            marks: event.to_marks().map_err(|error| unreadable("day event", &error))?,
        })
    });
    let limits = reader.read_limits().await?;
    Ok(ExpectedControl {
        state: state.transpose()?,
        limits: limits.map(|newest| ExpectedLimits {
            sequence: newest.sequence,
            hash: newest.event.hash,
            document: newest.document,
        }),
        day: day.transpose()?,
        journal_created: reader.read_extent().await?.created_at.to_string(),
    })
}

fn finding_of(difference: StoreDifference) -> Finding {
    let kind = match difference.place {
        StorePlace::Ledger => FindingKind::StoreLedger,
        StorePlace::Order => FindingKind::StoreOrder,
        StorePlace::RememberedId => FindingKind::StoreRememberedId,
        StorePlace::Adjustment => FindingKind::StoreAdjustment,
        StorePlace::Lock => FindingKind::StoreLock,
        StorePlace::Control => FindingKind::StoreControl,
        StorePlace::Watermark => FindingKind::StoreWatermark,
    };
    Finding {
        order_id: difference.order_id.map(|order_id| order_id.to_string()),
        sequence: difference.sequence,
        ..Finding::of_break(kind, difference.field, (difference.expected, difference.found)).named(difference.name)
    }
}
