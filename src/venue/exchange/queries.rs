//! What can be asked of the exchange.

use std::collections::BTreeMap;

use crate::venue::amount::Amount;
use crate::venue::balances::Account;
use crate::venue::command::OrderReference;
use crate::venue::error::VenueError;
use crate::venue::exchange::state::{Exchange, Market};
use crate::venue::order::{Order, Trade};
use crate::venue::settings::CommissionSettings;
use crate::venue::words::Side;

/// A price and the open quantity at it.
pub type PriceLevel = (Amount, Amount);

impl Exchange {
    /// Returns an order by the venue's id, the client's id, or both.
    ///
    /// # Errors
    /// When there is none, or the two ids name different orders.
    pub fn find(&self, reference: &OrderReference) -> Result<&Order, VenueError> {
        let is_own =
            |order: &&Order| order.terms.account == reference.account && order.terms.symbol == reference.symbol;
        let by_client_id = reference.client_order_id.as_deref();
        let found = match (reference.order_id, by_client_id) {
            (Some(id), _) => self.orders.get(&id).filter(is_own),
            (None, Some(client_id)) => self.find_by_client_id(reference, client_id),
            (None, None) => None,
        };
        let order = found.ok_or_else(VenueError::no_such_order)?;
        match by_client_id.is_none_or(|client_id| client_id == order.terms.client_order_id) {
            true => Ok(order),
            false => Err(VenueError::wrong_client_order_id()),
        }
    }

    pub(super) fn find_by_client_id(&self, reference: &OrderReference, client_id: &str) -> Option<&Order> {
        let key = (
            reference.account.clone(),
            reference.symbol.clone(),
            client_id.to_owned(),
        );
        self.by_client_id.get(&key).and_then(|id| self.orders.get(id))
    }

    /// Returns the open orders of an account, of one symbol or of all, by their ids.
    pub fn open_orders(&self, account: &str, symbol: Option<&str>) -> Vec<&Order> {
        let keys = self
            .open
            .iter()
            .filter(|((owner, traded), _)| owner == account && symbol.is_none_or(|symbol| symbol == traded));
        let ids = keys.flat_map(|(_, ids)| ids);
        ids.filter_map(|id| self.orders.get(id)).collect()
    }

    /// Returns every order of an account and a symbol, by their ids.
    pub fn orders_of(&self, account: &str, symbol: &str) -> impl DoubleEndedIterator<Item = &Order> {
        self.orders
            .values()
            .filter(move |order| order.terms.account == account && order.terms.symbol == symbol)
    }

    /// Returns an order by the venue's id.
    pub fn order(&self, id: u64) -> Option<&Order> {
        self.orders.get(&id)
    }

    /// Returns every order that is kept, by its id.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// Returns every trade, the oldest first.
    pub fn trades(&self) -> &[Trade] {
        &self.trades
    }

    /// Returns an account.
    pub fn account(&self, account: &str) -> Option<&Account> {
        self.accounts.get(account)
    }

    /// Returns every account by name.
    pub fn accounts(&self) -> &BTreeMap<String, Account> {
        &self.accounts
    }

    /// Returns every market by the name of its symbol.
    pub fn markets(&self) -> &BTreeMap<String, Market> {
        &self.markets
    }

    /// Returns the commission rates.
    pub fn commissions(&self) -> CommissionSettings {
        self.commissions
    }

    /// Returns the commissions that the venue has taken, by asset.
    pub fn collected(&self) -> &BTreeMap<String, Amount> {
        &self.collected
    }

    /// Returns what has been paid in, less what has been paid out, by asset.
    pub fn deposited(&self) -> &BTreeMap<String, Amount> {
        &self.deposited
    }

    /// Returns at most `limit` price levels of one side of a book, the best first.
    pub fn depth(&self, market: &Market, side: Side, limit: usize) -> Vec<PriceLevel> {
        let mut levels: Vec<PriceLevel> = Vec::new();
        for order in market.book.orders(side).filter_map(|id| self.orders.get(&id)) {
            let is_full = levels.len() == limit;
            match levels.last_mut() {
                Some((price, quantity)) if *price == order.terms.price => *quantity += order.remaining(),
                _ if is_full => break,
                _ => levels.push((order.terms.price, order.remaining())),
            }
        }
        levels
    }
}
