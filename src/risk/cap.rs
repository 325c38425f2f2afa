//! A limit on a shared sum: compared and reserved by the store, in one step for all workers.

use crate::domain::decimal::Decimal;
use crate::domain::metadata::Figure;
use crate::domain::money::Micros;
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::Counter;

/// Where the limit of a cap stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapLimit {
    /// In the settings.
    Fixed(i64),
    /// In the shared state, where an operator changes it for all workers at once; this value where it names none.
    DailyNotional(i64),
}

/// What a sum counts in, so that its figures can be shown as a person knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Lots of this size.
    Lots(Decimal),
    /// Millionths of the base currency.
    Micros,
}

impl Unit {
    /// Returns a sum as a number of the asset or of the base currency.
    pub fn figure(self, sum: i64) -> Figure {
        match self {
            Self::Lots(lot) => Decimal::from(sum)
                .exact_mul(lot)
                .map_or_else(|| sum.into(), Figure::from),
            Self::Micros => Micros::new(sum).map_or_else(|| sum.into(), |micros| micros.decimal().into()),
        }
    }
}

/// One rule's limit on one shared sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// The rule.
    pub rule_id: &'static str,
    /// The code a caller sees when the cap has no room.
    pub code: ReasonCode,
    /// The sum.
    pub counter: Counter,
    /// How far the order moves it.
    pub delta: i64,
    /// What it must not pass.
    pub limit: CapLimit,
    /// What the sum counts in.
    pub unit: Unit,
    /// What is limited, for the message: "… would be 5, above the limit of 4".
    pub what: &'static str,
}

/// What the store saw of a cap when it compared it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The sum before the order.
    pub before: i64,
    /// The limit in force.
    pub limit: i64,
}
