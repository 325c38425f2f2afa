//! The intents of a run. Each follows from the seed and its number alone.

use std::time::Duration;

use bytes::Bytes;

use crate::chaos::options::ChaosBroker;
use crate::chaos::random::SeededDraws;
use crate::chaos::replace_plan::{PlannedReplace, ReplaceableOrder, plan_replaces};
use crate::chaos::router_settings::ACCOUNTS;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::order_terms::{OrderType, Side, TimeInForce};
use crate::wire::intent::ExecutionIntent;
use crate::wire::replace::{ReplaceBody, ReplaceRequest};
use crate::wire::schema_numbers::NumberInput;

/// The first stream of the seed's numbers that intents draw from: one stream each.
const FIRST_STREAM: u64 = 1_000;
/// In this share of the intents, in percent, the caller gives up after its first call.
const IMPATIENT_PERCENT: u64 = 10;
/// In this share, the caller sends the intent again after its outcome.
const REPEAT_PERCENT: u64 = 12;
/// In this share, the caller sends other content under the same id after its outcome.
const CONFLICT_PERCENT: u64 = 3;
/// In this share of the orders that stay open, the caller cancels.
const CANCEL_PERCENT: u64 = 40;
/// The deadline of one call, in milliseconds.
const DEADLINE_MS: (u64, u64) = (700, 4_000);
/// The time from an order's report to its cancel, in milliseconds.
const CANCEL_AFTER_MS: (u64, u64) = (0, 3_500);

/// An instrument that intents trade: all prices have two decimals, quantities are whole numbers of `unit`.
struct TradedInstrument {
    broker: &'static str,
    venue: &'static str,
    symbol: &'static str,
    /// The reference price, in hundredths.
    price: u64,
    /// The decimals of a quantity.
    scale: u32,
    /// The quantities, in steps of ten to the power of minus `scale`.
    quantities: (u64, u64),
    /// A quantity above the maximum order size.
    oversize: u64,
}

const INSTRUMENTS: &[TradedInstrument] = &[
    TradedInstrument {
        broker: "binance",
        venue: "binance.spot",
        symbol: "BTCUSDT",
        price: 3_000_000,
        scale: 4,
        quantities: (1, 80),
        oversize: 7_501,
    },
    TradedInstrument {
        broker: "binance",
        venue: "binance.spot",
        symbol: "ETHUSDT",
        price: 200_000,
        scale: 3,
        quantities: (1, 90),
        oversize: 10_001,
    },
    TradedInstrument {
        broker: "ibkr",
        venue: "ibkr.paper",
        symbol: "AAPL",
        price: 18_000,
        scale: 0,
        quantities: (1, 25),
        oversize: 1_001,
    },
    TradedInstrument {
        broker: "ibkr",
        venue: "ibkr.paper",
        symbol: "MSFT",
        price: 32_000,
        scale: 1,
        quantities: (1, 90),
        oversize: 8_001,
    },
];

/// What the caller of an intent does beside sending it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) struct CallerHabits {
    /// Whether it gives up after its first call.
    pub(in crate::chaos) is_impatient: bool,
    /// Whether it sends the intent again after its outcome.
    pub(in crate::chaos) repeats: bool,
    /// Whether it sends other content under the same id after its outcome.
    pub(in crate::chaos) conflicts: bool,
    /// How long after a report of an open order it cancels.
    pub(in crate::chaos) cancels_after: Option<Duration>,
}

/// What determines the intents of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) struct ChaosRun {
    /// The seed.
    pub(in crate::chaos) seed: u64,
    /// Where the orders take effect.
    pub(in crate::chaos) broker: ChaosBroker,
}

/// One intent of a run.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct ChaosIntent {
    /// Its number, from 0.
    pub(in crate::chaos) number: u64,
    /// Its broker.
    pub(in crate::chaos) broker: BrokerId,
    /// Its account.
    pub(in crate::chaos) account: AccountId,
    /// Its terms.
    pub(in crate::chaos) terms: ExecutionIntent,
    /// What its caller does.
    pub(in crate::chaos) habits: CallerHabits,
    /// The replaces that its caller asks for, while the order is open.
    pub(in crate::chaos) replaces: Vec<PlannedReplace>,
    /// The numbers that its calls draw from.
    pub(in crate::chaos) draws: SeededDraws,
}

