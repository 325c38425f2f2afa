//! Orders: submit, get, cancel, replace, add a note, and list the versions of one.

pub(in crate::sidecar) mod cancel;
pub(in crate::sidecar) mod cancel_all;
pub(in crate::sidecar) mod cancel_receipt;
pub(in crate::sidecar) mod history;
mod location;
mod logged_order;
pub(in crate::sidecar) mod lookup;
pub(in crate::sidecar) mod notes;
mod order_request;
pub(in crate::sidecar) mod replace;
pub(in crate::sidecar) mod submit;
