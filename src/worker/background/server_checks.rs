//! The checks behind the worker's health: once a second, whether Redis takes a write, and whether the journal exists, has
//! room and has every entry.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::connection::Bus;
use crate::bus::journal::JournalExtent;
use crate::telemetry::MetricId;
use crate::wire::health::{ComponentHealth, ComponentStatus, WorkerHealth};
use crate::worker::background::gauges::bool_gauge;
use crate::worker::periodic::repeat_every;
use crate::worker::readiness::StoreObstacle;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::router::Router;

/// The pause between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Checks the servers until the worker stops.
pub(in crate::worker) async fn run(router: Router, bus: Bus, stop: CancellationToken) {
    let mut runs = repeat_every(CHECK_INTERVAL, &stop);
    while runs.next().await {
        tokio::select! {
            () = stop.cancelled() => {}
            () = check_servers(&router, &bus) => {}
        }
        router
            .telemetry
            .set_ready(router.readiness.health().obstacle().map_or(Ok(()), Err));
    }
}

/// Checks Redis and the journal once, and records what was found.
pub(in crate::worker) async fn check_servers(router: &Router, bus: &Bus) {
    let obstacle = router.readiness.store_obstacle();
    let (redis, (journal, extent)) = tokio::join!(
        check_redis(router, obstacle.as_ref()),
        check_journal(router, bus, obstacle.as_ref())
    );
    let telemetry = &router.telemetry;
    telemetry.set_gauge(MetricId::StoreReady, &[], bool_gauge(redis.status.accepts_orders()));
    telemetry.set_gauge(MetricId::JournalRoom, &[], bool_gauge(journal.status.accepts_orders()));
    telemetry.set_gauge(
        MetricId::JournalBehind,
        &[],
        bool_gauge(journal.status == ComponentStatus::Behind),
    );
    telemetry.set_gauge(
        MetricId::JournalIncomplete,
        &[],
        bool_gauge(journal.status == ComponentStatus::Incomplete),
    );
    let of_extent = |value: fn(&JournalExtent) -> u64| extent.as_ref().map(value);
    telemetry.set_gauge(MetricId::JournalLast, &[], of_extent(|extent| extent.last_sequence));
    telemetry.set_gauge(MetricId::JournalSize, &[], of_extent(|extent| extent.bytes));
    let before = router.readiness.health();
    router.readiness.record_checks(redis, journal);
    let health = router.readiness.health();
    log_changes(&before, &health);
}

/// Logs when the worker stops or resumes taking orders, and when the journal turns out to have lost entries.
fn log_changes(before: &WorkerHealth, health: &WorkerHealth) {
    match health.obstacle() {
        Some(obstacle) if before.accepts_orders => tracing::error!(obstacle, "this worker takes no new orders"),
        None if !before.accepts_orders => tracing::info!("this worker takes new orders"),
        _ => {}
    }
    let is_incomplete = |health: &WorkerHealth| health.journal.status == ComponentStatus::Incomplete;
    if is_incomplete(health) && !is_incomplete(before) {
        tracing::error!(detail = health.journal.detail, "the journal has lost entries");
    }
}

/// Returns whether Redis takes the writes of a new order, and the store is in use.
async fn check_redis(router: &Router, obstacle: Option<&StoreObstacle>) -> ComponentHealth {
    let failing = |detail: String| ComponentHealth::new(ComponentStatus::Failing, detail);
    match tokio::time::timeout(CHECK_TIMEOUT, router.store.probe_write()).await {
        Err(_) => return failing(format!("Redis did not reply to a write within {CHECK_TIMEOUT:?}")),
        Ok(Err(error)) => return failing(error.to_string()),
        Ok(Ok(())) => {}
    }
    if router.store.epoch().is_some() {
        return ComponentHealth::ok();
    }
    match obstacle {
        Some(StoreObstacle::Store(detail)) => failing(detail.clone()),
        Some(StoreObstacle::Journal(_)) => {
            let detail = "Redis takes writes; the shared state is out of use because of the journal";
            ComponentHealth::new(ComponentStatus::Unknown, detail)
        }
        None => failing("the shared state is being rebuilt from the journal".to_owned()),
    }
}

/// Returns whether the journal takes the reports of a new order, and its extent.
async fn check_journal(
    router: &Router,
    bus: &Bus,
    obstacle: Option<&StoreObstacle>,
) -> (ComponentHealth, Option<JournalExtent>) {
    let failing = |detail: String| ComponentHealth::new(ComponentStatus::Failing, detail);
    if !bus.is_connected() {
        return (failing("NATS is unreachable".to_owned()), None);
    }
    let extent = match tokio::time::timeout(CHECK_TIMEOUT, router.journal_reader.find_extent()).await {
        Err(_) => return (failing(format!("NATS did not reply within {CHECK_TIMEOUT:?}")), None),
        Ok(Err(error)) => return (failing(error.to_string()), None),
        Ok(Ok(None)) => {
            let detail = StoreRebuildError::JournalMissing.to_string();
            return (ComponentHealth::new(ComponentStatus::Behind, detail), None);
        }
        Ok(Ok(Some(extent))) => extent,
    };
    (check_extent(router, &extent, obstacle).await, Some(extent))
}

async fn check_extent(router: &Router, extent: &JournalExtent, obstacle: Option<&StoreObstacle>) -> ComponentHealth {
    if let Some(StoreObstacle::Journal(health)) = obstacle {
        return health.clone();
    }
    if !router.journal_capacity.has_room() {
        let detail = format!(
            "the journal is nearly full: it has {} of {} bytes. Raise nats.reports_max_bytes or free disk space",
            extent.bytes, extent.max_bytes
        );
        return ComponentHealth::new(ComponentStatus::Failing, detail);
    }
    match router.journal_reader.find_unaccepted_loss(extent).await {
        Ok(None) => ComponentHealth::ok(),
        Ok(Some(loss)) => {
            let detail = format!(
                "{loss}. Orders are accepted; a lost Redis could not be rebuilt. Restore the stream or, if the loss is \
                 accepted, run `order-router journal accept-loss --actor NAME --reason TEXT`"
            );
            ComponentHealth::new(ComponentStatus::Incomplete, detail)
        }
        Err(error) => ComponentHealth::new(ComponentStatus::Failing, error.to_string()),
    }
}
