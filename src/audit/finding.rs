//! What an audit finds.

use serde::Serialize;

/// The most findings of one level that are listed; further ones are counted.
pub const MAX_LISTED_FINDINGS: usize = 1_000;
/// The most characters of a value that are shown.
const MAX_VALUE_CHARACTERS: usize = 400;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingLevel {
    /// Something is wrong: a rule of the journal is broken, or a copy of it differs.
    Break,
    /// It could not be decided: the store did not come to rest.
    Undecided,
    /// Something that is allowed and worth knowing, such as a void order.
    Notice,
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A journal entry that cannot be decoded: a rebuild stops there.
    UnreadableEntry,
    /// A journal entry on a subject that is not its own.
    WrongSubject,
    /// A version of an order that does not follow the one before it.
    VersionGap,
    /// A repeated entry that differs from the first one.
    ChangedRepeat,
    /// A report with other terms than the order's earlier entries.
    ChangedTerms,
    /// A quantity, cost or price that does not follow from the fills.
    Arithmetic,
    /// A status that the transition table does not allow.
    StatusTransition,
    /// Moves of the shared sums that do not follow from the fills and the reservation.
    Settlement,
    /// A submission after the order's reports, or one that reserves something else than its order.
    Submission,
    /// Two orders for one client order id, both of which may be at their venue.
    SecondOrder,
    /// An adjustment whose moves do not follow from its terms.
    Adjustment,
    /// A later order for a client order id that another one holds: it does not count.
    VoidOrder,
    /// A second effect for a version, of a worker that slept through a rebuild, or one that builds on it: it does not count.
    VoidEffect,
    /// Entries that the journal has lost and whose loss an operator accepted.
    AcceptedLoss,
    /// A ledger in Redis that differs from the journal.
    StoreLedger,
    /// An order's record in Redis, or a set that lists it, that differs from the journal.
    StoreOrder,
    /// A remembered id in Redis that differs from the journal.
    StoreRememberedId,
    /// An adjustment's record in Redis that differs from the journal.
    StoreAdjustment,
    /// A lock in Redis that differs from the journal.
    StoreLock,
    /// State, limits or trading day in Redis that differ from the journal.
    StoreControl,
    /// How far Redis says that it has applied the journal.
    StoreWatermark,
    /// Redis holds something that the journal does not have, or lacks something, and stays so.
    StoreUnsettled,
    /// An order in the order log that differs from the journal.
    OrderLogOrder,
    /// The executions of an order in the order log that differ from the journal.
    OrderLogExecutions,
    /// A position in the order log that differs from the journal.
    OrderLogPosition,
    /// The order log has not applied the journal to its end.
    OrderLogBehind,
    /// Journal entries that the order log has skipped.
    OrderLogSkipped,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub level: FindingLevel,
    /// What it is.
    pub kind: FindingKind,
    /// The order, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// What else it is about: the ledger, the lock, the adjustment, the position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The journal sequence of the entry that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The field.
    pub field: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl Finding {
    /// Returns a break.
    pub fn of_break(kind: FindingKind, field: impl Into<String>, pair: (impl ToString, impl ToString)) -> Self {
        Self::new(FindingLevel::Break, kind, field, pair)
    }

    /// Returns a finding.
    pub fn new(
        level: FindingLevel,
        kind: FindingKind,
        field: impl Into<String>,
        (expected, found): (impl ToString, impl ToString),
    ) -> Self {
        Self {
            level,
            kind,
            order_id: None,
            name: None,
            sequence: None,
            field: field.into(),
            expected: shorten(expected.to_string()),
            found: shorten(found.to_string()),
        }
    }

    /// Returns the finding of an order at a journal sequence.
    #[must_use]
    pub fn of_order(self, order_id: impl ToString, sequence: u64) -> Self {
        Self {
            order_id: Some(order_id.to_string()),
            sequence: Some(sequence),
            ..self
        }
    }

    /// Returns the finding at a journal sequence.
    #[must_use]
    pub fn at(self, sequence: u64) -> Self {
        Self {
            sequence: Some(sequence),
            ..self
        }
    }

    /// Returns the finding of something with a name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", word(&self.kind))?;
        if let Some(order_id) = &self.order_id {
            write!(formatter, " {order_id}")?;
        }
        if let Some(name) = &self.name {
            write!(formatter, " {name}")?;
        }
        if let Some(sequence) = self.sequence {
            write!(formatter, " at entry {sequence}")?;
        }
        let (field, expected, found) = (&self.field, &self.expected, &self.found);
        write!(formatter, ": {field}: expected {expected}, found {found}")
    }
}

/// Returns the word of a kind or level.
fn word(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    json.trim_matches('"').to_owned()
}

fn shorten(value: String) -> String {
    match value.char_indices().nth(MAX_VALUE_CHARACTERS) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value,
    }
}

/// The findings of an audit: listed up to a bound, and counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    listed: Vec<Finding>,
    breaks: u64,
    undecided: u64,
    notices: u64,
}

impl Findings {
    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        let count = match finding.level {
            FindingLevel::Break => &mut self.breaks,
            FindingLevel::Undecided => &mut self.undecided,
            FindingLevel::Notice => &mut self.notices,
        };
        *count += 1;
        if *count <= MAX_LISTED_FINDINGS as u64 {
            self.listed.push(finding);
        }
    }

    /// Returns those that are listed, in the order of their finding.
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// Returns how many there are of a level.
    pub fn count(&self, level: FindingLevel) -> u64 {
        match level {
            FindingLevel::Break => self.breaks,
            FindingLevel::Undecided => self.undecided,
            FindingLevel::Notice => self.notices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_listed_up_to_a_bound_and_all_counted() {
        let mut findings = Findings::default();
        for at in 0..MAX_LISTED_FINDINGS as u64 + 5 {
            findings.add(Finding::of_break(FindingKind::VersionGap, "version", (1, 3)).of_order("BN-1", at));
        }
        let notice = Finding::new(
            FindingLevel::Notice,
            FindingKind::VoidOrder,
            "order_id",
            ("BN-1", "BN-2"),
        );
        findings.add(notice.clone());
        assert_eq!(findings.listed().len(), MAX_LISTED_FINDINGS + 1);
        assert_eq!(findings.count(FindingLevel::Break), MAX_LISTED_FINDINGS as u64 + 5);
        assert_eq!(findings.listed().last(), Some(&notice));
        let text = findings.listed()[7].to_string();
        assert_eq!(text, "version_gap BN-1 at entry 7: version: expected 1, found 3");
        let long = Finding::of_break(FindingKind::StoreLock, "document", ("x".repeat(1_000), ""));
        assert_eq!(long.expected.chars().count(), MAX_VALUE_CHARACTERS + 1);
    }
}
