//! Placing an order: the checks of the engine, the lock, the first matching, the rest.

use crate::venue::amount::Amount;
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{Effects, PlacedOrder};
use crate::venue::exchange::matching::MatchedOrder;
use crate::venue::exchange::prices::{is_price_reached, is_stop_reached};
use crate::venue::exchange::state::{EndReport, Exchange, MAX_TRADES};
use crate::venue::filters;
use crate::venue::order::{NewOrder, Order};
use crate::venue::words::{
    ExecutionType, OrderStatus, OrderType, SelfTradePrevention, Side, SymbolStatus, TimeInForce,
};

/// The text of a refusal for want of a balance.
pub(super) const INSUFFICIENT_BALANCE: &str = "Account has insufficient balance for requested action.";

impl Exchange {
    /// Judges an order without placing it: filters, then the engine's own rules.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check_new(&self, order: &NewOrder) -> Result<(), VenueError> {
        let market = self.market(&order.symbol)?;
        self.check_filters(order)?;
        if market.status != SymbolStatus::Trading {
            return Err(VenueError::order_rejected("Market is closed."));
        }
        if self.trades.len() >= MAX_TRADES {
            return Err(VenueError::order_rejected("This action is disabled on this account."));
        }
        if self.open_order_by_client_id(order).is_some() {
            return Err(VenueError::order_rejected("Duplicate order sent."));
        }
        let is_crossing = self.is_crossing(order);
        if order.kind == OrderType::LimitMaker && is_crossing {
            return Err(VenueError::order_rejected("Order would immediately match and take."));
        }
        if order.kind.has_stop() && is_stop_reached(order.side, order.stop_price, market.last_price) {
            return Err(VenueError::order_rejected("Order would trigger immediately."));
        }
        let is_by_quote = order.quote_quantity.is_positive();
        if is_by_quote && market.book.best_price(order.side.opposite()).is_none() {
            let text = "Order book liquidity is less than symbol minimum quantity.";
            return Err(VenueError::order_rejected(text));
        }
        let spent = self.spent_asset(&order.symbol, order.side);
        let account = self.accounts.get(&order.account);
        let free = account.map_or(Amount::ZERO, |account| account.balance(&spent).free);
        match self.needed_balance(order) <= free {
            true => Ok(()),
            false => Err(VenueError::order_rejected(INSUFFICIENT_BALANCE)),
        }
    }

    /// Judges an order by the filters of its symbol alone.
    ///
    /// # Errors
    /// The filter that refuses it.
    pub fn check_filters(&self, order: &NewOrder) -> Result<(), VenueError> {
        let market = self.market(&order.symbol)?;
        filters::check(&market.settings, order, market.last_price)?;
        let key = (order.account.clone(), order.symbol.clone());
        let Some(open) = self.open.get(&key) else { return Ok(()) };
        if order.kind != OrderType::Market && open.len() >= filters::MAX_NUM_ORDERS {
            return Err(VenueError::filter("MAX_NUM_ORDERS"));
        }
        let stops = open.iter().filter(|id| market.stops.contains(id)).count();
        if order.kind.has_stop() && stops >= filters::MAX_NUM_ALGO_ORDERS {
            return Err(VenueError::filter("MAX_NUM_ALGO_ORDERS"));
        }
        Ok(())
    }

    fn open_order_by_client_id(&self, order: &NewOrder) -> Option<&Order> {
        let key = (
            order.account.clone(),
            order.symbol.clone(),
            order.client_order_id.clone(),
        );
        let known = self.by_client_id.get(&key).and_then(|id| self.orders.get(id));
        known.filter(|order| order.status.is_open())
    }

    fn is_crossing(&self, order: &NewOrder) -> bool {
        let book = self.markets.get(&order.symbol).map(|market| &market.book);
        let best = book.and_then(|book| book.best_price(order.side.opposite()));
        best.is_some_and(|best| is_price_reached(order.side, order.price, best))
    }

    /// Returns the balance that an order needs: what it locks, or what it costs at the prices of the book.
    fn needed_balance(&self, order: &NewOrder) -> Amount {
        match (order.kind, order.side) {
            (OrderType::Market, _) if order.quote_quantity.is_positive() => match order.side {
                Side::Buy => order.quote_quantity,
                Side::Sell => self.base_for_quote(order),
            },
            (OrderType::Market, Side::Buy) => self.cost_on_book(order),
            (_, Side::Sell) => order.quantity,
            (_, Side::Buy) => order.price.times(order.quantity),
        }
    }

    /// Returns what a market buy would cost.
    fn cost_on_book(&self, order: &NewOrder) -> Amount {
        let mut remaining = order.quantity;
        let mut cost = Amount::ZERO;
        for maker in self.opposite_orders(order) {
            let quantity = remaining.min(maker.remaining());
            cost += maker.terms.price.times(quantity);
            remaining -= quantity;
            if remaining.is_zero() {
                break;
            }
        }
        cost
    }

    /// Returns what a market sell by quote quantity would sell.
    fn base_for_quote(&self, order: &NewOrder) -> Amount {
        let step = self
            .markets
            .get(&order.symbol)
            .map_or(Amount::ZERO, |market| market.settings.step_size);
        let mut quote = order.quote_quantity;
        let mut sold = Amount::ZERO;
        for maker in self.opposite_orders(order) {
            let wanted = quote.divided_by(maker.terms.price).floor_to(step);
            let quantity = wanted.min(maker.remaining());
            sold += quantity;
            quote -= maker.terms.price.times(quantity);
            if wanted <= maker.remaining() {
                break;
            }
        }
        sold
    }

    /// Returns the orders that an order can trade with, the best price first.
    fn opposite_orders<'a>(&'a self, order: &'a NewOrder) -> impl Iterator<Item = &'a Order> {
        let book = self.markets.get(&order.symbol).map(|market| &market.book);
        let side = order.side.opposite();
        let ids = book.into_iter().flat_map(move |book| book.orders(side));
        let trades_with_itself = order.self_trade_prevention == SelfTradePrevention::None;
        ids.filter_map(|id| self.orders.get(&id))
            .filter(move |maker| trades_with_itself || maker.terms.account != order.account)
    }

    /// Places a checked order.
    pub(super) fn place(&mut self, terms: &NewOrder, effects: &mut Effects) -> PlacedOrder {
        let id = self.counters.order;
        self.counters.order += 1;
        let mut order = Order {
            working_since: (!terms.kind.has_stop()).then_some(self.time),
            priority: self.next_priority(),
            ..Order::new(id, terms.clone(), self.time)
        };
        if terms.kind != OrderType::Market {
            let asset = self.spent_asset(&terms.symbol, terms.side);
            order.locked = self.needed_balance(terms);
            self.change_account(&terms.account, &asset, effects, |account| {
                account.lock(&asset, order.locked);
            });
        }
        self.report(&order, ExecutionType::New, EndReport::default(), effects);
        self.orders.insert(id, order.clone());
        self.by_client_id.insert(super::state::client_key(&order), id);
        let key = (terms.account.clone(), terms.symbol.clone());
        self.open.entry(key).or_default().insert(id);
        if terms.kind.has_stop() {
            self.index(&order);
            return PlacedOrder {
                order,
                fills: Vec::new(),
                prevented: Vec::new(),
            };
        }
        let matched = self.work(id, effects);
        PlacedOrder {
            order: self.orders.get(&id).cloned().unwrap_or(order),
            fills: matched.fills,
            prevented: matched.prevented,
        }
    }

    /// Matches an order that begins to work, and rests or expires what remains.
    pub(super) fn work(&mut self, id: u64, effects: &mut Effects) -> MatchedOrder {
        let is_fillable = self
            .orders
            .get(&id)
            .is_none_or(|order| order.terms.time_in_force != TimeInForce::Fok || self.is_fillable(&order.terms));
        let matched = match is_fillable {
            true => self.match_order(id, effects),
            false => MatchedOrder::default(),
        };
        let Some(order) = self.orders.get(&id).cloned() else {
            return matched;
        };
        effects.symbols.insert(order.terms.symbol.clone());
        if !order.status.is_open() {
            return matched;
        }
        let rests = order.terms.kind != OrderType::Market && order.terms.time_in_force == TimeInForce::Gtc;
        if !rests {
            self.end(id, OrderStatus::Expired, EndReport::of(ExecutionType::Expired), effects);
        } else if let Some(market) = self.markets.get_mut(&order.terms.symbol) {
            market.book.insert(&order);
            market.update_id += 1;
        }
        matched
    }

    /// Reports whether the book can fill an order at once in full.
    fn is_fillable(&self, terms: &NewOrder) -> bool {
        let reached = |maker: &&Order| is_price_reached(terms.side, terms.price, maker.terms.price);
        let orders = self.opposite_orders(terms).take_while(reached);
        let available: Amount = orders.map(Order::remaining).sum();
        available >= terms.quantity
    }

    pub(super) fn next_priority(&mut self) -> u64 {
        let priority = self.counters.priority;
        self.counters.priority += 1;
        priority
    }
}
