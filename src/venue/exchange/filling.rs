//! Fills from outside of the book: how a fault fills an order in parts, or just before its cancel.

use crate::venue::amount::Amount;
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{Effects, Outcome};
use crate::venue::exchange::state::Exchange;
use crate::venue::order::{NewOrder, Order};
use crate::venue::settings::OUTSIDE;
use crate::venue::words::{OrderType, SelfTradePrevention, Side, TimeInForce};

impl Exchange {
    /// Fills an open order on the book at its own price, against an order of the account outside. Other orders at that
    /// price are passed over.
    pub(super) fn fill_from_outside(
        &mut self,
        order_id: u64,
        quantity: Amount,
        effects: &mut Effects,
    ) -> Result<Outcome, VenueError> {
        let maker = self.orders.get(&order_id).filter(|order| order.is_on_book()).cloned();
        let maker = maker.ok_or_else(VenueError::unknown_order)?;
        let quantity = quantity.min(maker.remaining());
        if !quantity.is_positive() {
            return Err(VenueError::unknown_order());
        }
        let taker = self.outside_order(&maker, quantity);
        let spent = self.spent_asset(&taker.terms.symbol, taker.terms.side);
        let given = match taker.terms.side {
            Side::Buy => maker.terms.price.times(quantity),
            Side::Sell => quantity,
        };
        self.deposit(OUTSIDE, &spent, given, effects);
        self.orders.insert(taker.id, taker.clone());
        let trade = self.trade(&maker, &taker, quantity, effects);
        Ok(Outcome::Filled(Box::new(trade)))
    }

    fn outside_order(&mut self, maker: &Order, quantity: Amount) -> Order {
        let id = self.counters.order;
        self.counters.order += 1;
        let terms = NewOrder {
            account: OUTSIDE.to_owned(),
            symbol: maker.terms.symbol.clone(),
            side: maker.terms.side.opposite(),
            kind: OrderType::Limit,
            time_in_force: TimeInForce::Ioc,
            quantity,
            quote_quantity: Amount::ZERO,
            price: maker.terms.price,
            stop_price: Amount::ZERO,
            client_order_id: format!("outside-{id}"),
            self_trade_prevention: SelfTradePrevention::None,
        };
        Order::new(id, terms, self.time)
    }
}
