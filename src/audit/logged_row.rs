//! What the order log has to hold of an order: the fields of its row, as texts. An audit keeps their digest for each order,
//! and reads the report again where a row differs.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::order_log::inspection::{InspectedFill, InspectedOrder};
use crate::wire::report::{ExecutionReport, ReportedFill};

/// The number of fields.
const FIELDS: usize = 17;

/// The fields of a row, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedRow([(&'static str, String); FIELDS]);

impl LoggedRow {
    /// Returns the row that a report makes.
    pub(super) fn of_report(report: &ExecutionReport) -> Self {
        let reason = report
            .reason
            .as_ref()
            .and_then(|reason| serde_json::to_value(reason).ok());
        Self([
            ("client_order_id", report.client_order_id.clone()),
            ("account_id", report.account_id.clone()),
            ("broker", report.broker.clone()),
            ("venue", report.venue.clone()),
            ("symbol", report.symbol.clone()),
            ("side", report.side.to_string()),
            ("order_type", report.order_type.to_string()),
            ("time_in_force", report.time_in_force.to_string()),
            (
                "limit_price",
                report.price.map(|price| price.to_string()).unwrap_or_default(),
            ),
            ("quantity", report.quantity.to_string()),
            ("filled_quantity", report.filled_quantity.to_string()),
            ("status", report.status.to_string()),
            ("reported_at", report.updated_at.to_string()),
            ("mode", report.mode.to_string()),
            ("version", report.version.to_string()),
            ("fills_total", report.fills_total.to_string()),
            ("reason", reason.map(|reason| reason.to_string()).unwrap_or_default()),
        ])
    }

    /// Returns the row of an order log.
    pub(super) fn of_row(row: &InspectedOrder) -> Self {
        let reason = row.reason.as_deref();
        let reason =
            reason.map(|text| serde_json::from_str::<Value>(text).map_or(text.to_owned(), |one| one.to_string()));
        Self([
            ("client_order_id", row.client_order_id.clone()),
            ("account_id", row.account_id.clone()),
            ("broker", row.broker.clone()),
            ("venue", row.venue.clone()),
            ("symbol", row.symbol.clone()),
            ("side", row.side.clone()),
            ("order_type", row.order_type.clone()),
            ("time_in_force", row.time_in_force.clone()),
            ("limit_price", row.limit_price.clone().unwrap_or_default()),
            ("quantity", row.quantity.clone()),
            ("filled_quantity", row.filled_quantity.clone()),
            ("status", row.status.clone()),
            ("reported_at", row.reported_at.to_string()),
            ("mode", row.mode.clone()),
            ("version", row.version.to_string()),
            ("fills_total", row.fills_total.to_string()),
            ("reason", reason.unwrap_or_default()),
        ])
    }

    /// Returns what the row is recognised by.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (_, value) in &self.0 {
            value.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Returns every field in which another row differs: its name, the value here and the value there.
    pub(super) fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let pairs = self.0.iter().zip(&other.0);
        let differing = pairs.filter(|((_, expected), (_, found))| expected != found);
        differing
            .map(|((name, expected), (_, found))| (*name, expected.clone(), found.clone()))
            .collect()
    }
}

/// What the executions of an order are recognised by, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FillsDigest {
    /// How many there are.
    pub(super) count: u32,
    sum: u64,
}

impl FillsDigest {
    /// Adds a fill of a report.
    pub(super) fn add(&mut self, fill: &ReportedFill) {
        self.add_row(&row_of_fill(fill));
    }

    /// Adds the row of an execution.
    pub(super) fn add_row(&mut self, fill: &InspectedFill) {
        let mut hasher = DefaultHasher::new();
        (&fill.exec_id, &fill.quantity, &fill.price, &fill.fee).hash(&mut hasher);
        (&fill.fee_currency, fill.executed_at).hash(&mut hasher);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}

/// Returns the row that a fill of a report makes.
pub(super) fn row_of_fill(fill: &ReportedFill) -> InspectedFill {
    InspectedFill {
        exec_id: fill.exec_id.clone(),
        quantity: fill.quantity.to_string(),
        price: fill.price.to_string(),
        fee: fill.fee.to_string(),
        fee_currency: fill.fee_currency.clone(),
        executed_at: fill.timestamp,
    }
}
