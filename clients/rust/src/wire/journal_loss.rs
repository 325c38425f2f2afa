//! The `JournalLossEvent`: the journal's record that an operator accepted the loss of entries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::wire::field_checks::parse_operator_text;
use crate::wire::schema_patterns::UtcTimestamp;

/// What became of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JournalChange {
    /// An operator accepted that entries are lost.
    LossAccepted,
}

/// An accepted loss of journal entries (`orders.events.journal._`): every entry before `first_sequence`, and every entry
/// that is missing up to `last_sequence`. The last event counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalLossEvent {
    /// Always `loss_accepted`.
    pub event: JournalChange,
    /// The sequence of the journal's first entry when the loss was accepted: all entries before it are lost.
    pub first_sequence: u64,
    /// The sequence of the journal's last entry when the loss was accepted.
    pub last_sequence: u64,
    /// How many entries were missing between these two.
    pub missing_entries: u64,
    /// The person or system that accepted the loss.
    pub actor: String,
    /// The reason.
    pub reason: String,
    /// When the loss was accepted.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

impl JournalLossEvent {
    /// Checks that an actor and a reason can be recorded: 1-256 characters without control characters.
    ///
    /// # Errors
    /// `invalid_field`, with the name of the field.
    pub fn check_audit(actor: &str, reason: &str) -> Result<(), Fault> {
        for (field, text) in [("actor", actor), ("reason", reason)] {
            parse_operator_text(text).map_err(|rule| Fault::for_field(FaultCode::InvalidField, field, rule))?;
        }
        Ok(())
    }

    /// Reports whether the loss of the entries from one sequence to another, both included, is accepted.
    pub fn covers_gap(&self, from: u64, to: u64) -> bool {
        to < self.first_sequence || (from >= self.first_sequence && to <= self.last_sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_is_covered_before_the_first_entry_and_up_to_the_last_one() {
        let event = JournalLossEvent {
            event: JournalChange::LossAccepted,
            first_sequence: 10,
            last_sequence: 20,
            missing_entries: 2,
            actor: "mira".to_owned(),
            reason: "purged".to_owned(),
            timestamp: Timestamp::now(),
        };
        for (from, to, is_covered) in [
            (1, 9, true),
            (12, 13, true),
            (20, 20, true),
            (1, 10, false),
            (9, 12, false),
            (20, 21, false),
        ] {
            assert_eq!(event.covers_gap(from, to), is_covered, "{from} to {to}");
        }
        assert!(JournalLossEvent::check_audit("mira", "purged").is_ok());
        let refused = JournalLossEvent::check_audit("mira", "a\u{7}").unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("reason"));
    }
}
