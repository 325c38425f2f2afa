//! The trading day: when it begins, and what profit or loss it has made so far.
//!
//! Whoever first sees a new date begins the day ([`roll`]). Figures are judged on a view that is at most
//! [`VIEW_MAX_AGE`] old; while they are asked for, it is renewed in the background, so that nobody waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::journal::{JournalReader, JournalWriter};
use crate::domain::calendar::TradingCalendar;
use crate::domain::control::ControlState;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::equity::{Equities, PositionSums, ValuationInputs, compute_equities};
use crate::domain::id::VenueId;
use crate::domain::intent::Symbol;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::time::{Clock, Timestamp, TradingDate};
use crate::fault::{Fault, FaultCode};
use crate::store::Store;
use crate::worker::control::cache::ControlCache;
use crate::worker::control::{locks, loss_locks};
use crate::worker::router::{Instruments, Router};
use crate::worker::submission::claim::store_unavailable;
use crate::worker::trading_day::reference_prices::ReferencePrices;

pub mod reference_prices;
pub mod roll;

pub use crate::worker::trading_day::roll::restore_day;

/// How old the figures may be that an order is judged by.
pub const SNAPSHOT_MAX_AGE: Duration = Duration::from_millis(250);
/// How often the view is renewed while figures are asked for.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);
/// How long after figures were last asked for the view is kept fresh.
const DEMAND_WINDOW: Duration = Duration::from_secs(2);
/// How often the view is renewed while nobody asks: prices move losses without any order.
const IDLE_REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a caller waits for figures; the beginning of a day takes an append to the journal.
const PNL_TIMEOUT: Duration = Duration::from_secs(2);
/// How far this machine's clock may lie from that of Redis when a day begins.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// How often a look is taken anew because what it showed has changed, or was too slow.
const MAX_SNAPSHOT_ATTEMPTS: usize = 4;

/// What the trading day is made of.
pub struct TradingDayDependencies {
    /// What is in force.
    pub control: ControlCache,
    /// The shared state.
    pub store: Store,
    /// Where days begin.
    pub journal: JournalWriter,
    /// What days have begun.
    pub journal_reader: JournalReader,
    /// What positions are marked at.
    pub prices: ReferencePrices,
    /// What can be held.
    pub instruments: Arc<Instruments>,
    /// When days begin.
    pub calendar: TradingCalendar,
    /// What time it is.
    pub clock: Clock,
    /// How far that may lie from Redis' clock where a day begins; none for a clock that is not this machine's.
    pub max_clock_skew: Option<Duration>,
}

/// This worker's view of the day's figures. Clones share it.
#[derive(Clone)]
pub struct TradingDayCache(Arc<TradingDayInner>);

struct TradingDayInner {
    dependencies: TradingDayDependencies,
    snapshot: RwLock<Option<Arc<PnlSnapshot>>>,
    refresh_lock: tokio::sync::Mutex<()>,
    last_requested_at: Mutex<Option<Instant>>,
}

/// The figures, and what must still hold for them to count.
#[derive(Debug)]
struct PnlSnapshot {
    control: Arc<ControlState>,
    pnl: Arc<DailyPnl>,
    epoch: Option<i64>,
    /// Before the store was asked.
    read_at: Instant,
    /// When the day ends.
    ends_at: Timestamp,
}

impl std::fmt::Debug for TradingDayCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner);
        formatter
            .debug_struct("DayCell")
            .field("view", &*view)
            .finish_non_exhaustive()
    }
}

impl TradingDayCache {
    /// Returns a view that has seen nothing yet.
    pub fn new(parts: TradingDayDependencies) -> Self {
        Self(Arc::new(TradingDayInner {
            dependencies: parts,
            snapshot: RwLock::default(),
            refresh_lock: tokio::sync::Mutex::default(),
            last_requested_at: Mutex::default(),
        }))
    }

    /// Returns the figures of the day and mode in force, and the control they belong to, as one look showed them at most
    /// [`VIEW_MAX_AGE`] ago. Begins the day where nobody has.
    ///
    /// # Errors
    /// `store_unavailable` where they cannot be read in time; `bus_unavailable` where a new day cannot be journaled.
    pub async fn load_pnl(&self) -> Result<(Arc<ControlState>, Arc<DailyPnl>), Fault> {
        *self.0.last_requested_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if let Some(view) = self.0.valid_snapshot() {
            return Ok((view.control.clone(), view.pnl.clone()));
        }
        let view = timeout(PNL_TIMEOUT, self.0.refresh_snapshot(false))
            .await
            .unwrap_or_else(|_| Err(pnl_timeout_fault()))?;
        Ok((view.control.clone(), view.pnl.clone()))
    }

