//! The life of a worker. The start connects, creates missing streams, checks or rebuilds the store, opens the trading day
//! and then the doors. The drain closes them in reverse order.

pub(in crate::worker) mod assembly;
pub mod broker_tasks;
pub mod error;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{self, Bus};
use crate::bus::durable_door::DurableDoor;
use crate::bus::journal::JournalWriterTask;
use crate::bus::quote_subscription::QuoteSubscription;
use crate::bus::request_door::RequestDoor;
use crate::bus::topology::JournalHistory;
use crate::bus::{subjects, topology};
use crate::config::Settings;
use crate::config::limits::LimitSettings;
use crate::domain::id::BrokerId;
use crate::domain::time::Clock;
use crate::fault::Fault;
use crate::store::rebuild::epoch::StoreStatus;
use crate::store::{Store, StoreError};
use crate::telemetry::{MetricsListener, Telemetry};
use crate::worker::background::{
    due_paper_orders, gauges, inquiry, recovery, server_checks, store_use, topology_watch,
};
use crate::worker::control::limits_change::OwnLimits;
use crate::worker::control::{kill_switch, limits_change, switch_sweep};
use crate::worker::lifecycle::assembly::{TradingClock, build_router};
use crate::worker::rebuild;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::late_events::LateEventFollowUp;
use crate::worker::router::Router;
use crate::worker::snapshots::make;
use crate::worker::trading_day::{reference_prices, refresh_task};

pub use crate::worker::lifecycle::error::{OtherLimitsError, WorkerError};

/// The longest that a worker waits for each of its servers at start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two attempts.
const START_RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest that each of the last steps of a drain may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

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
    metrics: Option<MetricsListener>,
}

impl Worker {
    /// Starts a worker. When this returns, both doors are open.
    ///
    /// # Errors
    /// Why the worker cannot accept orders.
    pub async fn start(settings: &Settings) -> Result<Self, WorkerError> {
        Self::start_with_telemetry(settings, Telemetry::new()).await
    }

