//! Responses: JSON documents and problems.

pub(in crate::sidecar) mod json;
pub(in crate::sidecar) mod problem;
