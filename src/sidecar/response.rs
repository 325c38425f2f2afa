//! Responses: JSON documents and problem documents.

pub(in crate::sidecar) mod json;
pub(in crate::sidecar) mod media_type;
pub(in crate::sidecar) mod number_strings;
pub(in crate::sidecar) mod problem;
