//! The newest alerts in memory: filled from the stream at start, and kept up with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::alerts::{AlertFeed, Followed};
use crate::bus::connection::Bus;
use crate::config::keys::Scope;
use crate::domain::signal::Level;
use crate::wire::signal::RiskSignal;

/// The most alerts that are kept.
pub const MAX_ALERTS: usize = 10_000;
/// The most bytes that alerts may take; the oldest go first.
pub const MAX_ALERT_BYTES: usize = 64 * 1024 * 1024;
/// The pause before a stream that cannot be read is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// One alert, as it stands on the stream.
#[derive(Debug, Clone)]
struct Alert {
    level: Level,
    account_id: String,
    rule_id: String,
    body: Bytes,
}

/// Which alerts are asked for.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) level: Option<Level>,
    pub(super) account_id: Option<String>,
    pub(super) rule_id: Option<String>,
    /// The accounts whose alerts may be told; those of no account may be told to everybody.
    pub(super) scope: Scope,
}

impl Filter {
    fn takes(&self, alert: &Alert) -> bool {
        self.level.is_none_or(|level| level == alert.level)
            && self.account_id.as_ref().is_none_or(|id| *id == alert.account_id)
            && self.rule_id.as_ref().is_none_or(|id| *id == alert.rule_id)
            && (alert.account_id.is_empty() || self.scope.takes(&alert.account_id))
    }
}

/// The newest alerts.
#[derive(Debug)]
pub(super) struct Alerts {
    ring: Mutex<Ring>,
    /// Whether everything the stream held has been read.
    is_whole: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The oldest first.
    alerts: VecDeque<Alert>,
    bytes: usize,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            is_whole: watch::Sender::new(false),
        }
    }
}

impl Alerts {
    /// Returns the newest alerts that a filter takes, the newest first, as one JSON list; `None` where the stream could
    /// not be read within `patience`.
    pub(super) async fn list(&self, filter: &Filter, limit: usize, patience: Duration) -> Option<Vec<u8>> {
        let mut is_whole = self.is_whole.subscribe();
        let waited = tokio::time::timeout(patience, is_whole.wait_for(|is_whole| *is_whole)).await;
        let Ok(Ok(_)) = waited else { return None };
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = ring.alerts.iter().rev().filter(|alert| filter.takes(alert)).take(limit);
        let bodies: Vec<&[u8]> = taken.map(|alert| &alert.body[..]).collect();
        Some([&b"["[..], &bodies.join(&b","[..]), &b"]"[..]].concat())
    }

    fn begin(&self) {
        self.is_whole.send_replace(false);
        *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = Ring::default();
    }

    fn add(&self, body: Bytes) {
        let signal = match serde_json::from_slice::<RiskSignal>(&body) {
            Ok(signal) => signal,
            Err(error) => {
                tracing::warn!(%error, "an alert of the stream cannot be read and is not told");
                return;
            }
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += body.len();
        ring.alerts.push_back(Alert {
            level: signal.level,
            account_id: signal.account_id.unwrap_or_default(),
            rule_id: signal.rule_id,
            body,
        });
        while ring.alerts.len() > MAX_ALERTS || ring.bytes > MAX_ALERT_BYTES {
            let Some(oldest) = ring.alerts.pop_front() else { break };
            ring.bytes -= oldest.body.len();
        }
    }
}

/// Follows the stream until it is stopped.
pub(super) async fn follow(alerts: Arc<Alerts>, bus: Bus, stop: CancellationToken) {
    let mut feed = AlertFeed::new(bus, MAX_ALERTS as u64);
    let mut told = String::new();
    loop {
        let followed = tokio::select! {
            () = stop.cancelled() => return,
            followed = feed.next() => followed,
        };
        match followed {
            Ok(Followed::Begun) => alerts.begin(),
            Ok(Followed::Entry(entry)) => alerts.add(entry.body),
            Ok(Followed::CaughtUp) => {
                told.clear();
                alerts.is_whole.send_replace(true);
            }
            Err(error) => {
                let text = error.to_string();
                if text != told {
                    tracing::warn!(error = text, "the alerts cannot be followed; it is tried again");
                    told = text;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(rule: &str, level: &str) -> Bytes {
        let body = format!(
            r#"{{"alert_id":"0195561f-2a00-7c3e-9d1b-2f4a6c8e0d12","rule_id":"{rule}","level":"{level}","message":"m","metadata":{{"limit":0.10}},"account_id":"a","symbol":"S","client_order_id":"c","order_id":null,"timestamp":"2026-03-02T09:00:00.000000Z"}}"#
        );
        body.into()
    }

    #[tokio::test]
    async fn the_newest_come_first_and_the_oldest_go() {
        let alerts = Alerts::default();
        let list = async |filter: Filter, limit| alerts.list(&filter, limit, Duration::ZERO).await;
        assert_eq!(list(Filter::default(), 9).await, None);
        for n in 0..=MAX_ALERTS {
            alerts.add(alert(&format!("r{n}"), if n % 2 == 0 { "alert" } else { "lock" }));
        }
        alerts.add(Bytes::from_static(b"no alert"));
        alerts.is_whole.send_replace(true);
        let newest = alert(&format!("r{MAX_ALERTS}"), "alert");
        // Byte for byte as it stands on the stream.
        assert_eq!(
            list(Filter::default(), 1).await.unwrap(),
            [b"[", &newest[..], b"]"].concat()
        );
        let rules = async |filter: Filter, limit| {
            let list: Vec<RiskSignal> = serde_json::from_slice(&list(filter, limit).await.unwrap()).unwrap();
            list.into_iter().map(|signal| signal.rule_id).collect::<Vec<_>>()
        };
        let all = rules(Filter::default(), usize::MAX).await;
        assert_eq!((all.len(), all.last().unwrap().as_str()), (MAX_ALERTS, "r1"));
        let locks = Filter {
            level: Some(Level::Lock),
            ..Filter::default()
        };
        assert_eq!(rules(locks, 2).await, ["r9999", "r9997"]);
        let one = Filter {
            rule_id: Some("r7".to_owned()),
            ..Filter::default()
        };
        assert_eq!(rules(one, 2).await, ["r7"]);
        let nobody = Filter {
            account_id: Some("b".to_owned()),
            ..Filter::default()
        };
        assert!(rules(nobody, 2).await.is_empty());
    }

    #[test]
    fn they_take_no_more_bytes_than_they_may() {
        let alerts = Alerts::default();
        let mut large = alert("r", "alert").to_vec();
        large.resize(MAX_ALERT_BYTES / 3, b' ');
        for _ in 0..5 {
            alerts.add(large.clone().into());
        }
        let ring = alerts.ring.lock().unwrap();
        assert_eq!((ring.alerts.len(), ring.bytes), (3, 3 * large.len()));
    }
}
