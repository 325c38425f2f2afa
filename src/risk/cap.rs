//! A limit on a shared sum: compared and reserved by the store, in one step for all workers.

use crate::domain::decimal::Decimal;
use crate::domain::metadata::MetadataValue;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros};
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::SharedSum;

use crate::risk::limits::AlertThresholds;

/// What a cap limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapMeasure {
    /// A shared sum.
    SharedSum(SharedSum),
    /// The account's exposure on the order's side: [`Counter::Long`] for buys and [`Counter::Short`] for sells, each
    /// with the fees that were paid in the base asset taken into account.
    Exposure,
    /// A figure that is known beforehand: all of it stands in the cap's offset.
    OffsetOnly,
}

/// What a sum counts in, so that its figures can be shown as a person knows them.
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
    /// Returns a sum as a number of the asset, of the base currency, or of orders.
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

/// One rule's limit on one measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// The rule.
    pub rule_id: &'static str,
    /// What tells several caps of one rule apart; empty for its main one.
    pub label: &'static str,
    /// The code a caller sees when the cap has no room.
    pub code: ReasonCode,
    /// What is limited.
    pub measure: CapMeasure,
    /// How far the order moves it.
    pub delta: i64,
    /// What counts beside the measure itself.
    pub offset: i64,
    /// The limit.
    pub limit: i64,
    /// Whether the value may reach the limit or must stay below it.
    pub bound: CapBound,
    /// What the measure counts in.
    pub unit: CapUnit,
    /// What is limited, for the message: "… would be 5, above the limit of 4".
    pub description: &'static str,
    /// Whether a reduction passes it (law 8 of the architecture).
    pub allows_reductions: bool,
}

/// What a limit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapBound {
    /// The value may be as large as the limit.
    Inclusive,
    /// The value must stay below the limit.
    Exclusive,
}

impl Cap {
    /// Returns what the measure may be after the order, the offset taken out.
    pub fn max_measure(&self) -> i64 {
        let reached = i128::from(self.bound == CapBound::Exclusive);
        clamp_to_exact_range(i128::from(self.limit) - i128::from(self.offset) - reached)
    }

    /// Returns the value that is compared with the limit, from the measure before the order.
    pub fn value_after(&self, before: i64) -> i128 {
        i128::from(before) + i128::from(self.delta) + i128::from(self.offset)
    }

    /// Returns from which measure after the order on the rule alerts, and below which it is calm again. A limit of
    /// nothing has no share to alert at.
    pub fn alert_and_rearm_levels(&self, levels: AlertThresholds) -> Option<(i64, i64)> {
        let at = |percent: i64| clamp_to_exact_range(percent_of(self.limit, percent) - i128::from(self.offset));
        (self.limit > 0).then(|| (at(levels.alert_percent), at(levels.rearm_percent)))
    }

    /// Returns the name under which it is remembered that the rule has alerted.
    pub fn alert_key(&self) -> String {
        match (self.label, self.measure) {
            ("", _) => format!("alert:{}", self.rule_id),
            (part, _) => format!("alert:{}.{part}", self.rule_id),
        }
    }

    /// Returns the name its figures have on the journal.
    pub fn measurement_name(&self, what: &str) -> String {
        if self.label.is_empty() {
            format!("{}.{what}", self.rule_id)
        } else {
            format!("{}.{}.{what}", self.rule_id, self.label)
        }
    }
}

/// Returns a share of a limit, rounded up to a whole unit.
fn percent_of(limit: i64, percent: i64) -> i128 {
    let hundredfold = i128::from(limit) * i128::from(percent);
    hundredfold.div_euclid(100) + i128::from(hundredfold.rem_euclid(100) != 0)
}

/// Returns a number within the range that scripts compare exactly; beyond it the nearest end says the same.
fn clamp_to_exact_range(number: i128) -> i64 {
    let bound = i128::from(MAX_EXACT_INTEGER);
    i64::try_from(number.clamp(-bound, bound)).unwrap_or(0)
}

/// What the store saw of a cap when it compared it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapReading {
    /// The measure before the order.
    pub before: i64,
    /// Whether this order is the first one above the alert share, or the first after the time of silence.
    pub crosses_alert_threshold: bool,
}

/// What the store saw of an order besides its caps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CapReadings {
    /// Whether the order only reduces the account's position.
    pub is_reduction: bool,
    /// Whether an order like it was claimed under another id a moment ago.
    pub is_duplicate: bool,
    /// New orders of this second before this one: of the account, and at the broker.
    pub order_counts: Option<[i64; 2]>,
    /// What it saw of each cap, in order.
    pub caps: Vec<CapReading>,
}
