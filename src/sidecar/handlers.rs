//! The handlers: one file for each resource.

pub(super) mod order_log;
pub(super) mod orders;
pub(super) mod positions;
pub(super) mod risk;
pub(super) mod service;
mod signed_body;
