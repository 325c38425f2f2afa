//! One lane of the closed loop: it sends the next order after the reply to the one before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::bench::measurements::LoadMeasurements;
use crate::bench::profile::LoadProfile;
use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::bus::submission_client::SubmissionClient;
use crate::domain::id::AccountId;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side};
use crate::domain::time::Timestamp;
use crate::wire::intent::ExecutionIntent;
use crate::wire::schema_numbers::NumberInput;

/// A lane.
pub(super) struct LoadLane {
    door: Arc<SubmissionClient>,
    load: Arc<LoadProfile>,
    number: u16,
    account: AccountId,
    prefix: String,
}

impl LoadLane {
    /// Returns a lane; `name` makes the ids of a run unique.
    pub(super) fn new(door: Arc<SubmissionClient>, load: Arc<LoadProfile>, name: &str, number: u16) -> Self {
        let account = load.accounts.get(usize::from(number) % load.accounts.len().max(1));
        Self {
            account: account.cloned().unwrap_or_else(AccountId::default_account),
            prefix: format!("bench-{name}-{number}-"),
            door,
            load,
            number,
        }
    }

    /// Sends orders until the duration has passed.
    pub(super) async fn send_until_end(self, started_at: Instant) -> LoadMeasurements {
        let mut measurements = LoadMeasurements::default();
        let end = started_at + self.load.duration;
        for order in 0.. {
            let due = match self.load.rate {
                Some(rate) => started_at + due_offset(rate, self.load.concurrency, self.number, order),
                None => Instant::now(),
            };
            if due >= end || Instant::now() >= end {
                break;
            }
            // A timer fires at the next whole millisecond at the earliest, also for a moment that has passed: without a
            // rate, it would dominate the measurement.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            match self.submit_order(order).await {
                Ok(reply) if has_known_outcome(&reply) => measurements.record_order(due.elapsed()),
                Ok(_) => measurements.record_error("unknown"),
                Err(RequestError::Fault(fault)) => measurements.record_error(fault.code.as_str()),
                Err(RequestError::Timeout) => measurements.record_error("no_answer"),
            }
        }
        measurements
    }

    async fn submit_order(&self, order: u64) -> Result<BusReply, RequestError> {
        let (broker, account) = (&self.load.broker, &self.account);
        let body = self.encode_intent(order);
        let deadline = Timestamp::now().saturating_add(self.load.timeout);
        self.door.submit(broker, account, body, deadline).await
    }

    fn encode_intent(&self, order: u64) -> Bytes {
        let load = &self.load;
        let intent = ExecutionIntent {
            broker: load.broker.to_string(),
            venue: load.venue.to_string(),
            symbol: load.symbol.clone(),
            side: if order.is_multiple_of(2) { Side::Buy } else { Side::Sell },
            quantity: NumberInput(load.quantity),
            order_type: load.price.map_or(OrderType::Market, |_| OrderType::Limit),
            price: load.price.map(NumberInput),
            time_in_force: None,
            client_order_id: Some(format!("{}{order}", self.prefix)),
            tags: None,
            account_id: Some(self.account.to_string()),
            estimated_loss: None,
            reduce_only: None,
            mode: Some(Mode::Paper),
            expires_at: None,
            risk: None,
        };
        // The intent has only strings and exact numbers: it always serializes.
        Bytes::from(serde_json::to_vec(&intent).unwrap_or_default())
    }
}

/// Returns when an order of a lane is due after the start: the lanes take turns.
fn due_offset(rate: u32, lanes: u16, lane: u16, order: u64) -> Duration {
    let place = order.saturating_mul(u64::from(lanes)) + u64::from(lane);
    Duration::from_micros(place.saturating_mul(1_000_000) / u64::from(rate.max(1)))
}

/// Reports whether a reply has a known outcome.
fn has_known_outcome(reply: &BusReply) -> bool {
    #[derive(Deserialize)]
    struct ReplyStatus {
        status: OrderStatus,
    }
    serde_json::from_slice(&reply.body).is_ok_and(|state: ReplyStatus| state.status != OrderStatus::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ClientOrderId;

    /// An order number beyond any run.
    const LATE_ORDER: u64 = 9_999_999_999;

    #[test]
    fn client_order_ids_stay_valid_in_long_runs() {
        assert!(ClientOrderId::new(&format!("bench-{}-{}-{LATE_ORDER}", "0".repeat(8), 4_096)).is_ok());
    }

    #[test]
    fn lanes_share_the_rate() {
        for (lane, order, milliseconds) in [(0, 0, 0), (3, 0, 3), (0, 1, 4), (2, 250, 1_002)] {
            assert_eq!(due_offset(1_000, 4, lane, order), Duration::from_millis(milliseconds));
        }
    }
}
