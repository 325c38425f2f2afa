//! The trading day: when it starts, and the profit and loss that orders are evaluated on.
//!
//! The first worker to see a new trading date opens the day ([`roll`]). An order is evaluated on a view of its account's
//! ledger and of the ledger of all accounts; a view is used for [`VIEW_REUSE`] and renewed from [`VIEW_RENEWAL`], and the
//! reserve script refuses one that is older than its own limit. What fills make after a view counts in the step that books
//! them, so that only what the market's prices move may be that old. `refresh_task.rs` opens days and looks at accounts that send no orders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::domain::daily_pnl::{DailyPnl, ProfitView};
use crate::domain::id::AccountId;
use crate::domain::mark_prices::MarkPrices;
use crate::domain::order_terms::Mode;
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::{Fault, FaultCode};
use crate::store::sums::ledgers::{Ledger, LedgerOwner};
use crate::worker::control::cache::ControlSnapshot;
use crate::worker::control::limits::EnforcedLimits;
use crate::worker::faults::store_unavailable;
use crate::worker::trading_day::valuation::TradingDayDependencies;

pub mod reference_prices;
pub(in crate::worker) mod refresh_task;
pub mod roll;
pub mod valuation;

/// How long a view of a ledger is used. The reserve script refuses one of 250 ms: the rest is for the call to reach it.
pub const VIEW_REUSE: Duration = Duration::from_millis(150);
/// A view of this age that is used is read again in the background, so that the account's next order need not wait.
pub const VIEW_RENEWAL: Duration = Duration::from_millis(100);
/// The most views that a worker keeps; beyond it, those too old to be used are dropped.
const MAX_CACHED_VIEWS: usize = 4_096;
/// How often the day and the ledger of all accounts are read without orders: prices move losses without any order.
const IDLE_REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that a caller waits for the profit and loss; opening a day takes an append to the journal.
const PNL_TIMEOUT: Duration = Duration::from_secs(2);
/// The most by which this machine's clock may differ from Redis' when a day opens.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// How often the profit is read because mode or day have changed, or a day had to open.
const MAX_READ_ATTEMPTS: usize = 4;

/// This worker's views of the day's profit and loss. Clones share them.
#[derive(Clone)]
pub struct TradingDayCache(Arc<TradingDayInner>);

struct TradingDayInner {
    dependencies: TradingDayDependencies,
    open_day: RwLock<Option<Arc<OpenDay>>>,
    views: Mutex<HashMap<LedgerOwner, LedgerView>>,
    open_lock: tokio::sync::Mutex<()>,
    refreshed_at: Mutex<Option<Instant>>,
}

/// The active day in a mode, with the marks at its start.
#[derive(Debug)]
struct OpenDay {
    mode: Mode,
    date: TradingDate,
    epoch: Option<i64>,
    /// The limits in force, whose calendar and instruments the day is valued by.
    limits: Arc<EnforcedLimits>,
    /// The end of the day.
    ends_at: Timestamp,
    start_marks: MarkPrices,
}

impl OpenDay {
    fn pnl(&self, account: &LedgerView, total: &LedgerView) -> DailyPnl {
        DailyPnl {
            trading_date: self.date,
            account: ProfitView::clone(&account.profit),
            total: ProfitView::clone(&total.profit),
            measured_at_ms: account.measured_at_ms.min(total.measured_at_ms),
        }
    }
}

/// The profit of one ledger, and when it was read.
#[derive(Debug, Clone)]
struct LedgerView {
    day: Arc<OpenDay>,
    profit: Arc<ProfitView>,
    /// The moment before the ledger was read.
    read_at: Instant,
    measured_at_ms: i64,
    /// Whether the reading of its successor has begun.
    is_renewing: bool,
}

/// The profits of ledgers that were read lately.
#[derive(Debug, Default)]
pub(in crate::worker) struct RecentProfits {
    /// The profit of all accounts.
    pub(in crate::worker) total: Option<Arc<ProfitView>>,
    /// The profit of each account.
    pub(in crate::worker) accounts: Vec<(AccountId, Arc<ProfitView>)>,
}

