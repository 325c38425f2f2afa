//! Positions: list, and close.

pub(in crate::sidecar) mod close;
pub(in crate::sidecar) mod list;
