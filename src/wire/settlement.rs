//! The `settlement` of a journaled report: the moves of the shared sums, and what rebuilds the order from the report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::{Timestamp, TradingDate};
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};

/// What a journaled event moved in the shared sums, and what rebuilds the shared state from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Settlement")]
pub struct ReportSettlement {
    /// The settlement's id. It distinguishes two effects that claim the same version of an order; the first of them on the
    /// journal counts. Absent on submissions and denials, which settle nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// The epoch of the store that the event was settled in. A rebuild of the store begins a higher one.
    pub epoch: i64,
    /// The SHA-256 of the intent's content, in 64 hex digits: a repeated `client_order_id` must have the same.
    pub content: String,
    /// The moves of the shared sums since the order's previous version; for version 1, since the order did not exist.
    pub deltas: SettlementDeltas,
    /// The moves of the shared sums over all versions of the order.
    #[serde(default)]
    pub total: SettlementDeltas,
    /// The size of one lot, in units of the instrument: the unit of every count of lots in this settlement.
    #[schemars(with = "PlainNumber")]
    pub lot_size: Decimal,
    /// The value of one unit of the quote currency, in the base currency.
    #[schemars(with = "PlainNumber")]
    pub base_rate: Decimal,
    /// The asset that is bought or sold, if fees may be paid in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_asset: Option<String>,
    /// The quantity still reserved after this event, in lots.
    pub rest_lots: i64,
    /// The order's notional when it was reserved, in millionths of the base currency.
    pub notional: i64,
    /// The order's share of the day's routed notional, in millionths of the base currency.
    pub daily_notional: i64,
    /// The loss that the caller expects of the order, in millionths of the base currency: reserved while the order is open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_loss: i64,
    /// Whether the order counts against the limit of open orders.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// The trading date that the order's notional counts against.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// The sum of price × quantity over all fills, in the quote currency.
    #[schemars(with = "PlainNumber")]
    pub filled_cost: Decimal,
    /// The venue's ids of the fills that the report leaves out, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_exec_ids: Vec<String>,
    /// The next step that the router takes for the order by itself. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<SettlementDue>,
    /// The measured value of every limit that the order was evaluated against, by rule id.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub figures: Metadata,
}

macro_rules! settlement_deltas {
    ($($(#[$doc:meta])* $field:ident;)+) => {
        /// The moves of the shared sums. A sum that does not move is absent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
        pub struct SettlementDeltas {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "is_zero")] pub $field: i64,)+
        }

        impl From<SumDeltas> for SettlementDeltas {
            fn from(deltas: SumDeltas) -> Self {
                let SumDeltas { $($field),+ } = deltas;
                Self { $($field),+ }
            }
        }

        impl From<SettlementDeltas> for SumDeltas {
            fn from(deltas: SettlementDeltas) -> Self {
                let SettlementDeltas { $($field),+ } = deltas;
                Self { $($field),+ }
            }
        }
    };
}

settlement_deltas! {
    /// The move of the long exposure (position plus open buys), in lots.
    long;
    /// The move of the short exposure (open sells minus position), in lots.
    short;
    /// The move of the position, in lots.
    position;
    /// The move of the cash flow, in millionths of the base currency.
    cash_flow;
    /// The move of the fees that are not paid in the base asset, in millionths of the base currency.
    fees;
    /// The move of the fees that are paid in the base asset, in units of 1e-8 of that asset.
    base_fees;
    /// The move of the number of open orders.
    open_orders;
    /// The move of the expected loss of open orders, in millionths of the base currency.
    open_loss;
    /// The move of the day's routed notional, in millionths of the base currency.
    daily_notional;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
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