impl std::fmt::Debug for TradingDayCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let day = self.0.open_day.read().unwrap_or_else(PoisonError::into_inner);
        formatter
            .debug_struct("TradingDayCache")
            .field("open_day", &*day)
            .finish_non_exhaustive()
    }
}

impl TradingDayCache {
    /// Returns a cache without views.
    pub fn new(dependencies: TradingDayDependencies) -> Self {
        Self(Arc::new(TradingDayInner {
            dependencies,
            open_day: RwLock::default(),
            views: Mutex::default(),
            open_lock: tokio::sync::Mutex::default(),
            refreshed_at: Mutex::default(),
        }))
    }

    /// Returns the control state and the profit and loss of an account and of all accounts, on views of the active day
    /// and mode. Opens the day if no worker has.
    ///
    /// # Errors
    /// `store_unavailable` if they cannot be read in time; `bus_unavailable` if a new day cannot be journaled.
    pub async fn load_pnl(&self, account_id: &AccountId) -> Result<(Arc<ControlSnapshot>, Arc<DailyPnl>), Fault> {
        match self.0.cached_pnl(account_id) {
            Some(pnl) => Ok(pnl),
            // Boxed: most callers find usable views, and need not hold the future of reading them.
            None => Box::pin(self.read_pnl(account_id)).await,
        }
    }

    async fn read_pnl(&self, account_id: &AccountId) -> Result<(Arc<ControlSnapshot>, Arc<DailyPnl>), Fault> {
        let load = async {
            for _ in 0..MAX_READ_ATTEMPTS {
                let (control, day) = self.0.load_day().await?;
                let account = LedgerOwner::Account(day.mode, account_id.clone());
                let (account, total) = tokio::try_join!(
                    self.0.view(&day, account),
                    self.0.view(&day, LedgerOwner::Total(day.mode))
                )?;
                let (Some(account), Some(total)) = (account, total) else {
                    continue;
                };
                return Ok((control, Arc::new(day.pnl(&account, &total))));
            }
            Err(pnl_timeout_fault())
        };
        within_time_limit(load).await
    }

    /// Returns the profit of all accounts, on a new view of the active day. Opens the day if no worker has.
    ///
    /// # Errors
    /// As [`TradingDayCache::load_pnl`].
    pub async fn refresh(&self) -> Result<(Arc<ControlSnapshot>, TradingDate, Arc<ProfitView>), Fault> {
        let load = async {
            for _ in 0..MAX_READ_ATTEMPTS {
                let (control, day) = self.0.load_day().await?;
                if let Some(view) = self.0.read_view(&day, LedgerOwner::Total(day.mode)).await? {
                    *self.0.refreshed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    return Ok((control, day.date, view.profit));
                }
            }
            Err(pnl_timeout_fault())
        };
        within_time_limit(load).await
    }

    /// Returns the profit of an account on a new view of the active day; `None` where another day or mode has become
    /// active meanwhile.
    ///
    /// # Errors
    /// As [`TradingDayCache::load_pnl`].
    pub(in crate::worker) async fn read_account(
        &self,
        account_id: AccountId,
    ) -> Result<Option<Arc<ProfitView>>, Fault> {
        let (_, day) = self.0.load_day().await?;
        let view = self
            .0
            .read_view(&day, LedgerOwner::Account(day.mode, account_id))
            .await?;
        Ok(view.map(|view| view.profit))
    }

    /// Returns the trading date by this worker's clock; the active day may be a later one.
    pub fn clock_trading_date(&self) -> TradingDate {
        let dependencies = &self.0.dependencies;
        dependencies
            .control
            .limits()
            .calendar
            .trading_date_at((dependencies.clock)())
    }

    /// Returns the limits in force.
    pub(in crate::worker) fn limits(&self) -> Arc<EnforcedLimits> {
        self.0.dependencies.control.limits()
    }

    /// Returns the trading date that a fill counts for now: the active one, or that of the clock before a day has opened.
    pub fn booking_date(&self) -> TradingDate {
        let active = self.0.dependencies.control.current().trading_date;
        active.unwrap_or_else(|| self.clock_trading_date())
    }

