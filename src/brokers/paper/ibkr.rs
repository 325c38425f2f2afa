//! The paper venue of `ibkr`: fills most of an order at once and the remainder later.

use std::sync::Arc;

use crate::brokers::paper::fills::{PaperFees, PaperFillRules};
use crate::brokers::paper::{PaperVenue, capabilities};
use crate::brokers::port::PaperBook;
use crate::config::brokers::PaperIbkrSettings;
use crate::domain::id::{IdError, OrderIdPrefix};
use crate::domain::order_terms::TimeInForce;

/// The broker's name.
pub const BROKER: &str = "ibkr";
/// The venue's name.
pub const VENUE: &str = "ibkr.paper";
/// The prefix of its order ids.
pub const PREFIX: OrderIdPrefix = OrderIdPrefix("IB");
/// The supported times in force.
pub const TIMES_IN_FORCE: &[TimeInForce] = &[TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::Day];

/// Returns the venue with its book.
///
/// # Errors
/// When one of the names above is not a valid identifier.
pub fn venue<B: PaperBook>(book: Arc<B>, settings: &PaperIbkrSettings) -> Result<PaperVenue<B>, IdError> {
    let rules = PaperFillRules {
        first_fill_percent: settings.first_fill_percent,
        remainder_fill: settings.rest_fill,
        fees: PaperFees::NONE,
    };
    Ok(PaperVenue::new(
        capabilities(BROKER, VENUE, PREFIX, TIMES_IN_FORCE)?,
        rules,
        book,
    ))
}
