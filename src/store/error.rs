//! What can go wrong with a call to the store, by what it means for the change that was asked for.

/// Why a call to the store gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store is not the one this worker knows (emptied, restarted or restored): it must be healed from the journal
    /// first. Nothing was changed.
    #[error("the shared state has to be rebuilt from the journal first: {0}")]
    Stale(String),
    /// The change was certainly not made.
    #[error("the shared state refused: {0}")]
    NotExecuted(String),
    /// The connection was lost or too slow: the change may have been made.
    #[error("the shared state did not answer: {0}")]
    OutcomeUnknown(String),
    /// This process has too many calls waiting. Nothing was changed.
    #[error("too many calls to the shared state are waiting in this process")]
    QueueFull,
    /// What stands in the store cannot be understood.
    #[error("the shared state holds something unexpected: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the change may have been made all the same.
    pub fn may_have_executed(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::Corrupt(_))
    }
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        if error.code() == Some("NOSCRIPT") {
            return Self::Stale("redis has been restarted and lost its scripts".to_owned());
        }
        // An error with a code is the server's own answer: a script checks everything before its first write.
        match error.code() {
            Some(_) => Self::NotExecuted(error.to_string()),
            None => Self::OutcomeUnknown(error.to_string()),
        }
    }
}
