//! A handle to a broker's task.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::brokers::adapter::{
    BrokerCapabilities, CancelOutcome, DueOutcome, InquiryOutcome, NotSentReason, PlaceOutcome, Placement,
};
use crate::domain::order::Order;
use crate::risk::Approved;

/// The message for a call without reply: its adapter panicked, or the process stops.
const CALL_ABORTED: &str = "the call to the broker broke off";

/// A call in the queue of orders.
pub(super) enum OrderCall {
    Place(Approved<Placement>, oneshot::Sender<PlaceOutcome>),
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

    /// Places an order. An accepted call is executed even if the caller stops waiting.
    pub async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let (reply, answer) = oneshot::channel();
        match self.orders.try_send(OrderCall::Place(placement, reply)) {
            Ok(()) => answer
                .await
                .unwrap_or_else(|_| PlaceOutcome::OutcomeUnknown(CALL_ABORTED.into())),
            Err(error) => PlaceOutcome::NotSent(refusal_reason(&error)),
        }
    }

    /// Cancels the open quantity of an order, ahead of all waiting orders.
    pub async fn cancel(&self, order: Order) -> CancelOutcome {
        let (reply, answer) = oneshot::channel();
        match self.cancels.try_send(CancelCall { order, reply }) {
            Ok(()) => answer
                .await
                .unwrap_or_else(|_| CancelOutcome::OutcomeUnknown(CALL_ABORTED.into())),
            Err(error) => CancelOutcome::NotSent(refusal_reason(&error)),
        }
    }

    /// Executes what is due for an order.
    pub async fn execute_due(&self, order: Order) -> DueOutcome {
        let (reply, answer) = oneshot::channel();
        match self.orders.try_send(OrderCall::Due(order, reply)) {
            Ok(()) => answer
                .await
                .unwrap_or_else(|_| DueOutcome::OutcomeUnknown(CALL_ABORTED.into())),
            Err(error) => DueOutcome::NotSent(refusal_reason(&error)),
        }
    }

    /// Asks the venue about an order.
    pub async fn inquire(&self, order: Order) -> InquiryOutcome {
        let (reply, answer) = oneshot::channel();
        match self.orders.try_send(OrderCall::Inquire(order, reply)) {
            Ok(()) => answer
                .await
                .unwrap_or_else(|_| InquiryOutcome::Unanswered(CALL_ABORTED.into())),
            Err(error) => InquiryOutcome::Unanswered(format!("the inquiry was not sent: {:?}", refusal_reason(&error))),
        }
    }
}

fn refusal_reason<T>(error: &mpsc::error::TrySendError<T>) -> NotSentReason {
    match error {
        mpsc::error::TrySendError::Full(_) => NotSentReason::QueueFull,
        mpsc::error::TrySendError::Closed(_) => NotSentReason::Unavailable("the broker's task has ended".into()),
    }
}