    /// Reports whether a refresh is due: a day has to open, or the last refresh is too long ago.
    fn needs_refresh(&self) -> bool {
        let active_date = self.0.dependencies.control.current().trading_date;
        let refreshed_at = *self.0.refreshed_at.lock().unwrap_or_else(PoisonError::into_inner);
        active_date.is_none_or(|date| date < self.clock_trading_date())
            || refreshed_at.is_none_or(|at| at.elapsed() >= IDLE_REFRESH_INTERVAL)
    }

    /// Returns the profits on the views of the active mode that are not older than `max_age`.
    pub(in crate::worker) fn profits_within(&self, max_age: Duration) -> RecentProfits {
        let mode = self.0.dependencies.control.mode();
        let views = self.0.views.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent = RecentProfits::default();
        for (owner, view) in views.iter().filter(|(_, view)| view.read_at.elapsed() <= max_age) {
            match owner {
                LedgerOwner::Total(of) if *of == mode => recent.total = Some(view.profit.clone()),
                LedgerOwner::Account(of, account_id) if *of == mode => {
                    recent.accounts.push((account_id.clone(), view.profit.clone()));
                }
                _ => {}
            }
        }
        recent
    }
}

impl TradingDayInner {
    /// Returns the active day and the control state it is active in, from this worker's copies while they agree.
    async fn load_day(&self) -> Result<(Arc<ControlSnapshot>, Arc<OpenDay>), Fault> {
        match self.active_day() {
            Some(active) => Ok(active),
            None => Box::pin(self.open_day()).await,
        }
    }

    /// Returns this worker's copy of the active day, and the control state that it agrees with.
    fn active_day(&self) -> Option<(Arc<ControlSnapshot>, Arc<OpenDay>)> {
        let control = self.dependencies.control.current();
        let day = self.open_day.read().unwrap_or_else(PoisonError::into_inner).clone();
        let day = day.filter(|day| self.is_active(day, &control))?;
        Some((control, day))
    }

    /// Returns what [`TradingDayCache::load_pnl`] does, if this worker has views that may be used.
    fn cached_pnl(self: &Arc<Self>, account_id: &AccountId) -> Option<(Arc<ControlSnapshot>, Arc<DailyPnl>)> {
        let (control, day) = self.active_day()?;
        let account = self.cached_view(&day, &LedgerOwner::Account(day.mode, account_id.clone()))?;
        let total = self.cached_view(&day, &LedgerOwner::Total(day.mode))?;
        Some((control, Arc::new(day.pnl(&account, &total))))
    }

