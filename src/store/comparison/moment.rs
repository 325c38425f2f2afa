//! How settled the store is at a moment: what it holds that the journal does not have.

use redis::{Pipeline, Value};

use crate::store::comparison::types::{StoreDifference, StorePlace};
use crate::store::comparison::values::parse_all;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::fold::FoldedState;
use crate::store::rebuild::fold::record::FoldedStage;
use crate::store::script::decode_value;

/// What the store says of itself at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMoment {
    /// The journal sequence up to which it holds every event.
    pub journal_sequence: u64,
    /// The journal sequence up to which it has applied every event of a lock.
    pub lock_watermark: u64,
    /// When the journal was created that it belongs to.
    pub journal_created: String,
    /// The number of buckets of remembered ids.
    pub(super) buckets: u64,
    /// Orders that are claimed or being sent.
    leases: usize,
    /// Why it is not settled; empty where it is.
    unsettled: Vec<String>,
}

impl StoreMoment {
    /// Adds the commands that read it. Returns how many they are.
    pub(super) fn add_reads(commands: &mut Pipeline) -> usize {
        commands.cmd("HMGET").arg(keys::meta()).arg(&[
            "epoch",
            "journal_sequence",
            "latch_sequence",
            "journal_created",
            "lost",
            "loading",
        ]);
        commands.cmd("HGET").arg(keys::remembered_ids()).arg("buckets");
        commands
            .cmd("HMGET")
            .arg(keys::operator_state())
            .arg(&["version", "journaled"]);
        commands.cmd("ZCARD").arg(keys::leases());
        commands.cmd("ZCARD").arg(keys::outbox());
        commands.cmd("ZCARD").arg(keys::unjournaled_adjustments());
        commands.cmd("HLEN").arg(keys::unjournaled_locks());
        7
    }

    pub(super) fn decode(values: Vec<Value>) -> Result<Self, StoreError> {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        let meta: Vec<Option<String>> = decode_value(next())?;
        let buckets: Option<u64> = decode_value(next())?;
        let state: Vec<Option<u64>> = decode_value(next())?;
        let [leases, outbox, adjustments, locks]: [usize; 4] = parse_all(vec![next(), next(), next(), next()])?;
        let field = |at: usize| meta.get(at).cloned().flatten().unwrap_or_default();
        let [epoch, sequence, lock_watermark, journal_created, lost, loading] = [0, 1, 2, 3, 4, 5].map(field);
        let version = |at: usize| state.get(at).copied().flatten().unwrap_or(0);
        let mut unsettled = Vec::new();
        if epoch.parse::<i64>().is_err() || !loading.is_empty() {
            unsettled.push("it is being rebuilt".to_owned());
        }
        if !lost.is_empty() {
            unsettled.push(format!("it lacks the journal's entries {lost}"));
        }
        for (what, count) in [
            ("orders with events", outbox),
            ("adjustments", adjustments),
            ("locks", locks),
        ] {
            if count > 0 {
                unsettled.push(format!("{count} {what} are not on the journal"));
            }
        }
        if version(0) > version(1) {
            unsettled.push("a change of the state is not on the journal".to_owned());
        }
        Ok(Self {
            journal_sequence: sequence.parse().unwrap_or(0),
            lock_watermark: lock_watermark.parse().unwrap_or(0),
            journal_created,
            buckets: buckets.unwrap_or(1).max(1),
            leases,
            unsettled,
        })
    }

    pub(super) fn unsettled(mut self) -> Self {
        self.unsettled
            .push("its remembered ids are being spread over more buckets".to_owned());
        self
    }

    /// Returns why the store held something at this moment that the journal did not have, or lacked something; `None` where
    /// it was equal to the journal's state, unless it is damaged.
    pub fn find_unsettled(&self, state: &FoldedState) -> Option<String> {
        let mut reasons = self.unsettled.clone();
        let is_sending = |stage: &FoldedStage| matches!(stage, FoldedStage::Sending(_));
        let sending = state.orders.values().filter(|order| is_sending(&order.stage)).count();
        if self.leases > sending {
            reasons.push(format!("{} orders are claimed or being sent", self.leases));
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Returns the differences of how far the journal is applied.
    pub fn differences(&self, state: &FoldedState, journal_created: &str) -> Vec<StoreDifference> {
        let watermark =
            |field: &str, pair: (String, String)| StoreDifference::new(StorePlace::Watermark, "meta", field, pair);
        let mut differences = Vec::new();
        // The release of an order raises no watermark.
        let highest = state.progress.watermark;
        if self.journal_sequence > highest {
            differences.push(watermark(
                "journal_sequence",
                (format!("at most {highest}"), self.journal_sequence.to_string()),
            ));
        }
        if self.lock_watermark != state.progress.lock_watermark {
            differences.push(watermark(
                "latch_sequence",
                (
                    state.progress.lock_watermark.to_string(),
                    self.lock_watermark.to_string(),
                ),
            ));
        }
        if self.journal_created != journal_created {
            differences.push(watermark(
                "journal_created",
                (journal_created.to_owned(), self.journal_created.clone()),
            ));
        }
        differences
    }
}
