//! From the journal to rows: the feeds read the streams, the follower hands entries to the writer, the projection turns
//! them into rows.

pub(in crate::order_log) mod entry;
pub(in crate::order_log) mod feeds;
pub(in crate::order_log) mod follower;
pub(in crate::order_log) mod position_ledger;
pub(in crate::order_log) mod projection;
pub(in crate::order_log) mod writer;
