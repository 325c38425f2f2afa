//! Marking events as journaled (`lua/journaled.lua`): they leave the outbox, and of ended orders only a remembered id stays.

use serde::Serialize;

use crate::domain::id::OrderId;
use crate::domain::order_key::OrderKey;
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::remembered::order_id_tail;
use crate::store::retention::retention_ms;
use crate::store::script::{KeyTable, MARK_JOURNALED, ScriptReply, to_named_message_pack};

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

#[derive(Serialize)]
struct MarkJournaledCommand {
    #[serde(rename = "k")]
    record_key: usize,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "o")]
    order_id: String,
    #[serde(rename = "t")]
    order_id_tail: String,
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "s")]
    settlement_id: String,
    #[serde(rename = "q")]
    sequence: u64,
    #[serde(rename = "ttl")]
    remembered_for_ms: u64,
}

/// Runs a batch of marks in one script call; returns an outcome for each request, in order.
pub(in crate::store) async fn run_mark_journaled_batch(
    connection: StoreConnection,
    requests: Vec<MarkJournaledRequest>,
) -> Result<Vec<Result<MarkJournaledOutcome, StoreError>>, StoreError> {
    let mut keys = KeyTable::new(vec![keys::meta(), keys::outbox()]);
    let remembered_for_ms = retention_ms(connection.settings.retention_h);
    let mut commands = Vec::with_capacity(requests.len());
    for request in &requests {
        commands.push(to_named_message_pack(&MarkJournaledCommand {
            record_key: keys.add_unshared(keys::order_record(&request.key)),
            name: request.key.name(),
            order_id: request.order_id.to_string(),
            order_id_tail: order_id_tail(request.key, &request.order_id).to_owned(),
            version: request.version,
            settlement_id: request.settlement_id.map_or_else(String::new, |id| id.to_string()),
            sequence: request.sequence,
            remembered_for_ms,
        })?);
    }
    let mut call = connection.script_call(&MARK_JOURNALED, None, keys.keys())?;
    for command in &commands {
        call.arg(&command[..]);
    }
    let outcomes = decode_mark_outcomes(connection.run(call).await?)?;
    Ok(outcomes.into_iter().map(Ok).collect())
}

/// Decodes a reply that is a list of verdicts.
fn decode_mark_outcomes(mut reply: ScriptReply) -> Result<Vec<MarkJournaledOutcome>, StoreError> {
    let mut outcomes = Vec::new();
    loop {
        outcomes.push(match reply.verdict.as_str() {
            "marked" => MarkJournaledOutcome::Marked,
            "lost" => MarkJournaledOutcome::NeedsReplay,
            _ => return Err(reply.unexpected_verdict()),
        });
        if !reply.has_more() {
            return Ok(outcomes);
        }
        reply.verdict = reply.next_text()?;
    }
}
