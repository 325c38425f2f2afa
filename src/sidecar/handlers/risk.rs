//! Risk: alerts, heartbeats, limits and locks.

pub(in crate::sidecar) mod alerts;
pub(in crate::sidecar) mod heartbeat;
pub(in crate::sidecar) mod limits;
pub(in crate::sidecar) mod locks;
