//! An intent that the work queue stores.

use crate::bus::reply_inbox::AwaitedReply;
use crate::client::order_key::OrderKey;

/// An intent that the work queue has stored. A worker executes it as soon as one is up, and never after its deadline.
#[derive(Debug)]
pub struct StoredIntent {
    /// The order, by the caller's id.
    pub order: OrderKey,
    /// The intent's sequence in the work queue.
    pub sequence: u64,
    /// The reply of the worker that executes it.
    pub(crate) reply: AwaitedReply,
}
