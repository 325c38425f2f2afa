//! Applying the journal's submissions and releases to the store (`lua/replay_submission.lua`): during a rebuild, and late
//! ones after it.

use serde::Serialize;

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::settlement::SumDeltas;
use crate::store::client::Store;
use crate::store::connection::ScriptCall;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::record::RecordStage;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::rebuild::replay_calls::{replay_keys, run_replay};
use crate::store::retention::{remaining_retention_ms, retention_ms};
use crate::store::script::{
    EncodedContent, EncodedMoves, KeyTable, REPLAY_SUBMISSIONS, SumOwner, to_named_message_pack,
};

/// A submission on the journal, or the release that undoes one.
#[derive(Debug, Clone)]
pub struct SubmissionReplay {
    /// The order as it was claimed.
    pub order: Order,
    /// The lease token of the claim that it was submitted under.
    pub claim_token: LeaseToken,
    /// What it reserves.
    pub reserved: SumDeltas,
    /// Whether the event is a release: the order was not sent after all.
    pub is_released: bool,
    /// The event's journal sequence.
    pub sequence: u64,
    /// The order's document.
    pub document: Vec<u8>,
}

#[derive(Serialize)]
struct ReplaySubmissionCommand<'a> {
    #[serde(rename = "k")]
    record_key: usize,
    #[serde(rename = "op")]
    open_orders_key: usize,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "o")]
    order_id: &'a str,
    #[serde(rename = "h")]
    content: EncodedContent,
    #[serde(rename = "st")]
    stage: &'static str,
    #[serde(rename = "t")]
    claim_token: &'a str,
    #[serde(rename = "q")]
    sequence: u64,
    #[serde(rename = "ttl")]
    remembered_for_ms: u64,
    #[serde(rename = "w")]
    owner: SumOwner,
    #[serde(rename = "d")]
    deltas: EncodedMoves,
}

impl Store {
    /// Applies submissions and releases in the journal's order. Returns how many changed something.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another worker has taken over the rebuild.
    pub async fn replay_submissions(
        &self,
        rebuild: &StoreRebuild,
        events: &[SubmissionReplay],
    ) -> Result<u64, StoreError> {
        self.replay_submissions_in_epoch(Some(rebuild), events).await
    }

    /// As [`Store::replay_submissions`], in a store in use.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn replay_late_submissions(&self, events: &[SubmissionReplay]) -> Result<u64, StoreError> {
        self.replay_submissions_in_epoch(None, events).await
    }

    async fn replay_submissions_in_epoch(
        &self,
        rebuild: Option<&StoreRebuild>,
        events: &[SubmissionReplay],
    ) -> Result<u64, StoreError> {
        let mut keys = replay_keys();
        let retention = retention_ms(self.connection.settings.retention_h);
        let mut commands = Vec::with_capacity(events.len());
        for event in events {
            let command = encode_submission(event, &mut keys, retention);
            commands.push((to_named_message_pack(&command)?, &event.document[..]));
        }
        let add_settings = |call: &mut ScriptCall| {
            call.arg(self.connection.settings.lease_ms)
                .arg(u8::from(rebuild.is_some()));
        };
        let script = &REPLAY_SUBMISSIONS;
        let replayed = run_replay(&self.connection, script, rebuild, &keys, add_settings, &commands).await?;
        Ok(replayed.changed)
    }
}

/// Returns the command that restores an order known by its submission: in stage sending or released, with what it reserves.
fn encode_submission<'a>(
    event: &'a SubmissionReplay,
    keys: &mut KeyTable,
    retention_ms: u64,
) -> ReplaySubmissionCommand<'a> {
    let order = &event.order;
    let key = order.key();
    let scope = order.sum_scope();
    let moves = EncodedMoves::new(&scope, &event.reserved, scope.trading_date);
    let stage = if event.is_released {
        RecordStage::Released
    } else {
        RecordStage::Sending
    };
    ReplaySubmissionCommand {
        record_key: keys.intern(keys::order_record(&key)),
        open_orders_key: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        name: key.name(),
        order_id: order.order_id.as_str(),
        content: EncodedContent::new(order.content_hash.digest()),
        stage: stage.as_str(),
        claim_token: event.claim_token.as_str(),
        sequence: event.sequence,
        remembered_for_ms: remaining_retention_ms(order.updated_at, retention_ms),
        owner: keys.owner(&scope),
        deltas: moves,
    }
}
