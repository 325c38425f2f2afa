//! The router itself: health, metrics, brokers, state, events, the console, and the API's documentation.

pub(in crate::sidecar) mod brokers;
pub(in crate::sidecar) mod console;
pub(in crate::sidecar) mod docs;
pub(in crate::sidecar) mod events;
pub(in crate::sidecar) mod health;
pub(in crate::sidecar) mod metrics;
pub(in crate::sidecar) mod mode;
pub(in crate::sidecar) mod state;
