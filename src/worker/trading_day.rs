//! The trading day: when it starts, and its profit and loss.
//!
//! The first worker to see a new trading date opens the day ([`roll`]). Orders are evaluated on a snapshot of the
//! profit and loss that is at most [`SNAPSHOT_MAX_AGE`] old. While there is demand, `refresh_task.rs` refreshes it in
//! the background, so that no order waits for it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::domain::control::ControlState;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::{Fault, FaultCode};
use crate::worker::faults::store_unavailable;
use crate::worker::trading_day::valuation::TradingDayDependencies;

pub mod reference_prices;
pub(in crate::worker) mod refresh_task;
pub mod roll;
pub mod valuation;

/// The maximum age of the profit and loss that an order is evaluated under.
pub const SNAPSHOT_MAX_AGE: Duration = Duration::from_millis(250);
/// How long after the last request the snapshot is kept fresh.
const DEMAND_WINDOW: Duration = Duration::from_secs(2);
/// How often the snapshot is refreshed without demand: prices move losses without any order.
const IDLE_REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that a caller waits for the profit and loss; opening a day takes an append to the journal.
const PNL_TIMEOUT: Duration = Duration::from_secs(2);
/// The most by which this machine's clock may differ from Redis' when a day opens.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// How often a snapshot is read because mode or day have changed, or because the read was too slow.
const MAX_SNAPSHOT_ATTEMPTS: usize = 4;

/// This worker's snapshot of the day's profit and loss. Clones share it.
#[derive(Clone)]
pub struct TradingDayCache(Arc<TradingDayInner>);

struct TradingDayInner {
    dependencies: TradingDayDependencies,
    snapshot: RwLock<Option<Arc<PnlSnapshot>>>,
    refresh_lock: tokio::sync::Mutex<()>,
    last_requested_at: Mutex<Option<Instant>>,
}

/// The profit and loss, and the conditions under which it is valid.
#[derive(Debug)]
struct PnlSnapshot {
    control: Arc<ControlState>,
    pnl: Arc<DailyPnl>,
    epoch: Option<i64>,
    /// The moment before the store was read.
    read_at: Instant,
    /// The end of the day.
    ends_at: Timestamp,
}

impl std::fmt::Debug for TradingDayCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let snapshot = self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner);
        formatter
            .debug_struct("TradingDayCache")
            .field("snapshot", &*snapshot)
            .finish_non_exhaustive()
    }
}

impl TradingDayCache {
    /// Returns a cache without a snapshot.
    pub fn new(dependencies: TradingDayDependencies) -> Self {
        Self(Arc::new(TradingDayInner {
            dependencies,
            snapshot: RwLock::default(),
            refresh_lock: tokio::sync::Mutex::default(),
            last_requested_at: Mutex::default(),
        }))
    }

    /// Returns the profit and loss of the active day and mode, and the control state it was read with, at most
    /// [`SNAPSHOT_MAX_AGE`] old. Opens the day if no worker has.
    ///
    /// # Errors
    /// `store_unavailable` if they cannot be read in time; `bus_unavailable` if a new day cannot be journaled.
    pub async fn load_pnl(&self) -> Result<(Arc<ControlState>, Arc<DailyPnl>), Fault> {
        *self.0.last_requested_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if let Some(snapshot) = self.0.valid_snapshot() {
            return Ok((snapshot.control.clone(), snapshot.pnl.clone()));
        }
        let snapshot = timeout(PNL_TIMEOUT, self.0.refresh_snapshot(false))
            .await
            .unwrap_or_else(|_| Err(pnl_timeout_fault()))?;
        Ok((snapshot.control.clone(), snapshot.pnl.clone()))
    }

    /// Refreshes the snapshot, and opens the day if no worker has.
    ///
    /// # Errors
    /// As [`TradingDayCache::load_pnl`].
    pub async fn refresh(&self) -> Result<(), Fault> {
        let refreshed = timeout(PNL_TIMEOUT, self.0.refresh_snapshot(true)).await;
        refreshed.unwrap_or_else(|_| Err(pnl_timeout_fault())).map(|_| ())
    }

    /// Returns the trading date by this worker's clock; the active day may be a later one.
    pub fn clock_trading_date(&self) -> TradingDate {
        let dependencies = &self.0.dependencies;
        dependencies.calendar.trading_date_at((dependencies.clock)())
    }

    /// Reports whether the snapshot needs a refresh: there is demand, it is too old, or a day has to open.
    fn needs_refresh(&self) -> bool {
        let requested_at = *self.0.last_requested_at.lock().unwrap_or_else(PoisonError::into_inner);
        let active_date = self.0.dependencies.control.current().trading_date;
        let snapshot = self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone();
        requested_at.is_some_and(|at| at.elapsed() < DEMAND_WINDOW)
            || active_date.is_none_or(|date| date < self.clock_trading_date())
            || snapshot.is_none_or(|snapshot| snapshot.read_at.elapsed() >= IDLE_REFRESH_INTERVAL)
    }

