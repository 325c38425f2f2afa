//! Risk signals on their way to whoever watches: kept by the stream of alerts, published outside of the caller's time.

use tokio_util::task::TaskTracker;

use super::router::Router;
use crate::bus::journal::{Entry, Journal};
use crate::bus::subjects;
use crate::domain::id::OrderId;
use crate::domain::intent::Intent;
use crate::domain::signal::{Level, Signal};
use crate::wire::signal::RiskSignal;

/// Where signals go: a writer of its own, so that alerts never share a batch with the journal.
#[derive(Debug, Clone)]
pub struct Signals {
    writer: Journal,
    afterwards: TaskTracker,
}

impl Signals {
    /// Returns signals that go to this writer.
    pub fn new(writer: Journal, afterwards: TaskTracker) -> Self {
        Self { writer, afterwards }
    }
}

/// Logs and publishes what the rules said of an intent.
pub fn publish(router: &Router, signals: &[Signal], intent: &Intent, order_id: Option<&OrderId>) {
    for signal in signals {
        let told = RiskSignal::of(signal, intent, order_id);
        let Ok(body) = serde_json::to_vec(&told) else { continue };
        let (rule, client_order_id) = (signal.rule_id, intent.client_order_id.as_str());
        match signal.level {
            Level::Alert => tracing::warn!(rule, client_order_id, "{}", signal.message),
            Level::Lock => tracing::warn!(rule, client_order_id, "denied: {}", signal.message),
        }
        let entry = Entry {
            subject: subjects::alert(signal.level.as_str(), &intent.account_id),
            message_id: told.alert_id.to_string(),
            body: body.into(),
            headers: Vec::new(),
        };
        let writer = router.signals.writer.clone();
        router.signals.afterwards.spawn(async move {
            if let Err(error) = writer.append(entry).await {
                tracing::error!(%error, "a risk signal could not be published; it stands in this log");
            }
        });
    }
}
