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
use crate::domain::time::Timestamp;
use crate::fault::Code;

/// How long an order whose retention is over is remembered after a replay, in milliseconds: the journal may hold one of
/// its events twice, and the second must find that the first has been counted.
pub(super) const SHORTEST_TOMBSTONE_MS: u64 = 60 * 60 * 1_000;

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

/// What stands in the place of an event that came before it on the journal.
#[derive(Debug, Clone)]
pub struct Supplanted {
    /// The order that stands there, as far as it has come.
    pub order: Order,
}

#[derive(Serialize)]
struct Undo {
    o: String,
    v: u32,
    i: usize,
    op: usize,
    du: usize,
    d: Vec<Move>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    u: Option<Undo>,
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
        self.replay_in(&healing.epoch, events, None)
            .await
            .map(|(changed, _)| changed)
    }

    /// As [`Store::replay`] for a store that is being healed, and [`Store::replay_late`] for one in use. Returns also the
    /// indices of the events that came before what stands in their place: those changed nothing yet.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_noting(
        &self,
        healing: Option<&Healing>,
        events: &[ReplayEvent],
        supplanted: Option<&Supplanted>,
    ) -> Result<(u64, Vec<usize>), StoreError> {
        if let Some(healing) = healing {
            return self.replay_in(&healing.epoch, events, supplanted).await;
        }
        let epoch = self.core.epoch()?;
        let replayed = self.replay_in(&epoch.to_string(), events, supplanted).await;
        self.core.noting(epoch, replayed)
    }

    /// As [`Store::replay`], in a store that is in use: for events that an earlier epoch's worker appended while the
    /// store was being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_late(&self, events: &[ReplayEvent]) -> Result<u64, StoreError> {
        let epoch = self.core.epoch()?;
        let replayed = self.replay_in(&epoch.to_string(), events, None).await;
        self.core.noting(epoch, replayed).map(|(changed, _)| changed)
    }

    async fn replay_in(
        &self,
        epoch: &str,
        events: &[ReplayEvent],
        supplanted: Option<&Supplanted>,
    ) -> Result<(u64, Vec<usize>), StoreError> {
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::healing(),
            keys::outbox(),
            keys::leases(),
            keys::open_sets(),
        ]);
        let now = Timestamp::now();
        let retention = retention_ms(self.core.settings.retention_h);
        let mut commands = Vec::with_capacity(events.len());
        for event in events {
            let mut command = encode(event, &mut keys, now, retention);
            command.u = supplanted.map(|other| undo(&other.order, &mut keys, now));
            commands.push(json(&command)?);
        }
        let mut command = REPLAY.call(epoch, keys.keys());
        command.arg(HEALING_LOCK_MS).arg(day_ttl_ms());
        for (json, event) in commands.iter().zip(events) {
            command.arg(json).arg(&event.document[..]);
        }
        let mut reply = self.core.query(command).await.and_then(Reply::of)?;
        let changed = reply.integer()?;
        let mut conflicts = Vec::new();
        while reply.has_more() {
            conflicts.push(reply.integer()?);
        }
        Ok((changed, conflicts))
    }
}

/// Returns what takes an order back that came later than another one in its place.
fn undo(order: &Order, keys: &mut KeyTable, now: Timestamp) -> Undo {
    let moves = still_counted(order, order.moved.undone(), now);
    Undo {
        o: order.order_id.to_string(),
        v: order.version,
        i: keys.place(keys::index(&order.order_id)),
        op: keys.place(keys::open(&order.broker, &order.account_id)),
        du: keys.place(keys::due(&order.broker)),
        d: keys.moves(&order.scope(), &moves),
    }
}

fn encode(event: &ReplayEvent, keys: &mut KeyTable, now: Timestamp, retention_ms: u64) -> Command {
    let order = &event.order;
    let key = OrderKey::of(order);
    let deltas = still_counted(order, event.deltas, now);
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
        ttl: tombstone_ms(order, retention_ms),
        d: keys.moves(&order.scope(), &deltas),
        u: None,
        sn: keys.place(keys::sums_names(order.mode)),
        sm: keys::sums_name(&order.scope()),
    }
}

/// Returns the moves whose counters are still there.
pub(super) fn still_counted(order: &Order, mut deltas: Deltas, now: Timestamp) -> Deltas {
    if order.reservation.trading_date.days_before(now.utc_date()) > keys::DAY_COUNTER_DAYS {
        // That day's counter is gone for good: it is never made anew.
        deltas.daily_notional = 0;
    }
    deltas
}

/// Returns how long an order that has ended is still remembered, in milliseconds.
pub(super) fn tombstone_ms(order: &Order, retention_ms: u64) -> u64 {
    let age_ms = u64::try_from(Timestamp::now().since(order.updated_at).as_millis()).unwrap_or(u64::MAX);
    retention_ms.saturating_sub(age_ms).max(SHORTEST_TOMBSTONE_MS)
}

/// Returns the stage a journaled order is in.
fn stage(order: &Order) -> Stage {
    let is_unsent = |code| code == ReasonCode::DryRun || Code::of_denial(code).is_some();
    match order.status {
        Some(status) if status.is_ended() && order.reason.as_ref().is_some_and(|reason| is_unsent(reason.code)) => {
            Stage::Denied
        }
        Some(status) if status.is_ended() => Stage::Ended,
        _ => Stage::Open,
    }
}