    /// Returns the profit and loss of the last snapshot unless it is older than `max_age`. This counts as no demand.
    pub(in crate::worker) fn pnl_within(&self, max_age: Duration) -> Option<Arc<DailyPnl>> {
        let snapshot = self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        (snapshot.read_at.elapsed() <= max_age).then(|| snapshot.pnl.clone())
    }

    /// Returns the snapshot's profit and loss and control state if it is valid. This counts as no demand.
    fn valid_pnl(&self) -> Option<(Arc<ControlState>, Arc<DailyPnl>)> {
        let snapshot = self.0.valid_snapshot()?;
        Some((snapshot.control.clone(), snapshot.pnl.clone()))
    }
}

impl TradingDayInner {
    /// Returns the snapshot unless it is too old or its conditions have changed.
    fn valid_snapshot(&self) -> Option<Arc<PnlSnapshot>> {
        let snapshot = self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let dependencies = &self.dependencies;
        let is_valid = snapshot.read_at.elapsed() <= SNAPSHOT_MAX_AGE
            && snapshot.epoch == dependencies.store.epoch()
            && snapshot.control.generation == dependencies.control.current().generation
            && (dependencies.clock)() < snapshot.ends_at;
        is_valid.then_some(snapshot)
    }

    /// Reads a new snapshot, one caller at a time. The other callers then use it, unless they `force` a read of their
    /// own.
    async fn refresh_snapshot(&self, force: bool) -> Result<Arc<PnlSnapshot>, Fault> {
        let _one_at_a_time = self.refresh_lock.lock().await;
        if let Some(snapshot) = self.valid_snapshot().filter(|_| !force) {
            return Ok(snapshot);
        }
        for _ in 0..MAX_SNAPSHOT_ATTEMPTS {
            let Some(snapshot) = self.read_snapshot().await? else {
                continue;
            };
            let snapshot = Arc::new(snapshot);
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
            if snapshot.read_at.elapsed() <= SNAPSHOT_MAX_AGE {
                return Ok(snapshot);
            }
        }
        Err(pnl_timeout_fault())
    }

    /// Reads a snapshot once. Returns `None` if mode or day have changed, or a day had to open: the caller reads again.
    async fn read_snapshot(&self) -> Result<Option<PnlSnapshot>, Fault> {
        let dependencies = &self.dependencies;
        let (known, read_at, epoch) = (
            dependencies.control.current(),
            Instant::now(),
            dependencies.store.epoch(),
        );
        let today = dependencies.calendar.trading_date_at((dependencies.clock)());
        let (mode, date) = (known.mode, known.trading_date.unwrap_or(today));
        let inputs = dependencies
            .store
            .read_day_inputs(mode, date)
            .await
            .map_err(store_unavailable)?;
        let control = dependencies
            .control
            .update_from(inputs.stored_control)
            .map_err(store_unavailable)?;
        if control.trading_date.is_none_or(|date| date < today) {
            self.check_clock_skew(inputs.taken_at_ms)?;
            roll::roll_day(dependencies, control.trading_date, today).await?;
            let control = dependencies.control.refresh().await;
            control.map_err(store_unavailable)?;
            return Ok(None);
        }
        if (control.mode, control.trading_date) != (mode, Some(date)) {
            return Ok(None);
        }
        let day_start = inputs.day_start.ok_or_else(|| {
            let detail = format!("nothing was sent: the accounts' equity at the start of {date} is missing");
            Fault::new(FaultCode::StoreUnavailable, detail)
        })?;
        let (equities, marks) = dependencies.value_holdings(&inputs.holdings, mode);
        let (total, accounts) = day_start.pnl_since_start(&equities);
        let pnl = DailyPnl {
            trading_date: date,
            total,
            accounts,
            measured_at_ms: inputs.taken_at_ms,
            marks: Arc::new(marks),
        };
        Ok(Some(PnlSnapshot {
            control,
            pnl: Arc::new(pnl),
            epoch,
            read_at,
            ends_at: dependencies.calendar.end_of(date),
        }))
    }

    /// Checks this machine's clock against Redis' before a day opens. A day that has opened cannot be closed before its
    /// end: one wrong clock must not open it for all workers.
    ///
    /// # Errors
    /// If the clocks differ by more than the maximum.
    fn check_clock_skew(&self, redis_ms: i64) -> Result<(), Fault> {
        let Some(max_skew) = self.dependencies.max_clock_skew else {
            return Ok(());
        };
        let difference_ms = (self.dependencies.clock)().as_milliseconds().abs_diff(redis_ms);
        if u128::from(difference_ms) <= max_skew.as_millis() {
            return Ok(());
        }
        let detail = format!(
            "nothing was sent: a new trading day is due, and the clocks of this machine and of Redis differ by \
             {difference_ms} ms; at most {} ms are allowed. Synchronize the clocks",
            max_skew.as_millis()
        );
        Err(Fault::new(FaultCode::StoreUnavailable, detail))
    }
}

fn pnl_timeout_fault() -> Fault {
    let detail = "nothing was sent: the day's profit and loss could not be read in time";
    Fault::new(FaultCode::StoreUnavailable, detail)
}
