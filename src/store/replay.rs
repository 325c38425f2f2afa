//! Applying the journal to a store that is being healed (`lua/replay.lua`).

use serde::Serialize;

use super::connection::Store;
use super::epoch::{HEALING_LOCK_MS, Healing};
use super::error::StoreError;
use super::journaled::retention_ms;
use super::keys::{self, OrderKey};
use super::reserve::Stage;
use super::script::{KeyTable, Move, REPLAY, Reply, day_ttl_ms, json};
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::Deltas;
use crate::domain::terms::OrderStatus;
use crate::domain::time::Timestamp;

/// How long an order whose retention is over is remembered after a replay, in milliseconds: the journal may hold one of
/// its events twice, and the second must find that the first has been counted.
const SHORTEST_TOMBSTONE_MS: u64 = 60 * 60 * 1_000;

/// One event of the journal.
#[derive(Debug, Clone)]
pub struct ReplayEvent {
    /// The order after it.
    pub order: Order,
    /// How far it moved the sums since the version before; from nothing for version 1.
    pub deltas: Deltas,
    /// Its place in the journal.
    pub sequence: u64,
    /// Its document.
    pub document: bytes::Bytes,
}

#[derive(Serialize)]
struct Command {
    k: usize,
    i: usize,
    op: usize,
    du: usize,
    n: String,
    o: String,
    h: String,
    v: u32,
    st: &'static str,
    q: u64,
    at: i64,
    ttl: u64,
    d: Vec<Move>,
    sn: usize,
    sm: String,
}

impl Store {
    /// Applies events in the journal's order; those the store has settled already only count as journaled. Returns how
    /// many changed something.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn replay(&self, healing: &Healing, events: &[ReplayEvent]) -> Result<u64, StoreError> {
        self.replay_in(&healing.epoch, events).await
    }

    /// As [`Store::replay`], in a store that is in use: for events that an earlier epoch's worker appended while the
    /// store was being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_late(&self, events: &[ReplayEvent]) -> Result<u64, StoreError> {
        let epoch = self.core.epoch()?;
        let replayed = self.replay_in(&epoch.to_string(), events).await;
        self.core.noting(epoch, replayed)
    }

    async fn replay_in(&self, epoch: &str, events: &[ReplayEvent]) -> Result<u64, StoreError> {
        let mut keys = KeyTable::new(vec![keys::meta(), keys::healing(), keys::outbox(), keys::leases()]);
        let now = Timestamp::now();
        let retention = retention_ms(self.core.settings.retention_h);
        let mut commands = Vec::with_capacity(events.len());
        for event in events {
            commands.push(json(&encode(event, &mut keys, now, retention))?);
        }
        let mut command = REPLAY.call(epoch, keys.keys());
        command.arg(HEALING_LOCK_MS).arg(day_ttl_ms());
        for (json, event) in commands.iter().zip(events) {
            command.arg(json).arg(&event.document[..]);
        }
        self.core.query(command).await.and_then(Reply::of)?.integer()
    }
}

fn encode(event: &ReplayEvent, keys: &mut KeyTable, now: Timestamp, retention_ms: u64) -> Command {
    let order = &event.order;
    let key = OrderKey::of(order);
    let mut deltas = event.deltas;
    if order.reservation.trading_date.days_before(now.utc_date()) > keys::DAY_COUNTER_DAYS {
        // That day's counter is gone for good: it is never made anew.
        deltas.daily_notional = 0;
    }
    let age_ms = u64::try_from(now.since(order.updated_at).as_millis()).unwrap_or(u64::MAX);
    Command {
        k: keys.place(key.record()),
        i: keys.place(keys::index(&order.order_id)),
        op: keys.place(keys::open(&order.broker, &order.account_id)),
        du: keys.place(keys::due(&order.broker)),
        n: key.name(),
        o: order.order_id.to_string(),
        h: order.content.0.to_string(),
        v: order.version,
        st: stage(order).as_str(),
        q: event.sequence,
        at: order.due.map_or(0, |due| due.at.milliseconds()),
        ttl: retention_ms.saturating_sub(age_ms).max(SHORTEST_TOMBSTONE_MS),
        d: keys.moves(&order.scope(), &deltas),
        sn: keys.place(keys::sums_names(order.mode)),
        sm: keys::sums_name(&order.scope()),
    }
}

/// Returns the stage a journaled order is in.
fn stage(order: &Order) -> Stage {
    let denied = |code| {
        matches!(
            code,
            ReasonCode::OrderSizeExceeded | ReasonCode::RiskLocked | ReasonCode::DailyNotionalExceeded
        )
    };
    match order.status {
        Some(OrderStatus::Rejected) if order.reason.as_ref().is_some_and(|reason| denied(reason.code)) => Stage::Denied,
        Some(status) if status.is_ended() => Stage::Ended,
        _ => Stage::Open,
    }
}
