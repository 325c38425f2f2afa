//! The market maker's quotes of a symbol: one command replaces them all.

use crate::venue::amount::Amount;
use crate::venue::command::QuoteLevel;
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{Effects, Outcome};
use crate::venue::exchange::state::{EndReport, Exchange};
use crate::venue::order::NewOrder;
use crate::venue::settings::MARKET_MAKER;
use crate::venue::words::{OrderStatus, OrderType, SelfTradePrevention, Side, SymbolStatus, TimeInForce};

impl Exchange {
    /// Removes the market maker's orders of a symbol and places these instead. A level that the market maker cannot afford
    /// is left out.
    pub(super) fn quote(
        &mut self,
        symbol: &str,
        bids: &[QuoteLevel],
        asks: &[QuoteLevel],
        effects: &mut Effects,
    ) -> Result<Outcome, VenueError> {
        if self.market(symbol)?.status != SymbolStatus::Trading {
            return Err(VenueError::order_rejected("Market is closed."));
        }
        let open = self.open.get(&(MARKET_MAKER.to_owned(), symbol.to_owned()));
        let ids: Vec<u64> = open.into_iter().flatten().copied().collect();
        for id in ids {
            self.end(id, OrderStatus::Canceled, EndReport::default(), effects);
        }
        let sides = [(Side::Buy, bids), (Side::Sell, asks)];
        for (side, level) in sides
            .into_iter()
            .flat_map(|(side, levels)| levels.iter().map(move |level| (side, level)))
        {
            let order = NewOrder {
                account: MARKET_MAKER.to_owned(),
                symbol: symbol.to_owned(),
                side,
                kind: OrderType::Limit,
                time_in_force: TimeInForce::Gtc,
                quantity: level.quantity,
                quote_quantity: Amount::ZERO,
                price: level.price,
                stop_price: Amount::ZERO,
                client_order_id: format!("quote-{}", self.counters.order),
                self_trade_prevention: SelfTradePrevention::ExpireMaker,
            };
            if self.check_new(&order).is_ok() {
                self.place(&order, effects);
            }
        }
        Ok(Outcome::Done)
    }
}
