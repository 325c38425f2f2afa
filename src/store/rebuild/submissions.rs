//! Applying the journal's submissions and releases to a store (`lua/replay_submission.lua`).

use serde::Serialize;

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::orders::mark_journaled::retention_ms;
use crate::store::orders::reserve::RecordStage;
use crate::store::rebuild::epoch::{REBUILD_LEASE_MS, StoreRebuild};
use crate::store::rebuild::orders::{drop_expired_counters, remaining_tombstone_ms};
use crate::store::script::{CounterMove, KeyTable, REPLAY_SUBMISSIONS, ScriptReply, day_ttl_ms, to_json};

/// A submission of the journal, or the release that undoes one.
#[derive(Debug, Clone)]
pub struct SubmissionReplay {
    /// The order as it was claimed.
    pub order: Order,
    /// The claim it was submitted under.
    pub claim_token: LeaseToken,
    /// What it reserves.
    pub reserved: SumDeltas,
    /// Whether it tells that the order was not sent after all.
    pub is_released: bool,
    /// Its place in the journal.
    pub sequence: u64,
    /// The order's document.
    pub document: Vec<u8>,
}

#[derive(Serialize)]
struct ReplaySubmissionCommand<'a> {
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
    d: Vec<CounterMove>,
    w: String,
}

impl Store {
    /// Applies submissions and releases in the journal's order. Returns how many changed something.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn replay_submissions(
        &self,
        rebuild: &StoreRebuild,
        events: &[SubmissionReplay],
    ) -> Result<u64, StoreError> {
        self.replay_submissions_in_epoch(&rebuild.epoch, events).await
    }

    /// As [`Store::replay_submissions`], in a store that is in use.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_late_submissions(&self, events: &[SubmissionReplay]) -> Result<u64, StoreError> {
        let epoch = self.connection.epoch()?;
        let replayed = self.replay_submissions_in_epoch(&epoch.to_string(), events).await;
        self.connection.clear_epoch_if_stale(epoch, replayed)
    }

    async fn replay_submissions_in_epoch(&self, epoch: &str, events: &[SubmissionReplay]) -> Result<u64, StoreError> {
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::rebuild_lease(),
            keys::outbox(),
            keys::leases(),
            keys::open_order_sets(),
        ]);
        let retention = retention_ms(self.connection.settings.retention_h);
        let mut commands = Vec::with_capacity(events.len());
        for event in events {
            commands.push(to_json(&encode_submission(event, &mut keys, retention)?)?);
        }
        let mut command = REPLAY_SUBMISSIONS.evalsha_command(epoch, keys.keys());
        command
            .arg(REBUILD_LEASE_MS)
            .arg(day_ttl_ms())
            .arg(self.connection.settings.lease_ms);
        for (json, event) in commands.iter().zip(events) {
            command.arg(json).arg(&event.document[..]);
        }
        self.connection
            .query(command)
            .await
            .and_then(ScriptReply::from_value)?
            .next_integer()
    }
}

fn encode_submission<'a>(
    event: &'a SubmissionReplay,
    keys: &mut KeyTable,
    retention_ms: u64,
) -> Result<ReplaySubmissionCommand<'a>, StoreError> {
    let order = &event.order;
    let key = OrderKey::of(order);
    let reserved = drop_expired_counters(order, event.reserved, Timestamp::now());
    let stage = if event.is_released {
        RecordStage::Released
    } else {
        RecordStage::Sending
    };
    Ok(ReplaySubmissionCommand {
        k: keys.intern(key.record_key()),
        i: keys.intern(keys::order_index(&order.order_id)),
        op: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        n: key.name(),
        o: order.order_id.as_str(),
        h: &order.content_hash.0,
        st: stage.as_str(),
        t: event.claim_token.as_str(),
        q: event.sequence,
        ttl: remaining_tombstone_ms(order, retention_ms),
        d: keys.encode_moves(&order.sum_scope(), &reserved),
        w: KeyTable::encode_named_moves(&order.sum_scope(), &reserved)?,
    })
}
