//! The descriptions, one file per noun.

pub(in crate::sidecar) mod holdings;
pub(in crate::sidecar) mod log;
pub(in crate::sidecar) mod orders;
pub(in crate::sidecar) mod risk;
pub(in crate::sidecar) mod service;
pub(in crate::sidecar) mod state;

/// Returns an example of the contract, as `subjects/examples/good` has it.
macro_rules! published {
    ($file:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/subjects/examples/good/",
            $file,
            ".json"
        ))
    };
}
use published;
