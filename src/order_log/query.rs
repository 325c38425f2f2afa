//! Queries: filters over the index, and pages of rows.

pub(in crate::order_log) mod filter;
pub(in crate::order_log) mod pages;
