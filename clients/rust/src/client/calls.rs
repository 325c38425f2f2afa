//! Sending a call, and sending it again where that is safe and can help.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bus::connection::{BusError, ConnectPolicy, connect};
use crate::bus::reply::BusReply;
use crate::bus::router_client::{RequestError, RouterClient, new_traceparent};
use crate::client::error::CallError;
use crate::client::typed_reply::TypedReply;
use crate::config::connection::ConnectionSettings;
use crate::config::retry::RetrySchedule;
use crate::domain::time::Timestamp;
use crate::fault::FaultCode;

/// The name of the connection in the monitoring of NATS.
const CONNECTION_NAME: &str = "order-router-client";
/// An attempt with less time for its reply is not worth sending.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// The deadline of a call, by two clocks: a local one for the header, a monotonic one for waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallDeadline {
    /// The time after which nothing is executed.
    pub(crate) at: Timestamp,
    end: Instant,
}

impl CallDeadline {
    /// Returns the deadline of a call that begins now.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self {
            at: Timestamp::now().saturating_add(timeout),
            end: Instant::now() + timeout,
        }
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Returns the time until `grace` after the deadline.
    fn left_with(&self, grace: Duration) -> Duration {
        (self.end + grace).saturating_duration_since(Instant::now())
    }
}

impl RouterClient {
    /// Connects to the router's NATS. From then on a lost connection is restored by itself; a call without a connection fails
    /// at once with `bus_unavailable`, and nothing is held back until it is restored.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use order_router_client::{ConnectionSettings, RouterClient};
    ///
    /// let client = RouterClient::connect(ConnectionSettings::new("nats://127.0.0.1:4222")).await?;
    /// assert!(client.bus().is_connected());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the server is unreachable, rejects the credentials, is too old, or has a certificate that is not trusted, and
    /// when a setting is invalid.
    pub async fn connect(settings: impl Into<ConnectionSettings>) -> Result<Self, BusError> {
        connect(settings, CONNECTION_NAME, ConnectPolicy::Once)
            .await
            .map(Self::new)
    }

    /// Sends a call that has the same effect however often it arrives, until there is a reply.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        subject: &str,
        request: &impl Serialize,
        timeout: Duration,
    ) -> Result<TypedReply<T>, CallError> {
        let deadline = CallDeadline::after(timeout);
        let (body, traceparent) = (encode(request), new_traceparent());
        let mut attempts = Attempts::new(deadline, self.retry());
        loop {
            let sent = self
                .request_with_timeout(attempts.wait(), subject, body.clone(), deadline.at, &traceparent)
                .await;
            if let Some(reply) = attempts.record(sent, |_: &BusReply| true).await {
                return TypedReply::decode(reply?);
            }
        }
    }

    /// Sends a call once.
    pub(crate) async fn call_once<T: DeserializeOwned>(
        &self,
        subject: &str,
        request: &impl Serialize,
        timeout: Duration,
    ) -> Result<TypedReply<T>, CallError> {
        let deadline = CallDeadline::after(timeout).at;
        TypedReply::decode(self.request(subject, encode(request), deadline).await?)
    }
}

/// Returns a request's JSON.
pub(crate) fn encode(request: &impl Serialize) -> Bytes {
    // Cannot fail: requests hold only strings and exact numbers.
    serde_json::to_vec(request).unwrap_or_default().into()
}

/// The attempts of one call.
///
/// Another attempt follows a retryable fault, a lost reply, or a reply that is not settled (a receipt). While the outcome is
/// uncertain, the call may be sent until the schedule's grace after the deadline. An uncertain outcome outlives later faults
/// that do not settle it: a call that may have arrived is never reported as one that was not sent.
#[derive(Debug)]
pub(crate) struct Attempts<T> {
    deadline: CallDeadline,
    schedule: RetrySchedule,
    /// The number of the current attempt, from 1.
    attempt: u32,
    /// The last reply that is not settled.
    unsettled: Option<T>,
    /// Whether an attempt has lost its reply.
    is_lost: bool,
}

impl<T> Attempts<T> {
    pub(crate) fn new(deadline: CallDeadline, schedule: RetrySchedule) -> Self {
        Self {
            deadline,
            schedule,
            attempt: 1,
            unsettled: None,
            is_lost: false,
        }
    }

    fn is_last(&self) -> bool {
        self.attempt >= self.schedule.attempt_limit()
    }

    /// Returns how long the current attempt waits for its reply.
    pub(crate) fn wait(&self) -> Duration {
        let left = self.deadline.left_with(self.schedule.grace);
        let wait = match self.is_last() {
            true => left,
            false => left.min(self.schedule.reply_timeout),
        };
        wait.max(SHORTEST_WAIT)
    }

    /// Reports whether an earlier attempt may have arrived.
    pub(crate) fn may_have_arrived(&self) -> bool {
        self.is_lost || self.unsettled.is_some()
    }

