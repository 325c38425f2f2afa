//! The life of a worker: connect, agree on the streams, make the store whole, open the doors; and the way back.

pub mod broker_tasks;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{self, Bus};
use crate::bus::durable_door::DurableDoor;
use crate::bus::journal::{JournalReader, JournalWriter, JournalWriterTask};
use crate::bus::quote_subscription::QuoteSubscription;
use crate::bus::request_door::RequestDoor;
use crate::bus::topology::{self, TopologyError};
use crate::bus::{BusError, subjects};
use crate::config::Settings;
use crate::config::journal::{AppendMode, JournalSettings};
use crate::domain::id::{BrokerId, IdError};
use crate::domain::time::{Clock, Timestamp};
use crate::fault::Fault;
use crate::store::{Store, StoreError};
use crate::telemetry::{Listener, Telemetry};
use crate::worker::background::{due_paper_orders, gauges, inquiry, recovery};
use crate::worker::control::cache::ControlCache;
use crate::worker::control::signals::SignalPublisher;
use crate::worker::control::{kill_switch, limits};
use crate::worker::rebuild;
use crate::worker::router::{DefaultDeadlines, Instruments, JournalCapacity, Router};
use crate::worker::submission::send_gate::JournaledSendGate;
use crate::worker::trading_day;
use crate::worker::trading_day::reference_prices;
use crate::worker::trading_day::reference_prices::ReferencePrices;
use crate::worker::trading_day::{TradingDayCache, TradingDayDependencies};

