//! Orders: submit, get, cancel, and add a note.

pub(in crate::sidecar) mod cancel;
pub(in crate::sidecar) mod cancel_all;
pub(in crate::sidecar) mod cancel_receipt;
mod location;
pub(in crate::sidecar) mod lookup;
pub(in crate::sidecar) mod notes;
pub(in crate::sidecar) mod submit;
