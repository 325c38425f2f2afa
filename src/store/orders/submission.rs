//! Submitting orders to an external venue: the step before the first byte, and its undoing (`lua/start.lua`,
//! `lua/withdraw.lua`, `lua/withdrawn.lua`).

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::time::Timestamp;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::release::{decode_is_released, encode_return};
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::retention::retention_ms;
use crate::store::script::{EncodedMoves, KeyTable, MARK_WITHDRAWAL_JOURNALED, START_SENDING, WITHDRAW_SUBMISSION};

/// The step before an order's first byte.
#[derive(Debug, Clone)]
pub struct StartSendingRequest<'a> {
    /// The claimed order.
    pub order: &'a Order,
    /// The lease it must be claimed under.
    pub lease: &'a LeaseToken,
    /// The moment from which sending no longer starts, by Redis' clock.
    pub deadline: Timestamp,
    /// The timestamp that the request to the venue carries.
    pub requested_at: Timestamp,
    /// The journal sequence of the order's submission.
    pub submission_sequence: u64,
}

/// Whether an order's first byte may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartSendingOutcome {
    /// The order is recorded as being sent.
    Sending,
    /// The order is not claimed under this lease, or no longer.
    LeaseLost,
    /// The deadline has passed.
    DeadlinePassed,
    /// Trading is halted.
    Halted,
}

/// The latest stage from which a withdrawal takes an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithdrawalStage {
    /// Only a claimed order, by any worker.
    Claimed,
    /// Also one that is being sent, by the holder of its lease, which knows that nothing was sent.
    Sending,
}

impl WithdrawalStage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Sending => "sending",
        }
    }
}

impl Store {
    /// Moves a claimed order to the stage `sending`.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] the same step may be taken again.
    pub async fn start_sending(&self, request: &StartSendingRequest<'_>) -> Result<StartSendingOutcome, StoreError> {
        let (order, key) = (request.order, request.order.key());
        let keys = [
            keys::meta(),
            keys::leases(),
            keys::order_record(&key),
            keys::operator_state(),
        ];
        let scope = order.sum_scope();
        let reserved = EncodedMoves::new(&scope, &order.reservation_deltas(), scope.trading_date);
        let mut call = self.connection.script_call(&START_SENDING, None, &keys)?;
        call.arg(key.name())
            .arg(order.order_id.as_str())
            .arg(request.lease.as_str())
            .arg(self.connection.settings.lease_ms)
            .arg(request.deadline.as_milliseconds())
            .arg(request.requested_at.to_string())
            .arg(request.submission_sequence)
            .arg(reserved.to_string());
        let reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "sending" => Ok(StartSendingOutcome::Sending),
            "lease" => Ok(StartSendingOutcome::LeaseLost),
            "late" => Ok(StartSendingOutcome::DeadlinePassed),
            "halted" => Ok(StartSendingOutcome::Halted),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Releases everything reserved by an order whose submission may be on the journal. `document` is the journal event
    /// of the release; it waits in the outbox. Returns whether the order was in `stage` under this lease.
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
        self.withdraw_submission_in_epoch(None, order, lease, stage, document)
            .await
    }

    /// As [`Store::withdraw_submission`], during a rebuild, for a claim of an earlier epoch.
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
        self.withdraw_submission_in_epoch(Some(rebuild), order, lease, WithdrawalStage::Claimed, document)
            .await
    }

    async fn withdraw_submission_in_epoch(
        &self,
        rebuild: Option<&StoreRebuild>,
        order: &Order,
        lease: &LeaseToken,
        stage: WithdrawalStage,
        document: &[u8],
    ) -> Result<bool, StoreError> {
        let key = order.key();
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::leases(),
            keys::outbox(),
            keys::order_record(&key),
            keys::open_orders(&order.broker, &order.account_id),
            keys::open_order_sets(),
            keys::last_duplicate(order.mode, &order.duplicate_key()),
        ]);
        let returned = encode_return(order, &mut keys)?;
        let mut call = self
            .connection
            .script_call(&WITHDRAW_SUBMISSION, rebuild, keys.keys())?;
        call.arg(key.name())
            .arg(lease.as_str())
            .arg(returned)
            .arg(document)
            .arg(stage.as_str());
        decode_is_released(&self.connection.run(call).await?)
    }

    /// Marks the release of an order as journaled; from then on the same order may be claimed again.
    ///
    /// # Errors
    /// Any [`StoreError`]; the release then stays in the outbox until a later call marks it.
    pub async fn mark_withdrawal_journaled(
        &self,
        order: &Order,
        claim: &LeaseToken,
        sequence: u64,
    ) -> Result<(), StoreError> {
        let key = order.key();
        let keys = [keys::meta(), keys::outbox(), keys::order_record(&key)];
        let mut call = self.connection.script_call(&MARK_WITHDRAWAL_JOURNALED, None, &keys)?;
        call.arg(key.name())
            .arg(order.order_id.as_str())
            .arg(claim.as_str())
            .arg(sequence)
            .arg(retention_ms(self.connection.settings.retention_h));
        self.connection.run(call).await.map(drop)
    }
}