/// How long a worker waits for its servers at start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it tries meanwhile.
const START_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long the last steps of a drain may take each.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No connection to NATS.
    #[error("NATS: {0}")]
    Bus(#[from] BusError),
    /// The streams are not as they must be.
    #[error("{0}")]
    Topology(#[from] TopologyError),
    /// No connection to Redis.
    #[error("Redis: {0}")]
    Store(#[from] StoreError),
    /// The shared state is not whole.
    #[error("{0}")]
    StoreRebuild(#[from] rebuild::StoreRebuildError),
    /// The trading day cannot begin.
    #[error("{0}")]
    Day(#[from] Fault),
    /// A setting that cannot hold.
    #[error("{0}")]
    Settings(String),
    /// The port for metrics cannot be listened at.
    #[error("the worker cannot listen at metrics.addr {address}: {error}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

impl From<IdError> for WorkerError {
    fn from(error: IdError) -> Self {
        Self::Settings(error.to_string())
    }
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    service: RequestDoor,
    durable_doors: Vec<DurableDoor>,
    stop: CancellationToken,
    background_tasks: TaskTracker,
    router: Router,
    journal_writers: [JournalWriterTask; 2],
    bus: Bus,
    metrics: Option<Listener>,
}

/// The clock that trading days go by, and how far it may lie from Redis' one when a day begins.
struct TradingClock {
    clock: Clock,
    max_skew: Option<Duration>,
}

impl TradingClock {
    fn system() -> Self {
        Self {
            clock: Arc::new(Timestamp::now),
            max_skew: Some(trading_day::MAX_CLOCK_SKEW),
        }
    }
}

impl Worker {
    /// Starts a worker; when it returns, both doors are open.
    ///
    /// # Errors
    /// What keeps it from taking orders.
    pub async fn start(settings: &Settings) -> Result<Self, WorkerError> {
        Self::start_with_telemetry(settings, Telemetry::new()).await
    }

    /// As [`Worker::start`], with the telemetry of its process, which others may share.
    ///
    /// # Errors
    /// What keeps it from taking orders.
    pub async fn start_with_telemetry(settings: &Settings, telemetry: Telemetry) -> Result<Self, WorkerError> {
        Self::launch(settings, telemetry, Box::new(|_| Vec::new()), TradingClock::system()).await
    }

    /// As [`Worker::start`], with further brokers; one of the same name takes the place of the one of the settings.
    ///
    /// # Errors
    /// What keeps it from taking orders.
    pub async fn start_with_brokers(
        settings: &Settings,
        additional_brokers: broker_tasks::AdditionalBrokers,
    ) -> Result<Self, WorkerError> {
        Self::launch(settings, Telemetry::new(), additional_brokers, TradingClock::system()).await
    }

    /// Starts a worker whose trading days go by another clock than this machine's.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub async fn start_with_clock(settings: &Settings, clock: Clock) -> Result<Self, WorkerError> {
        let time = TradingClock { clock, max_skew: None };
        Self::launch(settings, Telemetry::new(), Box::new(|_| Vec::new()), time).await
    }

    async fn launch(
        settings: &Settings,
        telemetry: Telemetry,
        additional_brokers: broker_tasks::AdditionalBrokers,
        trading_clock: TradingClock,
    ) -> Result<Self, WorkerError> {
        let metrics = open_metrics_listener(settings, &telemetry)?;
        let patience = connection::ConnectPolicy::RetryFor(START_TIMEOUT);
        let bus = connection::connect(&settings.nats, "order-router worker", patience).await?;
        let ids: Result<Vec<BrokerId>, IdError> = settings
            .brokers
            .enabled
            .iter()
            .map(|name| BrokerId::new(name))
            .collect();
        let broker_ids = ids?;
        topology::apply(&bus, &settings.nats, &settings.doors, &broker_ids).await?;
        let store = connect_store(settings).await?;
        let (router, writers) = build_router(settings, telemetry, &bus, store, additional_brokers, trading_clock)?;
        let (stop, background) = (CancellationToken::new(), TaskTracker::new());
        // Where the start fails, what runs already ends, too.
        let until_started = stop.clone().drop_guard();
        let quotes = QuoteSubscription::open(&settings.nats, patience).await?;
        reference_prices::load_saved_quotes(&router.prices, &router.store).await?;
        background.spawn(reference_prices::run(
            router.prices.clone(),
            quotes,
            router.store.clone(),
            stop.clone(),
        ));
        let late = ensure_store_ready(&router).await?;
        ensure_day_open(&router).await?;
        background.spawn(trading_day::run(router.clone(), stop.clone()));
        background.spawn(rebuild::run(router.clone(), late, stop.clone()));
        background.spawn(recovery::recover_expired_leases(router.clone(), stop.clone()));
        background.spawn(recovery::drain_outbox(router.clone(), stop.clone()));
        background.spawn(due_paper_orders::run(router.clone(), stop.clone()));
        background.spawn(kill_switch::run(router.clone(), stop.clone()));
        background.spawn(inquiry::run(router.clone(), stop.clone()));
        let handler = Arc::new(router.clone());
        let version = env!("CARGO_PKG_VERSION");
        let service = RequestDoor::start(&settings.nats, &settings.doors, patience, version, handler.clone()).await?;
        let door = |broker| DurableDoor::start(bus.clone(), settings.doors.clone(), broker, handler.clone());
        let doors = broker_ids.into_iter().map(door).collect();
        background.spawn(gauges::run(router.clone(), bus.clone(), stop.clone()));
        until_started.disarm();
        tracing::info!(brokers = ?settings.brokers.enabled, service = subjects::SERVICE_NAME, "the worker takes orders");
        Ok(Self {
            service,
            durable_doors: doors,
            stop,
            background_tasks: background,
            router,
            journal_writers: writers,
            bus,
            metrics,
        })
    }

    /// Returns the parts its steps share.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Returns where it tells what it measures, if it listens.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Listener::address)
    }

    /// Stops taking orders, finishes what is under way within `grace`, journals what is settled, and closes.
    pub async fn drain(self, grace: Duration) {
        let Self {
            service,
            durable_doors: doors,
            stop,
            background_tasks: background,
            router,
            journal_writers: writers,
            bus,
            metrics,
        } = self;
        router.telemetry.set_stopping();
        let doors = futures_util::future::join_all(doors.into_iter().map(|door| door.drain(grace)));
        let (requests, intents) = tokio::join!(service.drain(grace), doors);
        let unfinished = requests.unfinished + intents.iter().map(|door| door.unfinished).sum::<usize>();
        if unfinished > 0 {
            tracing::warn!(
                unfinished,
                "calls were still under way when the time to finish was over"
            );
        }
        stop.cancel();
        background.close();
        close_within_timeout("background work", background.wait()).await;
        router.deferred_tasks.close();
        close_within_timeout("marks and alerts", router.deferred_tasks.wait()).await;
        drop(router);
        for writer in writers {
            close_within_timeout("the journal's writer", writer.wait()).await;
        }
        if let Err(error) = bus.round_trip().await {
            tracing::warn!(%error, "the last messages may not have left");
        }
        if let Some(metrics) = metrics {
            close_within_timeout("the port for metrics", metrics.close()).await;
        }
        tracing::info!("the worker has stopped");
    }
}

async fn close_within_timeout(what: &str, ending: impl Future<Output = ()>) {
    if tokio::time::timeout(CLOSE_TIMEOUT, ending).await.is_err() {
        tracing::warn!("{what} did not end in time");
    }
}

/// Opens the port for metrics, where the settings want one.
fn open_metrics_listener(settings: &Settings, telemetry: &Telemetry) -> Result<Option<Listener>, WorkerError> {
    let Some(address) = settings.metrics.addr else {
        return Ok(None);
    };
    let opened = Listener::open(address, telemetry.clone());
    let listener = opened.map_err(|error| WorkerError::Metrics { address, error })?;
    tracing::info!(address = %listener.address(), "metrics are told to whoever can reach this address");
    Ok(Some(listener))
}

async fn connect_store(settings: &Settings) -> Result<Store, StoreError> {
    let end = tokio::time::Instant::now() + START_TIMEOUT;
    let mut is_told = false;
    loop {
        match Store::connect(&settings.redis).await {
            Err(error) if tokio::time::Instant::now() < end => {
                if !is_told {
                    tracing::warn!(%error, "Redis is not there yet (redis.url); it is tried for {START_TIMEOUT:?}");
                    is_told = true;
                }
                tokio::time::sleep(START_RETRY_DELAY).await;
            }
            result => return result,
        }
    }
}

/// Makes the store whole before the first order; waits for a worker that is at it already.
async fn ensure_store_ready(router: &Router) -> Result<Option<rebuild::LateEventFollowUp>, rebuild::StoreRebuildError> {
    let end = tokio::time::Instant::now() + START_TIMEOUT;
    loop {
        match rebuild::check_store(router).await {
            Err(error @ rebuild::StoreRebuildError::JournalBehind { .. }) => return Err(error),
            Err(error) if tokio::time::Instant::now() < end => {
                tracing::debug!(%error, "the shared state is not whole yet");
                tokio::time::sleep(START_RETRY_DELAY).await;
            }
            result => return result,
        }
    }
}

/// Begins the trading day before the first order, where nobody has.
async fn ensure_day_open(router: &Router) -> Result<(), Fault> {
    let end = tokio::time::Instant::now() + START_TIMEOUT;
    loop {
        match router.trading_day.refresh().await {
            Err(error) if tokio::time::Instant::now() < end => {
                tracing::debug!(%error, "the trading day has not begun yet");
                tokio::time::sleep(START_RETRY_DELAY).await;
            }
            result => return result,
        }
    }
}

fn build_router(
    settings: &Settings,
    telemetry: Telemetry,
    bus: &Bus,
    store: Store,
    additional_brokers: broker_tasks::AdditionalBrokers,
    trading_clock: TradingClock,
) -> Result<(Router, [JournalWriterTask; 2]), WorkerError> {
    let unusable = |what: &str| WorkerError::Settings(format!("{what} cannot be used"));
    let (journal, journal_task) = JournalWriter::start(bus.clone(), settings.journal.clone());
    let pipelined = JournalSettings {
        append: AppendMode::Pipelined,
        ..settings.journal.clone()
    };
    let (alerts, alerts_task) = JournalWriter::start(bus.clone(), pipelined);
    let afterwards = TaskTracker::new();
    let rates = Arc::new(settings.risk.rates());
    let gate = JournaledSendGate::new(store.clone(), journal.clone());
    let calendar = settings
        .risk
        .trading_calendar()
        .ok_or_else(|| unusable("the beginning of the trading day"))?;
    let brokers = broker_tasks::start_brokers(&settings.brokers, &store, &rates, &calendar, gate, additional_brokers)?;
    let control = ControlCache::new(store.clone());
    let instruments = Arc::new(Instruments::from_settings(settings));
    let quote_max_age = Duration::from_millis(settings.risk.quote_max_age_ms);
    let prices = ReferencePrices::new(&instruments, quote_max_age);
    let reader = JournalReader::new(bus.clone());
    let day = TradingDayCache::new(TradingDayDependencies {
        control: control.clone(),
        store: store.clone(),
        journal: journal.clone(),
        journal_reader: reader.clone(),
        prices: prices.clone(),
        instruments: instruments.clone(),
        calendar,
        clock: trading_clock.clock,
        max_clock_skew: trading_clock.max_skew,
    });
    let router = Router {
        journal_writer: journal,
        journal_reader: reader,
        signals: SignalPublisher::new(alerts, afterwards.clone()),
        brokers: Arc::new(brokers),
        limits: Arc::new(limits::limits_from_settings(settings).ok_or_else(|| unusable("a limit of `risk`"))?),
        trading_day: day,
        prices,
        instruments,
        rates,
        control,
        default_deadlines: DefaultDeadlines {
            request: Duration::from_millis(settings.doors.default_request_deadline_ms),
            durable_intent: Duration::from_millis(settings.doors.default_intent_deadline_ms),
        },
        new_day_lifts_daily_loss: settings.risk.new_day_lifts_daily_loss,
        inquiry_settings: settings.brokers.inquiry.clone(),
        broker_call_timeout: settings.brokers.task.call_timeout(),
        journal_capacity: JournalCapacity::default(),
        telemetry,
        deferred_tasks: afterwards,
        store,
    };
    Ok((router, [journal_task, alerts_task]))
}
