//! The life of one order over REST: every version that the journal has, and what the risk rules measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::metadata::{Metadata, MetadataValue};
use crate::domain::money::Micros;
use crate::domain::quantity::from_quantity_units;
use crate::wire::report::ExecutionReport;
use crate::wire::schema_numbers::PlainNumber;

/// The ends of the names under which a settlement records what an order adds to a measure, and the limit.
const ORDER_SUFFIX: &str = ".order";
const LIMIT_SUFFIX: &str = ".limit";
/// The name under which it records what the store read.
const READINGS: &str = "readings";
/// The numbers that the readings have for each limit, at their end: the measure, and whether its alert is new.
const NUMBERS_PER_LIMIT: usize = 2;

/// The versions of one order, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderHistory {
    /// The order's report after each of its changes.
    pub items: Vec<ExecutionReport>,
    /// Whether `items` has every version. False for an order whose versions lie too far apart on the journal, or of which
    /// the journal has lost entries.
    pub is_complete: bool,
    /// What the order was judged by: one entry for each limit that it was compared with, in the order of the rules. Empty
    /// for an order that was refused before.
    pub measurements: Vec<LimitMeasurement>,
}

/// What one limit was compared with. `before` + `order` is the value after the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitMeasurement {
    /// The risk rule, and after a dot what it measures where it has several limits, such as `position_limit.long`.
    pub name: String,
    /// The measure before the order: units of the instrument, the base currency, or a number of orders. Null if it was not
    /// read.
    #[schemars(with = "Option<PlainNumber>")]
    pub before: Option<Decimal>,
    /// What the order adds to it, in the same unit.
    #[schemars(with = "PlainNumber")]
    pub order: Decimal,
    /// The limit, in the same unit.
    #[schemars(with = "PlainNumber")]
    pub limit: Decimal,
}

/// Returns what a settlement's figures record of each limit.
pub fn limit_measurements(figures: &Metadata) -> Vec<LimitMeasurement> {
    let number = |name: &str| match figures.get(name) {
        Some(MetadataValue::Number(number)) => Some(*number),
        _ => None,
    };
    let names = figures.iter().filter_map(|(name, _)| name.strip_suffix(ORDER_SUFFIX));
    let mut measurements: Vec<LimitMeasurement> = names
        .filter_map(|name| {
            Some(LimitMeasurement {
                name: name.to_owned(),
                before: None,
                order: number(&format!("{name}{ORDER_SUFFIX}"))?,
                limit: number(&format!("{name}{LIMIT_SUFFIX}"))?,
            })
        })
        .collect();
    let readings: Vec<&str> = figures.text(READINGS).unwrap_or_default().split(' ').collect();
    let Some(first) = readings.len().checked_sub(NUMBERS_PER_LIMIT * measurements.len()) else {
        return measurements;
    };
    for (at, measurement) in measurements.iter_mut().enumerate() {
        let sum = readings.get(first + NUMBERS_PER_LIMIT * at);
        measurement.before = sum
            .and_then(|text| text.parse().ok())
            .and_then(|sum| in_unit(&measurement.name, sum));
    }
    measurements
}

/// Returns a sum in the unit of a rule's limit.
fn in_unit(name: &str, sum: i64) -> Option<Decimal> {
    match name.split('.').next()? {
        "max_notional" | "position_limit" => Some(from_quantity_units(sum.into())),
        "max_open_orders" => Some(Decimal::from(sum)),
        _ => Micros::new(sum).map(Micros::decimal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_have_the_unit_of_their_limit() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let figures = Metadata::new()
            .with("position_limit.long.order", number("0.5"))
            .with("position_limit.long.limit", number("2"))
            .with("max_daily_notional.order", number("15000"))
            .with("max_daily_notional.limit", number("1000000"))
            .with("max_open_orders.order", number("1"))
            .with("max_open_orders.limit", number("10000"));
        let before = |figures: &Metadata| {
            let measurements = limit_measurements(figures);
            measurements
                .iter()
                .map(|one| one.before.map(|sum| sum.to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(before(&figures), [None, None, None]);
        let figures = figures.with("readings", "0 0 3 7 0 150000000 1 30000500000 0 4 0");
        let expected = ["1.5", "30000.5", "4"].map(|text| Some(text.to_owned()));
        assert_eq!(before(&figures), expected);
        let first = &limit_measurements(&figures)[0];
        assert_eq!(
            (first.name.as_str(), first.order, first.limit),
            ("position_limit.long", number("0.5"), number("2"))
        );
        assert_eq!(limit_measurements(&Metadata::new()), []);
    }
}
