//! Arguments that several commands share.

pub(in crate::cli) mod audit;
pub(in crate::cli) mod global;
pub(in crate::cli) mod order_log_page;
pub(in crate::cli) mod order_reference;
pub(in crate::cli) mod term;
