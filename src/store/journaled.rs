//! Marking events as journaled (`lua/journaled.lua`): the outbox empties, ended orders shrink to tombstones.

use serde::Serialize;

use super::connection::Core;
use super::error::StoreError;
use super::keys::{self, OrderKey};
use super::script::{JOURNALED, KeyTable, Reply, json};
use crate::domain::id::OrderId;

/// An event that is on the journal.
#[derive(Debug, Clone)]
pub struct Journaled {
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
pub enum Marked {
    /// The order at this version: it is marked.
    Known,
    /// Not this order, not this version or another effect of it: it lost its last writes, and the event has to be replayed.
    Lost,
}

#[derive(Serialize)]
struct Command {
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
pub(super) async fn run(core: Core, batch: Vec<Journaled>) -> Result<Vec<Marked>, StoreError> {
    let epoch = core.epoch()?;
    let mut keys = KeyTable::new(vec![keys::meta(), keys::outbox()]);
    let ttl = retention_ms(core.settings.retention_h);
    let mut arguments = Vec::with_capacity(batch.len());
    for event in &batch {
        arguments.push(json(&Command {
            k: keys.own(event.key.record()),
            i: keys.own(keys::index(&event.order_id)),
            n: event.key.name(),
            o: event.order_id.to_string(),
            v: event.version,
            s: event.settlement_id.map_or_else(String::new, |id| id.to_string()),
            q: event.sequence,
            ttl,
        })?);
    }
    let mut command = JOURNALED.call(epoch, keys.keys());
    command.arg(&arguments);
    let reply = core.query(command).await.and_then(Reply::words);
    let words = core.noting(epoch, reply)?;
    let marked = |word: String| if word == "marked" { Marked::Known } else { Marked::Lost };
    Ok(words.into_iter().map(marked).collect())
}

pub(super) fn retention_ms(hours: u64) -> u64 {
    hours.saturating_mul(60 * 60 * 1_000)
}
