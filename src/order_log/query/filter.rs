//! Filters: which orders or executions match, by the index where it can and by the file where it must.

use roaring::RoaringBitmap;
use rusqlite::Connection;

use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::domain::order_terms::{OrderStatus, Side};
use crate::domain::time::Timestamp;
use crate::order_log::index::OrderLogIndex;
use crate::order_log::tables::orders::load_ordinals_by_client_order_id;
use crate::order_log::tables::tags::find_orders_with_tag;

/// The prefix of a tag that names a strategy.
const STRATEGY_TAG_PREFIX: &str = "strategy:";

/// Selects orders or executions. A criterion that is absent matches all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderLogFilter {
    /// The accounts whose orders the caller may see.
    pub visible_accounts: AccountScope,
    /// The account.
    pub account_id: Option<AccountId>,
    /// The symbol, normalised.
    pub symbol: Option<String>,
    /// The earliest time, included: an order's submission, an execution's own time.
    pub start: Option<Timestamp>,
    /// The latest time, included.
    pub end: Option<Timestamp>,
    /// A tag of the order, in lower case.
    pub tag: Option<String>,
    /// A strategy: one of the tags `x` and `strategy:x`, in lower case.
    pub strategy: Option<String>,
    /// The broker.
    pub broker: Option<String>,
    /// The statuses of the order, of which it has one; empty for any.
    pub statuses: Vec<OrderStatus>,
    /// The side of the order.
    pub side: Option<Side>,
    /// The order last changed after this time, by a report or a note.
    pub updated_after: Option<Timestamp>,
    /// The client order id of the order.
    pub client_order_id: Option<String>,
    /// The id of the order in the order log.
    pub order_id: Option<u64>,
}

impl OrderLogFilter {
    /// Returns the orders that match. The connection must be in a transaction that sees the state of the index.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn match_orders(
        &self,
        index: &OrderLogIndex,
        connection: &Connection,
    ) -> rusqlite::Result<RoaringBitmap> {
        let (mut matched, _) = self.match_orders_at_any_time(index, connection)?;
        if let Some((start, end)) = self.time_range() {
            matched &= index.orders.times.within(start, end);
        }
        Ok(matched)
    }

    /// Returns the executions that match. The connection must be in a transaction that sees the state of the index.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn match_executions(
        &self,
        index: &OrderLogIndex,
        connection: &Connection,
    ) -> rusqlite::Result<RoaringBitmap> {
        let (orders, is_all) = self.match_orders_at_any_time(index, connection)?;
        let executions = &index.executions;
        let mut matched = if is_all {
            let mut all = RoaringBitmap::new();
            all.insert_range(0..executions.len());
            all
        } else {
            executions.of_orders(&orders)
        };
        if let Some((start, end)) = self.time_range() {
            matched &= executions.times.within(start, end);
        }
        Ok(matched)
    }

    /// Returns the limits of the time in µs since 1970; `None` without any.
    fn time_range(&self) -> Option<(Option<i64>, Option<i64>)> {
        let microseconds = |at: Option<Timestamp>| at.map(Timestamp::as_microseconds);
        let range = (microseconds(self.start), microseconds(self.end));
        (range != (None, None)).then_some(range)
    }

    /// Returns the orders that match but for the time, and whether those are all listed orders.
    fn match_orders_at_any_time(
        &self,
        index: &OrderLogIndex,
        connection: &Connection,
    ) -> rusqlite::Result<(RoaringBitmap, bool)> {
        let orders = &index.orders;
        let mut sets = SetIntersection::default();
        if let Some(account) = &self.account_id {
            sets.intersect(orders.of_account(account.as_str()));
        }
        if let Some(symbol) = &self.symbol {
            sets.intersect(orders.of_symbol(symbol));
        }
        if let Some(broker) = &self.broker {
            sets.intersect(orders.of_broker(broker));
        }
        if !self.statuses.is_empty() {
            let with_status = self.statuses.iter().filter_map(|&status| orders.of_status(status));
            sets.intersect_owned(with_status.fold(RoaringBitmap::new(), |all, one| all | one));
        }
        if let Some(side) = self.side {
            sets.intersect(orders.of_side(side));
        }
        if let Some(updated_after) = self.updated_after {
            let first = updated_after.as_microseconds().saturating_add(1);
            sets.intersect_owned(orders.update_times.within(Some(first), None));
        }
        if let Some(tag) = &self.tag {
            sets.intersect_owned(orders_with_tag(index, connection, tag)?);
        }
        if let Some(strategy) = &self.strategy {
            let named = orders_with_tag(index, connection, &format!("{STRATEGY_TAG_PREFIX}{strategy}"))?;
            sets.intersect_owned(named | orders_with_tag(index, connection, strategy)?);
        }
        if let Some(client_order_id) = &self.client_order_id {
            sets.intersect_owned(load_ordinals_by_client_order_id(connection, client_order_id)?);
        }
        if let Some(id) = self.order_id {
            sets.intersect_owned(orders.ordinal_of(id).into_iter().collect());
        }
        if let AccountScope::Only(accounts) = &self.visible_accounts {
            let visible = accounts
                .iter()
                .filter_map(|account| orders.of_account(account.as_str()));
            sets.intersect_owned(visible.fold(RoaringBitmap::new(), |all, one| all | one));
        }
        Ok(match sets.matched {
            None => (orders.listed().clone(), true),
            Some(matched) => (matched & orders.listed(), false),
        })
    }
}

/// The intersection of the sets so far; `None` before the first.
#[derive(Default)]
struct SetIntersection {
    matched: Option<RoaringBitmap>,
}

impl SetIntersection {
    /// Keeps what is also in a set of the index; an absent set is empty.
    fn intersect(&mut self, set: Option<&RoaringBitmap>) {
        self.matched = Some(match (self.matched.take(), set) {
            (_, None) => RoaringBitmap::new(),
            (None, Some(set)) => set.clone(),
            (Some(matched), Some(set)) => matched & set,
        });
    }

    fn intersect_owned(&mut self, set: RoaringBitmap) {
        self.matched = Some(match self.matched.take() {
            None => set,
            Some(matched) => matched & set,
        });
    }
}

/// Returns the orders with a tag, given in lower case.
fn orders_with_tag(index: &OrderLogIndex, connection: &Connection, text: &str) -> rusqlite::Result<RoaringBitmap> {
    match index.orders.of_frequent_tag(text) {
        Some(frequent) => Ok(frequent.clone()),
        None => find_orders_with_tag(connection, text),
    }
}
