//! Risk signals on their way to whoever watches: kept by the stream of alerts, published outside of the caller's time.

use tokio_util::task::TaskTracker;

use crate::bus::journal::{JournalEntry, JournalWriter};
use crate::bus::subjects;
use crate::domain::metadata::Metadata;
use crate::domain::order::{BookingAnomaly, Order};
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::cap::CapUnit;
use crate::wire::risk_signal::{RiskSignal, SignalSubject};
use crate::worker::router::Router;

/// Where signals go: a writer of its own, so that alerts never share a batch with the journal.
#[derive(Debug, Clone)]
pub struct SignalPublisher {
    writer: JournalWriter,
    deferred_tasks: TaskTracker,
}

impl SignalPublisher {
    /// Returns signals that go to this writer.
    pub fn new(writer: JournalWriter, afterwards: TaskTracker) -> Self {
        Self {
            writer,
            deferred_tasks: afterwards,
        }
    }

    /// Returns how many signals wait for their writer, and how many may.
    pub fn queue_level(&self) -> (usize, usize) {
        self.writer.queue_level()
    }
}

/// Logs and publishes what the rules said.
pub fn publish_signals(router: &Router, signals: &[RuleSignal], about: SignalSubject<'_>) {
    for signal in signals {
        let told = RiskSignal::of(signal, about);
        router.telemetry.count_signal(signal.rule_id, signal.level);
        let Ok(body) = serde_json::to_vec(&told) else { continue };
        let (rule, account) = (signal.rule_id, told.account_id.as_deref().unwrap_or("all"));
        let client_order_id = told.client_order_id.as_deref().unwrap_or("none");
        match signal.level {
            SignalLevel::Alert => tracing::warn!(rule, account, client_order_id, "{}", signal.message),
            SignalLevel::Lock => tracing::warn!(rule, account, client_order_id, "locked: {}", signal.message),
        }
        let entry = JournalEntry {
            subject: subjects::alert(signal.level.as_str(), about.account_id),
            message_id: told.alert_id.to_string(),
            body: body.into(),
            headers: Vec::new(),
        };
        let writer = router.signals.writer.clone();
        router.signals.deferred_tasks.spawn(async move {
            if let Err(error) = writer.append(entry).await {
                tracing::error!(%error, "a risk signal could not be published; it stands in this log");
            }
        });
    }
}

/// Publishes what was booked of an order and nobody expected.
pub fn publish_notices(router: &Router, order: &Order, notices: &[BookingAnomaly]) {
    let signals: Vec<RuleSignal> = notices.iter().map(|notice| signal_from_notice(order, notice)).collect();
    publish_signals(router, &signals, SignalSubject::from_order(order));
}

fn signal_from_notice(order: &Order, notice: &BookingAnomaly) -> RuleSignal {
    let (rule_id, message, metadata) = match notice {
        BookingAnomaly::Overfill(lots) => (
            "excess_fill",
            "the venue has filled more than was reserved; the fill is booked".to_owned(),
            Metadata::new()
                .with(
                    "value",
                    CapUnit::Lots(order.reservation.lot_size).to_metadata_value(*lots),
                )
                .with("quantity", order.quantity.decimal()),
        ),
        BookingAnomaly::Reopened => (
            "reopened_order",
            "the venue has filled an order that was taken for refused; it is open again".to_owned(),
            Metadata::new().with("filled_quantity", order.filled_quantity),
        ),
        BookingAnomaly::FeeWithoutRate(currency) => (
            "uncounted_fee",
            format!("a fee in {currency} counts nowhere: name its worth in risk.rates, and adjust the account"),
            Metadata::new().with("fee_currency", currency.as_str()),
        ),
    };
    RuleSignal {
        rule_id,
        level: SignalLevel::Alert,
        code: ReasonCode::RiskLocked,
        message,
        metadata,
    }
}