impl ChaosIntent {
    /// Returns an intent of a run.
    ///
    /// # Errors
    /// When its broker or account is no id, which no number causes.
    pub(in crate::chaos) fn of_run(run: ChaosRun, number: u64) -> anyhow::Result<Self> {
        let ChaosRun { seed, broker } = run;
        let mut draws = SeededDraws::new(seed, FIRST_STREAM + number);
        let at = usize::try_from(draws.below(100)).unwrap_or(0);
        let instrument = match at {
            // No other broker has a live venue.
            60.. if broker == ChaosBroker::LiveVenue => &INSTRUMENTS[usize::from(at < 80)],
            0..35 => &INSTRUMENTS[0],
            35..60 => &INSTRUMENTS[1],
            60..85 => &INSTRUMENTS[2],
            _ => &INSTRUMENTS[3],
        };
        let account = draws.pick(ACCOUNTS).copied().unwrap_or("default");
        let id = format!("chaos-{seed:x}-{number}");
        let (terms, quantity) = draw_terms(&mut draws, instrument, (account, id), broker);
        let may_rest = instrument.broker == "ibkr" || broker == ChaosBroker::LiveVenue;
        let stays_open = may_rest && matches!(terms.time_in_force, None | Some(TimeInForce::Gtc));
        let may_be_replaced = may_rest
            && terms.price.is_some()
            && !matches!(terms.time_in_force, Some(TimeInForce::Ioc | TimeInForce::Fok));
        let replaceable = ReplaceableOrder {
            reference_price: instrument.price,
            quantity,
            scale: instrument.scale,
            oversize: instrument.oversize,
            fills_at_once: broker == ChaosBroker::Paper,
        };
        let replaces = may_be_replaced.then(|| plan_replaces(seed, number, replaceable));
        let cancel_after = Duration::from_millis(draws.between(CANCEL_AFTER_MS.0, CANCEL_AFTER_MS.1));
        Ok(Self {
            number,
            broker: BrokerId::new(instrument.broker)?,
            account: AccountId::new(account)?,
            habits: CallerHabits {
                is_impatient: draws.in_percent(IMPATIENT_PERCENT),
                repeats: draws.in_percent(REPEAT_PERCENT),
                conflicts: draws.in_percent(CONFLICT_PERCENT),
                cancels_after: (draws.in_percent(CANCEL_PERCENT) && stays_open).then_some(cancel_after),
            },
            replaces: replaces.unwrap_or_default(),
            terms,
            draws,
        })
    }

    /// Returns the caller's id of the order.
    pub(in crate::chaos) fn client_order_id(&self) -> &str {
        self.terms.client_order_id.as_deref().unwrap_or_default()
    }

    /// Returns the JSON of the intent.
    pub(in crate::chaos) fn body(&self) -> Bytes {
        encode(&self.terms)
    }

    /// Returns the JSON of other content under the same id.
    pub(in crate::chaos) fn conflicting_body(&self) -> Bytes {
        let mut terms = self.terms.clone();
        terms.side = match terms.side {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        };
        encode(&terms)
    }

    /// Returns the request of a replace over the bus.
    pub(in crate::chaos) fn replace_request(&self, planned: &PlannedReplace) -> ReplaceRequest {
        let (price, quantity) = planned.terms();
        ReplaceRequest {
            order_id: None,
            client_order_id: Some(self.client_order_id().to_owned()),
            price: price.map(NumberInput),
            quantity: quantity.map(NumberInput),
            replace_id: Some(planned.replace_id.clone()),
        }
    }

