//! Marking events as journaled (`lua/journaled.lua`): they leave the outbox, and of ended orders only a remembered id stays.

use std::sync::Arc;

use serde::Serialize;

use crate::domain::id::OrderId;
use crate::domain::order_key::OrderKey;
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::remembered::order_id_tail;
use crate::store::orders::settle::text_of;
use crate::store::retention::retention_ms;
use crate::store::script::{BatchReplies, FieldList, KeyTable, MARK_JOURNALED, ScriptReply};

/// A journaled event of an order.
#[derive(Debug, Clone)]
pub struct MarkJournaledRequest {
    /// The order's idempotency key.
    pub key: OrderKey,
    /// The router's id of the order.
    pub order_id: OrderId,
    /// The order's version after the event.
    pub version: u32,
    /// The id of the event's settlement, which distinguishes it from another effect that made the same version.
    pub settlement_id: Option<uuid::Uuid>,
    /// The event's journal sequence.
    pub sequence: u64,
}

/// Whether the store knows a journaled event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkJournaledOutcome {
    /// The store holds the order at this version or a later one: the event is marked.
    Marked,
    /// The store does not hold this order, this version or this effect: it lost its last writes, and the event has to be
    /// replayed.
    NeedsReplay,
}

/// A command of `lua/journaled.lua`: the list of its fields.
#[derive(Serialize)]
struct MarkJournaledCommand<'a> {
    record_key: usize,
    name: String,
    name_bits: u64,
    order_id: &'a str,
    order_id_tail: &'a str,
    version: u32,
    sequence: u64,
    settlement_id: String,
    remembered_for_ms: u64,
}

/// Runs a batch of marks in one script call; returns an outcome for each request, in order.
pub(in crate::store) async fn run_mark_journaled_batch(
    connection: StoreConnection,
    requests: Arc<[MarkJournaledRequest]>,
) -> Result<BatchReplies<MarkJournaledOutcome>, StoreError> {
    let mut keys = KeyTable::new(vec![keys::meta(), keys::outbox()]);
    let remembered_for_ms = retention_ms(connection.settings.retention_h);
    let mut commands = Vec::with_capacity(requests.len());
    for request in requests.iter() {
        let mut command = FieldList::default();
        command.append(&MarkJournaledCommand {
            record_key: keys.add_unshared(keys::order_record(&request.key)),
            name: request.key.name(),
            name_bits: request.key.low_bits(),
            order_id: request.order_id.as_str(),
            order_id_tail: order_id_tail(request.key, &request.order_id),
            version: request.version,
            sequence: request.sequence,
            settlement_id: text_of(request.settlement_id),
            remembered_for_ms,
        })?;
        commands.push(command);
    }
    let mut call = connection.script_call(&MARK_JOURNALED, None, keys.keys())?;
    for command in &commands {
        call.arg(command.as_bytes());
    }
    Ok(connection.run_batch(call).await?.decode(decode_mark_outcome))
}

fn decode_mark_outcome(reply: ScriptReply) -> Result<MarkJournaledOutcome, StoreError> {
    match reply.verdict.as_str() {
        "marked" => Ok(MarkJournaledOutcome::Marked),
        "lost" => Ok(MarkJournaledOutcome::NeedsReplay),
        _ => Err(reply.unexpected_verdict()),
    }
}
