//! Matching: the best price first, at one price the oldest order first.

use crate::venue::amount::Amount;
use crate::venue::exchange::effects::{Effects, PreventedMatch, ReportedFill};
use crate::venue::exchange::prices::is_price_reached;
use crate::venue::exchange::state::{EndReport, Exchange};
use crate::venue::order::{Order, Trade, TradeSide};
use crate::venue::words::{ExecutionType, OrderStatus, OrderType, SelfTradePrevention, Side};

/// What matching made of an order.
#[derive(Debug, Default)]
pub(super) struct MatchedOrder {
    /// Its fills.
    pub fills: Vec<ReportedFill>,
    /// Its prevented matches.
    pub prevented: Vec<PreventedMatch>,
}

impl Exchange {
    /// Matches an order against the book for as long as it has a quantity and the book a price.
    pub(super) fn match_order(&mut self, id: u64, effects: &mut Effects) -> MatchedOrder {
        let mut matched = MatchedOrder::default();
        while let Some(taker) = self.orders.get(&id).filter(|order| order.status.is_open()).cloned() {
            let Some(maker) = self.best_opposite(&taker) else { break };
            let quantity = self.tradable_quantity(&taker, &maker);
            if !quantity.is_positive() {
                break;
            }
            let mode = taker.terms.self_trade_prevention;
            let is_prevented = maker.terms.account == taker.terms.account && mode != SelfTradePrevention::None;
            if is_prevented {
                matched.prevented.push(self.prevent(&taker, &maker, effects));
                continue;
            }
            let trade = self.trade(&maker, &taker, quantity, effects);
            matched.fills.push(fill_of(&trade, 1));
        }
        matched
    }

    fn best_opposite(&self, taker: &Order) -> Option<Order> {
        let market = self.markets.get(&taker.terms.symbol)?;
        let best = market.book.orders(taker.terms.side.opposite()).next()?;
        let maker = self.orders.get(&best)?;
        let is_reached = taker.terms.kind == OrderType::Market
            || is_price_reached(taker.terms.side, taker.terms.price, maker.terms.price);
        is_reached.then(|| maker.clone())
    }

    fn tradable_quantity(&self, taker: &Order, maker: &Order) -> Amount {
        let is_by_quote = taker.terms.quote_quantity.is_positive();
        if !is_by_quote {
            return taker.remaining().min(maker.remaining());
        }
        let step = self
            .markets
            .get(&taker.terms.symbol)
            .map_or(Amount::ZERO, |market| market.settings.step_size);
        let quote = taker.terms.quote_quantity - taker.executed_quote;
        let wanted = quote.divided_by(maker.terms.price).floor_to(step);
        wanted.min(maker.remaining())
    }

    /// Ends the orders that the taker's mode names, instead of a trade between them.
    fn prevent(&mut self, taker: &Order, maker: &Order, effects: &mut Effects) -> PreventedMatch {
        let id = self.counters.prevented_match;
        self.counters.prevented_match += 1;
        let mode = taker.terms.self_trade_prevention;
        let ends_taker = matches!(mode, SelfTradePrevention::ExpireTaker | SelfTradePrevention::ExpireBoth);
        let ends_maker = matches!(mode, SelfTradePrevention::ExpireMaker | SelfTradePrevention::ExpireBoth);
        let mut expire = |order: &Order| {
            let quantity = order.remaining();
            if let Some(order) = self.orders.get_mut(&order.id) {
                order.prevented += quantity;
                order.prevented_match_id = Some(id);
            }
            let report = EndReport {
                prevented: quantity,
                ..EndReport::of(ExecutionType::TradePrevention)
            };
            self.end(order.id, OrderStatus::ExpiredInMatch, report, effects);
            quantity
        };
        PreventedMatch {
            id,
            maker_order_id: maker.id,
            price: maker.terms.price,
            maker_quantity: ends_maker.then(|| expire(maker)),
            taker_quantity: ends_taker.then(|| expire(taker)),
        }
    }

