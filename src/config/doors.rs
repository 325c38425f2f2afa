//! Settings of the two doors intents come in by.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much the doors take at once, and how long things count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DoorSettings {
    /// Requests under way at once; default 4096. Beyond it callers get `queue_full`.
    pub request_max_in_flight: usize,
    /// Durable intents under way at once, per broker; default 512.
    pub durable_max_in_flight: usize,
    /// How long the server waits for a sign of life before it delivers an intent again, in milliseconds; default 30000.
    pub durable_ack_wait_ms: u64,
    /// The time between two signs of life, in milliseconds; default 10000. Less than half of `durable_ack_wait_ms`.
    pub durable_progress_ms: u64,
    /// Deliveries after which an intent is dead-lettered; default 1000, which takes more than an hour of trouble.
    pub durable_max_deliver: u64,
    /// How long an intent rests before it is delivered again, in milliseconds; default 500. Each further rest is longer by
    /// as much, up to ten times.
    pub nak_delay_ms: u64,
    /// How long a request without a deadline counts from its arrival, in milliseconds; default 5000.
    pub default_request_deadline_ms: u64,
    /// How long a durable intent without a deadline counts from its publication, in milliseconds; default 60000.
    pub default_intent_deadline_ms: u64,
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
        }
    }
}

impl DoorSettings {
    /// Returns how long the server waits for a sign of life.
    pub fn durable_ack_wait(&self) -> Duration {
        Duration::from_millis(self.durable_ack_wait_ms)
    }

    /// Returns the time between two signs of life.
    pub fn durable_progress_interval(&self) -> Duration {
        Duration::from_millis(self.durable_progress_ms)
    }

    /// Returns how long an intent rests before it is delivered again.
    pub fn nak_delay(&self) -> Duration {
        Duration::from_millis(self.nak_delay_ms)
    }

    /// Adds a sentence for every setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        for (name, value) in [
            ("request_max_in_flight", self.request_max_in_flight),
            ("durable_max_in_flight", self.durable_max_in_flight),
        ] {
            if !(1..=65_536).contains(&value) {
                errors.push(format!("doors.{name} must be between 1 and 65536"));
            }
        }
        if !(100..=3_600_000).contains(&self.durable_ack_wait_ms) {
            errors.push("doors.durable_ack_wait_ms must be between 100 and 3600000".to_owned());
        }
        if self.durable_progress_ms == 0 || self.durable_progress_ms >= self.durable_ack_wait_ms.div_ceil(2) {
            errors
                .push("doors.durable_progress_ms must be above 0 and less than half of durable_ack_wait_ms".to_owned());
        }
        if !(1..=1_000).contains(&self.durable_max_deliver) {
            errors.push("doors.durable_max_deliver must be between 1 and 1000".to_owned());
        }
        for (name, value) in [
            ("nak_delay_ms", self.nak_delay_ms),
            ("default_request_deadline_ms", self.default_request_deadline_ms),
            ("default_intent_deadline_ms", self.default_intent_deadline_ms),
        ] {
            if !(1..=86_400_000).contains(&value) {
                errors.push(format!("doors.{name} must be between 1 and 86400000"));
            }
        }
    }
}
