//! What operators see of the state of things: queues, open orders, the journal, the servers, the use of limits. A look
//! every few moments, of one call to Redis and a few questions to NATS, whatever the load.
//!
//! A figure that cannot be read is taken out, so that nobody takes an old one for true.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::day::VIEW_MAX_AGE;
use super::router::Router;
use crate::brokers::adapter::Effects;
use crate::bus::connection::Bus;
use crate::bus::queue;
use crate::domain::control::Control;
use crate::domain::day::DayFigures;
use crate::domain::id::BrokerId;
use crate::domain::money::Micros;
use crate::domain::terms::{Mode, TradingState};
use crate::store::StoreError;
use crate::store::figures::Figures;
use crate::telemetry::{Id, micros, share};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How old the day's figures may be: they are renewed every second while nobody asks for them.
const FIGURES_MAX_AGE: Duration = VIEW_MAX_AGE.saturating_add(Duration::from_secs(4));

/// Looks until it is stopped.
pub(super) async fn run(router: Router, bus: Bus, stop: CancellationToken) {
    while !stop.is_cancelled() {
        here(&router, &bus);
        let look = async { tokio::join!(store(&router), journal(&router, &bus), backlog(&router, &bus)) };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// What this process knows by itself.
fn here(router: &Router, bus: &Bus) {
    let telemetry = &router.telemetry;
    let level = |queue: &str, (length, capacity): (usize, usize)| {
        telemetry.set(Id::QueueLength, &[queue], whole(length));
        telemetry.set(Id::QueueCapacity, &[queue], whole(capacity));
    };
    level("journal", router.journal.queue_level());
    level("alerts", router.signals.queue_level());
    for (queue, levels) in router.store.queue_levels() {
        level(queue, levels);
    }
    for (broker, handle) in router.brokers.iter() {
        for (queue, (length, capacity)) in handle.queue_levels() {
            telemetry.set(Id::BrokerQueueLength, &[broker.as_str(), queue], whole(length));
            telemetry.set(Id::BrokerQueueCapacity, &[broker.as_str(), queue], whole(capacity));
        }
    }
    let (is_connected, is_whole) = (bus.is_connected(), router.store.epoch().is_some());
    telemetry.set(Id::NatsConnected, &["worker"], flag(is_connected));
    telemetry.set(Id::StoreReady, &[], flag(is_whole));
    telemetry.set(Id::JournalRoom, &[], flag(router.room.is_left()));
    telemetry.set(Id::JournalBehind, &[], flag(router.journal.is_behind()));
    telemetry.set(Id::JournalSeen, &[], Some(router.journal.highest_seen()));
    let control = router.control.current();
    for state in TradingState::ALL {
        telemetry.set(
            Id::TradingState,
            &[state.as_str()],
            flag(*state == control.trading_state),
        );
    }
    for mode in Mode::ALL {
        telemetry.set(Id::Mode, &[mode.as_str()], flag(*mode == control.mode));
    }
    telemetry.set(Id::Locks, &[], whole(control.latches.len()));
    telemetry.note_ready(is_connected && is_whole);
}

/// What Redis knows for all workers.
async fn store(router: &Router) {
    let control = router.control.current();
    let date = control.trading_date.unwrap_or_else(|| router.day.date_by_clock());
    let outlives_us = |broker: &&BrokerId| {
        let handle = router.brokers.get(*broker);
        handle.is_some_and(|handle| handle.capabilities().effects == Effects::OutliveUs)
    };
    let asking: Vec<BrokerId> = router.brokers.keys().filter(outlives_us).cloned().collect();
    let figures = router.store.figures(control.mode, date, &asking).await;
    let is_up = match &figures {
        Ok(_) | Err(StoreError::Corrupt(_)) => true,
        // Without an epoch no script is called; whether Redis answers is another question.
        Err(_) => router.store.ping().await.is_ok(),
    };
    let telemetry = &router.telemetry;
    telemetry.set(Id::RedisUp, &[], flag(is_up));
    let figures = figures.ok();
    let of = |figure: fn(&Figures) -> u64| figures.as_ref().map(figure);
    telemetry.set(Id::OutboxOrders, &[], of(|figures| figures.outbox));
    telemetry.set(Id::OutboxAge, &[], of(|figures| micros(figures.outbox_age)));
    telemetry.set(Id::ClaimedOrders, &[], of(|figures| figures.claimed));
    telemetry.set(Id::JournalMarked, &[], of(|figures| figures.marked_sequence));
    for broker in router.brokers.keys() {
        let count = |counts: &BTreeMap<BrokerId, u64>| counts.get(broker).copied().unwrap_or(0);
        let open = figures.as_ref().and_then(|figures| figures.open.as_ref()).map(count);
        telemetry.set(Id::OpenOrders, &[broker.as_str()], open);
        let unknown = figures.as_ref().map(|figures| count(&figures.due));
        telemetry.set(Id::UnknownOrders, &[broker.as_str()], unknown);
    }
    limits(router, &control, figures.as_ref());
}

/// How much of the day's limits is used.
fn limits(router: &Router, control: &Control, figures: Option<&Figures>) {
    let telemetry = &router.telemetry;
    let notional_limit = control.daily_notional_limit.unwrap_or(router.limits.daily_notional);
    let loss_limit = control.daily_loss_limit.unwrap_or(router.limits.daily_loss);
    let notional = figures.and_then(|figures| share(figures.notional_routed.units(), notional_limit.units()));
    telemetry.set(Id::LimitUsed, &["daily_notional"], notional);
    let day = router.day.seen_within(FIGURES_MAX_AGE);
    let used = |profit: Option<Micros>| share(profit?.units().saturating_neg(), loss_limit.units());
    let total = day.as_ref().and_then(|day| used(day.total));
    telemetry.set(Id::LimitUsed, &["daily_loss"], total);
    let nearest = day.as_ref().and_then(|day| nearest(router, day, loss_limit));
    telemetry.set(Id::LimitUsed, &["daily_loss_of_an_account"], nearest);
}

/// Returns the use of the daily loss limit by the account that is nearest to its own; accounts whose profit or loss is
/// not known are left out.
fn nearest(router: &Router, day: &DayFigures, limit: Micros) -> Option<u64> {
    let known = day.accounts.iter().filter_map(|(account, profit)| {
        let own = router.limits.accounts.get(account).and_then(|own| own.daily_loss);
        let tighter = own.map_or(limit, |own| own.min(limit));
        share((*profit)?.units().saturating_neg(), tighter.units())
    });
    known.max().or(Some(0))
}

/// How far the journal has come.
async fn journal(router: &Router, bus: &Bus) {
    let info = if bus.is_connected() {
        router.reader.info().await.ok()
    } else {
        None
    };
    let telemetry = &router.telemetry;
    telemetry.set(Id::JournalLast, &[], info.as_ref().map(|info| info.last_sequence));
    telemetry.set(Id::JournalSize, &[], info.as_ref().map(|info| info.bytes));
}

/// How many durable intents nobody has dealt with.
async fn backlog(router: &Router, bus: &Bus) {
    for broker in router.brokers.keys() {
        let waiting = if bus.is_connected() {
            queue::backlog(bus, broker).await.ok()
        } else {
            None
        };
        router.telemetry.set(Id::DurableBacklog, &[broker.as_str()], waiting);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "gauges are set to what is known")]
fn flag(is_so: bool) -> Option<u64> {
    Some(u64::from(is_so))
}

fn whole(count: usize) -> Option<u64> {
    u64::try_from(count).ok()
}
