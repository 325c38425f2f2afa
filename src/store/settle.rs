//! Settle: one effect of an order, its sums and its event, in one step (`lua/settle.lua`).

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::connection::Core;
use super::error::StoreError;
use super::keys::{self, OrderKey};
use super::reserve::Stage;
use super::script::{KeyTable, Move, Reply, SETTLE, day_ttl_ms, json};
use crate::domain::execution::PendingEvent;
use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::settlement::Deltas;
use crate::domain::time::Timestamp;

/// One effect of an order, ready to be booked.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The order after the effect.
    pub order: Order,
    /// How far the sums move beyond what is booked or reserved already.
    pub deltas: Deltas,
    /// The event's journal document.
    pub document: Bytes,
    /// The lease it needs; `None` for what does not depend on one.
    pub lease: Option<LeaseToken>,
    /// It is not booked after this, by Redis' clock.
    pub deadline: Option<Timestamp>,
    /// The settlement's own id, by which a repetition is known.
    pub settlement_id: uuid::Uuid,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is booked; these events before it are not on the journal yet.
    Booked(Vec<PendingEvent>),
    /// Another effect came first: the order's latest document, empty where it is only on the journal.
    Superseded(Bytes),
    /// The lease is another's.
    LeaseLost,
    /// The deadline has passed.
    Late,
    /// Trading is halted, and this is the order's first effect.
    Halted,
    /// The order is not known.
    Missing,
    /// A sum would leave the range that is counted exactly.
    Inexact,
}

#[derive(Serialize)]
struct Command<'a> {
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
    d: Vec<Move>,
}

/// Runs a batch.
pub(super) async fn run(core: Core, batch: Vec<Arc<Settle>>) -> Result<Vec<Settled>, StoreError> {
    let epoch = core.epoch()?;
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::leases(),
        keys::outbox(),
        keys::state(),
        keys::open_sets(),
    ]);
    let mut arguments = Vec::with_capacity(batch.len());
    for settle in &batch {
        arguments.push(json(&encode(settle, &mut keys))?);
    }
    let mut command = SETTLE.call(epoch, keys.keys());
    command.arg(day_ttl_ms());
    for (json, settle) in arguments.iter().zip(&batch) {
        command.arg(json).arg(&settle.document[..]);
    }
    let replies = core.query(command).await.and_then(Reply::all_of);
    core.noting(epoch, replies)?.into_iter().map(decode).collect()
}

fn encode<'a>(settle: &'a Settle, keys: &mut KeyTable) -> Command<'a> {
    let order = &settle.order;
    let key = OrderKey::of(order);
    let stage = if order.is_ended() { Stage::Ended } else { Stage::Open };
    Command {
        k: keys.own(key.record()),
        i: keys.own(keys::index(&order.order_id)),
        op: keys.place(keys::open(&order.broker, &order.account_id)),
        du: keys.place(keys::due(&order.broker)),
        n: key.name(),
        o: order.order_id.as_str(),
        v: order.version.saturating_sub(1),
        t: settle.lease.as_ref().map_or("", LeaseToken::as_str),
        s: settle.settlement_id,
        dl: settle.deadline.map_or(0, Timestamp::milliseconds),
        st: stage.as_str(),
        at: order.due.map_or(0, |due| due.at.milliseconds()),
        d: keys.moves(&order.scope(), &settle.deltas),
    }
}

fn decode(mut reply: Reply) -> Result<Settled, StoreError> {
    Ok(match reply.verdict.as_str() {
        "booked" => Settled::Booked(decode_pending(&mut reply)?),
        "superseded" => Settled::Superseded(Bytes::from(reply.bytes()?)),
        "lease" => Settled::LeaseLost,
        "late" => Settled::Late,
        "halted" => Settled::Halted,
        "missing" => Settled::Missing,
        "inexact" => Settled::Inexact,
        _ => return Err(reply.unexpected()),
    })
}

/// Reads version and document of each event that follows.
pub(super) fn decode_pending(reply: &mut Reply) -> Result<Vec<PendingEvent>, StoreError> {
    let mut pending = Vec::new();
    while reply.has_more() {
        pending.push(PendingEvent {
            version: reply.integer()?,
            body: Bytes::from(reply.bytes()?),
        });
    }
    Ok(pending)
}
