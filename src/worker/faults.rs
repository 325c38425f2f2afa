//! The faults that several steps of a worker return.

use std::fmt::Display;

use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::StoreError;

/// Returns the fault of a store call that failed before anything was sent.
pub fn store_unavailable(error: StoreError) -> Fault {
    match error {
        StoreError::QueueFull => Fault::new(
            FaultCode::QueueFull,
            "this worker has too many orders waiting; nothing was sent",
        ),
        error => Fault::new(FaultCode::StoreUnavailable, format!("nothing was sent: {error}")),
    }
}

/// Returns the fault of a document in the store that this version cannot read.
pub fn unreadable_document(error: &dyn Display) -> Fault {
    Fault::new(FaultCode::StoreUnavailable, error.to_string())
}

/// Returns the fault of a journal that does not reply, or does not confirm an append.
pub fn bus_unavailable(error: &dyn Display) -> Fault {
    Fault::new(FaultCode::BusUnavailable, error.to_string())
}

/// Returns the fault of a call whose deadline has passed.
pub fn deadline_passed(deadline: Timestamp) -> Fault {
    let detail = format!("the deadline was {deadline}; nothing was sent. Send it again with a later one");
    Fault::new(FaultCode::IntentExpired, detail)
}
