//! Caps: limits on shared sums. The store compares and reserves them in one step for all workers.

use std::borrow::Cow;

use crate::domain::decimal::Decimal;
use crate::domain::metadata::MetadataValue;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros};
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::SharedSum;
use crate::risk::limits::AlertThresholds;

/// The value that a cap limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapMeasure {
    /// A shared sum.
    SharedSum(SharedSum),
    /// The account's exposure on the order's side: [`SharedSum::Long`] for buys and [`SharedSum::Short`] for sells, each
    /// adjusted by the fees paid in the base asset.
    Exposure,
    /// A value known before the shared sums are read, in the cap's offset.
    OffsetOnly,
}

/// The unit of a sum, for display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapUnit {
    /// Lots of this size.
    Lots(Decimal),
    /// Millionths of the base currency.
    Micros,
    /// Orders.
    Orders,
}

impl CapUnit {
    /// Returns a sum as a quantity of the asset, an amount of the base currency, or a number of orders.
    pub fn to_metadata_value(self, sum: i64) -> MetadataValue {
        match self {
            Self::Lots(lot) => Decimal::from(sum)
                .checked_mul(lot)
                .map_or_else(|| sum.into(), MetadataValue::from),
            Self::Micros => Micros::new(sum).map_or_else(|| sum.into(), MetadataValue::from),
            Self::Orders => sum.into(),
        }
    }
}

/// One rule's limit on one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// The rule's id.
    pub rule_id: &'static str,
    /// The label that distinguishes several caps of one rule; empty for the main one.
    pub label: &'static str,
    /// The code that the caller receives when the cap has no room.
    pub code: ReasonCode,
    /// The limited value.
    pub measure: CapMeasure,
    /// How far the order moves the value.
    pub delta: i64,
    /// The amount that is added to the measure.
    pub offset: i64,
    /// The limit.
    pub limit: i64,
    /// Whether the value may reach the limit.
    pub bound: CapBound,
    /// The unit of the value.
    pub unit: CapUnit,
    /// The name of the value in messages: "… would be 5, above the limit of 4".
    pub description: &'static str,
    /// Whether a reduction passes the cap (law 8 in docs/architecture.md).
    pub allows_reductions: bool,
}

/// Whether a value may reach its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapBound {
    /// The value may equal the limit.
    Inclusive,
    /// The value must stay below the limit.
    Exclusive,
}

impl Cap {
    /// Returns the largest measure after the order, without the offset.
    pub fn max_measure(&self) -> i64 {
        let margin = i128::from(self.bound == CapBound::Exclusive);
        clamp_to_exact_range(i128::from(self.limit) - i128::from(self.offset) - margin)
    }

    /// Returns the value to compare with the limit, for a measure before the order.
    pub fn value_after(&self, before: i64) -> i128 {
        i128::from(before) + i128::from(self.delta) + i128::from(self.offset)
    }

    /// Returns the measure after the order at which the rule alerts, and the measure below which it is rearmed; `None`
    /// for a limit of zero, which has no shares.
    pub fn alert_and_rearm_levels(&self, thresholds: AlertThresholds) -> Option<(i64, i64)> {
        let measure_at = |percent: i64| clamp_to_exact_range(percent_of(self.limit, percent) - i128::from(self.offset));
        (self.limit > 0).then(|| {
            (
                measure_at(thresholds.alert_percent),
                measure_at(thresholds.rearm_percent),
            )
        })
    }

    /// Returns the key under which the store records that the rule has alerted.
    pub fn alert_key(&self) -> String {
        format!("alert:{}", self.name())
    }

    /// Returns the name of one of the cap's measurements on the journal.
    pub fn measurement_name(&self, measurement: &str) -> String {
        format!("{}.{measurement}", self.name())
    }

    /// Returns the rule's id, with the label where the cap has one.
    fn name(&self) -> Cow<'static, str> {
        if self.label.is_empty() {
            Cow::Borrowed(self.rule_id)
        } else {
            Cow::Owned(format!("{}.{}", self.rule_id, self.label))
        }
    }
}

/// Returns a percentage of a limit, rounded up to a whole unit. [`crate::risk::decision`] compares the same share without
/// rounding: the two agree because values are whole units.
fn percent_of(limit: i64, percent: i64) -> i128 {
    let hundredfold = i128::from(limit) * i128::from(percent);
    hundredfold.div_euclid(100) + i128::from(hundredfold.rem_euclid(100) != 0)
}

/// Returns a number clamped to the range that scripts compare exactly. Every sum lies in that range, so that a comparison
/// with the clamped number has the same result.
fn clamp_to_exact_range(number: i128) -> i64 {
    let bound = i128::from(MAX_EXACT_INTEGER);
    i64::try_from(number.clamp(-bound, bound)).unwrap_or(0)
}

/// The store's reading of one cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapReading {
    /// The measure before the order.
    pub before: i64,
    /// Whether this order is the first above the alert threshold, or the first since the alert may repeat.
    pub crosses_alert_threshold: bool,
}

/// The store's readings for one order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CapReadings {
    /// Whether the order only reduces the account's position.
    pub is_reduction: bool,
    /// Whether an equal order was claimed under another id within the duplicate window.
    pub is_duplicate: bool,
    /// New orders of this second, this one excluded: of the account, and at the broker.
    pub order_counts: Option<[i64; 2]>,
    /// The reading of each cap, in the order of the caps.
    pub caps: Vec<CapReading>,
}
