//! A handle to a broker's task.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::brokers::adapter::{
    BrokerCapabilities, CancelOutcome, DueOutcome, InquiryOutcome, NotSentReason, PlaceOutcome, Placement,
    ReplaceCallOutcome,
};
use crate::domain::order::Order;
use crate::domain::quantity::QuantityUnits;
use crate::domain::reason::Reason;
use crate::domain::venue_report::VenueReport;
use crate::risk::{Approved, ApprovedUnderCaps};

/// The message for a call that ends without a reply: its adapter panicked, or the process stops.
const CALL_ABORTED: &str = "the call to the broker ended without a reply";

/// A call in the queue of orders.
pub(super) enum OrderCall {
    Place(Approved<Placement>, oneshot::Sender<PlaceOutcome>),
    Replace(Order, oneshot::Sender<ReplaceCallOutcome>),
    Due(Order, oneshot::Sender<DueOutcome>),
    Inquire(Order, oneshot::Sender<InquiryOutcome>),
}

/// A call in the queue of cancels.
pub(super) struct CancelCall {
    pub(super) order: Order,
    pub(super) reply: oneshot::Sender<CancelOutcome>,
}

/// A broker as the rest of the router uses it. Its task ends when the last handle is dropped and accepted calls have
/// finished.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    pub(super) capabilities: Arc<BrokerCapabilities>,
    pub(super) orders: mpsc::Sender<OrderCall>,
    pub(super) cancels: mpsc::Sender<CancelCall>,
    pub(super) planner: Planner,
}

type PlanFn =
    dyn Fn(&ApprovedUnderCaps<Placement>, Option<QuantityUnits>) -> Option<Result<VenueReport, Reason>> + Send + Sync;

/// The adapter's [`crate::brokers::adapter::BrokerAdapter::plan`], which needs no queue: it only computes.
#[derive(Clone)]
pub(super) struct Planner(pub(super) Arc<PlanFn>);

impl std::fmt::Debug for Planner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Planner")
    }
}

impl BrokerHandle {
    /// Returns what the broker supports.
    pub fn capabilities(&self) -> &BrokerCapabilities {
        &self.capabilities
    }

    /// Returns the length and the capacity of both queues.
    pub fn queue_levels(&self) -> [(&'static str, (usize, usize)); 2] {
        let (orders, cancels) = (self.orders.max_capacity(), self.cancels.max_capacity());
        [
            ("orders", (orders - self.orders.capacity(), orders)),
            ("cancels", (cancels - self.cancels.capacity(), cancels)),
        ]
    }

    /// Returns what placing an order would report now, where its effect takes place in the store; see
    /// [`crate::brokers::adapter::BrokerAdapter::plan`].
    ///
    /// # Errors
    /// Why the venue rejects the order.
    pub fn plan(
        &self,
        placement: &ApprovedUnderCaps<Placement>,
        position: Option<QuantityUnits>,
    ) -> Option<Result<VenueReport, Reason>> {
        (self.planner.0)(placement, position)
    }

    /// Returns how many cancels the queue of cancels holds at most.
    pub fn cancel_queue_capacity(&self) -> usize {
        self.cancels.max_capacity()
    }

    /// Places an order. An accepted call is executed even if the caller stops waiting.
    pub async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let call = |reply| OrderCall::Place(placement, reply);
        queue_call(&self.orders, call, PlaceOutcome::NotSent, PlaceOutcome::OutcomeUnknown).await
    }

    /// Cancels the open quantity of an order, ahead of all waiting orders.
    pub async fn cancel(&self, order: Order) -> CancelOutcome {
        let call = |reply| CancelCall { order, reply };
        queue_call(
            &self.cancels,
            call,
            CancelOutcome::NotSent,
            CancelOutcome::OutcomeUnknown,
        )
        .await
    }

    /// Carries out the next step of an order's open replace. An accepted call is executed even if the caller stops waiting.
    pub async fn replace(&self, order: Order) -> ReplaceCallOutcome {
        let call = |reply| OrderCall::Replace(order, reply);
        let (not_sent, unknown) = (ReplaceCallOutcome::NotSent, ReplaceCallOutcome::OutcomeUnknown);
        queue_call(&self.orders, call, not_sent, unknown).await
    }

    /// Executes what is due for an order.
    pub async fn execute_due(&self, order: Order) -> DueOutcome {
        let call = |reply| OrderCall::Due(order, reply);
        queue_call(&self.orders, call, DueOutcome::NotSent, DueOutcome::OutcomeUnknown).await
    }

    /// Asks the venue about an order.
    pub async fn inquire(&self, order: Order) -> InquiryOutcome {
        let call = |reply| OrderCall::Inquire(order, reply);
        let not_sent = |reason| InquiryOutcome::Unanswered(format!("the inquiry was not sent: {reason:?}"));
        queue_call(&self.orders, call, not_sent, InquiryOutcome::Unanswered).await
    }
}

/// Queues a call and returns its outcome: `not_sent` if the queue refuses the call, `unknown` if the call ends without a
/// reply.
async fn queue_call<C, O>(
    queue: &mpsc::Sender<C>,
    call: impl FnOnce(oneshot::Sender<O>) -> C,
    not_sent: fn(NotSentReason) -> O,
    unknown: fn(String) -> O,
) -> O {
    let (reply, outcome) = oneshot::channel();
    match queue.try_send(call(reply)) {
        Ok(()) => outcome.await.unwrap_or_else(|_| unknown(CALL_ABORTED.into())),
        Err(error) => not_sent(refusal_reason(&error)),
    }
}

fn refusal_reason<T>(error: &mpsc::error::TrySendError<T>) -> NotSentReason {
    match error {
        mpsc::error::TrySendError::Full(_) => NotSentReason::QueueFull,
        mpsc::error::TrySendError::Closed(_) => NotSentReason::NotAccepted("the broker's task has ended".into()),
    }
}
