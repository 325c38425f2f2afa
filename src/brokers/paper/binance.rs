//! The paper venue of `binance`: fills an order at once and in full.

use std::sync::Arc;

use crate::brokers::paper::fills::{PaperFees, PaperFillRules};
use crate::brokers::paper::{PaperVenue, capabilities};
use crate::brokers::port::PaperBook;
use crate::config::brokers::RestFill;
use crate::domain::id::{IdError, OrderIdPrefix};
use crate::domain::order_terms::TimeInForce;

/// The broker's name.
pub const BROKER: &str = "binance";
/// The venue's name.
pub const VENUE: &str = "binance.spot";
/// The prefix of its order ids.
pub const PREFIX: OrderIdPrefix = OrderIdPrefix("BN");
/// The supported times in force: a spot exchange never closes, so it has no day orders.
pub const TIMES_IN_FORCE: &[TimeInForce] = &[TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok];

const RULES: PaperFillRules = PaperFillRules {
    first_fill_percent: 100,
    remainder_fill: RestFill::Never,
    fees: PaperFees::NONE,
};

/// Returns the venue with its book.
///
/// # Errors
/// When one of the names above is not a valid identifier.
pub fn venue<B: PaperBook>(book: Arc<B>) -> Result<PaperVenue<B>, IdError> {
    Ok(PaperVenue::new(
        capabilities(BROKER, VENUE, PREFIX, TIMES_IN_FORCE)?,
        RULES,
        book,
    ))
}
