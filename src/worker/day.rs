//! The trading day: when it begins, and what profit or loss it has made so far.
//!
//! Whoever first sees a new date begins the day ([`roll`]). Figures are judged on a view that is at most
//! [`VIEW_MAX_AGE`] old; while they are asked for, it is renewed in the background, so that nobody waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::claim::unavailable;
use super::control::ControlCell;
use super::prices::Prices;
use super::router::{Instruments, Router};
use super::{breaches, locks};
use crate::bus::journal::{Journal, Reader};
use crate::domain::calendar::TradingCalendar;
use crate::domain::control::Control;
use crate::domain::day::DayFigures;
use crate::domain::equity::{Equities, Holding, Valuation, equities};
use crate::domain::id::VenueId;
use crate::domain::intent::Symbol;
use crate::domain::quantity::Price;
use crate::domain::terms::Mode;
use crate::domain::time::{Clock, Timestamp, TradingDate};
use crate::fault::{Code, Fault};
use crate::store::Store;

pub mod roll;

pub use roll::restore;

/// How old the figures may be that an order is judged by.
pub const VIEW_MAX_AGE: Duration = Duration::from_millis(250);
/// How often the view is renewed while figures are asked for.
const REFRESH_EVERY: Duration = Duration::from_millis(100);
/// How long after figures were last asked for the view is kept fresh.
const TRAFFIC: Duration = Duration::from_secs(2);
/// How often the view is renewed while nobody asks: prices move losses without any order.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// How long a caller waits for figures; the beginning of a day takes an append to the journal.
const PATIENCE: Duration = Duration::from_secs(2);
/// How far this machine's clock may lie from that of Redis when a day begins.
pub const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);
/// How often a look is taken anew because what it showed has changed, or was too slow.
const MAX_LOOKS: usize = 4;

/// What the trading day is made of.
pub struct DayParts {
    /// What is in force.
    pub control: ControlCell,
    /// The shared state.
    pub store: Store,
    /// Where days begin.
    pub journal: Journal,
    /// What days have begun.
    pub reader: Reader,
    /// What positions are marked at.
    pub prices: Prices,
    /// What can be held.
    pub instruments: Arc<Instruments>,
    /// When days begin.
    pub calendar: TradingCalendar,
    /// What time it is.
    pub clock: Clock,
    /// How far that may lie from Redis' clock where a day begins; none for a clock that is not this machine's.
    pub most_clock_difference: Option<Duration>,
}

/// This worker's view of the day's figures. Clones share it.
#[derive(Clone)]
pub struct DayCell(Arc<Shared>);

struct Shared {
    parts: DayParts,
    view: RwLock<Option<Arc<View>>>,
    refreshing: tokio::sync::Mutex<()>,
    asked_at: Mutex<Option<Instant>>,
}

/// The figures, and what must still hold for them to count.
#[derive(Debug)]
struct View {
    control: Arc<Control>,
    figures: Arc<DayFigures>,
    epoch: Option<i64>,
    /// Before the store was asked.
    taken_at: Instant,
    /// When the day ends.
    ends_at: Timestamp,
}

impl std::fmt::Debug for DayCell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        formatter
            .debug_struct("DayCell")
            .field("view", &*view)
            .finish_non_exhaustive()
    }
}

impl DayCell {
    /// Returns a view that has seen nothing yet.
    pub fn new(parts: DayParts) -> Self {
        Self(Arc::new(Shared {
            parts,
            view: RwLock::default(),
            refreshing: tokio::sync::Mutex::default(),
            asked_at: Mutex::default(),
        }))
    }

    /// Returns the figures of the day and mode in force, and the control they belong to, as one look showed them at most
    /// [`VIEW_MAX_AGE`] ago. Begins the day where nobody has.
    ///
    /// # Errors
    /// `store_unavailable` where they cannot be read in time; `bus_unavailable` where a new day cannot be journaled.
    pub async fn figures(&self) -> Result<(Arc<Control>, Arc<DayFigures>), Fault> {
        *self.0.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if let Some(view) = self.0.good_view() {
            return Ok((view.control.clone(), view.figures.clone()));
        }
        let view = timeout(PATIENCE, self.0.renewed(false))
            .await
            .unwrap_or_else(|_| Err(too_slow()))?;
        Ok((view.control.clone(), view.figures.clone()))
    }

    /// Looks anew, and begins the day where nobody has.
    ///
    /// # Errors
    /// As [`DayCell::figures`].
    pub async fn refresh(&self) -> Result<(), Fault> {
        let renewed = timeout(PATIENCE, self.0.renewed(true)).await;
        renewed.unwrap_or_else(|_| Err(too_slow())).map(|_| ())
    }

    /// Returns the date of the trading day by this worker's clock; the day in force may be a later one.
    pub fn date_by_clock(&self) -> TradingDate {
        let parts = &self.0.parts;
        parts.calendar.date_of((parts.clock)())
    }

    /// Whether there is something to look for: figures are asked for, or a day has to begin.
    fn is_due(&self) -> bool {
        let asked_at = *self.0.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.0.parts.control.current().trading_date;
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        asked_at.is_some_and(|at| at.elapsed() < TRAFFIC)
            || in_force.is_none_or(|date| date < self.date_by_clock())
            || view.is_none_or(|view| view.taken_at.elapsed() >= IDLE_EVERY)
    }

    /// Returns the figures of the last look where they are no older than that; nobody is taken to have asked.
    pub(super) fn seen_within(&self, most: Duration) -> Option<Arc<DayFigures>> {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        (view.taken_at.elapsed() <= most).then(|| view.figures.clone())
    }