    /// Looks anew, and begins the day where nobody has.
    ///
    /// # Errors
    /// As [`DayCell::figures`].
    pub async fn refresh(&self) -> Result<(), Fault> {
        let renewed = timeout(PNL_TIMEOUT, self.0.refresh_snapshot(true)).await;
        renewed.unwrap_or_else(|_| Err(pnl_timeout_fault())).map(|_| ())
    }

    /// Returns the date of the trading day by this worker's clock; the day in force may be a later one.
    pub fn clock_trading_date(&self) -> TradingDate {
        let parts = &self.0.dependencies;
        parts.calendar.trading_date_at((parts.clock)())
    }

    /// Whether there is something to look for: figures are asked for, or a day has to begin.
    fn needs_refresh(&self) -> bool {
        let asked_at = *self.0.last_requested_at.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.0.dependencies.control.current().trading_date;
        let view = self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone();
        asked_at.is_some_and(|at| at.elapsed() < DEMAND_WINDOW)
            || in_force.is_none_or(|date| date < self.clock_trading_date())
            || view.is_none_or(|view| view.read_at.elapsed() >= IDLE_REFRESH_INTERVAL)
    }

    /// Returns the figures of the last look where they are no older than that; nobody is taken to have asked.
    pub(in crate::worker) fn pnl_within(&self, max_age: Duration) -> Option<Arc<DailyPnl>> {
        let view = self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        (view.read_at.elapsed() <= max_age).then(|| view.pnl.clone())
    }

    /// Returns the view as it is, if it still counts; nobody is taken to have asked.
    fn latest_snapshot(&self) -> Option<Arc<PnlSnapshot>> {
        self.0.valid_snapshot()
    }
}

impl TradingDayInner {
    /// Returns the view, unless it is too old or what it was taken under has changed.
    fn valid_snapshot(&self) -> Option<Arc<PnlSnapshot>> {
        let view = self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let parts = &self.dependencies;
        let is_good = view.read_at.elapsed() <= SNAPSHOT_MAX_AGE
            && view.epoch == parts.store.epoch()
            && view.control.generation == parts.control.current().generation
            && (parts.clock)() < view.ends_at;
        is_good.then_some(view)
    }

    /// Takes a new view, one caller at a time; the others find what it has taken, unless they must look themselves.
    async fn refresh_snapshot(&self, force: bool) -> Result<Arc<PnlSnapshot>, Fault> {
        let _one_at_a_time = self.refresh_lock.lock().await;
        if let Some(view) = self.valid_snapshot().filter(|_| !force) {
            return Ok(view);
        }
        for _ in 0..MAX_SNAPSHOT_ATTEMPTS {
            let Some(view) = self.read_snapshot().await? else {
                continue;
            };
            let view = Arc::new(view);
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(view.clone());
            if view.read_at.elapsed() <= SNAPSHOT_MAX_AGE {
                return Ok(view);
            }
        }
        Err(pnl_timeout_fault())
    }

    /// Looks once; `None` where mode or day have changed, or a day had to begin: then it is looked at again.
    async fn read_snapshot(&self) -> Result<Option<PnlSnapshot>, Fault> {
        let parts = &self.dependencies;
        let (known, taken_at, epoch) = (parts.control.current(), Instant::now(), parts.store.epoch());
        let today = parts.calendar.trading_date_at((parts.clock)());
        let (mode, date) = (known.mode, known.trading_date.unwrap_or(today));
        let look = parts
            .store
            .read_day_inputs(mode, date)
            .await
            .map_err(|error| store_unavailable(&error))?;
        let control = parts
            .control
            .update_from(look.stored_control)
            .map_err(|error| store_unavailable(&error))?;
        if control.trading_date.is_none_or(|date| date < today) {
            self.check_clock_skew(look.taken_at_ms)?;
            roll::roll_day(parts, control.trading_date, today).await?;
            let control = parts.control.refresh().await;
            control.map_err(|error| store_unavailable(&error))?;
            return Ok(None);
        }
        if (control.mode, control.trading_date) != (mode, Some(date)) {
            return Ok(None);
        }
        let start = look.day_start.ok_or_else(|| {
            let detail = format!("nothing was sent: what accounts were worth at the start of {date} is missing");
            Fault::new(FaultCode::StoreUnavailable, detail)
        })?;
        let (equities, marks) = parts.value_holdings(&look.holdings, mode);
        let (total, accounts) = start.pnl_since_start(&equities);
        let figures = DailyPnl {
            trading_date: date,
            total,
            accounts,
            measured_at_ms: look.taken_at_ms,
            marks: Arc::new(marks),
        };
        Ok(Some(PnlSnapshot {
            control,
            pnl: Arc::new(figures),
            epoch,
            read_at: taken_at,
            ends_at: parts.calendar.end_of(date),
        }))
    }
}

