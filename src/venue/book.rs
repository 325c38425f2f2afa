//! The order book of one symbol: price first, then time.

use std::collections::BTreeMap;

use crate::venue::amount::Amount;
use crate::venue::order::Order;
use crate::venue::words::Side;

/// The place of an order: bids by falling price, asks by rising price, then by priority.
type Place = (i128, u64);

/// The open orders of a symbol that can trade.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderBook {
    bids: BTreeMap<Place, u64>,
    asks: BTreeMap<Place, u64>,
}

impl OrderBook {
    /// Adds an order.
    pub fn insert(&mut self, order: &Order) {
        let place = place(order);
        self.side_mut(order.terms.side).insert(place, order.id);
    }

    /// Removes an order; nothing if it is not there.
    pub fn remove(&mut self, order: &Order) {
        let place = place(order);
        self.side_mut(order.terms.side).remove(&place);
    }

    /// Returns the ids of one side in the order in which they trade.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = u64> + '_ {
        let orders = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        orders.values().copied()
    }

    /// Returns the best price of a side.
    pub fn best_price(&self, side: Side) -> Option<Amount> {
        match side {
            Side::Buy => self.bids.keys().next().map(|(price, _)| Amount::from_units(-price)),
            Side::Sell => self.asks.keys().next().map(|(price, _)| Amount::from_units(*price)),
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Place, u64> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

fn place(order: &Order) -> Place {
    let price = order.terms.price.units();
    match order.terms.side {
        Side::Buy => (-price, order.priority),
        Side::Sell => (price, order.priority),
    }
}
