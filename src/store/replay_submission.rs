//! Applying the journal's submissions and releases to a store (`lua/replay_submission.lua`).

use serde::Serialize;

use super::connection::Store;
use super::epoch::{HEALING_LOCK_MS, Healing};
use super::error::StoreError;
use super::journaled::retention_ms;
use super::keys::{self, OrderKey};
use super::replay::{still_counted, tombstone_ms};
use super::reserve::Stage;
use super::script::{KeyTable, Move, REPLAY_SUBMISSION, Reply, day_ttl_ms, json};
use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::settlement::Deltas;
use crate::domain::time::Timestamp;

/// A submission of the journal, or the release that undoes one.
#[derive(Debug, Clone)]
pub struct SubmissionReplay {
    /// The order as it was claimed.
    pub order: Order,
    /// The claim it was submitted under.
    pub claim: LeaseToken,
    /// What it reserves.
    pub reserved: Deltas,
    /// Whether it tells that the order was not sent after all.
    pub is_released: bool,
    /// Its place in the journal.
    pub sequence: u64,
    /// The order's document.
    pub document: Vec<u8>,
}

#[derive(Serialize)]
struct Command<'a> {
    k: usize,
    i: usize,
    op: usize,
    n: String,
    o: &'a str,
    h: &'a str,
    st: &'static str,
    t: &'a str,
    q: u64,
    ttl: u64,
    d: Vec<Move>,
    w: String,
}

impl Store {
    /// Applies submissions and releases in the journal's order. Returns how many changed something.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn replay_submissions(&self, healing: &Healing, events: &[SubmissionReplay]) -> Result<u64, StoreError> {
        self.replay_submissions_in(&healing.epoch, events).await
    }

    /// As [`Store::replay_submissions`], in a store that is in use.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_late_submissions(&self, events: &[SubmissionReplay]) -> Result<u64, StoreError> {
        let epoch = self.core.epoch()?;
        let replayed = self.replay_submissions_in(&epoch.to_string(), events).await;
        self.core.noting(epoch, replayed)
    }

    async fn replay_submissions_in(&self, epoch: &str, events: &[SubmissionReplay]) -> Result<u64, StoreError> {
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::healing(),
            keys::outbox(),
            keys::leases(),
            keys::open_sets(),
        ]);
        let retention = retention_ms(self.core.settings.retention_h);
        let mut commands = Vec::with_capacity(events.len());
        for event in events {
            commands.push(json(&encode(event, &mut keys, retention)?)?);
        }
        let mut command = REPLAY_SUBMISSION.call(epoch, keys.keys());
        command
            .arg(HEALING_LOCK_MS)
            .arg(day_ttl_ms())
            .arg(self.core.settings.lease_ms);
        for (json, event) in commands.iter().zip(events) {
            command.arg(json).arg(&event.document[..]);
        }
        self.core.query(command).await.and_then(Reply::of)?.integer()
    }
}

fn encode<'a>(event: &'a SubmissionReplay, keys: &mut KeyTable, retention_ms: u64) -> Result<Command<'a>, StoreError> {
    let order = &event.order;
    let key = OrderKey::of(order);
    let reserved = still_counted(order, event.reserved, Timestamp::now());
    let stage = if event.is_released {
        Stage::Released
    } else {
        Stage::Sending
    };
    Ok(Command {
        k: keys.place(key.record()),
        i: keys.place(keys::index(&order.order_id)),
        op: keys.place(keys::open(&order.broker, &order.account_id)),
        n: key.name(),
        o: order.order_id.as_str(),
        h: &order.content.0,
        st: stage.as_str(),
        t: event.claim.as_str(),
        q: event.sequence,
        ttl: tombstone_ms(order, retention_ms),
        d: keys.moves(&order.scope(), &reserved),
        w: KeyTable::named_moves(&order.scope(), &reserved)?,
    })
}