    /// Returns the view as it is, if it still counts; nobody is taken to have asked.
    fn latest(&self) -> Option<Arc<View>> {
        self.0.good_view()
    }
}

impl Shared {
    /// Returns the view, unless it is too old or what it was taken under has changed.
    fn good_view(&self) -> Option<Arc<View>> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let parts = &self.parts;
        let is_good = view.taken_at.elapsed() <= VIEW_MAX_AGE
            && view.epoch == parts.store.epoch()
            && view.control.generation == parts.control.current().generation
            && (parts.clock)() < view.ends_at;
        is_good.then_some(view)
    }

    /// Takes a new view, one caller at a time; the others find what it has taken, unless they must look themselves.
    async fn renewed(&self, must_look: bool) -> Result<Arc<View>, Fault> {
        let _one_at_a_time = self.refreshing.lock().await;
        if let Some(view) = self.good_view().filter(|_| !must_look) {
            return Ok(view);
        }
        for _ in 0..MAX_LOOKS {
            let Some(view) = self.look().await? else { continue };
            let view = Arc::new(view);
            *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(view.clone());
            if view.taken_at.elapsed() <= VIEW_MAX_AGE {
                return Ok(view);
            }
        }
        Err(too_slow())
    }

    /// Looks once; `None` where mode or day have changed, or a day had to begin: then it is looked at again.
    async fn look(&self) -> Result<Option<View>, Fault> {
        let parts = &self.parts;
        let (known, taken_at, epoch) = (parts.control.current(), Instant::now(), parts.store.epoch());
        let today = parts.calendar.date_of((parts.clock)());
        let (mode, date) = (known.mode, known.trading_date.unwrap_or(today));
        let look = parts
            .store
            .day_look(mode, date)
            .await
            .map_err(|error| unavailable(&error))?;
        let control = parts.control.adopt(look.stored).map_err(|error| unavailable(&error))?;
        if control.trading_date.is_none_or(|date| date < today) {
            self.trusts_its_clock(look.taken_at_ms)?;
            roll::roll(parts, control.trading_date, today).await?;
            let control = parts.control.refresh().await;
            control.map_err(|error| unavailable(&error))?;
            return Ok(None);
        }
        if (control.mode, control.trading_date) != (mode, Some(date)) {
            return Ok(None);
        }
        let start = look.start.ok_or_else(|| {
            let detail = format!("nothing was sent: what accounts were worth at the start of {date} is missing");
            Fault::new(Code::StoreUnavailable, detail)
        })?;
        let (equities, marks) = parts.worth(&look.holdings, mode);
        let (total, accounts) = start.profit(&equities);
        let figures = DayFigures {
            trading_date: date,
            total,
            accounts,
            taken_at_ms: look.taken_at_ms,
            marks: Arc::new(marks),
        };
        Ok(Some(View {
            control,
            figures: Arc::new(figures),
            epoch,
            taken_at,
            ends_at: parts.calendar.end_of(date),
        }))
    }
}

impl Shared {
    /// A day that has begun does not end before its time: one wrong clock must not begin it for all.
    fn trusts_its_clock(&self, redis_ms: i64) -> Result<(), Fault> {
        let Some(most) = self.parts.most_clock_difference else {
            return Ok(());
        };
        let difference_ms = (self.parts.clock)().milliseconds().abs_diff(redis_ms);
        if u128::from(difference_ms) <= most.as_millis() {
            return Ok(());
        }
        let detail = format!(
            "nothing was sent: a new trading day is due, and this machine's clock and that of Redis differ by \
             {difference_ms} ms; at most {} ms are allowed. Set the clocks right",
            most.as_millis()
        );
        Err(Fault::new(Code::StoreUnavailable, detail))
    }
}

type Marks = BTreeMap<(VenueId, Symbol), Price>;

impl DayParts {
    /// Returns what accounts are worth now, and the marks it was taken at.
    fn worth(&self, holdings: &[Holding], mode: Mode) -> (Equities, Marks) {
        let (mut marks, mut valuations) = (Marks::new(), BTreeMap::new());
        for holding in holdings {
            let key = (holding.venue.clone(), holding.symbol.clone());
            let Some(instrument) = self
                .instruments
                .get(&key.0, &key.1)
                .filter(|_| !marks.contains_key(&key))
            else {
                continue;
            };
            let Some(mark) = self.prices.mark(instrument, mode) else {
                continue;
            };
            let valuation = Valuation {
                lot_size: instrument.lot_size.decimal(),
                base_rate: instrument.base_rate,
                mark,
            };
            valuations.insert(key.clone(), valuation);
            marks.insert(key, mark);
        }
        (equities(holdings, &valuations), marks)
    }
}

fn too_slow() -> Fault {
    let detail = "nothing was sent: the day's figures could not be read in time";
    Fault::new(Code::StoreUnavailable, detail)
}

/// Keeps the view fresh while figures are asked for, and begins days, until it is stopped.
pub(super) async fn run(router: Router, stop: CancellationToken) {
    let (mut told, mut seen) = (String::new(), None);
    while !stop.is_cancelled() {
        if router.day.is_due() && router.store.epoch().is_some() {
            match renew(&router).await {
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
            match locks::lift_for_new_day(&router, new).await {
                Ok(_) => seen = date,
                Err(fault) => tracing::warn!(%fault, "what a new day lifts is lifted later"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REFRESH_EVERY) => {}
        }
    }
}

/// Renews the view, and closes what it calls for.
async fn renew(router: &Router) -> Result<(), Fault> {
    router.day.refresh().await?;
    match router.day.latest() {
        Some(view) => breaches::latch(router, &view.control, &view.figures).await,
        None => Ok(()),
    }
}
