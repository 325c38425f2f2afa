//! The `settlement` of a journaled report: the moves of the shared sums, and what rebuilds the order from the report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::quantity::{QuantityUnits, from_quantity_units, to_quantity_units};
use crate::domain::settlement::{DayDeltas, SumDeltas};
use crate::domain::time::{Timestamp, TradingDate};
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};
use crate::wire::settled_legs::SettlementLegs;

/// What a journaled event moved in the shared sums, and what rebuilds the shared state from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Settlement")]
pub struct ReportSettlement {
    /// The settlement's id. It distinguishes two effects that claim the same version of an order; the first of them on the
    /// journal counts. Absent on submissions and denials, which settle nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// The id of the settlement that made the order's previous version. An event that builds on an effect that does not count
    /// does not count either. Absent on version 1, and on events from before this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<Uuid>,
    /// The epoch of the store that the event was settled in. A rebuild of the store begins a higher one.
    pub epoch: i64,
    /// The SHA-256 of the intent's content, in 64 hex digits: a repeated `client_order_id` must have the same.
    pub content: String,
    /// The moves of the shared sums since the order's previous version; for version 1, since the order did not exist.
    pub deltas: SettlementDeltas,
    /// The moves of the shared sums over all versions of the order.
    #[serde(default)]
    pub total: SettlementDeltas,
    /// The part of `total` that is booked on earlier trading dates than this event, the oldest first. Absent where all of it
    /// is booked on `booked_on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_days: Vec<SettlementDay>,
    /// The instrument's lot when the order was reserved.
    #[schemars(with = "PlainNumber")]
    pub lot_size: Decimal,
    /// The value of one unit of the quote currency, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub base_rate: Decimal,
    /// The asset that is bought or sold, if fees may be paid in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_asset: Option<String>,
    /// The mark that the order was reserved at, in the quote currency.
    #[schemars(with = "PlainNumber")]
    pub mark: Decimal,
    /// The quantity still reserved after this event.
    #[schemars(with = "PlainNumber")]
    pub reserved_quantity: Decimal,
    /// The order's notional when it was reserved, in millionths of the base currency.
    pub notional: i64,
    /// The order's share of the day's routed notional, in millionths of the base currency.
    pub daily_notional: i64,
    /// The loss that the caller expects of the order, in millionths of the base currency: reserved while the order is open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_loss: i64,
    /// The loss that the whole order makes against the mark if it fills at the price it is valued at, in millionths of the
    /// base currency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub price_loss: i64,
    /// The part of `price_loss` that is still reserved, in millionths of the base currency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_price_loss: i64,
    /// Whether every fill of the order only reduces a position.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reduce_only: bool,
    /// Whether the order counts against the limit of open orders.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// The trading date that the fills of this event count for: cash flow, fees and fill result.
    #[schemars(with = "CivilDate")]
    pub booked_on: TradingDate,
    /// The trading date that the order's notional counts against.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// The sum of price × quantity over all fills, in the quote currency.
    #[schemars(with = "PlainNumber")]
    pub filled_cost: Decimal,
    /// The venue's ids of the fills that the report leaves out, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_exec_ids: Vec<String>,
    /// The legs of an order that has been replaced. Absent on any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legs: Option<Box<SettlementLegs>>,
    /// The next step that the router takes for the order by itself. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<SettlementDue>,
    /// What the order was judged by: for every limit, by rule id, what the order adds (`.order`) and the limit (`.limit`),
    /// and in `readings` the numbers that the store read in the same step: whether it is a reduction, whether a duplicate,
    /// the orders of this second of the account and of the broker, then for each limit, in their order, the measure before
    /// the order (in 1e-8 of the asset, 1e-6 of the base currency, or orders) and whether its alert is new.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub figures: Metadata,
}

