//! Cancels and amendments.

use crate::venue::amount::Amount;
use crate::venue::command::{CancelRequest, OrderReference};
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{AmendedOrder, CanceledOrder, Effects, Outcome};
use crate::venue::exchange::state::{EndReport, Exchange, client_key};
use crate::venue::filters;
use crate::venue::order::Order;
use crate::venue::words::{CancelRestriction, ExecutionType, OrderStatus, Side, SymbolStatus};

impl Exchange {
    /// Cancels an order.
    pub(super) fn cancel(
        &mut self,
        request: &CancelRequest,
        effects: &mut Effects,
    ) -> Result<CanceledOrder, VenueError> {
        let market = self.market(&request.order.symbol)?;
        if market.status == SymbolStatus::Halt {
            return Err(VenueError::cancel_rejected("Market is closed."));
        }
        let order = self.find_open(&request.order)?;
        let wanted = match request.restriction {
            None => order.status,
            Some(CancelRestriction::OnlyNew) => OrderStatus::New,
            Some(CancelRestriction::OnlyPartiallyFilled) => OrderStatus::PartiallyFilled,
        };
        if order.status != wanted {
            let text = "Order was not canceled due to cancel restrictions.";
            return Err(VenueError::cancel_rejected(text));
        }
        let order = order.clone();
        Ok(self.cancel_open(order, &request.request_id, effects))
    }

    /// Cancels every open order of an account and a symbol.
    pub(super) fn cancel_all(
        &mut self,
        account: &str,
        symbol: &str,
        request_id: &str,
        effects: &mut Effects,
    ) -> Result<Outcome, VenueError> {
        let market = self.market(symbol)?;
        if market.status == SymbolStatus::Halt {
            return Err(VenueError::cancel_rejected("Market is closed."));
        }
        let open = self.open.get(&(account.to_owned(), symbol.to_owned()));
        let ids = open.into_iter().flatten();
        let orders: Vec<Order> = ids.filter_map(|id| self.orders.get(id)).cloned().collect();
        if orders.is_empty() {
            return Err(VenueError::unknown_order());
        }
        let canceled = orders
            .into_iter()
            .map(|order| self.cancel_open(order, request_id, effects));
        Ok(Outcome::Canceled(canceled.collect()))
    }

    fn cancel_open(&mut self, order: Order, request_id: &str, effects: &mut Effects) -> CanceledOrder {
        let report = EndReport {
            request_id: Some(request_id.to_owned()),
            ..EndReport::of(ExecutionType::Canceled)
        };
        self.end(order.id, OrderStatus::Canceled, report, effects);
        CanceledOrder {
            order: self.orders.get(&order.id).cloned().unwrap_or(order),
            request_id: request_id.to_owned(),
        }
    }

    /// Reduces the quantity of an order, which keeps its place in the book.
    pub(super) fn amend(
        &mut self,
        reference: &OrderReference,
        quantity: Amount,
        client_order_id: &str,
        effects: &mut Effects,
    ) -> Result<Outcome, VenueError> {
        let market = self.market(&reference.symbol)?;
        if market.status != SymbolStatus::Trading {
            return Err(VenueError::amend_rejected("Market is closed."));
        }
        filters::check_quantity(&market.settings, quantity, false)?;
        let min_notional = market.settings.min_notional;
        let mut order = self
            .find_open(reference)
            .map_err(|error| VenueError { code: -2038, ..error })?
            .clone();
        let is_taken = client_order_id != order.terms.client_order_id
            && self
                .find_by_client_id(reference, client_order_id)
                .is_some_and(|other| other.status.is_open());
        if is_taken {
            return Err(VenueError::amend_rejected("Duplicate order sent."));
        }
        if quantity >= order.terms.quantity || quantity <= order.executed + order.prevented {
            return Err(VenueError::amend_rejected(
                "The new quantity must be below the quantity of the order and above what is executed.",
            ));
        }
        if order.terms.price.times(quantity) < min_notional {
            return Err(VenueError::filter("NOTIONAL"));
        }
        let reduced = order.terms.quantity - quantity;
        let unlocked = match order.terms.side {
            Side::Buy => order.terms.price.times(reduced),
            Side::Sell => reduced,
        };
        let asset = self.spent_asset(&order.terms.symbol, order.terms.side);
        let account = order.terms.account.clone();
        self.change_account(&account, &asset, effects, |account| account.release(&asset, unlocked));
        self.by_client_id.remove(&client_key(&order));
        let previous = std::mem::replace(&mut order.terms.client_order_id, client_order_id.to_owned());
        order.locked -= unlocked;
        order.terms.quantity = quantity;
        order.updated_at = self.time;
        self.by_client_id.insert(client_key(&order), order.id);
        self.orders.insert(order.id, order.clone());
        if let Some(market) = self.markets.get_mut(&order.terms.symbol) {
            market.update_id += 1;
        }
        effects.symbols.insert(order.terms.symbol.clone());
        let report = EndReport {
            previous_client_order_id: Some(previous.clone()),
            ..EndReport::default()
        };
        let execution_id = self.report(&order, ExecutionType::Replaced, report, effects);
        Ok(Outcome::Amended(Box::new(AmendedOrder {
            order,
            previous_client_order_id: previous,
            execution_id,
        })))
    }

    fn find_open(&self, reference: &OrderReference) -> Result<&Order, VenueError> {
        let found = self.find(reference).map_err(|_| VenueError::unknown_order())?;
        match found.status.is_open() {
            true => Ok(found),
            false => Err(VenueError::unknown_order()),
        }
    }
}
