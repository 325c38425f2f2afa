//! Settings of the request door and the durable door (`[doors]`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;

/// A day: no deadline may be further ahead.
const MAX_DEADLINE_MS: u64 = 86_400_000;

/// Bounds and time limits of the doors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DoorSettings {
    /// Maximum number of requests in flight, 1 to 65536; default 4096. Further requests get `queue_full`.
    pub request_max_in_flight: usize,
    /// Maximum number of durable intents in flight per broker, 1 to 65536; default 512.
    pub durable_max_in_flight: usize,
    /// How long NATS waits for an acknowledgement or a progress message before it redelivers an intent, in milliseconds,
    /// 100 to 3600000; default 30000.
    pub durable_ack_wait_ms: u64,
    /// The interval of progress messages, in milliseconds, above 0 and less than half of `durable_ack_wait_ms`; default
    /// 10000.
    pub durable_progress_ms: u64,
    /// Deliveries after which an intent becomes a dead letter, 1 to 1000; default 1000, which takes more than an hour.
    pub durable_max_deliver: u64,
    /// The delay of the first redelivery, in milliseconds, 1 to 86400000; default 500. Each further delay is longer by the
    /// same amount, up to ten times.
    pub nak_delay_ms: u64,
    /// The deadline of a request that has none, in milliseconds from its arrival, 1 to 86400000; default 5000.
    pub default_request_deadline_ms: u64,
    /// The deadline of a durable intent that has none, in milliseconds from its publication, 1 to 86400000; default 60000.
    pub default_intent_deadline_ms: u64,
    /// Whether an intent in live must name its deadline, by the header `Deadline` or by `expires_at`; default true.
    pub live_needs_deadline: bool,
}

impl Default for DoorSettings {
    fn default() -> Self {
        Self {
            request_max_in_flight: 4_096,
            durable_max_in_flight: 512,
            durable_ack_wait_ms: 30_000,
            durable_progress_ms: 10_000,
            durable_max_deliver: 1_000,
            nak_delay_ms: 500,
            default_request_deadline_ms: 5_000,
            default_intent_deadline_ms: 60_000,
            live_needs_deadline: true,
        }
    }
}

impl DoorSettings {
    /// Returns how long NATS waits for an acknowledgement or a progress message.
    pub fn durable_ack_wait(&self) -> Duration {
        Duration::from_millis(self.durable_ack_wait_ms)
    }

    /// Returns the interval of progress messages.
    pub fn durable_progress_interval(&self) -> Duration {
        Duration::from_millis(self.durable_progress_ms)
    }

    /// Returns the delay of the first redelivery.
    pub fn nak_delay(&self) -> Duration {
        Duration::from_millis(self.nak_delay_ms)
    }

    /// Adds a sentence for every setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        for (name, value) in [
            ("doors.request_max_in_flight", self.request_max_in_flight),
            ("doors.durable_max_in_flight", self.durable_max_in_flight),
        ] {
            check_range(errors, name, value, &(1..=65_536));
        }
        if self.durable_progress_ms == 0 || self.durable_progress_ms >= self.durable_ack_wait_ms.div_ceil(2) {
            errors
                .push("doors.durable_progress_ms must be above 0 and less than half of durable_ack_wait_ms".to_owned());
        }
        for (name, value, bounds) in [
            ("doors.durable_ack_wait_ms", self.durable_ack_wait_ms, 100..=3_600_000),
            ("doors.durable_max_deliver", self.durable_max_deliver, 1..=1_000),
            ("doors.nak_delay_ms", self.nak_delay_ms, 1..=MAX_DEADLINE_MS),
            (
                "doors.default_request_deadline_ms",
                self.default_request_deadline_ms,
                1..=MAX_DEADLINE_MS,
            ),
            (
                "doors.default_intent_deadline_ms",
                self.default_intent_deadline_ms,
                1..=MAX_DEADLINE_MS,
            ),
        ] {
            check_range(errors, name, value, &bounds);
        }
    }
}
