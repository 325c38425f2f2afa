//! Risk signals: logged, counted, and published to the stream of alerts by a deferred task, so that the caller does not
//! wait.

use tokio_util::task::TaskTracker;

use crate::bus::journal::{AppendError, JournalEntry, JournalWriter};
use crate::bus::subjects;
use crate::domain::id::AccountId;
use crate::domain::metadata::Metadata;
use crate::domain::order::{BookingAnomaly, Order};
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::repeated_log::log_at_intervals;
use crate::risk::cap::CapUnit;
use crate::risk::rules::unpriced_fee;
use crate::telemetry::Telemetry;
use crate::wire::risk_signal::{RiskSignal, SignalSubject};

/// Publishes signals through a writer of its own, so that alerts never share a batch with the journal.
#[derive(Debug, Clone)]
pub struct SignalPublisher {
    writer: JournalWriter,
    telemetry: Telemetry,
    deferred_tasks: TaskTracker,
}

impl SignalPublisher {
    /// Returns a publisher that uses this writer; a drain waits for `deferred_tasks`.
    pub fn new(writer: JournalWriter, telemetry: Telemetry, deferred_tasks: TaskTracker) -> Self {
        Self {
            writer,
            telemetry,
            deferred_tasks,
        }
    }

    /// Returns how many signals wait for their writer, and the maximum.
    pub fn queue_level(&self) -> (usize, usize) {
        self.writer.queue_level()
    }

    /// Logs, counts and publishes signals that are about nothing that the store has marked: they are not in its outbox.
    pub fn publish(&self, signals: &[RuleSignal], about: SignalSubject<'_>) {
        for signal in signals {
            self.publish_document(signal.rule_id, RiskSignal::of(signal, about));
        }
    }

    /// As [`Self::publish`], for a signal whose document has an id of its own.
    pub fn publish_document(&self, rule: &'static str, document: RiskSignal) {
        self.announce(rule, &document);
        let publisher = self.clone();
        self.deferred_tasks.spawn(async move {
            if let Err(error) = publisher.append(&document).await {
                log_at_intervals!(error, %error, "a risk signal could not be published; it is in this log only");
            }
        });
    }

    /// Logs and counts a signal.
    pub(in crate::worker) fn announce(&self, rule: &'static str, document: &RiskSignal) {
        self.telemetry.count_signal(rule, document.level);
        let account = document.account_id.as_deref().unwrap_or("all");
        let client_order_id = document.client_order_id.as_deref().unwrap_or("none");
        match document.level {
            SignalLevel::Alert => tracing::warn!(rule, account, client_order_id, "{}", document.message),
            SignalLevel::Lock => tracing::warn!(rule, account, client_order_id, "locked: {}", document.message),
        }
    }

    /// Appends a signal to the stream of alerts. One of the same id within the stream's duplicate window is stored once.
    ///
    /// # Errors
    /// The error says whether the signal may be on the stream.
    pub(in crate::worker) async fn append(&self, document: &RiskSignal) -> Result<u64, AppendError> {
        let unusable = |error: &dyn std::fmt::Display| AppendError::Refused(error.to_string());
        let account = document.account_id.as_deref().map(AccountId::new).transpose();
        let account = account.map_err(|error| unusable(&error))?;
        let entry = JournalEntry {
            subject: subjects::alert(document.level.as_str(), account.as_ref()),
            message_id: document.alert_id.to_string(),
            body: serde_json::to_vec(document).map_err(|error| unusable(&error))?.into(),
            headers: Vec::new(),
        };
        self.writer.append(entry).await
    }

    /// Publishes the anomalies of a booked effect.
    pub fn publish_anomalies(&self, order: &Order, anomalies: &[BookingAnomaly]) {
        let signals: Vec<RuleSignal> = anomalies
            .iter()
            .map(|anomaly| signal_from_anomaly(order, anomaly))
            .collect();
        self.publish(&signals, order.into());
    }
}

fn signal_from_anomaly(order: &Order, anomaly: &BookingAnomaly) -> RuleSignal {
    let (rule_id, message, metadata) = match anomaly {
        BookingAnomaly::Overfill(excess) => (
            "excess_fill",
            "the venue has filled more than was reserved; the fill is booked".to_owned(),
            Metadata::new()
                .with("value", CapUnit::Quantity.to_metadata_value(*excess))
                .with("quantity", order.quantity.decimal()),
        ),
        BookingAnomaly::Reopened => (
            "reopened_order",
            "the venue has an order, or terms of one, that were recorded as not placed: they count again".to_owned(),
            Metadata::new().with("filled_quantity", order.filled_quantity),
        ),
        BookingAnomaly::UnpricedFee(fee) => {
            let (message, metadata) = unpriced_fee::describe(order, fee);
            (unpriced_fee::ID, message, metadata)
        }
    };
    RuleSignal {
        rule_id,
        level: SignalLevel::Alert,
        code: ReasonCode::RiskLocked,
        message,
        metadata,
    }
}
