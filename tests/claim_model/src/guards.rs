//! The guards of the model, each of which a test turns off.

/// A guard of the router (docs/architecture.md, docs/reliability.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A known id is looked up before an order is claimed.
    Claim,
    /// A worker that lost its lease neither sends, settles nor releases.
    LeaseToken,
    /// A submission is journaled before the first byte leaves.
    SubmissionEvent,
    /// The record is `sending` before the first byte leaves.
    SendingStage,
    /// A script refuses a caller of another epoch.
    Epoch,
    /// Events of a dead worker are journaled.
    Outbox,
    /// A reply waits for the journal's acknowledgement.
    JournalBeforeReply,
    /// Each effect of an order is booked once.
    FillDedupe,
    /// "Not found" is no answer while the request may still arrive.
    NotFoundWindow,
    /// Whether it may still arrive is judged by the moment of the question, not of the answer.
    QuestionTime,
    /// Expired leases are taken over.
    TakeOver,
    /// A rebuild makes an order known only by its submission one that is being sent.
    ReplayedSubmission,
    /// An event replaces only what came later on the journal, when it is replaced.
    ReplacesLaterOnly,
    /// What an event would replace is journaled first.
    JournalsReplaced,
    /// A submission does not replace one of another claim that is being sent.
    FirstSubmission,
    /// What the store lacks of the journal is replayed into it.
    LateEvents,
    /// An effect is booked and replayed only on the one that it builds on, not on another of the same version.
    EffectBase,
}
