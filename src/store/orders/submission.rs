//! Orders on their way to a venue that outlives us: started, withdrawn, asked about (`lua/start.lua`, `lua/withdraw.lua`,
//! `lua/withdrawn.lua`, `lua/inquire.lua`).

use std::time::Duration;

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::time::Timestamp;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::orders::mark_journaled::retention_ms;
use crate::store::rebuild::epoch::StoreRebuild;
use crate::store::script::{
    INQUIRE, KeyTable, MARK_WITHDRAWAL_JOURNALED, START_SENDING, ScriptReply, WITHDRAW_SUBMISSION, day_ttl_ms, to_json,
};

/// The step before an order's first byte.
#[derive(Debug, Clone)]
pub struct StartSendingRequest<'a> {
    /// The claimed order.
    pub order: &'a Order,
    /// The lease it needs.
    pub lease: &'a LeaseToken,
    /// It is not started after this, by Redis' clock.
    pub deadline: Timestamp,
    /// The timestamp its request carries.
    pub requested_at: Timestamp,
    /// The journal's sequence of its submission.
    pub submission_sequence: u64,
}

/// What came of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartSendingOutcome {
    /// It is being sent.
    Sending,
    /// It is not claimed under this lease any more.
    LeaseLost,
    /// The deadline has passed.
    DeadlinePassed,
    /// Trading is halted.
    Halted,
}

/// How far an order may have come that is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithdrawalStage {
    /// It is claimed, whoever withdraws it.
    Claimed,
    /// It is being sent, and whoever holds its lease knows that nothing was sent.
    Sending,
}

/// What is known of an order its venue is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InquiryTurn {
    /// How often the venue did not have it.
    pub not_found_count: u32,
    /// How long ago it was sent; where that was lost, how long ago its venue was first asked.
    pub time_since_sending: Duration,
}

impl Store {
    /// Turns a claimed order into one that is being sent.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::Unknown`] the same step may be taken again.
    pub async fn start_sending(&self, request: &StartSendingRequest<'_>) -> Result<StartSendingOutcome, StoreError> {
        let epoch = self.connection.epoch()?;
        let (order, key) = (request.order, OrderKey::of(request.order));
        let mut command = START_SENDING.evalsha_command(
            epoch,
            &[keys::meta(), keys::leases(), key.record_key(), keys::operator_state()],
        );
        command
            .arg(key.name())
            .arg(order.order_id.as_str())
            .arg(request.lease.as_str())
            .arg(self.connection.settings.lease_ms)
            .arg(request.deadline.as_milliseconds())
            .arg(request.requested_at.to_string())
            .arg(request.submission_sequence)
            .arg(KeyTable::encode_named_moves(
                &order.sum_scope(),
                &order.reservation_deltas(),
            )?);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        match reply.verdict.as_str() {
            "sending" => Ok(StartSendingOutcome::Sending),
            "lease" => Ok(StartSendingOutcome::LeaseLost),
            "late" => Ok(StartSendingOutcome::DeadlinePassed),
            "halted" => Ok(StartSendingOutcome::Halted),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Gives back everything an order reserved that may be on the journal as being submitted. `document` is the event
    /// that says so; it waits in the outbox. Returns whether the order was so under this lease.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn withdraw_submission(
        &self,
        order: &Order,
        lease: &LeaseToken,
        stage: WithdrawalStage,
        document: &[u8],
    ) -> Result<bool, StoreError> {
        let epoch = self.connection.epoch()?;
        let withdrawn = self
            .withdraw_submission_in_epoch(&epoch.to_string(), order, lease, stage, document)
            .await;
        self.connection.clear_epoch_if_stale(epoch, withdrawn)
    }

    /// As [`Store::withdraw`], of a claim of an epoch that is over.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn withdraw_submission_for_rebuild(
        &self,
        rebuild: &StoreRebuild,
        order: &Order,
        lease: &LeaseToken,
        document: &[u8],
    ) -> Result<bool, StoreError> {
        self.withdraw_submission_in_epoch(&rebuild.epoch, order, lease, WithdrawalStage::Claimed, document)
            .await
    }