impl TradingDayInner {
    /// A day that has begun does not end before its time: one wrong clock must not begin it for all.
    fn check_clock_skew(&self, redis_ms: i64) -> Result<(), Fault> {
        let Some(most) = self.dependencies.max_clock_skew else {
            return Ok(());
        };
        let difference_ms = (self.dependencies.clock)().as_milliseconds().abs_diff(redis_ms);
        if u128::from(difference_ms) <= most.as_millis() {
            return Ok(());
        }
        let detail = format!(
            "nothing was sent: a new trading day is due, and this machine's clock and that of Redis differ by \
             {difference_ms} ms; at most {} ms are allowed. Set the clocks right",
            most.as_millis()
        );
        Err(Fault::new(FaultCode::StoreUnavailable, detail))
    }
}

type MarkPrices = BTreeMap<(VenueId, Symbol), Price>;

impl TradingDayDependencies {
    /// Returns what accounts are worth now, and the marks it was taken at.
    fn value_holdings(&self, holdings: &[PositionSums], mode: Mode) -> (Equities, MarkPrices) {
        let (mut marks, mut valuations) = (MarkPrices::new(), BTreeMap::new());
        for holding in holdings {
            let key = (holding.venue.clone(), holding.symbol.clone());
            let Some(instrument) = self
                .instruments
                .get(&key.0, &key.1)
                .filter(|_| !marks.contains_key(&key))
            else {
                continue;
            };
            let Some(mark) = self.prices.mark_price(instrument, mode) else {
                continue;
            };
            let valuation = ValuationInputs {
                lot_size: instrument.lot_size.decimal(),
                base_rate: instrument.base_rate,
                mark,
            };
            valuations.insert(key.clone(), valuation);
            marks.insert(key, mark);
        }
        (compute_equities(holdings, &valuations), marks)
    }
}

fn pnl_timeout_fault() -> Fault {
    let detail = "nothing was sent: the day's figures could not be read in time";
    Fault::new(FaultCode::StoreUnavailable, detail)
}

/// Keeps the view fresh while figures are asked for, and begins days, until it is stopped.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let (mut told, mut seen) = (String::new(), None);
    while !stop.is_cancelled() {
        if router.trading_day.needs_refresh() && router.store.epoch().is_some() {
            match refresh_and_lock_breaches(&router).await {
                Ok(()) => told.clear(),
                Err(fault) if fault.detail != told => {
                    tracing::warn!(
                        error = fault.detail,
                        "the day's figures are not known, or what they call for is not closed yet"
                    );
                    told = fault.detail;
                }
                Err(_) => {}
            }
        }
        let date = router.control.current().trading_date;
        if let Some(new) = date.filter(|_| date != seen) {
            // Also at a worker's start, and on every worker: whoever began the day may have died since.
            match locks::lift_daily_loss_locks(&router, new).await {
                Ok(_) => seen = date,
                Err(fault) => tracing::warn!(%fault, "what a new day lifts is lifted later"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REFRESH_INTERVAL) => {}
        }
    }
}

/// Renews the view, and closes what it calls for.
async fn refresh_and_lock_breaches(router: &Router) -> Result<(), Fault> {
    router.trading_day.refresh().await?;
    match router.trading_day.latest_snapshot() {
        Some(view) => loss_locks::lock_loss_breaches(router, &view.control, &view.pnl).await,
        None => Ok(()),
    }
}
