//! Orders on their way to a venue that outlives us: started, withdrawn, asked about (`lua/start.lua`, `lua/withdraw.lua`,
//! `lua/withdrawn.lua`, `lua/inquire.lua`).

use std::time::Duration;

use super::connection::Store;
use super::epoch::Healing;
use super::error::StoreError;
use super::journaled::retention_ms;
use super::keys::{self, OrderKey};
use super::script::{INQUIRE, KeyTable, Reply, START, WITHDRAW, WITHDRAWN, day_ttl_ms, json};
use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::time::Timestamp;

/// The step before an order's first byte.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The claimed order.
    pub order: &'a Order,
    /// The lease it needs.
    pub lease: &'a LeaseToken,
    /// It is not started after this, by Redis' clock.
    pub deadline: Timestamp,
    /// The timestamp its request carries.
    pub requested_at: Timestamp,
    /// The journal's sequence of its submission.
    pub sequence: u64,
}

/// What came of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It is being sent.
    Sending,
    /// It is not claimed under this lease any more.
    LeaseLost,
    /// The deadline has passed.
    Late,
    /// Trading is halted.
    Halted,
}

/// How far an order may have come that is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It is claimed, whoever withdraws it.
    Claimed,
    /// It is being sent, and whoever holds its lease knows that nothing was sent.
    Sending,
}

/// What is known of an order its venue is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How often the venue did not have it.
    pub not_founds: u32,
    /// How long ago it was sent; where that was lost, how long ago its venue was first asked.
    pub since_sending: Duration,
}

impl Store {
    /// Turns a claimed order into one that is being sent.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::Unknown`] the same step may be taken again.
    pub async fn start_sending(&self, start: &Start<'_>) -> Result<Started, StoreError> {
        let epoch = self.core.epoch()?;
        let (order, key) = (start.order, OrderKey::of(start.order));
        let mut command = START.call(epoch, &[keys::meta(), keys::leases(), key.record(), keys::state()]);
        command
            .arg(key.name())
            .arg(order.order_id.as_str())
            .arg(start.lease.as_str())
            .arg(self.core.settings.lease_ms)
            .arg(start.deadline.milliseconds())
            .arg(start.requested_at.to_string())
            .arg(start.sequence)
            .arg(KeyTable::named_moves(&order.scope(), &order.claim_deltas())?);
        let reply = self.core.query(command).await.and_then(Reply::of);
        let reply = self.core.noting(epoch, reply)?;
        match reply.verdict.as_str() {
            "sending" => Ok(Started::Sending),
            "lease" => Ok(Started::LeaseLost),
            "late" => Ok(Started::Late),
            "halted" => Ok(Started::Halted),
            _ => Err(reply.unexpected()),
        }
    }

    /// Gives back everything an order reserved that may be on the journal as being submitted. `document` is the event
    /// that says so; it waits in the outbox. Returns whether the order was so under this lease.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn withdraw(
        &self,
        order: &Order,
        lease: &LeaseToken,
        reached: Reached,
        document: &[u8],
    ) -> Result<bool, StoreError> {
        let epoch = self.core.epoch()?;
        let withdrawn = self
            .withdraw_in(&epoch.to_string(), order, lease, reached, document)
            .await;
        self.core.noting(epoch, withdrawn)
    }

    /// As [`Store::withdraw`], of a claim of an epoch that is over.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn withdraw_to_heal(
        &self,
        healing: &Healing,
        order: &Order,
        lease: &LeaseToken,
        document: &[u8],
    ) -> Result<bool, StoreError> {
        self.withdraw_in(&healing.epoch, order, lease, Reached::Claimed, document)
            .await
    }

    async fn withdraw_in(
        &self,
        epoch: &str,
        order: &Order,
        lease: &LeaseToken,
        reached: Reached,
        document: &[u8],
    ) -> Result<bool, StoreError> {
        let key = OrderKey::of(order);
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::leases(),
            keys::outbox(),
            key.record(),
            keys::open(&order.broker, &order.account_id),
            keys::open_sets(),
            keys::duplicate(order.mode, &order.duplicate_terms()),
        ]);
        let moves = keys.moves(&order.scope(), &order.claim_deltas().undone());
        let mut command = WITHDRAW.call(epoch, keys.keys());
        command
            .arg(key.name())
            .arg(lease.as_str())
            .arg(json(&moves)?)
            .arg(day_ttl_ms())
            .arg(document)
            .arg(match reached {
                Reached::Claimed => "claimed",
                Reached::Sending => "sending",
            });
        let reply = self.core.query(command).await.and_then(Reply::of)?;
        match reply.verdict.as_str() {
            "released" => Ok(true),
            "kept" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }

    /// Marks a release as being on the journal; from here on the same order may be claimed anew.
    ///
    /// # Errors
    /// Any [`StoreError`]; the release then stays in the outbox until somebody marks it.
    pub async fn mark_withdrawn(&self, order: &Order, claim: &LeaseToken, sequence: u64) -> Result<(), StoreError> {
        let epoch = self.core.epoch()?;
        let key = OrderKey::of(order);
        let keys = [keys::meta(), keys::outbox(), key.record(), keys::index(&order.order_id)];
        let mut command = WITHDRAWN.call(epoch, &keys);
        command
            .arg(key.name())
            .arg(order.order_id.as_str())
            .arg(claim.as_str())
            .arg(sequence)
            .arg(retention_ms(self.core.settings.retention_h));
        let reply = self.core.query(command).await.and_then(Reply::of);
        self.core.noting(epoch, reply).map(|_| ())
    }

    /// Takes the turn to ask an order's venue, if it is due; for `hold` nobody else is given it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn take_inquiry(
        &self,
        order: &Order,
        turn: &LeaseToken,
        hold: Duration,
    ) -> Result<Option<Asked>, StoreError> {
        self.inquiry(order, turn, "take", [hold, hold]).await
    }

    /// Takes note that the venue did not have the order, and says when it is asked again: after the first pause, twice
    /// that, and so on up to the longest. `None` where the turn is another's by now: then it does not count.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn note_not_found(
        &self,
        order: &Order,
        turn: &LeaseToken,
        pauses: [Duration; 2],
    ) -> Result<Option<Asked>, StoreError> {
        self.inquiry(order, turn, "not_found", pauses).await
    }

    /// As [`Store::note_not_found`], of a question that was not answered: that counts for nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn note_unanswered(
        &self,
        order: &Order,
        turn: &LeaseToken,
        pauses: [Duration; 2],
    ) -> Result<Option<Asked>, StoreError> {
        self.inquiry(order, turn, "unanswered", pauses).await
    }

    async fn inquiry(
        &self,
        order: &Order,
        turn: &LeaseToken,
        what: &str,
        spans: [Duration; 2],
    ) -> Result<Option<Asked>, StoreError> {
        let epoch = self.core.epoch()?;
        let key = OrderKey::of(order);
        let mut command = INQUIRE.call(epoch, &[keys::meta(), keys::due(&order.broker), key.record()]);
        command
            .arg(what)
            .arg(key.name())
            .arg(order.order_id.as_str())
            .arg(turn.as_str());
        for span in spans {
            command.arg(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        }
        let reply = self.core.query(command).await.and_then(Reply::of);
        let mut reply = self.core.noting(epoch, reply)?;
        match reply.verdict.as_str() {
            "yours" => Ok(Some(Asked {
                not_founds: reply.integer()?,
                since_sending: Duration::from_millis(reply.integer()?),
            })),
            "not" | "lost" => Ok(None),
            _ => Err(reply.unexpected()),
        }
    }
}
