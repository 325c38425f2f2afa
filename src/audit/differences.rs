//! The findings of one report, as they are collected.

use crate::audit::finding::{Finding, FindingKind};

/// Collects what differs.
#[derive(Debug, Default)]
pub(super) struct Differences(Vec<Finding>);

impl Differences {
    /// Adds a break where a field has another value than is expected.
    pub(super) fn check<T: PartialEq + ToString>(&mut self, kind: FindingKind, field: &str, expected: T, found: T) {
        if expected != found {
            self.push(Finding::of_break(kind, field, (expected, found)));
        }
    }

    /// Adds a finding.
    pub(super) fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Returns what was collected.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.0
    }
}

/// Returns a value as text, or that there is none.
pub(super) fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
