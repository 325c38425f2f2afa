//! Settlement: one effect of an order, its sums and its event, booked in one step (`lua/settle.lua`).

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
use crate::store::orders::record::{RecordStage, decode_pending_events};
use crate::store::retention::day_ttl_ms;
use crate::store::script::{CounterMove, KeyTable, SETTLE, ScriptReply, to_json};

/// One effect of an order, ready to be booked.
#[derive(Debug, Clone)]
pub struct SettleRequest {
    /// The order after the effect.
    pub order: Order,
    /// How far the sums move beyond what is already booked or reserved.
    pub deltas: SumDeltas,
    /// The event's journal document.
    pub event_document: Bytes,
    /// The lease that the effect requires; `None` for an effect that requires none.
    pub lease: Option<LeaseToken>,
    /// The moment from which the effect is no longer booked, by Redis' clock.
    pub deadline: Option<Timestamp>,
    /// The settlement's own id, by which a repeated request is recognised.
    pub settlement_id: uuid::Uuid,
}

/// The result of a [`SettleRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The effect is booked; these earlier events of the order are not journaled yet.
    Booked(Vec<OutboxEntry>),
    /// Another effect came first. Holds the order's latest document, which is empty where it is only on the journal.
    Superseded(Bytes),
    /// Another worker holds the lease.
    LeaseLost,
    /// The deadline has passed.
    DeadlinePassed,
    /// Trading is halted, and this is the order's first effect.
    Halted,
    /// The order is unknown.
    OrderNotFound,
    /// A sum would leave the range that is counted exactly.
    SumOutOfRange,
}

#[derive(Serialize)]
struct SettleCommand<'a> {
    #[serde(rename = "k")]
    record_key: usize,
    #[serde(rename = "i")]
    index_key: usize,
    #[serde(rename = "op")]
    open_orders_key: usize,
    #[serde(rename = "du")]
    due_key: usize,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "o")]
    order_id: &'a str,
    #[serde(rename = "v")]
    base_version: u32,
    #[serde(rename = "t")]
    lease_token: &'a str,
    #[serde(rename = "s")]
    settlement_id: uuid::Uuid,
    #[serde(rename = "dl")]
    deadline_ms: i64,
    #[serde(rename = "st")]
    stage: &'static str,
    #[serde(rename = "at")]
    due_at_ms: i64,
    #[serde(rename = "d")]
    deltas: Vec<CounterMove>,
}

/// Runs a batch of requests in one script call; returns an outcome for each, in order.
pub(in crate::store) async fn run_settle_batch(
    connection: StoreConnection,
    requests: Vec<Arc<SettleRequest>>,
) -> Result<Vec<SettleOutcome>, StoreError> {
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::leases(),
        keys::outbox(),
        keys::operator_state(),
        keys::open_order_sets(),
    ]);
    let mut commands = Vec::with_capacity(requests.len());
    for request in &requests {
        commands.push(to_json(&encode_settle(request, &mut keys))?);
    }
    let mut call = connection.script_call(&SETTLE, None, keys.keys())?;
    call.arg(day_ttl_ms());
    for (json, request) in commands.iter().zip(&requests) {
        call.arg(json).arg(&request.event_document[..]);
    }
    let replies = connection.run_batch(call).await?;
    replies.into_iter().map(decode_settle_outcome).collect()
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
        record_key: keys.add_unshared(keys::order_record(&key)),
        index_key: keys.add_unshared(keys::order_index(&order.order_id)),
        open_orders_key: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        due_key: keys.intern(keys::due_orders(&order.broker)),
        name: key.name(),
        order_id: order.order_id.as_str(),
        base_version: order.version.saturating_sub(1),
        lease_token: request.lease.as_ref().map_or("", LeaseToken::as_str),
        settlement_id: request.settlement_id,
        deadline_ms: request.deadline.map_or(0, Timestamp::as_milliseconds),
        stage: stage.as_str(),
        due_at_ms: order.due.map_or(0, |due| due.at.as_milliseconds()),
        deltas: keys.encode_moves(&order.sum_scope(), &request.deltas),
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
