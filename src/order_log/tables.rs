//! The tables: their columns, and the statements on them.

pub(in crate::order_log) mod alerts;
pub(in crate::order_log) mod executions;
pub(in crate::order_log) mod orders;
pub(in crate::order_log) mod positions;
pub(in crate::order_log) mod router_state;
pub(in crate::order_log) mod skipped;
pub(in crate::order_log) mod tags;
pub(in crate::order_log) mod watermarks;
