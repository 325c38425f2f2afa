//! The leave to send to a venue that outlives us: first the journal knows of the order, then the store, then the first
//! byte goes. Whoever finds the order later asks its venue; nobody sends it again.

use std::time::Duration;

use crate::brokers::adapter::{NotSent, Placement};
use crate::brokers::port::{Announced, SendGate};
use crate::bus::journal::{AppendError, Entry, Journal};
use crate::bus::subjects;
use crate::domain::time::Timestamp;
use crate::store::sending::{Start, Started};
use crate::store::{Store, StoreError};
use crate::wire::submission::{SUBMITTING, SubmissionEvent};

/// How often the step from claimed to being sent is tried whose answer was lost; it is known by its timestamp.
const MAX_STARTS: usize = 3;
/// The pause between two tries.
const START_PAUSE: Duration = Duration::from_millis(50);

/// The gate over journal and store.
#[derive(Debug, Clone)]
pub struct JournaledGate {
    store: Store,
    journal: Journal,
}

impl JournaledGate {
    /// Returns the gate.
    pub fn new(store: Store, journal: Journal) -> Self {
        Self { store, journal }
    }
}

impl SendGate for JournaledGate {
    async fn announce(&self, placement: &Placement) -> Result<Announced, NotSent> {
        let epoch = self.store.epoch();
        let epoch = epoch.ok_or_else(|| NotSent::Unavailable("the shared state is being rebuilt".into()))?;
        let (order, claim) = (&placement.order, &placement.lease);
        let entry = Entry {
            subject: subjects::event(SUBMITTING, Some(&order.account_id)),
            message_id: format!("{}:{SUBMITTING}:{}", order.order_id, claim.as_str()),
            body: SubmissionEvent::of(order, claim, epoch, placement.figures.clone())
                .encode()
                .into(),
            headers: Vec::new(),
        };
        let appended = self.journal.append(entry).await;
        if matches!(appended, Err(AppendError::Behind { .. })) {
            self.store.leave();
        }
        let sequence = appended.map_err(|error| NotSent::Unavailable(error.to_string()))?;
        Ok(Announced { sequence })
    }

    async fn start(&self, placement: &Placement, announced: Announced, requested_at: Timestamp) -> Result<(), NotSent> {
        let start = Start {
            order: &placement.order,
            lease: &placement.lease,
            deadline: placement.deadline,
            requested_at,
            sequence: announced.sequence,
        };
        let mut reason = String::new();
        for attempt in 0..MAX_STARTS {
            if attempt > 0 {
                tokio::time::sleep(START_PAUSE).await;
            }
            match self.store.start_sending(&start).await {
                Ok(Started::Sending) => return Ok(()),
                Ok(Started::LeaseLost) => return Err(NotSent::LeaseLost),
                Ok(Started::Halted) => return Err(NotSent::Halted),
                Ok(Started::Late) => return Err(NotSent::Expired),
                Err(error @ (StoreError::Stale(_) | StoreError::NotExecuted(_))) => {
                    return Err(NotSent::Unavailable(error.to_string()));
                }
                Err(error) => reason = error.to_string(),
            }
        }
        // It may stand as being sent by now; that nothing was sent is certain all the same.
        Err(NotSent::Unavailable(reason))
    }
}