    /// Starts a worker with the telemetry of its process, which it may share with a sidecar.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub async fn start_with_telemetry(settings: &Settings, telemetry: Telemetry) -> Result<Self, WorkerError> {
        Self::start_with_limits(settings, telemetry, OwnLimits::Refuse).await
    }

    /// Starts a worker as [`Worker::start_with_telemetry`]; `own_limits` says what it does where other limits are in force
    /// than those of its settings.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub async fn start_with_limits(
        settings: &Settings,
        telemetry: Telemetry,
        own_limits: OwnLimits,
    ) -> Result<Self, WorkerError> {
        let clock = TradingClock::system();
        Box::pin(Self::launch(
            settings,
            telemetry,
            Box::new(|_| Vec::new()),
            clock,
            own_limits,
        ))
        .await
    }

    /// Starts a worker with additional brokers. One with the name of a broker of the settings replaces it.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub async fn start_with_brokers(
        settings: &Settings,
        additional_brokers: broker_tasks::AdditionalBrokers,
    ) -> Result<Self, WorkerError> {
        Box::pin(Self::launch(
            settings,
            Telemetry::new(),
            additional_brokers,
            TradingClock::system(),
            OwnLimits::Refuse,
        ))
        .await
    }

    /// Starts a worker whose trading days follow a clock other than this machine's.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub async fn start_with_clock(settings: &Settings, clock: Clock) -> Result<Self, WorkerError> {
        let time = TradingClock { clock, max_skew: None };
        Box::pin(Self::launch(
            settings,
            Telemetry::new(),
            Box::new(|_| Vec::new()),
            time,
            OwnLimits::Refuse,
        ))
        .await
    }

    async fn launch(
        settings: &Settings,
        telemetry: Telemetry,
        additional_brokers: broker_tasks::AdditionalBrokers,
        trading_clock: TradingClock,
        own_limits: OwnLimits,
    ) -> Result<Self, WorkerError> {
        let metrics = open_metrics_listener(settings, &telemetry).await?;
        let connect_policy = connection::ConnectPolicy::RetryFor(START_TIMEOUT);
        let bus = connection::connect(&settings.nats, "order-router worker", connect_policy).await?;
        let names = settings.brokers.enabled.iter();
        let broker_ids = names.map(|name| BrokerId::new(name)).collect::<Result<Vec<_>, _>>()?;
        let store = connect_store(settings).await?;
        Box::pin(create_streams(settings, &bus, &broker_ids, &store)).await?;
        let assembled = build_router(settings, telemetry, &bus, store, additional_brokers, trading_clock)?;
        let (router, binance) = (assembled.router, assembled.binance);
        let (stop, background) = (CancellationToken::new(), TaskTracker::new());
        // If the start fails, the tasks that are already running end.
        let stop_unless_started = stop.clone().drop_guard();
        let quotes = QuoteSubscription::open(&settings.nats, connect_policy).await?;
        reference_prices::load_saved_quotes(&router.prices, &router.store).await?;
        background.spawn(reference_prices::run(
            router.prices.clone(),
            quotes,
            router.store.clone(),
            router.control.watch_limits(),
            stop.clone(),
        ));
        let late = Box::pin(ensure_store_ready(&router)).await?;
        Box::pin(compare_limits(&router, settings, own_limits)).await?;
        Box::pin(ensure_day_open(&router)).await?;
        binance.record_environment(&router).await?;
        background.spawn(refresh_task::run(router.clone(), stop.clone()));
        background.spawn(rebuild::watch_store(router.clone(), late, stop.clone()));
        background.spawn(recovery::recover_expired_leases(router.clone(), stop.clone()));
        background.spawn(recovery::drain_outbox(router.clone(), stop.clone()));
        background.spawn(due_paper_orders::run(router.clone(), stop.clone()));
        background.spawn(kill_switch::run(router.clone(), stop.clone()));
        background.spawn(switch_sweep::run(router.clone(), stop.clone()));
        background.spawn(inquiry::run(router.clone(), stop.clone()));
        background.spawn(make::run(router.clone(), stop.clone()));
        binance.start(&router, &bus, &background, &stop)?;
        background.spawn(store_use::run(router.clone(), stop.clone()));
        background.spawn(topology_watch::run(
            settings.clone(),
            bus.clone(),
            broker_ids.clone(),
            stop.clone(),
        ));
        server_checks::check_servers(&router, &bus).await;
        let handler = Arc::new(router.clone());
        let version = env!("CARGO_PKG_VERSION");
        let service = RequestDoor::start(
            &settings.nats,
            &settings.doors,
            connect_policy,
            version,
            handler.clone(),
        )
        .await?;
        let door = |broker| DurableDoor::start(bus.clone(), settings.doors.clone(), broker, handler.clone());
        let doors = broker_ids.into_iter().map(door).collect();
        background.spawn(gauges::run(router.clone(), bus.clone(), stop.clone()));
        background.spawn(server_checks::run(router.clone(), bus.clone(), stop.clone()));
        stop_unless_started.disarm();
        tracing::info!(
            brokers = ?settings.brokers.enabled, service = subjects::SERVICE_NAME,
            "the worker accepts orders"
        );
        Ok(Self {
            service,
            durable_doors: doors,
            stop,
            background_tasks: background,
            router,
            journal_writers: assembled.journal_writers,
            bus,
            metrics,
        })
    }

    /// Returns the parts that the worker's steps share.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Returns the address of the metrics listener, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsListener::address)
    }

    /// Stops accepting orders, finishes the calls in flight within `grace`, journals what is settled, and closes.
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
            tracing::warn!(unfinished, "calls were still in flight at the end of the grace period");
        }
        stop.cancel();
        background.close();
        close_within_timeout("the background tasks", background.wait()).await;
        router.deferred_tasks.close();
        close_within_timeout("marks and alerts", router.deferred_tasks.wait()).await;
        drop(router);
        for writer in writers {
            close_within_timeout("the journal's writer", writer.wait()).await;
        }
        if let Err(error) = bus.round_trip().await {
            tracing::warn!(%error, "the last messages may not have been sent");
        }
        if let Some(metrics) = metrics {
            close_within_timeout("the metrics listener", metrics.close()).await;
        }
        tracing::info!("the worker has stopped");
    }
}

/// Waits for a part of the worker to close, at most [`CLOSE_TIMEOUT`].
async fn close_within_timeout(what: &str, closing: impl Future<Output = ()>) {
    if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::warn!("{what} did not close within {CLOSE_TIMEOUT:?}");
    }
}