    /// Trades a quantity between two open orders at the maker's price.
    pub(super) fn trade(&mut self, maker: &Order, taker: &Order, quantity: Amount, effects: &mut Effects) -> Trade {
        let symbol = maker.terms.symbol.clone();
        let price = maker.terms.price;
        let mut trade_id = 0;
        if let Some(market) = self.markets.get_mut(&symbol) {
            trade_id = market.next_trade_id;
            market.next_trade_id += 1;
            market.last_price = price;
            market.update_id += 1;
        }
        let quote_quantity = price.times(quantity);
        let sides = [(maker, true), (taker, false)].map(|(order, is_maker)| {
            let rate = match is_maker {
                true => self.commissions.maker,
                false => self.commissions.taker,
            };
            let received = match order.terms.side {
                Side::Buy => quantity,
                Side::Sell => quote_quantity,
            };
            TradeSide {
                account: order.terms.account.clone(),
                order_id: order.id,
                client_order_id: order.terms.client_order_id.clone(),
                side: order.terms.side,
                is_maker,
                commission: received.times(rate),
                commission_asset: self.received_asset(&symbol, order.terms.side),
            }
        });
        let trade = Trade {
            id: trade_id,
            symbol: symbol.clone(),
            price,
            quantity,
            quote_quantity,
            time: self.time,
            sides,
        };
        effects.symbols.insert(symbol);
        for side in 0..2 {
            self.settle(&trade, side, effects);
        }
        self.trades.push(trade.clone());
        trade
    }

    /// Books one side of a trade: balances, commission, the order, its report.
    fn settle(&mut self, trade: &Trade, side: usize, effects: &mut Effects) {
        let party = &trade.sides[side];
        let spent = self.spent_asset(&trade.symbol, party.side);
        let received = self.received_asset(&trade.symbol, party.side);
        let (given, gained) = match party.side {
            Side::Buy => (trade.quote_quantity, trade.quantity),
            Side::Sell => (trade.quantity, trade.quote_quantity),
        };
        *self.collected.entry(received.clone()).or_default() += party.commission;
        let Some(mut order) = self.orders.get(&party.order_id).cloned() else {
            return;
        };
        // A buy locks its limit price: what a better price saves is released with the fill.
        let unlocked = match (order.locked.is_positive(), party.side) {
            (false, _) => Amount::ZERO,
            (true, Side::Buy) => order.terms.price.times(trade.quantity),
            (true, Side::Sell) => trade.quantity,
        };
        order.locked -= unlocked;
        self.change_account(&party.account, &spent, effects, |account| {
            account.release(&spent, unlocked);
            account.credit(&spent, Amount::ZERO - given);
        });
        self.change_account(&party.account, &received, effects, |account| {
            account.credit(&received, gained - party.commission);
        });
        if order.executed.is_zero() {
            effects.first_fills.push(party.account.clone());
        }
        order.executed += trade.quantity;
        order.executed_quote += trade.quote_quantity;
        order.updated_at = self.time;
        if order.terms.quote_quantity.is_positive() {
            // The order has the quantity that its quote quantity bought so far.
            order.terms.quantity = order.executed;
        }
        let is_filled = !order.terms.quote_quantity.is_positive() && order.remaining().is_zero();
        order.status = OrderStatus::PartiallyFilled;
        self.orders.insert(order.id, order.clone());
        let report = EndReport {
            fill: Some(fill_of(trade, side)),
            ..EndReport::of(ExecutionType::Trade)
        };
        match is_filled || self.is_quote_spent(&order) {
            true => self.end(order.id, OrderStatus::Filled, report, effects),
            false => {
                self.report(&order, ExecutionType::Trade, report, effects);
            }
        }
    }

    /// Reports whether what is left of a quote quantity buys no further step at the best price.
    fn is_quote_spent(&self, order: &Order) -> bool {
        let terms = &order.terms;
        let Some(market) = self.markets.get(&terms.symbol) else {
            return false;
        };
        let best = market
            .book
            .best_price(terms.side.opposite())
            .unwrap_or(market.last_price);
        let left = terms.quote_quantity - order.executed_quote;
        terms.quote_quantity.is_positive() && left < best.times(market.settings.step_size)
    }
}

fn fill_of(trade: &Trade, side: usize) -> ReportedFill {
    let party = &trade.sides[side];
    ReportedFill {
        trade_id: trade.id,
        price: trade.price,
        quantity: trade.quantity,
        quote_quantity: trade.quote_quantity,
        commission: party.commission,
        commission_asset: party.commission_asset.clone(),
        is_maker: party.is_maker,
    }
}
