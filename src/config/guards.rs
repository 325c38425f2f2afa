//! Guards of the laws (docs/architecture.md) that a debug build can turn off, so that tests show what each of them prevents.
//! Release builds have no such switch.

/// The environment variable that names the guard to turn off.
pub const ENVIRONMENT_VARIABLE: &str = "GUARD_OFF";

/// A guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A known id is looked up before an order is claimed (law 1).
    Claim,
    /// A worker that lost its lease cannot send or settle (law 1).
    LeaseToken,
    /// A submission is journaled before the first byte leaves (law 2).
    SubmissionEvent,
    /// A script refuses a caller of another epoch (law 9).
    Epoch,
    /// Events in the outbox are journaled when their worker is gone (law 9).
    Outbox,
    /// A reply waits for the journal's acknowledgement (law 9).
    JournalBeforeReply,
    /// Each effect of an order is booked once (law 5).
    FillDedupe,
    /// An intent is not executed after its deadline.
    Deadline,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 8] = [
        Self::Claim,
        Self::LeaseToken,
        Self::SubmissionEvent,
        Self::Epoch,
        Self::Outbox,
        Self::JournalBeforeReply,
        Self::FillDedupe,
        Self::Deadline,
    ];

    /// Returns the guard's word in the environment variable.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::LeaseToken => "lease_token",
            Self::SubmissionEvent => "submission_event",
            Self::Epoch => "epoch",
            Self::Outbox => "outbox",
            Self::JournalBeforeReply => "journal_before_reply",
            Self::FillDedupe => "fill_dedupe",
            Self::Deadline => "deadline",
        }
    }

    /// Reports whether the environment turns the guard off.
    #[cfg(debug_assertions)]
    pub fn is_off(self) -> bool {
        static NAMED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        let named = NAMED.get_or_init(|| std::env::var(ENVIRONMENT_VARIABLE).ok());
        named.as_deref() == Some(self.as_str())
    }

    /// Returns false: release builds keep every guard.
    #[cfg(not(debug_assertions))]
    #[inline]
    pub fn is_off(self) -> bool {
        false
    }
}
