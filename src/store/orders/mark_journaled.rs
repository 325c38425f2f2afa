//! Marking events as journaled (`lua/journaled.lua`): the outbox empties, ended orders shrink to tombstones.

use serde::Serialize;

use crate::domain::id::OrderId;
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::script::{KeyTable, MARK_JOURNALED, ScriptReply, to_json};

/// An event that is on the journal.
#[derive(Debug, Clone)]
pub struct MarkJournaledRequest {
    /// The order.
    pub key: OrderKey,
    /// Its router id.
    pub order_id: OrderId,
    /// The version the event tells of.
    pub version: u32,
    /// The id it was settled under; another effect of the same version is not it.
    pub settlement_id: Option<uuid::Uuid>,
    /// The journal's sequence of it.
    pub sequence: u64,
}

/// What the store knew of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkJournaledOutcome {
    /// The order at this version: it is marked.
    Marked,
    /// Not this order, not this version or another effect of it: it lost its last writes, and the event has to be replayed.
    NeedsReplay,
}

#[derive(Serialize)]
struct MarkJournaledCommand {
    k: usize,
    i: usize,
    n: String,
    o: String,
    v: u32,
    s: String,
    q: u64,
    ttl: u64,
}

/// Runs a batch.
pub(in crate::store) async fn run_mark_journaled_batch(
    core: StoreConnection,
    batch: Vec<MarkJournaledRequest>,
) -> Result<Vec<MarkJournaledOutcome>, StoreError> {
    let epoch = core.epoch()?;
    let mut keys = KeyTable::new(vec![keys::meta(), keys::outbox()]);
    let ttl = retention_ms(core.settings.retention_h);
    let mut arguments = Vec::with_capacity(batch.len());
    for event in &batch {
        arguments.push(to_json(&MarkJournaledCommand {
            k: keys.add_unshared(event.key.record_key()),
            i: keys.add_unshared(keys::order_index(&event.order_id)),
            n: event.key.name(),
            o: event.order_id.to_string(),
            v: event.version,
            s: event.settlement_id.map_or_else(String::new, |id| id.to_string()),
            q: event.sequence,
            ttl,
        })?);
    }
    let mut command = MARK_JOURNALED.evalsha_command(epoch, keys.keys());
    command.arg(&arguments);
    let reply = core.query(command).await.and_then(ScriptReply::words_from_value);
    let words = core.clear_epoch_if_stale(epoch, reply)?;
    let marked = |word: String| {
        if word == "marked" {
            MarkJournaledOutcome::Marked
        } else {
            MarkJournaledOutcome::NeedsReplay
        }
    };
    Ok(words.into_iter().map(marked).collect())
}

pub(in crate::store) fn retention_ms(hours: u64) -> u64 {
    hours.saturating_mul(60 * 60 * 1_000)
}
