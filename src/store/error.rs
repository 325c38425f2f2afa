//! Errors of store calls, classed by what they mean for the requested change.

/// Why a store call returned no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store is not the one this process knows: it was emptied, restarted or restored, and has to be rebuilt from the
    /// journal first. Nothing was changed.
    #[error("the store has to be rebuilt from the journal first: {0}")]
    Stale(String),
    /// The change was certainly not made.
    #[error("the store did not execute the command: {0}")]
    NotExecuted(String),
    /// The connection was lost or too slow: the change may have been made.
    #[error("the store did not reply, and may have executed the command: {0}")]
    OutcomeUnknown(String),
    /// The settings cannot be used, or the server's certificate is not trusted. Nothing was changed.
    #[error("{0}")]
    Settings(String),
    /// Too many calls of this process are queued. Nothing was changed.
    #[error("too many store calls are queued in this process")]
    QueueFull,
    /// The store holds, or a script replied, something that cannot be decoded.
    #[error("unexpected data in the store: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Reports whether the change may have been made despite the error.
    pub fn may_have_executed(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::Corrupt(_))
    }

    pub(in crate::store) fn corrupt(detail: impl Into<String>) -> Self {
        Self::Corrupt(detail.into())
    }
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        match error.code() {
            Some("NOSCRIPT") => Self::Stale("Redis was restarted or failed over, and has no scripts".to_owned()),
            // An error with a code is the server's own: a script checks everything before its first write.
            Some(_) => Self::NotExecuted(error.to_string()),
            None => Self::OutcomeUnknown(error.to_string()),
        }
    }
}
