//! The reply to a request.

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusReply {
    /// The JSON.
    pub body: Vec<u8>,
    /// The sequence of its report on the journal.
    pub journal_sequence: Option<u64>,
    /// Whether it repeats an earlier reply.
    pub is_replay: bool,
}
