//! The findings of an audit, as people and machines read them.

use serde::Serialize;

use crate::audit::{Finding, FindingLevel, Findings};
use crate::cli::output;
use crate::cli::output::text::strip_control_characters;

/// The findings as one part of a JSON object: each level's, and how many there are of each.
#[derive(Debug, Serialize)]
pub(crate) struct FindingsOutput<'a> {
    breaks: u64,
    undecided: u64,
    notices: u64,
    /// At most 1 000 of each level.
    findings: &'a [Finding],
}

impl<'a> FindingsOutput<'a> {
    /// Returns the output of findings.
    pub(crate) fn of(findings: &'a Findings) -> Self {
        Self {
            breaks: findings.count(FindingLevel::Break),
            undecided: findings.count(FindingLevel::Undecided),
            notices: findings.count(FindingLevel::Notice),
            findings: findings.listed(),
        }
    }
}

/// Prints a line for each finding that is listed, and one for those that are not.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn print_findings(findings: &Findings) -> anyhow::Result<()> {
    for finding in findings.listed() {
        let level = match finding.level {
            FindingLevel::Break => "break",
            FindingLevel::Undecided => "undecided",
            FindingLevel::Notice => "notice",
        };
        let text = strip_control_characters(&finding.to_string());
        output::print_line(format!("{level:<9} {text}"))?;
    }
    let levels = [FindingLevel::Break, FindingLevel::Undecided, FindingLevel::Notice];
    let total: u64 = levels.iter().map(|level| findings.count(*level)).sum();
    match total.saturating_sub(findings.listed().len() as u64) {
        0 => Ok(()),
        more => output::print_line(format!("and {more} more")),
    }
}
