//! How far a fold of the journal is.

/// How far a fold of the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoldPosition {
    /// The sequence of the last entry that was folded.
    pub sequence: u64,
    /// The sequence that the fold ends at; 0 before it has begun.
    pub last_sequence: u64,
}
