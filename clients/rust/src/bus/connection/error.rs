//! Why an exchange with NATS failed.

use std::time::Duration;

/// Why an exchange on the bus failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The server is unreachable.
    #[error("NATS is unreachable: {0}")]
    Unreachable(String),
    /// The server rejects the credentials or the permissions.
    #[error("NATS rejects the credentials: {0}; check the NATS user, password or credentials file and its permissions")]
    Unauthorized(String),
    /// The server denies a publication.
    #[error("the NATS user may not publish to {0}; nothing was changed")]
    Denied(String),
    /// The settings are unusable.
    #[error("{0}")]
    Settings(String),
    /// The server is older than the router supports.
    #[error("nats-server {0} is too old: 2.10 or newer is needed")]
    ServerTooOld(String),
    /// No reply arrived within the time limit.
    #[error("NATS did not reply within {0:?}: {1}")]
    TimedOut(Duration, &'static str),
    /// The server replied with an error.
    #[error("NATS replied with an error: {0}")]
    Refused(String),
    /// The journal lacks entries that it acknowledged.
    #[error("the journal lacks the entries {from} to {to}")]
    JournalGap {
        /// The first missing sequence.
        from: u64,
        /// The last missing sequence.
        to: u64,
    },
    /// A segment of the journal's archive does not hold what its manifest says.
    #[error(
        "the segment {segment} of the journal's archive is damaged: {reason}. Restore the stream {stream} from its backup"
    )]
    ArchiveDamaged {
        /// The segment's first and last sequence.
        segment: String,
        /// What does not match.
        reason: String,
        /// The stream that stores the archive.
        stream: &'static str,
    },
}
