//! Caps: limits on shared sums. The store compares and reserves them in one step for all workers.

use std::borrow::Cow;

use crate::domain::metadata::MetadataValue;
use crate::domain::money::Micros;
use crate::domain::quantity::{MAX_QUANTITY_UNITS, from_quantity_units};
use crate::domain::reason::ReasonCode;
use crate::risk::limits::AlertThresholds;

/// The value that a cap limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapMeasure {
    /// The account's exposure on the order's side: long for buys and short for sells.
    Exposure,
    /// The account's open orders of the instrument.
    OpenOrders,
    /// Notional that the account has routed on the trading day.
    AccountNotional,
    /// Notional that all accounts have routed on the trading day.
    TotalNotional,
    /// The loss that the account's open orders expect, less what its fills of the day have made.
    AccountLoss,
    /// The loss that all open orders expect, less what all fills of the day have made.
    TotalLoss,
    /// The opposite of what the account's fills of the day have made.
    AccountFillLoss,
    /// The loss that the account's open orders expect.
    AccountOpenLoss,
    /// A value known before the shared sums are read, in the cap's offset.
    OffsetOnly,
}

/// The unit of a sum, for display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapUnit {
    /// Units of 1e-8 of the traded asset.
    Quantity,
    /// Millionths of the base currency.
    Micros,
    /// Orders.
    Orders,
}

impl CapUnit {
    /// Returns a sum as a quantity of the asset, an amount of the base currency, or a number of orders.
    pub fn to_metadata_value(self, sum: i128) -> MetadataValue {
        let small = || i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        match self {
            Self::Quantity => from_quantity_units(sum).into(),
            Self::Micros => Micros::new(small()).map_or_else(|| small().into(), MetadataValue::from),
            Self::Orders => small().into(),
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
    pub delta: i128,
    /// The amount that is added to the measure.
    pub offset: i128,
    /// The limit.
    pub limit: i128,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapBound {
    /// The value may equal the limit.
    Inclusive,
    /// The value must stay below the limit.
    Exclusive,
}

impl Cap {
    /// Returns the largest value after the order, offset included.
    pub fn max_value(&self) -> i128 {
        let margin = i128::from(self.bound == CapBound::Exclusive);
        clamp_to_exact_range(self.limit - margin)
    }

    /// Returns the value to compare with the limit, for a measure before the order.
    pub fn value_after(&self, before: i128) -> i128 {
        before + self.delta + self.offset
    }

    /// Returns the value after the order at which the rule alerts, and the value below which it is rearmed, offset
    /// included; `None` for a limit of zero, which has no shares.
    pub fn alert_and_rearm_levels(&self, thresholds: AlertThresholds) -> Option<(i128, i128)> {
        let value_at = |percent: i64| clamp_to_exact_range(percent_of(self.limit, percent));
        (self.limit > 0).then(|| (value_at(thresholds.alert_percent), value_at(thresholds.rearm_percent)))
    }

    /// Returns the name under which the store records that the rule has alerted.
    pub fn alert_name(&self) -> Cow<'static, str> {
        self.name()
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
fn percent_of(limit: i128, percent: i64) -> i128 {
    let hundredfold = limit * i128::from(percent);
    hundredfold.div_euclid(100) + i128::from(hundredfold.rem_euclid(100) != 0)
}

/// Returns a number clamped to the range that scripts compare exactly. Every sum lies in that range, so that a comparison
/// with the clamped number has the same result.
fn clamp_to_exact_range(number: i128) -> i128 {
    number.clamp(-MAX_QUANTITY_UNITS, MAX_QUANTITY_UNITS)
}

/// The store's reading of one cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapReading {
    /// The measure before the order.
    pub before: i128,
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
    /// The account's fills whose fee has no price.
    pub unpriced_fees: i64,
    /// The reading of each cap, in the order of the caps.
    pub caps: Vec<CapReading>,
    /// All readings as the store wrote them, for the journal.
    pub text: String,
    /// A loss of the account, in millionths of the base currency, that has reached its limit and is not locked yet.
    pub account_breach: Option<i64>,
    /// A loss of all accounts, in millionths of the base currency, that has reached its limit and is not locked yet.
    pub total_breach: Option<i64>,
}