    /// Records how the current attempt ended. Returns the result of the call, or `None` after the delay before the next
    /// attempt.
    ///
    /// The result is an error for a refusal, and [`CallError::OutcomeUnknown`] where a reply was lost and no later one settled
    /// the outcome.
    pub(crate) async fn record(
        &mut self,
        sent: Result<T, RequestError>,
        is_settled: impl FnOnce(&T) -> bool + Send,
    ) -> Option<Result<T, CallError>> {
        let refusal = match sent {
            Ok(reply) if is_settled(&reply) => return Some(Ok(reply)),
            Ok(reply) => {
                self.unsettled = Some(reply);
                None
            }
            Err(RequestError::Timeout) => {
                self.is_lost = true;
                None
            }
            // Another permission than an earlier attempt had settles nothing.
            Err(RequestError::Fault(fault)) if fault.code == FaultCode::NotEntitled && self.is_lost => None,
            Err(RequestError::Fault(fault)) if !fault.code.is_retryable() => return Some(Err(fault.into())),
            Err(RequestError::Fault(fault)) => Some(fault),
        };
        let delay = self.schedule.delay_after(self.attempt);
        let left = match self.may_have_arrived() {
            true => self.deadline.left_with(self.schedule.grace),
            false => self.deadline.left(),
        };
        if self.is_last() || left <= delay + SHORTEST_WAIT {
            return Some(match (self.unsettled.take(), self.is_lost, refusal) {
                (Some(reply), ..) => Ok(reply),
                (None, false, Some(fault)) => Err(fault.into()),
                _ => Err(CallError::OutcomeUnknown { client_order_id: None }),
            });
        }
        tokio::time::sleep(delay).await;
        self.attempt += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    /// Repeats a call whose attempts end as listed; a receipt is an even number.
    async fn outcome(ends: &[Result<u32, RequestError>], timeout: Duration) -> (Result<u32, CallError>, usize) {
        let schedule = RetrySchedule {
            first_delay: Duration::from_millis(1),
            grace: Duration::from_millis(100),
            ..RetrySchedule::default()
        };
        let mut attempts = Attempts::new(CallDeadline::after(timeout), schedule);
        let mut sent = 0;
        loop {
            let end = ends[sent.min(ends.len() - 1)].clone();
            sent += 1;
            if let Some(result) = attempts.record(end, |reply| reply % 2 == 1).await {
                return (result, sent);
            }
        }
    }

    fn fault(code: FaultCode) -> Result<u32, RequestError> {
        Err(Fault::new(code, "x").into())
    }

    #[tokio::test]
    async fn only_an_uncertain_or_retryable_end_is_followed_by_another_attempt() {
        let unknown = || CallError::OutcomeUnknown { client_order_id: None };
        let refused = |code| CallError::Refused(Fault::new(code, "x"));
        let lost = || Err(RequestError::Timeout);
        for (ends, result, sent) in [
            (vec![Ok(1)], Ok(1), 1),
            (
                vec![fault(FaultCode::RiskLocked), Ok(1)],
                Err(refused(FaultCode::RiskLocked)),
                1,
            ),
            (vec![fault(FaultCode::NoWorker), Ok(1)], Ok(1), 2),
            (vec![lost(), Ok(1)], Ok(1), 2),
            (vec![Ok(2), lost(), Ok(1)], Ok(1), 3),
            (vec![Ok(2)], Ok(2), 8),
            (vec![lost()], Err(unknown()), 8),
            (vec![fault(FaultCode::NoWorker)], Err(refused(FaultCode::NoWorker)), 8),
            // A call that may have arrived is never reported as one that was not sent.
            (vec![lost(), fault(FaultCode::NoWorker)], Err(unknown()), 8),
            (vec![lost(), fault(FaultCode::NotEntitled)], Err(unknown()), 8),
            (vec![Ok(4), fault(FaultCode::NoWorker)], Ok(4), 8),
            // A worker's refusal of the id settles it.
            (
                vec![lost(), fault(FaultCode::IntentExpired)],
                Err(refused(FaultCode::IntentExpired)),
                2,
            ),
        ] {
            assert_eq!(outcome(&ends, Duration::from_secs(5)).await, (result, sent), "{ends:?}");
        }
    }

    #[tokio::test]
    async fn no_attempt_begins_after_the_deadline_unless_the_outcome_is_uncertain() {
        let (result, sent) = outcome(&[fault(FaultCode::NoWorker)], Duration::ZERO).await;
        assert_eq!((result.is_err(), sent), (true, 1));
        let (result, sent) = outcome(&[Err(RequestError::Timeout), Ok(1)], Duration::ZERO).await;
        assert_eq!((result, sent), (Ok(1), 2), "within the grace");
    }
}
