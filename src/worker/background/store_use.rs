//! How full the shared state is: the sweep of remembered ids, and the alert before new orders are refused.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::repeated_log::log_at_intervals;
use crate::telemetry::{MetricId, limit_ratio};
use crate::wire::risk_signal::SignalSubject;
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;

/// The pause between two looks. All workers together sweep at one pace (`lua/sweep_ids.lua`).
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
/// The id of the alert.
const RULE_ID: &str = "store_use";
/// From which share of a bound it alerts, and below which it may alert again, in percent.
const ALERT_PERCENT: u64 = 80;
const CALM_PERCENT: u64 = 75;

/// A bound of the shared state in use.
struct Use {
    part: &'static str,
    used: u64,
    most: u64,
    setting: &'static str,
}

/// Which bounds have alerted and are not calm yet.
#[derive(Default)]
struct Alerted {
    memory: bool,
    remembered_ids: bool,
}

/// Sweeps remembered ids and watches the bounds until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let mut alerted = Alerted::default();
    let mut runs = repeat_every(SWEEP_INTERVAL, &stop);
    while runs.next().await {
        tokio::select! {
            () = stop.cancelled() => {}
            () = look(&router, &mut alerted) => {}
        }
    }
}

async fn look(router: &Router, alerted: &mut Alerted) {
    let ids = match router.store.sweep_remembered_ids().await {
        Ok(ids) => Some(ids.count),
        Err(error) => {
            log_at_intervals!(debug, %error, "remembered ids are not swept");
            None
        }
    };
    let ids = ids.map(|used| Use {
        part: "remembered_ids",
        used,
        most: router.store.max_remembered_ids(),
        setting: "redis.remembered_ids_mb or a shorter redis.retention_h",
    });
    let (used, most) = router.store.memory_use();
    let memory = Use {
        part: "memory",
        used,
        most,
        setting: "redis.max_memory_mb",
    };
    let ratio = |part: &Use| limit_ratio(i64::try_from(part.used).ok()?, i64::try_from(part.most).ok()?);
    let telemetry = &router.telemetry;
    telemetry.set_gauge(MetricId::StoreUsed, &["memory"], ratio(&memory));
    telemetry.set_gauge(MetricId::StoreUsed, &["remembered_ids"], ids.as_ref().and_then(ratio));
    alert_once(router, &memory, &mut alerted.memory);
    if let Some(ids) = &ids {
        alert_once(router, ids, &mut alerted.remembered_ids);
    }
}

/// Alerts where the share of a bound has been crossed since it was calm.
fn alert_once(router: &Router, part: &Use, alerted: &mut bool) {
    let reaches = |percent: u64| u128::from(part.used) * 100 >= u128::from(part.most) * u128::from(percent);
    if *alerted {
        *alerted = reaches(CALM_PERCENT);
        return;
    }
    if !reaches(ALERT_PERCENT) {
        return;
    }
    *alerted = true;
    let Use {
        part,
        used,
        most,
        setting,
    } = part;
    let signal = RuleSignal {
        rule_id: RULE_ID,
        level: SignalLevel::Alert,
        code: ReasonCode::RiskLocked,
        message: format!(
            "the shared state uses {used} of {most} of its {part}; beyond that new orders are refused. Raise {setting}"
        ),
        metadata: Metadata::new()
            .with("part", *part)
            .with("value", used.to_string())
            .with("limit", most.to_string()),
    };
    router.signals.publish(&[signal], SignalSubject::default());
}