    /// Returns the request of a replace over REST.
    pub(in crate::chaos) fn replace_body(&self, planned: &PlannedReplace) -> ReplaceBody {
        let request = self.replace_request(planned);
        ReplaceBody {
            order_id: request.order_id,
            client_order_id: request.client_order_id,
            account_id: Some(self.account.to_string()),
            price: request.price,
            quantity: request.quantity,
            replace_id: request.replace_id,
        }
    }

    /// Returns the time limit of the next call.
    pub(in crate::chaos) fn next_deadline(&mut self) -> Duration {
        Duration::from_millis(self.draws.between(DEADLINE_MS.0, DEADLINE_MS.1))
    }
}

/// Returns the terms of an intent, and their quantity in units of the instrument's scale.
fn draw_terms(
    draws: &mut SeededDraws,
    instrument: &TradedInstrument,
    (account, client_order_id): (&str, String),
    broker: ChaosBroker,
) -> (ExecutionIntent, u64) {
    // A spot market sells only what is held.
    let buy_percent = if broker == ChaosBroker::LiveVenue { 58 } else { 50 };
    let is_limit = draws.in_percent(70);
    // Up to 2 % beside the reference price, far within the collar.
    let price = instrument.price * draws.between(9_800, 10_200) / 10_000;
    let quantity = match draws.in_percent(2) {
        true => instrument.oversize,
        false => draws.between(instrument.quantities.0, instrument.quantities.1),
    };
    let time_in_force = match draws.below(100) {
        0..50 => None,
        50..70 => Some(TimeInForce::Gtc),
        70..85 => Some(TimeInForce::Ioc),
        85..95 => Some(TimeInForce::Fok),
        _ if instrument.broker == "ibkr" => Some(TimeInForce::Day),
        _ => None,
    };
    let terms = ExecutionIntent {
        broker: instrument.broker.to_owned(),
        venue: instrument.venue.to_owned(),
        symbol: instrument.symbol.to_owned(),
        side: if draws.in_percent(buy_percent) {
            Side::Buy
        } else {
            Side::Sell
        },
        quantity: number(quantity, instrument.scale),
        order_type: if is_limit { OrderType::Limit } else { OrderType::Market },
        price: is_limit.then(|| number(price, 2)),
        time_in_force,
        client_order_id: Some(client_order_id),
        tags: Some(vec!["strategy:chaos".to_owned()]),
        account_id: Some(account.to_owned()),
        estimated_loss: draws.in_percent(10).then(|| number(draws.between(1, 500), 2)),
        reduce_only: draws.in_percent(6).then_some(true),
        mode: Some(broker.mode()),
        expires_at: None,
        risk: None,
    };
    (terms, quantity)
}

fn number(units: u64, scale: u32) -> NumberInput {
    NumberInput(Decimal::from_parts(i128::from(units), scale).unwrap_or(Decimal::ZERO))
}

fn encode(terms: &ExecutionIntent) -> Bytes {
    // An intent has only strings and exact numbers: it always serializes.
    Bytes::from(serde_json::to_vec(terms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::intent::{MissingIdPolicy, decode_intent};
    use crate::wire::replace::decode_replace;

    #[test]
    fn seed_replays_intents_that_the_contract_accepts() {
        let runs = [ChaosBroker::Paper, ChaosBroker::LiveVenue].map(|broker| ChaosRun { seed: u64::MAX, broker });
        for (number, run) in (0..2_000).flat_map(|number| runs.map(|run| (number, run))) {
            let intent = ChaosIntent::of_run(run, number).unwrap();
            assert_eq!(intent.body(), ChaosIntent::of_run(run, number).unwrap().body());
            let decoded = decode_intent(&intent.body(), MissingIdPolicy::Refuse).unwrap();
            let other = decode_intent(&intent.conflicting_body(), MissingIdPolicy::Refuse).unwrap();
            assert_ne!(decoded.content_hash(), other.content_hash());
            for planned in &intent.replaces {
                let over_bus = serde_json::to_vec(&intent.replace_request(planned)).unwrap();
                let decoded = decode_replace(&over_bus).unwrap();
                assert_eq!(decoded.replace_id.as_str(), planned.replace_id);
            }
        }
    }
}