    async fn withdraw_submission_in_epoch(
        &self,
        epoch: &str,
        order: &Order,
        lease: &LeaseToken,
        stage: WithdrawalStage,
        document: &[u8],
    ) -> Result<bool, StoreError> {
        let key = OrderKey::of(order);
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::leases(),
            keys::outbox(),
            key.record_key(),
            keys::open_orders(&order.broker, &order.account_id),
            keys::open_order_sets(),
            keys::last_duplicate(order.mode, &order.duplicate_key()),
        ]);
        let moves = keys.encode_moves(&order.sum_scope(), &order.reservation_deltas().reversed());
        let mut command = WITHDRAW_SUBMISSION.evalsha_command(epoch, keys.keys());
        command
            .arg(key.name())
            .arg(lease.as_str())
            .arg(to_json(&moves)?)
            .arg(day_ttl_ms())
            .arg(document)
            .arg(match stage {
                WithdrawalStage::Claimed => "claimed",
                WithdrawalStage::Sending => "sending",
            });
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value)?;
        match reply.verdict.as_str() {
            "released" => Ok(true),
            "kept" => Ok(false),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Marks a release as being on the journal; from here on the same order may be claimed anew.
    ///
    /// # Errors
    /// Any [`StoreError`]; the release then stays in the outbox until somebody marks it.
    pub async fn mark_withdrawal_journaled(
        &self,
        order: &Order,
        claim: &LeaseToken,
        sequence: u64,
    ) -> Result<(), StoreError> {
        let epoch = self.connection.epoch()?;
        let key = OrderKey::of(order);
        let keys = [
            keys::meta(),
            keys::outbox(),
            key.record_key(),
            keys::order_index(&order.order_id),
        ];
        let mut command = MARK_WITHDRAWAL_JOURNALED.evalsha_command(epoch, &keys);
        command
            .arg(key.name())
            .arg(order.order_id.as_str())
            .arg(claim.as_str())
            .arg(sequence)
            .arg(retention_ms(self.connection.settings.retention_h));
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        self.connection.clear_epoch_if_stale(epoch, reply).map(|_| ())
    }

    /// Takes the turn to ask an order's venue, if it is due; for `hold` nobody else is given it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn acquire_inquiry_turn(
        &self,
        order: &Order,
        turn: &LeaseToken,
        turn_duration: Duration,
    ) -> Result<Option<InquiryTurn>, StoreError> {
        self.call_inquiry_script(order, turn, "take", [turn_duration, turn_duration])
            .await
    }

    /// Takes note that the venue did not have the order, and says when it is asked again: after the first pause, twice
    /// that, and so on up to the longest. `None` where the turn is another's by now: then it does not count.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn record_not_found(
        &self,
        order: &Order,
        turn: &LeaseToken,
        backoff_bounds: [Duration; 2],
    ) -> Result<Option<InquiryTurn>, StoreError> {
        self.call_inquiry_script(order, turn, "not_found", backoff_bounds).await
    }

    /// As [`Store::note_not_found`], of a question that was not answered: that counts for nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn record_unanswered(
        &self,
        order: &Order,
        turn: &LeaseToken,
        backoff_bounds: [Duration; 2],
    ) -> Result<Option<InquiryTurn>, StoreError> {
        self.call_inquiry_script(order, turn, "unanswered", backoff_bounds)
            .await
    }

    async fn call_inquiry_script(
        &self,
        order: &Order,
        turn: &LeaseToken,
        step: &str,
        spans: [Duration; 2],
    ) -> Result<Option<InquiryTurn>, StoreError> {
        let epoch = self.connection.epoch()?;
        let key = OrderKey::of(order);
        let mut command = INQUIRE.evalsha_command(
            epoch,
            &[keys::meta(), keys::due_orders(&order.broker), key.record_key()],
        );
        command
            .arg(step)
            .arg(key.name())
            .arg(order.order_id.as_str())
            .arg(turn.as_str());
        for span in spans {
            command.arg(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        }
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let mut reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        match reply.verdict.as_str() {
            "yours" => Ok(Some(InquiryTurn {
                not_found_count: reply.next_integer()?,
                time_since_sending: Duration::from_millis(reply.next_integer()?),
            })),
            "not" | "lost" => Ok(None),
            _ => Err(reply.unexpected_verdict()),
        }
    }
}
