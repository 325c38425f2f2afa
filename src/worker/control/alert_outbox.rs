//! Alerts leave through an outbox in the store: the step that marks what an alert is about puts it there, its worker
//! publishes it at once, and any worker publishes what has waited. An alert's id is made of its name, so that the stream
//! stores it once.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::domain::control::Lock;
use crate::domain::order::Order;
use crate::domain::rule_signal::RuleSignal;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::risk::alerts::{CrossedCap, DUPLICATE_ALERT, NewAlert, duplicate_alert};
use crate::store::control::alerts::WaitingAlert;
use crate::wire::risk_signal::{RiskSignal, SignalSubject};
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::reply::encode_json;
use crate::worker::router::Router;
use crate::worker::stop_point;

/// The longest that a lock waits for the alerts before it to be published.
const BEFORE_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// The most calls that one publishing of waiting alerts takes: each returns some of them.
const MAX_ROUNDS: usize = 256;

/// The facts of an alert about a claimed order, as `lua/reserve.lua` writes them.
#[derive(Debug, Deserialize)]
struct AlertFacts<'a> {
    name: &'a str,
    #[serde(default)]
    before: &'a str,
    #[serde(default)]
    delta: &'a str,
    #[serde(default)]
    offset: &'a str,
    #[serde(default)]
    limit: &'a str,
    #[serde(default)]
    percent: i64,
    #[serde(default)]
    window_ms: i64,
    #[serde(borrow)]
    order: &'a RawValue,
}

impl AlertFacts<'_> {
    /// Returns the signal; `None` where a release with other rules has written the facts.
    fn to_signal(&self) -> Option<RuleSignal> {
        if self.name == DUPLICATE_ALERT {
            return Some(duplicate_alert(self.window_ms));
        }
        let number = |text: &str| text.parse::<i128>().ok();
        let before = number(self.before)? + number(self.offset)?;
        let value = before + number(self.delta)?;
        Some(CrossedCap::of_name(self.name)?.to_signal(before, value, number(self.limit)?, self.percent))
    }
}

/// Publishes the new alerts of a claimed order, which the claim has put into the outbox, in a deferred task.
pub fn publish_new_alerts(router: &Router, order: &Order, alerts: Vec<NewAlert>) {
    for alert in alerts {
        stop_point::reach("alert_marked");
        let name = format!("{}:{}", order.order_id, alert.name);
        let document = RiskSignal::of(&alert.signal, order.into()).named(&name);
        router.signals.announce(alert.signal.rule_id, &document);
        let publisher = router.clone();
        router.deferred_tasks.spawn(async move {
            let published = publish_and_remove(&publisher, &name, &document).await;
            if let Err(fault) = published {
                log_at_intervals!(warn, %fault, "an alert could not be published yet; it waits in the outbox");
            }
        });
    }
}

/// Returns the alert that enters the outbox with a rule's lock.
///
/// # Errors
/// As [`encode_json`].
pub(super) fn lock_alert(lock: &Lock, signal: &RuleSignal) -> Result<WaitingAlert, Fault> {
    let name = format!("lock:{}:{}", lock.lock_id, lock.locked_at);
    let about = SignalSubject {
        account_id: lock.scope.account(),
        ..SignalSubject::default()
    };
    let document = RiskSignal::of(signal, about).named(&name);
    Ok(WaitingAlert {
        document: encode_json(&document)?.into(),
        name,
    })
}

/// Publishes a lock's alert, and every alert that was marked before it, in their order: an alert that announces a lock is
/// on the stream before the order that met the lock is answered. After a time limit the rest waits in the outbox.
pub(super) async fn publish_with_lock(router: &Router, alert: &WaitingAlert, signal: &RuleSignal) {
    stop_point::reach("alert_marked");
    if let Ok(document) = serde_json::from_slice::<RiskSignal>(&alert.document) {
        router.signals.announce(signal.rule_id, &document);
    }
    match timeout(BEFORE_LOCK_TIMEOUT, publish_waiting_alerts(router, Duration::ZERO)).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => log_at_intervals!(warn, %fault, "the alert of a lock waits in the outbox"),
        Err(_) => log_at_intervals!(
            warn,
            "the alert of a lock waits in the outbox: it was not published in time"
        ),
    }
}

/// Publishes the alerts that have waited for at least a time, the longest waiting first.
///
/// # Errors
/// If store or stream do not reply.
pub async fn publish_waiting_alerts(router: &Router, waited: Duration) -> Result<(), Fault> {
    for _ in 0..MAX_ROUNDS {
        let waiting = router
            .store
            .list_waiting_alerts(waited)
            .await
            .map_err(store_unavailable)?;
        if waiting.is_empty() {
            return Ok(());
        }
        for alert in waiting {
            match decode_alert(&alert) {
                Some(document) => publish_and_remove(router, &alert.name, &document).await?,
                None => {
                    log_at_intervals!(
                        error,
                        name = alert.name,
                        "an alert in the outbox cannot be decoded; it is dropped"
                    );
                    remove(router, alert.name).await?;
                }
            }
        }
    }
    Ok(())
}

/// Returns the document of a waiting alert; `None` where it cannot be decoded.
fn decode_alert(alert: &WaitingAlert) -> Option<RiskSignal> {
    if let Ok(document) = serde_json::from_slice::<RiskSignal>(&alert.document) {
        return Some(document);
    }
    let facts: AlertFacts<'_> = serde_json::from_slice(&alert.document).ok()?;
    let order = order_from_document(facts.order.get().as_bytes()).ok()?;
    Some(RiskSignal::of(&facts.to_signal()?, (&order).into()).named(&alert.name))
}

async fn publish_and_remove(router: &Router, name: &str, document: &RiskSignal) -> Result<(), Fault> {
    let appended = router.signals.append(document).await;
    appended.map_err(|error| bus_unavailable(&error))?;
    stop_point::reach("alert_published");
    remove(router, name.to_owned()).await
}

async fn remove(router: &Router, name: String) -> Result<(), Fault> {
    router
        .store
        .remove_waiting_alerts(&[name])
        .await
        .map_err(store_unavailable)
}
