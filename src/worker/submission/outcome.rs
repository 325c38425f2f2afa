//! The result of a submission, a cancel or a read of an order.

use crate::bus::request::BusReply;
use crate::domain::intent::Intent;
use crate::domain::order::Order;
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::{Reason, ReasonCode};
use crate::wire::report::ExecutionReport;

/// What the caller receives: a journaled report with its journal sequence, or a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionOutcome {
    /// The report.
    pub report: ExecutionReport,
    /// The report's journal sequence; `None` for a receipt.
    pub journal_sequence: Option<u64>,
    /// Whether the id was known before the call.
    pub is_replay: bool,
}

impl SubmissionOutcome {
    /// Returns a report that is on the journal at `sequence`.
    pub fn journaled(report: ExecutionReport, sequence: u64) -> Self {
        Self {
            report,
            journal_sequence: Some(sequence),
            is_replay: false,
        }
    }

    /// Returns a receipt about the order of an intent.
    pub fn receipt_for_intent(intent: &Intent, order: &Order, code: ReasonCode, message: &str) -> Self {
        let reason = Reason::new(code, message);
        Self::receipt(ExecutionReport::receipt(
            intent,
            Some(&order.order_id),
            order.mode,
            reason,
        ))
    }

    /// Returns a receipt about a known order.
    pub fn receipt_for_order(order: &Order, code: ReasonCode, message: &str) -> Self {
        Self::receipt(ExecutionReport {
            status: OrderStatus::Unknown,
            version: 0,
            reason: Some(Reason::new(code, message)),
            ..ExecutionReport::from(order)
        })
    }

    fn receipt(report: ExecutionReport) -> Self {
        Self {
            report,
            journal_sequence: None,
            is_replay: false,
        }
    }

    /// Reports whether this is a receipt: there is no journaled report to return.
    pub fn is_receipt(&self) -> bool {
        self.report.is_receipt()
    }

    /// Returns the reply on the bus.
    pub fn to_reply(&self) -> BusReply {
        BusReply {
            body: self.report.encode(),
            journal_sequence: self.journal_sequence,
            is_replay: self.is_replay,
        }
    }
}
