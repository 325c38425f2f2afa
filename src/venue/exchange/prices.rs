//! Which prices an order of a side accepts.

use crate::venue::amount::Amount;
use crate::venue::words::Side;

/// Reports whether an order of a side and a limit price trades at a price.
pub(super) fn is_price_reached(side: Side, limit: Amount, price: Amount) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

/// Reports whether the last price has reached the stop price of an order.
pub(super) fn is_stop_reached(side: Side, stop: Amount, last: Amount) -> bool {
    match side {
        Side::Buy => last >= stop,
        Side::Sell => last <= stop,
    }
}
