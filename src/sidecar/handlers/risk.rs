//! Risk: alerts and locks.

pub(in crate::sidecar) mod alerts;
pub(in crate::sidecar) mod locks;
