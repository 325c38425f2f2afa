//! Settings of the journal writer (`[journal]`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;

/// JetStream's maximum number of messages in an atomic batch.
const MAX_ATOMIC_BATCH: usize = 1_000;

/// How a batch of entries is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendMode {
    /// Publishes all entries, then waits for all acknowledgements: faster if the server does not sync each append.
    #[default]
    Pipelined,
    /// Publishes one atomic batch: faster if the server syncs each append (`sync_interval: always`). Needs server 2.12;
    /// with an older one entries are pipelined.
    Atomic,
}

/// How entries are appended to the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// How a batch is appended: `pipelined` (the default), or `atomic` for a server with `sync_interval: always`.
    pub append: AppendMode,
    /// Maximum number of entries in one batch, 1 to 1000; default 256.
    pub batch_max: usize,
    /// Maximum number of entries that wait for the writer, 1 to 1000000; default 8192. Further entries are refused at once.
    pub queue_max: usize,
    /// How long one attempt waits for its acknowledgement, in milliseconds, 10 to 60000; default 2000.
    pub ack_timeout_ms: u64,
    /// Attempts per entry, including the first, 1 to 20; default 3.
    pub attempts: u32,
    /// After how many journal entries a worker makes a snapshot of the shared state, from which an emptied Redis is rebuilt,
    /// 1000 to 1000000000; 0 for none. Default 250000.
    pub snapshot_entries: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            append: AppendMode::Pipelined,
            batch_max: 256,
            queue_max: 8_192,
            ack_timeout_ms: 2_000,
            attempts: 3,
            snapshot_entries: 250_000,
        }
    }
}

impl JournalSettings {
    /// Returns how long one attempt waits for its acknowledgement.
    pub fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }

    /// Adds a sentence for every setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        check_range(errors, "journal.batch_max", self.batch_max, &(1..=MAX_ATOMIC_BATCH));
        check_range(errors, "journal.queue_max", self.queue_max, &(1..=1_000_000));
        check_range(errors, "journal.ack_timeout_ms", self.ack_timeout_ms, &(10..=60_000));
        check_range(errors, "journal.attempts", self.attempts, &(1..=20));
        if self.snapshot_entries > 0 {
            let range = 1_000..=1_000_000_000;
            check_range(errors, "journal.snapshot_entries", self.snapshot_entries, &range);
        }
    }
}
