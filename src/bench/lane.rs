//! One lane of a load: it sends the next order after the reply to the one before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::bench::door::LaneDoor;
use crate::bench::measurements::LoadMeasurements;
use crate::bench::profile::{LoadInstrument, LoadProfile};
use crate::domain::id::AccountId;
use crate::domain::order_terms::{Mode, OrderType, Side};
use crate::domain::time::Timestamp;
use crate::wire::intent::ExecutionIntent;
use crate::wire::schema_numbers::NumberInput;

/// A lane.
pub(super) struct LoadLane {
    door: LaneDoor,
    load: Arc<LoadProfile>,
    number: u16,
    prefix: String,
}

/// What one order trades.
struct OrderTurn<'a> {
    account: &'a AccountId,
    instrument: &'a LoadInstrument,
    side: Side,
}

impl LoadLane {
    /// Returns a lane; `name` makes the ids of a run unique.
    pub(super) fn new(door: LaneDoor, load: Arc<LoadProfile>, name: &str, number: u16) -> Self {
        Self {
            prefix: format!("bench-{name}-{number}-"),
            door,
            load,
            number,
        }
    }

    /// Sends orders until the duration has passed.
    pub(super) async fn send_until_end(mut self, started_at: Instant) -> LoadMeasurements {
        let mut measurements = LoadMeasurements::default();
        let load = Arc::clone(&self.load);
        let end = started_at + load.duration;
        for order in 0.. {
            let due = match load.rate {
                Some(rate) => started_at + due_offset(rate, load.concurrency, self.number, order),
                None => Instant::now(),
            };
            if due >= end {
                break;
            }
            if Instant::now() >= end {
                // It was due, and the orders before it took its time.
                measurements.record_unsent(due.elapsed());
                continue;
            }
            // A timer fires at the next whole millisecond at the earliest, also for a moment that has passed: without a
            // rate, it would dominate the measurement.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            match self.submit_order(&load, order).await {
                Ok(()) => measurements.record_order(due.elapsed()),
                Err(code) => measurements.record_error(code),
            }
        }
        measurements
    }

    async fn submit_order(&mut self, load: &LoadProfile, order: u64) -> Result<(), &'static str> {
        let place = order.saturating_mul(u64::from(load.concurrency)) + u64::from(self.number);
        let Some(turn) = turn_at(load, place) else {
            return Err("no_instrument");
        };
        let body = encode_intent(&turn, format!("{}{order}", self.prefix));
        let deadline = Timestamp::now().saturating_add(load.timeout);
        self.door
            .submit(&turn.instrument.broker, turn.account, body, deadline)
            .await
    }
}

/// Returns what the order at this place of a load trades: pairs of account and instrument take turns, and with each round
/// the side changes.
fn turn_at(load: &LoadProfile, place: u64) -> Option<OrderTurn<'_>> {
    let pairs = u64::try_from(load.accounts.len().max(load.instruments.len())).ok()?;
    let (round, pair) = (
        place.checked_div(pairs)?,
        usize::try_from(place.checked_rem(pairs)?).ok()?,
    );
    Some(OrderTurn {
        account: load.accounts.get(pair.checked_rem(load.accounts.len())?)?,
        instrument: load.instruments.get(pair.checked_rem(load.instruments.len())?)?,
        side: if round.is_multiple_of(2) { Side::Buy } else { Side::Sell },
    })
}

fn encode_intent(turn: &OrderTurn<'_>, client_order_id: String) -> Bytes {
    let instrument = turn.instrument;
    let intent = ExecutionIntent {
        broker: instrument.broker.to_string(),
        venue: instrument.venue.to_string(),
        symbol: instrument.symbol.to_string(),
        side: turn.side,
        quantity: NumberInput(instrument.quantity),
        order_type: instrument.price.map_or(OrderType::Market, |_| OrderType::Limit),
        price: instrument.price.map(NumberInput),
        time_in_force: None,
        client_order_id: Some(client_order_id),
        tags: None,
        account_id: Some(turn.account.to_string()),
        estimated_loss: None,
        reduce_only: None,
        mode: Some(Mode::Paper),
        expires_at: None,
        risk: None,
    };
    // The intent has only strings and exact numbers: it always serializes.
    Bytes::from(serde_json::to_vec(&intent).unwrap_or_default())
}

/// Returns when an order of a lane is due after the start: the lanes take turns.
fn due_offset(rate: u32, lanes: u16, lane: u16, order: u64) -> Duration {
    let place = order.saturating_mul(u64::from(lanes)) + u64::from(lane);
    Duration::from_micros(place.saturating_mul(1_000_000) / u64::from(rate.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::profile::{LoadDoor, RestTarget};
    use crate::domain::decimal::Decimal;
    use crate::domain::id::{BrokerId, ClientOrderId, VenueId};
    use crate::domain::symbol::Symbol;

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

    #[test]
    fn orders_take_turns_and_the_sides_of_each_pair_alternate() {
        let instrument = |symbol: &str| LoadInstrument {
            broker: BrokerId::new("b").unwrap(),
            venue: VenueId::new("b.v").unwrap(),
            symbol: Symbol::parse(symbol).unwrap(),
            quantity: Decimal::from(1),
            price: None,
        };
        let load = |accounts: usize| LoadProfile {
            door: LoadDoor::Request,
            rest: RestTarget::default(),
            concurrency: 1,
            duration: Duration::ZERO,
            warm_up: Duration::ZERO,
            rate: None,
            accounts: (0..accounts)
                .map(|number| AccountId::new(&number.to_string()).unwrap())
                .collect(),
            instruments: vec![instrument("X"), instrument("Y")],
            timeout: Duration::ZERO,
        };
        let turns = |accounts| {
            let load = load(accounts);
            let turn = |place| {
                let turn = turn_at(&load, place).unwrap();
                format!("{} {} {}", turn.account, turn.instrument.symbol, turn.side)
            };
            (0..6).map(turn).collect::<Vec<_>>()
        };
        assert_eq!(
            turns(3),
            ["0 X buy", "1 Y buy", "2 X buy", "0 X sell", "1 Y sell", "2 X sell"]
        );
        assert_eq!(
            turns(1),
            ["0 X buy", "0 Y buy", "0 X sell", "0 Y sell", "0 X buy", "0 Y buy"]
        );
    }
}
