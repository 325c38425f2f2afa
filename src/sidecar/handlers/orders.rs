//! Orders: submit, look up, cancel, annotate.

pub(in crate::sidecar) mod cancel;
pub(in crate::sidecar) mod cancel_all;
pub(in crate::sidecar) mod cancel_receipt;
pub(in crate::sidecar) mod lookup;
pub(in crate::sidecar) mod notes;
pub(in crate::sidecar) mod submit;
