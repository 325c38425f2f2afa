//! The gate before an external venue: the submission is journaled, the record moves to `sending`, and only then the
//! first byte leaves. A worker that finds the order later asks its venue and never sends it again (law 2 in
//! docs/architecture.md).

use std::time::Duration;

use crate::brokers::adapter::{NotSentReason, Placement};
use crate::brokers::port::{SendGate, SubmissionReceipt};
use crate::bus::journal::{AppendError, JournalEntry, JournalWriter};
use crate::bus::subjects;
use crate::config::guards::Guard;
use crate::domain::time::Timestamp;
use crate::store::orders::submission::{StartSendingOutcome, StartSendingRequest};
use crate::store::{Store, StoreError};
use crate::wire::journaled_submission::build_submission_event;
use crate::wire::submission::SUBMITTING_EVENT_KIND;

/// How often the step from `claimed` to `sending` is sent if its reply is lost. The script recognizes a repetition by
/// its timestamp.
const MAX_START_ATTEMPTS: usize = 3;
/// The pause between two attempts.
const START_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The gate, over journal and store.
#[derive(Debug, Clone)]
pub struct JournaledSendGate {
    store: Store,
    journal: JournalWriter,
}

impl JournaledSendGate {
    /// Returns the gate.
    pub fn new(store: Store, journal: JournalWriter) -> Self {
        Self { store, journal }
    }
}

impl SendGate for JournaledSendGate {
    async fn journal_submission(&self, placement: &Placement) -> Result<SubmissionReceipt, NotSentReason> {
        let epoch = self.store.epoch();
        let epoch = epoch.ok_or_else(|| NotSentReason::Unavailable("the shared state is being rebuilt".into()))?;
        let (order, lease) = (&placement.order, &placement.lease);
        let entry = JournalEntry {
            subject: subjects::event(SUBMITTING_EVENT_KIND, Some(&order.account_id)),
            message_id: format!("{}:{SUBMITTING_EVENT_KIND}:{}", order.order_id, lease.as_str()),
            body: build_submission_event(order, lease, epoch, placement.figures.clone())
                .encode()
                .into(),
            headers: Vec::new(),
        };
        if Guard::SubmissionEvent.is_off() {
            return Ok(SubmissionReceipt { sequence: 0 });
        }
        let appended = self.journal.append(entry).await;
        if matches!(appended, Err(AppendError::Behind { .. })) {
            self.store.leave_epoch();
        }
        let sequence = appended.map_err(|error| NotSentReason::Unavailable(error.to_string()))?;
        Ok(SubmissionReceipt { sequence })
    }

    async fn start_sending(
        &self,
        placement: &Placement,
        receipt: SubmissionReceipt,
        requested_at: Timestamp,
    ) -> Result<(), NotSentReason> {
        let request = StartSendingRequest {
            order: &placement.order,
            lease: &placement.lease,
            deadline: placement.deadline,
            requested_at,
            submission_sequence: receipt.sequence,
        };
        let mut reason = String::new();
        for attempt in 0..MAX_START_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(START_RETRY_DELAY).await;
            }
            match self.store.start_sending(&request).await {
                Ok(StartSendingOutcome::Sending) => return Ok(()),
                Ok(StartSendingOutcome::LeaseLost) => return Err(NotSentReason::LeaseLost),
                Ok(StartSendingOutcome::Halted) => return Err(NotSentReason::Halted),
                Ok(StartSendingOutcome::DeadlinePassed) => return Err(NotSentReason::DeadlinePassed),
                Err(error @ (StoreError::Stale(_) | StoreError::NotExecuted(_) | StoreError::Settings(_))) => {
                    return Err(NotSentReason::Unavailable(error.to_string()));
                }
                Err(error) => reason = error.to_string(),
            }
        }
        // The record may be `sending` by now; it is still certain that nothing was sent.
        Err(NotSentReason::Unavailable(reason))
    }
}
