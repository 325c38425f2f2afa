//! Streams and consumers that are deleted while the worker runs are created again, except the journal: without its entries
//! no order is accepted (`rebuild`).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::connection::Bus;
use crate::bus::topology;
use crate::bus::topology::ReconcileOutcome;
use crate::config::Settings;
use crate::domain::id::BrokerId;
use crate::repeated_log::log_at_intervals;
use crate::worker::periodic::repeat_every;

/// The pause between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Creates what is missing until the worker stops.
pub(in crate::worker) async fn run(settings: Settings, bus: Bus, brokers: Vec<BrokerId>, stop: CancellationToken) {
    let mut runs = repeat_every(CHECK_INTERVAL, &stop);
    while runs.next().await {
        if !bus.is_connected() {
            continue;
        }
        let created = tokio::select! {
            () = stop.cancelled() => return,
            created = topology::recreate_missing(&bus, &settings.nats, &settings.doors, &brokers) => created,
        };
        match created {
            Ok(resources) => {
                let created = resources.iter().filter(|one| one.outcome == ReconcileOutcome::Created);
                for resource in created {
                    tracing::warn!(
                        name = resource.name,
                        "a stream or consumer was deleted; it is created again, empty"
                    );
                }
            }
            Err(error) => {
                log_at_intervals!(warn, %error, "missing streams and consumers could not be created; retrying")
            }
        }
    }
}