    /// Returns this worker's view of a ledger on a day while it may be used; one that is near its end is renewed, once.
    fn cached_view(self: &Arc<Self>, day: &Arc<OpenDay>, owner: &LedgerOwner) -> Option<LedgerView> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let view = views.get_mut(owner).filter(|view| Arc::ptr_eq(&view.day, day))?;
        let age = view.read_at.elapsed();
        if (VIEW_RENEWAL..=VIEW_REUSE).contains(&age) && !std::mem::replace(&mut view.is_renewing, true) {
            self.spawn_renewal(day.clone(), owner.clone());
        }
        (age <= VIEW_REUSE).then(|| view.clone())
    }

    /// Reads a ledger in the background. One that cannot be read is read by the next order that needs it.
    fn spawn_renewal(self: &Arc<Self>, day: Arc<OpenDay>, owner: LedgerOwner) {
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(fault) = within_time_limit(inner.read_view(&day, owner)).await {
                tracing::debug!(%fault, "a view of the profit and loss was not renewed");
            }
        });
    }

    fn is_active(&self, day: &OpenDay, control: &ControlSnapshot) -> bool {
        control.mode == day.mode
            && control.trading_date == Some(day.date)
            && day.epoch == self.dependencies.store.epoch()
            && day.limits.hash == control.limits.hash
            && (self.dependencies.clock)() < day.ends_at
    }

    /// Reads the active day, and opens a new one that is due; one caller at a time.
    async fn open_day(&self) -> Result<(Arc<ControlSnapshot>, Arc<OpenDay>), Fault> {
        let _one_at_a_time = self.open_lock.lock().await;
        // The caller before this one may have opened it.
        if let Some(active) = self.active_day() {
            return Ok(active);
        }
        let dependencies = &self.dependencies;
        for _ in 0..MAX_READ_ATTEMPTS {
            let epoch = dependencies.store.epoch();
            let control = dependencies.control.refresh().await.map_err(store_unavailable)?;
            let calendar = &control.limits.calendar;
            let today = calendar.trading_date_at((dependencies.clock)());
            let Some(date) = control.trading_date.filter(|date| *date >= today) else {
                self.check_clock_skew().await?;
                roll::roll_day(dependencies, control.trading_date, today).await?;
                continue;
            };
            let marks = dependencies.store.read_day_marks(control.mode, date).await;
            let Some(start_marks) = marks.map_err(store_unavailable)? else {
                continue;
            };
            let day = Arc::new(OpenDay {
                mode: control.mode,
                date,
                epoch,
                limits: control.limits.clone(),
                ends_at: calendar.end_of(date),
                start_marks,
            });
            *self.open_day.write().unwrap_or_else(PoisonError::into_inner) = Some(day.clone());
            return Ok((control, day));
        }
        Err(pnl_timeout_fault())
    }

    /// Returns a view of a ledger on a day, from this worker's copy while it may be used.
    async fn view(self: &Arc<Self>, day: &Arc<OpenDay>, owner: LedgerOwner) -> Result<Option<LedgerView>, Fault> {
        match self.cached_view(day, &owner) {
            Some(view) => Ok(Some(view)),
            None => self.read_view(day, owner).await,
        }
    }

    /// Reads a ledger and values it. Returns `None` where the store has been rebuilt since the day was read.
    async fn read_view(&self, day: &Arc<OpenDay>, owner: LedgerOwner) -> Result<Option<LedgerView>, Fault> {
        let read_at = Instant::now();
        let ledger = self.dependencies.store.read_ledger(owner.clone()).await;
        let ledger = ledger.map_err(store_unavailable)?;
        if day.epoch != self.dependencies.store.epoch() {
            return Ok(None);
        }
        let view = LedgerView {
            profit: Arc::new(self.value_ledger(day, &ledger)?),
            day: day.clone(),
            read_at,
            measured_at_ms: ledger.read_at_ms,
            is_renewing: false,
        };
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if views.len() >= MAX_CACHED_VIEWS {
            views.retain(|_, view| view.read_at.elapsed() <= VIEW_REUSE);
        }
        // A renewal that took long does not replace a newer view.
        let is_newest = views.get(&owner).is_none_or(|known| known.read_at <= read_at);
        if is_newest && views.len() < MAX_CACHED_VIEWS {
            views.insert(owner, view.clone());
        }
        Ok(Some(view))
    }

    fn value_ledger(&self, day: &OpenDay, ledger: &Ledger) -> Result<ProfitView, Fault> {
        let profit = self.dependencies.day_profit(
            &day.limits.instruments,
            &ledger.holdings,
            day.mode,
            day.date,
            &day.start_marks,
        );
        let day_profit = profit.ok_or_else(|| {
            let detail = "nothing was sent: the day's profit and loss exceeds the range of exact numbers";
            Fault::new(FaultCode::StoreUnavailable, detail)
        })?;
        Ok(ProfitView {
            day: day_profit,
            fill_result: ledger.fill_result_on(day.date),
            unpriced_fees: ledger.unpriced_fees,
        })
    }

    /// Checks this machine's clock against Redis' before a day opens. A day that has opened cannot be closed before its
    /// end: one wrong clock must not open it for all workers.
    ///
    /// # Errors
    /// If the clocks differ by more than the maximum, or Redis does not reply.
    async fn check_clock_skew(&self) -> Result<(), Fault> {
        let Some(max_skew) = self.dependencies.max_clock_skew else {
            return Ok(());
        };
        let owner = LedgerOwner::Total(self.dependencies.control.mode());
        let ledger = self.dependencies.store.read_ledger(owner).await;
        let redis_ms = ledger.map_err(store_unavailable)?.read_at_ms;
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

/// Returns the result of a reading of the profit and loss, or the fault of one that takes longer than its limit.
async fn within_time_limit<T>(reading: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(PNL_TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| Err(pnl_timeout_fault()))
}

fn pnl_timeout_fault() -> Fault {
    let detail = "nothing was sent: the day's profit and loss could not be read in time";
    Fault::new(FaultCode::StoreUnavailable, detail)
}
