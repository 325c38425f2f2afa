//! The descriptions of the operations, one file for each resource.

pub(in crate::sidecar) mod order_log;
pub(in crate::sidecar) mod orders;
pub(in crate::sidecar) mod positions;
pub(in crate::sidecar) mod risk;
pub(in crate::sidecar) mod service;
pub(in crate::sidecar) mod state;

/// Returns an example of the contract, from `subjects/examples/good`.
macro_rules! published_example {
    ($file:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/subjects/examples/good/",
            $file,
            ".json"
        ))
    };
}
use published_example;
