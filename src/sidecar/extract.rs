//! Extractors: what handlers read from a request.

pub(in crate::sidecar) mod header;
pub(in crate::sidecar) mod json_body;
pub(in crate::sidecar) mod page;
pub(in crate::sidecar) mod path_segment;
pub(in crate::sidecar) mod query;