/// Opens the metrics listener if the settings name its address.
async fn open_metrics_listener(
    settings: &Settings,
    telemetry: &Telemetry,
) -> Result<Option<MetricsListener>, WorkerError> {
    let Some(address) = &settings.metrics.addr else {
        return Ok(None);
    };
    let opened = MetricsListener::open(address, telemetry.clone()).await;
    let listener = opened.map_err(|error| WorkerError::Metrics {
        address: address.clone(),
        error,
    })?;
    tracing::info!(address = %listener.address(), "serving metrics at this address, without authentication");
    Ok(Some(listener))
}

/// Connects to Redis; retries for [`START_TIMEOUT`].
async fn connect_store(settings: &Settings) -> Result<Store, StoreError> {
    let end = tokio::time::Instant::now() + START_TIMEOUT;
    let mut is_logged = false;
    loop {
        match Store::connect(&settings.redis).await {
            // Only a change of the settings or of the server's certificate helps.
            Err(error @ StoreError::Settings(_)) => return Err(error),
            Err(error) if tokio::time::Instant::now() < end => {
                if !is_logged {
                    tracing::warn!(%error, "Redis (redis.url) does not reply; retrying for {START_TIMEOUT:?}");
                    is_logged = true;
                }
                tokio::time::sleep(START_RETRY_DELAY).await;
            }
            result => return result,
        }
    }
}

/// Creates missing streams and consumers. Only the shared state knows whether a missing journal was lost.
async fn create_streams(
    settings: &Settings,
    bus: &Bus,
    brokers: &[BrokerId],
    store: &Store,
) -> Result<(), WorkerError> {
    let history = match read_store_status(store).await?.has_seen_journal() {
        false => JournalHistory::Unknown,
        true => JournalHistory::Known,
    };
    topology::create_missing(bus, &settings.nats, &settings.doors, brokers, history).await?;
    Ok(())
}

/// Reads the store's status; a Redis that has just started may still read its data.
async fn read_store_status(store: &Store) -> Result<StoreStatus, StoreError> {
    retry_at_start("the status of the shared state", || store.read_status()).await
}

/// Tries a step of the start until it succeeds; retries for [`START_TIMEOUT`].
async fn retry_at_start<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    step: &'static str,
    attempt: impl Fn() -> F,
) -> Result<T, E> {
    let end = tokio::time::Instant::now() + START_TIMEOUT;
    loop {
        match attempt().await {
            Err(error) if tokio::time::Instant::now() < end => {
                tracing::debug!(step, %error, "a step of the start is not possible yet");
                tokio::time::sleep(START_RETRY_DELAY).await;
            }
            result => return result,
        }
    }
}

/// Checks or rebuilds the store before the first order; waits for another worker that is rebuilding it.
async fn ensure_store_ready(router: &Router) -> Result<Option<LateEventFollowUp>, StoreRebuildError> {
    let end = tokio::time::Instant::now() + START_TIMEOUT;
    loop {
        match Box::pin(rebuild::check_store(router)).await {
            Err(error) if error.requires_operator() => return Err(error),
            Err(error) if tokio::time::Instant::now() < end => {
                tracing::debug!(%error, "the shared state is not ready yet");
                tokio::time::sleep(START_RETRY_DELAY).await;
            }
            result => return result,
        }
    }
}

/// Compares the limits in force with those of the settings.
async fn compare_limits(router: &Router, settings: &Settings, own_limits: OwnLimits) -> Result<(), WorkerError> {
    let own = LimitSettings::of(settings);
    let differences = limits_change::differences_from_own(router, &own);
    if differences.is_empty() {
        return Ok(());
    }
    match own_limits {
        OwnLimits::Refuse => Err(OtherLimitsError { differences }.into()),
        OwnLimits::Apply { actor, reason } => {
            limits_change::apply_own(router, &own, &actor, &reason).await?;
            Ok(())
        }
    }
}

/// Opens the trading day before the first order if no worker has.
async fn ensure_day_open(router: &Router) -> Result<(), Fault> {
    retry_at_start("the trading day", || async {
        router.trading_day.refresh().await.map(drop)
    })
    .await
}
