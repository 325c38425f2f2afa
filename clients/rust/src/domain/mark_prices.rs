//! The prices that positions are valued at.

use std::collections::BTreeMap;

use crate::domain::id::VenueId;
use crate::domain::quantity::Price;
use crate::domain::symbol::Symbol;

/// The mark price of each instrument.
pub type MarkPrices = BTreeMap<(VenueId, Symbol), Price>;
