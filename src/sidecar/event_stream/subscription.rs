//! What a client subscribes to.

use crate::domain::id::AccountId;
use crate::sidecar::event_stream::cursor::EventCursor;

/// The events that a client receives, and from where.
#[derive(Debug)]
pub(in crate::sidecar) struct EventSubscription {
    /// The accounts whose events the client receives, with the events without an account. `None` for all accounts.
    pub(in crate::sidecar) accounts: Option<Vec<AccountId>>,
    /// The last event that the client received. `None` to start with the next event.
    pub(in crate::sidecar) resume_after: Option<EventCursor>,
}