/// The moves of the shared sums. A sum that does not move is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SettlementDeltas {
    /// The move of the long exposure (position plus open buys).
    #[serde(default, skip_serializing_if = "is_zero_quantity")]
    #[schemars(with = "PlainNumber")]
    pub long: Decimal,
    /// The move of the short exposure (open sells minus position).
    #[serde(default, skip_serializing_if = "is_zero_quantity")]
    #[schemars(with = "PlainNumber")]
    pub short: Decimal,
    /// The move of the position, fees in the traded asset deducted.
    #[serde(default, skip_serializing_if = "is_zero_quantity")]
    #[schemars(with = "PlainNumber")]
    pub position: Decimal,
    /// The move of the cash flow, in millionths of the base currency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cash_flow: i64,
    /// The move of the fees that are not paid in the traded asset, in millionths of the base currency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fees: i64,
    /// The move of the number of open orders.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_orders: i64,
    /// The move of the loss that open orders expect, in millionths of the base currency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_loss: i64,
    /// The move of the day's routed notional, in millionths of the base currency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub daily_notional: i64,
    /// What fills made against the mark that the order was reserved at, in millionths of the base currency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fill_result: i64,
    /// The move of the number of fills whose fee has no price: its currency has no rate, and no adjustment has priced it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpriced_fees: i64,
}

/// The moves of the shared sums that an order's events made on one trading date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementDay {
    /// The trading date.
    #[schemars(with = "CivilDate")]
    pub booked_on: TradingDate,
    /// The moves.
    pub deltas: SettlementDeltas,
}

/// The error of a journaled quantity that the sums cannot count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quantity of its settlement has more than 8 decimals or is out of range")]
pub struct InvalidSettledQuantity;

impl From<SumDeltas> for SettlementDeltas {
    fn from(deltas: SumDeltas) -> Self {
        Self {
            long: from_quantity_units(deltas.long),
            short: from_quantity_units(deltas.short),
            position: from_quantity_units(deltas.position),
            cash_flow: deltas.cash_flow,
            fees: deltas.fees,
            open_orders: deltas.open_orders,
            open_loss: deltas.open_loss,
            daily_notional: deltas.daily_notional,
            fill_result: deltas.fill_result,
            unpriced_fees: deltas.unpriced_fees,
        }
    }
}

impl From<&DayDeltas> for SettlementDay {
    fn from(day: &DayDeltas) -> Self {
        Self {
            booked_on: day.booked_on,
            deltas: day.deltas.into(),
        }
    }
}

impl TryFrom<&SettlementDay> for DayDeltas {
    type Error = InvalidSettledQuantity;

    fn try_from(day: &SettlementDay) -> Result<Self, InvalidSettledQuantity> {
        Ok(Self {
            booked_on: day.booked_on,
            deltas: day.deltas.try_into()?,
        })
    }
}

impl TryFrom<SettlementDeltas> for SumDeltas {
    type Error = InvalidSettledQuantity;

    fn try_from(deltas: SettlementDeltas) -> Result<Self, InvalidSettledQuantity> {
        Ok(Self {
            long: settled_units(deltas.long)?,
            short: settled_units(deltas.short)?,
            position: settled_units(deltas.position)?,
            cash_flow: deltas.cash_flow,
            fees: deltas.fees,
            open_orders: deltas.open_orders,
            open_loss: deltas.open_loss,
            daily_notional: deltas.daily_notional,
            fill_result: deltas.fill_result,
            unpriced_fees: deltas.unpriced_fees,
        })
    }
}

/// Returns a journaled quantity in units of 1e-8.
pub fn settled_units(quantity: Decimal) -> Result<QuantityUnits, InvalidSettledQuantity> {
    to_quantity_units(quantity).ok_or(InvalidSettledQuantity)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_zero_quantity(quantity: &Decimal) -> bool {
    quantity.is_zero()
}

/// A step that the router takes for an order by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementDue {
    /// When the step is due.
    #[schemars(with = "UtcTimestamp")]
    pub at: Timestamp,
    /// The step: `fill_rest` (fill the remainder) or `expire` at a paper venue, or `inquire` (ask the venue for the order's
    /// outcome).
    pub action: String,
}
