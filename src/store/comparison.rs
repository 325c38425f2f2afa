//! The comparison of the store with the state that the journal makes (`FoldedState`): every difference is named, with
//! what the journal says and what the store holds.
//!
//! A whole comparison (`Store::find_differing_parts`) reads the store in pages, while it may be in use: it returns the
//! parts that seem to differ. Those are read again at one moment (`Store::read_parts`), with what shows whether the
//! store then held nothing that the journal did not have ([`StoreMoment::find_unsettled`]), and compared with the journal up to
//! that moment ([`differences_of`]).

mod adjustments;
mod control;
mod ledgers;
mod locks;
mod moment;
mod orders;
mod parts;
mod scan;
mod types;
mod values;

pub use crate::store::comparison::moment::StoreMoment;
pub use crate::store::comparison::parts::{PartReading, StorePart, differences_of};
pub use crate::store::comparison::scan::{DifferingParts, MAX_DIFFERING_PARTS};
pub use crate::store::comparison::types::{
    ExpectedControl, ExpectedLimits, ExpectedOperatorState, StoreDifference, StoreExpectation, StorePlace,
};
