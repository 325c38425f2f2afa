//! Counts the outcomes of many intents.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::domain::order_terms::OrderStatus;
use crate::wire::report::ExecutionReport;

/// The outcome of one intent.
pub(in crate::cli) type SubmitResult = Result<BusReply, RequestError>;

/// Counts by outcome.
#[derive(Debug, Default)]
pub(in crate::cli) struct SubmitSummary {
    reports_by_status: BTreeMap<OrderStatus, u64>,
    problems_by_code: BTreeMap<&'static str, u64>,
    replays: u64,
    receipts: u64,
    unanswered: u64,
    unreadable: u64,
}

impl SubmitSummary {
    /// Counts an outcome.
    pub(in crate::cli) fn record(&mut self, result: &SubmitResult) {
        match result {
            Ok(reply) => {
                self.replays += u64::from(reply.is_replay);
                match ExecutionReport::decode(&reply.body) {
                    Ok(report) => {
                        self.receipts += u64::from(report.is_receipt());
                        *self.reports_by_status.entry(report.status).or_default() += 1;
                    }
                    Err(_) => self.unreadable += 1,
                }
            }
            Err(RequestError::Fault(fault)) => *self.problems_by_code.entry(fault.code.as_str()).or_default() += 1,
            Err(RequestError::Timeout) => self.unanswered += 1,
        }
    }

    /// Returns the number of counted intents.
    pub(in crate::cli) fn total(&self) -> u64 {
        self.report_count() + self.problem_count() + self.unanswered + self.unreadable
    }

    /// Reports whether every intent got a report.
    pub(in crate::cli) fn is_all_accepted(&self) -> bool {
        self.total() == self.report_count()
    }

    /// Returns the text of the progress bar.
    pub(in crate::cli) fn progress_message(&self) -> String {
        format!(
            "{} reports, {} failed",
            self.report_count(),
            self.problem_count() + self.unanswered + self.unreadable
        )
    }

    /// Returns the summary with the time that the submission took.
    pub(in crate::cli) fn with_elapsed(&self, elapsed: Duration) -> TimedSummary<'_> {
        TimedSummary { summary: self, elapsed }
    }

    fn report_count(&self) -> u64 {
        self.reports_by_status.values().sum()
    }

    fn problem_count(&self) -> u64 {
        self.problems_by_code.values().sum()
    }
}

/// A summary as people read it.
pub(in crate::cli) struct TimedSummary<'a> {
    summary: &'a SubmitSummary,
    elapsed: Duration,
}

impl fmt::Display for TimedSummary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (summary, elapsed) = (self.summary, self.elapsed);
        let per_second = u128::from(summary.total()) * 1_000_000 / elapsed.as_micros().max(1);
        let seconds = format!("{}.{:03}", elapsed.as_secs(), elapsed.subsec_millis());
        writeln!(
            formatter,
            "{} intents in {seconds} s, {per_second} a second",
            summary.total()
        )?;
        let mut table = TextTable::new(&[
            ("", ColumnAlign::Left),
            ("", ColumnAlign::Left),
            ("", ColumnAlign::Right),
        ]);
        for (status, count) in &summary.reports_by_status {
            table.push_row(["report".to_owned(), status.to_string(), count.to_string()]);
        }
        for (code, count) in &summary.problems_by_code {
            table.push_row(["problem".to_owned(), (*code).to_owned(), count.to_string()]);
        }
        for (kind, name, count) in [
            ("no reply in time", "", summary.unanswered),
            ("cannot decode", "", summary.unreadable),
            ("among them", "replays", summary.replays),
            ("among them", "receipts", summary.receipts),
        ] {
            if count > 0 || kind == "among them" {
                table.push_row([kind.to_owned(), name.to_owned(), count.to_string()]);
            }
        }
        write!(formatter, "{table}")
    }
}

/// Returns the JSON for a reply that has not arrived: the fields of a receipt that are known here.
pub(in crate::cli) fn unanswered_receipt(client_order_id: Option<&str>) -> String {
    #[derive(Serialize)]
    struct UnansweredReceipt<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        client_order_id: Option<&'a str>,
        status: OrderStatus,
        version: u32,
        reason: UnansweredReason,
    }
    #[derive(Serialize)]
    struct UnansweredReason {
        code: &'static str,
        message: &'static str,
    }
    let receipt = UnansweredReceipt {
        client_order_id,
        status: OrderStatus::Unknown,
        version: 0,
        reason: UnansweredReason {
            code: "outcome_unknown",
            message: "no reply in time; get the order, or submit it again under the same id",
        },
    };
    // A receipt holds strings and numbers only: encoding cannot fail.
    serde_json::to_string(&receipt).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, FaultCode};

    #[test]
    fn a_summary_counts_by_status_and_code() {
        let mut summary = SubmitSummary::default();
        let report = |status: &str, version: u32| {
            format!(
                r#"{{"order_id":"x","broker_order_id":null,"client_order_id":"a","account_id":"d","status":"{status}",
                "broker":"b","venue":"v","symbol":"S","side":"buy","order_type":"market","time_in_force":"GTC",
                "price":null,"quantity":1,"filled_quantity":0,"leaves_quantity":0,"avg_price":null,
                "submitted_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","fills":[],"fills_total":0,
                "tags":[],"mode":"paper","version":{version},"reason":null}}"#
            )
        };
        let reply = |status, version, is_replay| {
            Ok(BusReply {
                body: report(status, version).into_bytes(),
                journal_sequence: None,
                is_replay,
            })
        };
        for result in [
            reply("filled", 1, false),
            reply("filled", 1, true),
            reply("unknown", 0, false),
        ] {
            summary.record(&result);
        }
        assert!(summary.is_all_accepted());
        summary.record(&Err(Fault::new(FaultCode::RiskLocked, "no").into()));
        summary.record(&Err(RequestError::Timeout));
        assert!(!summary.is_all_accepted());
        let expected = "5 intents in 2.500 s, 2 a second\n\
                        report            filled       2\n\
                        report            unknown      1\n\
                        problem           risk_locked  1\n\
                        no reply in time               1\n\
                        among them        replays      1\n\
                        among them        receipts     1";
        assert_eq!(summary.with_elapsed(Duration::from_millis(2_500)).to_string(), expected);
    }
}
