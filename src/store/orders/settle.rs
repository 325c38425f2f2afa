//! Settle: one effect of an order, its sums and its event, in one step (`lua/settle.lua`).

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::OutboxEntry;
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::orders::reserve::RecordStage;
use crate::store::script::{CounterMove, KeyTable, SETTLE, ScriptReply, day_ttl_ms, to_json};

/// One effect of an order, ready to be booked.
#[derive(Debug, Clone)]
pub struct SettleRequest {
    /// The order after the effect.
    pub order: Order,
    /// How far the sums move beyond what is booked or reserved already.
    pub deltas: SumDeltas,
    /// The event's journal document.
    pub event_document: Bytes,
    /// The lease it needs; `None` for what does not depend on one.
    pub lease: Option<LeaseToken>,
    /// It is not booked after this, by Redis' clock.
    pub deadline: Option<Timestamp>,
    /// The settlement's own id, by which a repetition is known.
    pub settlement_id: uuid::Uuid,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It is booked; these events before it are not on the journal yet.
    Booked(Vec<OutboxEntry>),
    /// Another effect came first: the order's latest document, empty where it is only on the journal.
    Superseded(Bytes),
    /// The lease is another's.
    LeaseLost,
    /// The deadline has passed.
    DeadlinePassed,
    /// Trading is halted, and this is the order's first effect.
    Halted,
    /// The order is not known.
    OrderNotFound,
    /// A sum would leave the range that is counted exactly.
    SumOutOfRange,
}

#[derive(Serialize)]
struct SettleCommand<'a> {
    k: usize,
    i: usize,
    op: usize,
    du: usize,
    n: String,
    o: &'a str,
    v: u32,
    t: &'a str,
    s: uuid::Uuid,
    dl: i64,
    st: &'static str,
    at: i64,
    d: Vec<CounterMove>,
}

/// Runs a batch.
pub(in crate::store) async fn run_settle_batch(
    core: StoreConnection,
    batch: Vec<Arc<SettleRequest>>,
) -> Result<Vec<SettleOutcome>, StoreError> {
    let epoch = core.epoch()?;
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::leases(),
        keys::outbox(),
        keys::operator_state(),
        keys::open_order_sets(),
    ]);
    let mut arguments = Vec::with_capacity(batch.len());
    for settle in &batch {
        arguments.push(to_json(&encode_settle(settle, &mut keys))?);
    }
    let mut command = SETTLE.evalsha_command(epoch, keys.keys());
    command.arg(day_ttl_ms());
    for (json, settle) in arguments.iter().zip(&batch) {
        command.arg(json).arg(&settle.event_document[..]);
    }
    let replies = core.query(command).await.and_then(ScriptReply::from_batch_value);
    core.clear_epoch_if_stale(epoch, replies)?
        .into_iter()
        .map(decode_settle_outcome)
        .collect()
}

fn encode_settle<'a>(request: &'a SettleRequest, keys: &mut KeyTable) -> SettleCommand<'a> {
    let order = &request.order;
    let key = OrderKey::of(order);
    let stage = if order.is_terminal() {
        RecordStage::Ended
    } else {
        RecordStage::Open
    };
    SettleCommand {
        k: keys.add_unshared(key.record_key()),
        i: keys.add_unshared(keys::order_index(&order.order_id)),
        op: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        du: keys.intern(keys::due_orders(&order.broker)),
        n: key.name(),
        o: order.order_id.as_str(),
        v: order.version.saturating_sub(1),
        t: request.lease.as_ref().map_or("", LeaseToken::as_str),
        s: request.settlement_id,
        dl: request.deadline.map_or(0, Timestamp::as_milliseconds),
        st: stage.as_str(),
        at: order.due.map_or(0, |due| due.at.as_milliseconds()),
        d: keys.encode_moves(&order.sum_scope(), &request.deltas),
    }
}

fn decode_settle_outcome(mut reply: ScriptReply) -> Result<SettleOutcome, StoreError> {
    Ok(match reply.verdict.as_str() {
        "booked" => SettleOutcome::Booked(decode_pending_events(&mut reply)?),
        "superseded" => SettleOutcome::Superseded(Bytes::from(reply.next_bytes()?)),
        "lease" => SettleOutcome::LeaseLost,
        "late" => SettleOutcome::DeadlinePassed,
        "halted" => SettleOutcome::Halted,
        "missing" => SettleOutcome::OrderNotFound,
        "inexact" => SettleOutcome::SumOutOfRange,
        _ => return Err(reply.unexpected_verdict()),
    })
}

/// Reads version and document of each event that follows.
pub(in crate::store) fn decode_pending_events(reply: &mut ScriptReply) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut pending = Vec::new();
    while reply.has_more() {
        pending.push(OutboxEntry {
            version: reply.next_integer()?,
            body: Bytes::from(reply.next_bytes()?),
        });
    }
    Ok(pending)
}
