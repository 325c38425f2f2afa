//! Orders for the tests of this adapter.

use std::time::Duration;

use crate::brokers::adapter::Placement;
use crate::brokers::memory_book::fixtures;
use crate::domain::id::{BrokerId, OrderId, VenueId};
use crate::domain::order::Order;
use crate::domain::order_terms::TimeInForce;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

pub use crate::brokers::memory_book::fixtures::{decimal, price, quantity};

/// Returns a claimed buy of BTCUSDT at `binance.spot` with this id; without a limit price, a market order.
pub fn btc_order(id: &str, amount: &str, limit: Option<&str>, time_in_force: TimeInForce) -> Order {
    let mut order = fixtures::order(amount, limit, time_in_force, Timestamp::now());
    order.order_id = OrderId::new(id).unwrap();
    order.broker = BrokerId::new("binance").unwrap();
    order.venue = VenueId::new("binance.spot").unwrap();
    order.symbol = Symbol::parse("BTCUSDT").unwrap();
    order
}

/// Returns the order's placement with a deadline this far ahead.
pub fn btc_placement(order: Order, time_left: Duration) -> Placement {
    let now = Timestamp::now();
    let mut placement = fixtures::placement(order, now);
    placement.reference_price = price("30000");
    placement.quote_currency = "USDT".into();
    placement.deadline = now.saturating_add(time_left);
    placement
}
