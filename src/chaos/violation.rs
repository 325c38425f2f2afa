//! What the checker finds.

use serde::Serialize;

/// The most violations that are kept; further ones are counted.
const MAX_KEPT: usize = 200;

/// A law that a run broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChaosViolation {
    /// The name of the check.
    pub check: &'static str,
    /// What was found: ids and values.
    pub detail: String,
}

/// The violations of a run, in the order in which they were found.
#[derive(Debug, Default)]
pub(in crate::chaos) struct FoundViolations {
    kept: Vec<ChaosViolation>,
    total: u64,
}

impl FoundViolations {
    /// Adds a violation.
    pub(in crate::chaos) fn add(&mut self, check: &'static str, detail: impl Into<String>) {
        self.total += 1;
        if self.kept.len() < MAX_KEPT {
            let detail = detail.into();
            tracing::error!(check, detail, "violation");
            self.kept.push(ChaosViolation { check, detail });
        }
    }

    /// Returns how many there are, those that are not kept included.
    pub(in crate::chaos) fn total(&self) -> u64 {
        self.total
    }

    /// Returns those that are kept.
    pub(in crate::chaos) fn into_kept(self) -> Vec<ChaosViolation> {
        self.kept
    }
}
