//! The tables beside orders and executions: tags, positions, alerts.

pub(in crate::order_log) mod alerts;
pub(in crate::order_log) mod positions;
pub(in crate::order_log) mod tags;
