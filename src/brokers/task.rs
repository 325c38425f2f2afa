//! One task per broker: two bounded queues, a bound on calls in flight, and a time limit on each.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::brokers::adapter::{
    BrokerAdapter, CancelOutcome, DueOutcome, InquiryOutcome, NotSentReason, PlaceOutcome, Placement,
    ReplaceCallOutcome,
};
use crate::brokers::handle::{BrokerHandle, CancelCall, OrderCall, Planner};
use crate::config::brokers::BrokerTaskSettings;
use crate::domain::id::BrokerId;
use crate::domain::time::Timestamp;
use crate::risk::Approved;

/// A broker's task; it owns the adapter.
pub struct BrokerTask<A> {
    adapter: Arc<A>,
    call_timeout: Duration,
}

impl<A: BrokerAdapter> BrokerTask<A> {
    /// Starts the task and returns its handle. The task ends when every handle is dropped and accepted calls have finished;
    /// to wait for that, drop the handles and await the [`JoinHandle`]. Aborting the task leaves calls in flight unknown.
    pub fn spawn(adapter: A, settings: &BrokerTaskSettings) -> (BrokerHandle, JoinHandle<()>) {
        // Settings are validated at start; a bound of zero would be a queue that accepts nothing.
        let (orders, order_calls) = mpsc::channel(settings.queue_max.max(1));
        let (cancels, cancel_calls) = mpsc::channel(settings.cancel_queue_max.max(1));
        let adapter = Arc::new(adapter);
        let planner = Arc::clone(&adapter);
        let handle = BrokerHandle {
            capabilities: Arc::new(adapter.capabilities().clone()),
            orders,
            cancels,
            planner: Planner(Arc::new(move |placement, position| planner.plan(placement, position))),
        };
        let broker = adapter.capabilities().broker.clone();
        let task = Arc::new(Self {
            adapter,
            call_timeout: settings.call_timeout(),
        });
        let max_in_flight = settings.max_in_flight.max(1);
        let joined = tokio::spawn(async move {
            let for_orders = Arc::clone(&task);
            // Each queue has its own bound: a cancel must not wait until an order's call times out.
            tokio::join!(
                run_lane(&broker, order_calls, max_in_flight, move |call| {
                    Arc::clone(&for_orders).run_order_call(call)
                }),
                run_lane(&broker, cancel_calls, max_in_flight, move |call| {
                    Arc::clone(&task).run_cancel_call(call)
                }),
            );
        });
        (handle, joined)
    }

    async fn run_order_call(self: Arc<Self>, call: OrderCall) {
        let adapter = &self.adapter;
        // A caller that stopped waiting is no error: the store or the venue has the outcome.
        match call {
            OrderCall::Place(placement, reply) => drop(reply.send(self.place_before_deadline(placement).await)),
            OrderCall::Replace(order, reply) => {
                let replace = adapter.replace(order);
                drop(reply.send(self.limit_time(replace, ReplaceCallOutcome::OutcomeUnknown).await));
            }
            OrderCall::Due(order, reply) => {
                let due = adapter.execute_due(order);
                drop(reply.send(self.limit_time(due, DueOutcome::OutcomeUnknown).await));
            }
            OrderCall::Inquire(order, reply) => {
                let inquiry = adapter.inquire(order);
                drop(reply.send(self.limit_time(inquiry, InquiryOutcome::Unanswered).await));
            }
        }
    }

    async fn run_cancel_call(self: Arc<Self>, call: CancelCall) {
        let cancel = self.adapter.cancel(call.order);
        drop(
            call.reply
                .send(self.limit_time(cancel, CancelOutcome::OutcomeUnknown).await),
        );
    }

    async fn place_before_deadline(&self, placement: Approved<Placement>) -> PlaceOutcome {
        if Timestamp::now() > placement.inner().deadline {
            return PlaceOutcome::NotSent(NotSentReason::DeadlinePassed);
        }
        // A timeout is never "not sent": the first byte may have been sent.
        let placing = self.adapter.place(placement);
        match self.limit_time(placing, PlaceOutcome::OutcomeUnknown).await {
            // `QueueFull` means that the adapter has not seen the order and that nothing of it is journaled, so only this
            // task returns it.
            PlaceOutcome::NotSent(NotSentReason::QueueFull) => PlaceOutcome::NotSent(NotSentReason::Unavailable(
                "the venue accepts no further orders at the moment".into(),
            )),
            outcome => outcome,
        }
    }

    /// Returns a call's outcome, or `unknown` with a message if the call exceeds the time limit.
    async fn limit_time<O>(&self, call: impl Future<Output = O>, unknown: fn(String) -> O) -> O {
        timeout(self.call_timeout, call).await.unwrap_or_else(|_| {
            let limit_ms = self.call_timeout.as_millis();
            unknown(format!("the broker did not reply within {limit_ms} ms"))
        })
    }
}

/// Runs the calls of one queue, at most `max_in_flight` at a time, until every sender is dropped; then finishes them.
async fn run_lane<C, F>(broker: &BrokerId, mut queue: mpsc::Receiver<C>, max_in_flight: usize, run: impl Fn(C) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = calls.join_next() => log_aborted_call(broker, ended),
            call = queue.recv(), if calls.len() < max_in_flight => match call {
                Some(call) => drop(calls.spawn(run(call))),
                None => break,
            },
        }
    }
    while let Some(ended) = calls.join_next().await {
        log_aborted_call(broker, ended);
    }
}

/// Logs a call that panicked. It drops its reply, which its caller reads as unknown; the task continues.
fn log_aborted_call(broker: &BrokerId, result: Result<(), JoinError>) {
    if let Err(error) = result {
        tracing::error!(%broker, %error, "a call to the broker ended without a reply; its outcome is unknown");
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
