//! The worker's gauges: queues, open orders, the connections, the use of limits. One sample a second takes one
//! call to Redis and a few requests to NATS, whatever the load.
//!
//! A gauge whose value cannot be read is removed, so that no old value passes for the current one.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::Effects;
use crate::bus::connection::Bus;
use crate::bus::durable_door;
use crate::domain::daily_pnl::ProfitView;
use crate::domain::id::BrokerId;
use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, TradingState};
use crate::store::StoreError;
use crate::store::sums::measurements::StoreMeasurements;
use crate::telemetry::{MetricId, duration_micros, limit_ratio};
use crate::worker::control::cache::ControlSnapshot;
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;

/// The pause between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum age of the day's profit and loss: without demand it is refreshed every second.
const DAY_PNL_MAX_AGE: Duration = Duration::from_secs(4);

/// Samples every gauge until the worker stops.
pub(in crate::worker) async fn run(router: Router, bus: Bus, stop: CancellationToken) {
    let mut runs = repeat_every(SAMPLE_INTERVAL, &stop);
    while runs.next().await {
        sample_process(&router, &bus);
        let sample_servers = async { tokio::join!(sample_store(&router), sample_durable_backlog(&router, &bus)) };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = sample_servers => {}
        }
    }
}

/// Samples what this process has at hand.
fn sample_process(router: &Router, bus: &Bus) {
    let telemetry = &router.telemetry;
    let level = |queue: &str, (length, capacity): (usize, usize)| {
        telemetry.set_gauge(MetricId::QueueLength, &[queue], count_gauge(length));
        telemetry.set_gauge(MetricId::QueueCapacity, &[queue], count_gauge(capacity));
    };
    level("journal", router.journal_writer.queue_level());
    level("alerts", router.signals.queue_level());
    for (queue, levels) in router.store.queue_levels() {
        level(queue, levels);
    }
    for broker in router.brokers.ids() {
        sample_broker_queues(router, broker);
    }
    telemetry.set_gauge(MetricId::NatsConnected, &["worker"], bool_gauge(bus.is_connected()));
    telemetry.set_gauge(
        MetricId::JournalSeen,
        &[],
        Some(router.journal_writer.highest_sequence()),
    );
    let control = router.control.current();
    for state in TradingState::ALL {
        telemetry.set_gauge(
            MetricId::TradingState,
            &[state.as_str()],
            bool_gauge(*state == control.trading_state),
        );
    }
    for mode in Mode::ALL {
        telemetry.set_gauge(MetricId::Mode, &[mode.as_str()], bool_gauge(*mode == control.mode));
    }
    telemetry.set_gauge(MetricId::Locks, &[], count_gauge(control.locks.len()));
}

/// Samples the queues of a broker's tasks: of several tasks of one mode, the fullest.
fn sample_broker_queues(router: &Router, broker: &BrokerId) {
    let mut fullest: BTreeMap<(Mode, &str), (usize, usize)> = BTreeMap::new();
    for (mode, handle) in router.brokers.of_broker(broker) {
        for (queue, levels) in handle.queue_levels() {
            let known = fullest.entry((mode, queue)).or_insert(levels);
            *known = levels.max(*known);
        }
    }
    for ((mode, queue), (length, capacity)) in fullest {
        let labels = [broker.as_str(), mode.as_str(), queue];
        router
            .telemetry
            .set_gauge(MetricId::BrokerQueueLength, &labels, count_gauge(length));
        router
            .telemetry
            .set_gauge(MetricId::BrokerQueueCapacity, &labels, count_gauge(capacity));
    }
}

