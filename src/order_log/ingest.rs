//! From the journal to rows: following the streams, decoding entries, projecting them, writing them.

pub(in crate::order_log) mod entry;
pub(in crate::order_log) mod follower;
pub(in crate::order_log) mod projection;
pub(in crate::order_log) mod writer;
