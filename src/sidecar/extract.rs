//! Extractors: the JSON body and the query string.

pub(in crate::sidecar) mod json_body;
pub(in crate::sidecar) mod query;
