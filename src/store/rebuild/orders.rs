//! Applying the journal to a store that is being healed (`lua/replay.lua`).

use serde::Serialize;

use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::fault::FaultCode;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::orders::mark_journaled::retention_ms;
use crate::store::orders::reserve::RecordStage;
use crate::store::rebuild::epoch::{REBUILD_LEASE_MS, StoreRebuild};
use crate::store::script::{CounterMove, KeyTable, REPLAY_ORDERS, ScriptReply, day_ttl_ms, to_json};

/// How long an order whose retention is over is remembered after a replay, in milliseconds: the journal may hold one of
/// its events twice, and the second must find that the first has been counted.
pub(in crate::store) const MIN_TOMBSTONE_MS: u64 = 60 * 60 * 1_000;

/// One event of the journal.
#[derive(Debug, Clone)]
pub struct OrderReplay {
    /// The order after it.
    pub order: Order,
    /// How far it moved the sums since the version before; from nothing for version 1.
    pub deltas: SumDeltas,
    /// Its place in the journal.
    pub sequence: u64,
    /// Its document.
    pub document: bytes::Bytes,
}

/// What stands in the place of an event that came before it on the journal.
#[derive(Debug, Clone)]
pub struct ConflictingOrder {
    /// The order that stands there, as far as it has come.
    pub order: Order,
}

#[derive(Serialize)]
struct UndoArguments {
    o: String,
    v: u32,
    i: usize,
    op: usize,
    du: usize,
    d: Vec<CounterMove>,
}

#[derive(Serialize)]
struct ReplayCommand {
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
    d: Vec<CounterMove>,
    #[serde(skip_serializing_if = "Option::is_none")]
    u: Option<UndoArguments>,
    sn: usize,
    sm: String,
}

impl Store {
    /// Applies events in the journal's order; those the store has settled already only count as journaled. Returns how
    /// many changed something.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn replay_orders(&self, rebuild: &StoreRebuild, events: &[OrderReplay]) -> Result<u64, StoreError> {
        self.replay_orders_in_epoch(&rebuild.epoch, events, None)
            .await
            .map(|(changed, _)| changed)
    }

    /// As [`Store::replay`] for a store that is being healed, and [`Store::replay_late`] for one in use. Returns also the
    /// indices of the events that came before what stands in their place: those changed nothing yet.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_orders_with_conflicts(
        &self,
        rebuild: Option<&StoreRebuild>,
        events: &[OrderReplay],
        conflicting: Option<&ConflictingOrder>,
    ) -> Result<(u64, Vec<usize>), StoreError> {
        if let Some(healing) = rebuild {
            return self.replay_orders_in_epoch(&healing.epoch, events, conflicting).await;
        }
        let epoch = self.connection.epoch()?;
        let replayed = self
            .replay_orders_in_epoch(&epoch.to_string(), events, conflicting)
            .await;
        self.connection.clear_epoch_if_stale(epoch, replayed)
    }

    /// As [`Store::replay`], in a store that is in use: for events that an earlier epoch's worker appended while the
    /// store was being healed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_late_orders(&self, events: &[OrderReplay]) -> Result<u64, StoreError> {
        let epoch = self.connection.epoch()?;
        let replayed = self.replay_orders_in_epoch(&epoch.to_string(), events, None).await;
        self.connection
            .clear_epoch_if_stale(epoch, replayed)
            .map(|(changed, _)| changed)
    }

    async fn replay_orders_in_epoch(
        &self,
        epoch: &str,
        events: &[OrderReplay],
        conflicting: Option<&ConflictingOrder>,
    ) -> Result<(u64, Vec<usize>), StoreError> {
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::rebuild_lease(),
            keys::outbox(),
            keys::leases(),
            keys::open_order_sets(),
        ]);
        let now = Timestamp::now();
        let retention = retention_ms(self.connection.settings.retention_h);
        let mut commands = Vec::with_capacity(events.len());
        for event in events {
            let mut command = encode_replay(event, &mut keys, now, retention);
            command.u = conflicting.map(|other| encode_undo(&other.order, &mut keys, now));
            commands.push(to_json(&command)?);
        }
        let mut command = REPLAY_ORDERS.evalsha_command(epoch, keys.keys());
        command.arg(REBUILD_LEASE_MS).arg(day_ttl_ms());
        for (json, event) in commands.iter().zip(events) {
            command.arg(json).arg(&event.document[..]);
        }
        let mut reply = self.connection.query(command).await.and_then(ScriptReply::from_value)?;
        let changed = reply.next_integer()?;
        let mut conflicts = Vec::new();
        while reply.has_more() {
            conflicts.push(reply.next_integer()?);
        }
        Ok((changed, conflicts))
    }
}

/// Returns what takes an order back that came later than another one in its place.
fn encode_undo(order: &Order, keys: &mut KeyTable, now: Timestamp) -> UndoArguments {
    let moves = drop_expired_counters(order, order.total_deltas.reversed(), now);
    UndoArguments {
        o: order.order_id.to_string(),
        v: order.version,
        i: keys.intern(keys::order_index(&order.order_id)),
        op: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        du: keys.intern(keys::due_orders(&order.broker)),
        d: keys.encode_moves(&order.sum_scope(), &moves),
    }
}

fn encode_replay(event: &OrderReplay, keys: &mut KeyTable, now: Timestamp, retention_ms: u64) -> ReplayCommand {
    let order = &event.order;
    let key = OrderKey::of(order);
    let deltas = drop_expired_counters(order, event.deltas, now);
    ReplayCommand {
        k: keys.intern(key.record_key()),
        i: keys.intern(keys::order_index(&order.order_id)),
        op: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        du: keys.intern(keys::due_orders(&order.broker)),
        n: key.name(),
        o: order.order_id.to_string(),
        h: order.content_hash.0.to_string(),
        v: order.version,
        st: record_stage(order).as_str(),
        q: event.sequence,
        at: order.due.map_or(0, |due| due.at.as_milliseconds()),
        ttl: remaining_tombstone_ms(order, retention_ms),
        d: keys.encode_moves(&order.sum_scope(), &deltas),
        u: None,
        sn: keys.intern(keys::sums_names(order.mode)),
        sm: keys::sums_name(&order.sum_scope()),
    }
}

/// Returns the moves whose counters are still there.
pub(in crate::store) fn drop_expired_counters(order: &Order, mut deltas: SumDeltas, now: Timestamp) -> SumDeltas {
    if order.reservation.trading_date.days_until(now.utc_date()) > keys::DAY_COUNTER_RETENTION_DAYS {
        // That day's counter is gone for good: it is never made anew.
        deltas.daily_notional = 0;
    }
    deltas
}

/// Returns how long an order that has ended is still remembered, in milliseconds.
pub(in crate::store) fn remaining_tombstone_ms(order: &Order, retention_ms: u64) -> u64 {
    let age_ms =
        u64::try_from(Timestamp::now().saturating_duration_since(order.updated_at).as_millis()).unwrap_or(u64::MAX);
    retention_ms.saturating_sub(age_ms).max(MIN_TOMBSTONE_MS)
}

/// Returns the stage a journaled order is in.
fn record_stage(order: &Order) -> RecordStage {
    let is_unsent = |code| code == ReasonCode::DryRun || FaultCode::from_risk_reason(code).is_some();
    match order.status {
        Some(status) if status.is_terminal() && order.reason.as_ref().is_some_and(|reason| is_unsent(reason.code)) => {
            RecordStage::Denied
        }
        Some(status) if status.is_terminal() => RecordStage::Ended,
        _ => RecordStage::Open,
    }
}
