//! The replaces that the caller of an intent asks for. They follow from the seed and the intent's number alone, by a stream
//! of their own.

use std::time::Duration;

use crate::chaos::random::SeededDraws;
use crate::domain::decimal::Decimal;

/// The first stream of the seed's numbers that replaces draw from: far beyond those of the intents.
const FIRST_STREAM: u64 = 1 << 48;
/// In this share of the orders that stay open, in percent, the caller replaces.
const REPLACE_PERCENT: u64 = 45;
/// The most replaces of one order.
const MAX_REPLACES: u64 = 3;
/// In this share of the replaces, the caller sends the same one twice at once.
const TWICE_PERCENT: u64 = 25;
/// In this share, the caller gives up after its first call.
const IMPATIENT_PERCENT: u64 = 8;
/// In this share, the new quantity is above the maximum order size.
const OVERSIZE_PERCENT: u64 = 2;
/// The time from an order's latest report to its replace, in milliseconds.
const REPLACE_AFTER_MS: (u64, u64) = (0, 1_200);
/// The decimals of a price.
const PRICE_SCALE: u32 = 2;
/// A new price in hundredths of a percent of the reference price, far within the collar.
const PRICES: (u64, u64) = (9_800, 10_200);

/// What an order that may be replaced was drawn from.
#[derive(Debug, Clone, Copy)]
pub(in crate::chaos) struct ReplaceableOrder {
    /// The reference price, in hundredths.
    pub(in crate::chaos) reference_price: u64,
    /// The quantity, in steps of ten to the power of minus `scale`.
    pub(in crate::chaos) quantity: u64,
    /// The decimals of a quantity.
    pub(in crate::chaos) scale: u32,
    /// A quantity above the maximum order size.
    pub(in crate::chaos) oversize: u64,
    /// Whether most of the order fills at once: only a small part of it is left to reduce.
    pub(in crate::chaos) fills_at_once: bool,
}

/// A replace that a caller asks for. It has at least one term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) struct PlannedReplace {
    /// The idempotency key.
    pub(in crate::chaos) replace_id: String,
    /// The new price, in hundredths; `None` keeps the order's.
    pub(in crate::chaos) price: Option<u64>,
    /// The new quantity and its decimals; `None` keeps the order's.
    pub(in crate::chaos) quantity: Option<(u64, u32)>,
    /// How long after the latest report the caller asks.
    pub(in crate::chaos) after: Duration,
    /// Whether the caller sends it twice at once.
    pub(in crate::chaos) is_sent_twice: bool,
    /// Whether the caller gives up after its first call.
    pub(in crate::chaos) is_impatient: bool,
}

impl PlannedReplace {
    /// Returns the price and the quantity that it asks for.
    pub(in crate::chaos) fn terms(&self) -> (Option<Decimal>, Option<Decimal>) {
        let exact = |units: u64, scale| Decimal::from_parts(i128::from(units), scale);
        let quantity = self.quantity.and_then(|(units, scale)| exact(units, scale));
        (self.price.and_then(|price| exact(price, PRICE_SCALE)), quantity)
    }
}

/// Returns the replaces of an order that stays open, the first one first.
pub(in crate::chaos) fn plan_replaces(seed: u64, number: u64, order: ReplaceableOrder) -> Vec<PlannedReplace> {
    let mut draws = SeededDraws::new(seed, FIRST_STREAM + number);
    if !draws.in_percent(REPLACE_PERCENT) {
        return Vec::new();
    }
    let count = draws.between(1, MAX_REPLACES);
    (1..=count)
        .map(|place| plan_replace(&mut draws, place, order))
        .collect()
}

fn plan_replace(draws: &mut SeededDraws, place: u64, order: ReplaceableOrder) -> PlannedReplace {
    let price = order.reference_price * draws.between(PRICES.0, PRICES.1) / 10_000;
    let greater = match draws.in_percent(OVERSIZE_PERCENT) {
        true => order.oversize,
        false => order.quantity + draws.between(1, order.quantity / 2 + 1),
    };
    let smaller = match order.fills_at_once {
        true => (order.quantity * draws.between(96, 99), order.scale + 2),
        false => (draws.between(1, order.quantity), order.scale),
    };
    let greater = (greater, order.scale);
    let (price, quantity) = match draws.below(100) {
        0..35 => (Some(price), None),
        35..50 => (None, Some(greater)),
        50..65 => (Some(price), Some(greater)),
        65..75 => (Some(price), Some(smaller)),
        _ => (None, Some(smaller)),
    };
    PlannedReplace {
        replace_id: format!("r{place}"),
        price,
        quantity,
        after: Duration::from_millis(draws.between(REPLACE_AFTER_MS.0, REPLACE_AFTER_MS.1)),
        is_sent_twice: draws.in_percent(TWICE_PERCENT),
        is_impatient: draws.in_percent(IMPATIENT_PERCENT),
    }
}