/// Samples what Redis holds for all workers.
async fn sample_store(router: &Router) {
    let control = router.control.current();
    let date = control
        .trading_date
        .unwrap_or_else(|| router.trading_day.clock_trading_date());
    let measured = router
        .store
        .measure(control.mode, date, &router.brokers.with_effects(Effects::AtVenue))
        .await;
    let is_up = match &measured {
        Ok(_) | Err(StoreError::Corrupt(_)) => true,
        // Without an epoch no script is called; Redis may reply all the same.
        Err(_) => router.store.ping().await.is_ok(),
    };
    let telemetry = &router.telemetry;
    telemetry.set_gauge(MetricId::RedisUp, &[], bool_gauge(is_up));
    let measurements = measured.ok();
    let value = |select: fn(&StoreMeasurements) -> u64| measurements.as_ref().map(select);
    telemetry.set_gauge(MetricId::OutboxOrders, &[], value(|store| store.outbox_orders));
    telemetry.set_gauge(
        MetricId::OutboxAge,
        &[],
        value(|store| duration_micros(store.outbox_age)),
    );
    telemetry.set_gauge(MetricId::ClaimedOrders, &[], value(|store| store.claimed_orders));
    telemetry.set_gauge(MetricId::JournalMarked, &[], value(|store| store.journaled_sequence));
    for broker in router.brokers.ids() {
        let count = |counts: &BTreeMap<BrokerId, u64>| counts.get(broker).copied().unwrap_or(0);
        let open = measurements
            .as_ref()
            .and_then(|store| store.open_orders.as_ref())
            .map(count);
        telemetry.set_gauge(MetricId::OpenOrders, &[broker.as_str()], open);
        let unknown = measurements.as_ref().map(|store| count(&store.due_orders));
        telemetry.set_gauge(MetricId::UnknownOrders, &[broker.as_str()], unknown);
    }
    sample_limit_use(router, &control, measurements.as_ref());
}

/// Samples how much of the day's limits is used.
fn sample_limit_use(router: &Router, control: &ControlSnapshot, measurements: Option<&StoreMeasurements>) {
    let telemetry = &router.telemetry;
    let notional_limit = control
        .daily_notional_limit
        .unwrap_or(control.limits.risk.daily_notional);
    let loss_limit = control.daily_loss_limit.unwrap_or(control.limits.risk.daily_loss);
    let notional = measurements.and_then(|store| limit_ratio(store.notional_routed.units(), notional_limit.units()));
    telemetry.set_gauge(MetricId::LimitUsed, &["daily_notional"], notional);
    let recent = router.trading_day.profits_within(DAY_PNL_MAX_AGE);
    let used = |view: &ProfitView, limit: Micros| limit_ratio(view.day.profit.units().saturating_neg(), limit.units());
    let total = recent.total.and_then(|view| used(&view, loss_limit));
    telemetry.set_gauge(MetricId::LimitUsed, &["daily_loss"], total);
    // Of the accounts that were read lately: those that sent orders, and those whose turn it was.
    let by_account = recent.accounts.iter().filter_map(|(account, view)| {
        let own = control.limits.risk.accounts.get(account).and_then(|own| own.daily_loss);
        used(view, own.map_or(loss_limit, |own| own.min(loss_limit)))
    });
    let nearest = by_account.max().or(total.map(|_| 0));
    telemetry.set_gauge(MetricId::LimitUsed, &["daily_loss_of_an_account"], nearest);
}

/// Samples how many durable intents wait for a worker.
async fn sample_durable_backlog(router: &Router, bus: &Bus) {
    for broker in router.brokers.ids() {
        let waiting = if bus.is_connected() {
            durable_door::fetch_backlog(bus, broker).await.ok()
        } else {
            None
        };
        router
            .telemetry
            .set_gauge(MetricId::DurableBacklog, &[broker.as_str()], waiting);
    }
}

/// Returns the gauge of a condition: 1 or 0.
#[expect(clippy::unnecessary_wraps, reason = "a gauge takes an optional value")]
pub(in crate::worker) fn bool_gauge(is_so: bool) -> Option<u64> {
    Some(u64::from(is_so))
}

fn count_gauge(count: usize) -> Option<u64> {
    u64::try_from(count).ok()
}
