//! Which orders, or which executions, are asked for, and which those are.

use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension};

use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::domain::order_terms::OrderStatus;
use crate::domain::time::Timestamp;
use crate::order_log::index::OrderLogIndex;

/// Opens the tag that names a strategy.
const STRATEGY_TAG_PREFIX: &str = "strategy:";

/// Which orders or executions are asked for. What is not named does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderLogFilter {
    /// The accounts whose orders may be told at all.
    pub visible_accounts: AccountScope,
    /// The account.
    pub account_id: Option<AccountId>,
    /// The symbol, normalised.
    pub symbol: Option<String>,
    /// From when on, included: of orders their submission, of executions their own time.
    pub start: Option<Timestamp>,
    /// Until when, included.
    pub end: Option<Timestamp>,
    /// A tag of the order, in lower case.
    pub tag: Option<String>,
    /// A strategy: one of the tags `x` and `strategy:x`, in lower case.
    pub strategy: Option<String>,
    /// The broker.
    pub broker: Option<String>,
    /// The state of the order.
    pub status: Option<OrderStatus>,
    /// The caller's id of the order.
    pub client_order_id: Option<String>,
    /// The number of the order.
    pub order_id: Option<u64>,
}

impl OrderLogFilter {
    /// Returns the orders that are taken, and whether that is every one that is listed.
    ///
    /// # Errors
    /// What the file says; the connection must be in the transaction that the index is of.
    pub(in crate::order_log) fn match_orders(
        &self,
        index: &OrderLogIndex,
        connection: &Connection,
    ) -> rusqlite::Result<(RoaringBitmap, bool)> {
        let with_time = self.start.is_some() || self.end.is_some();
        let (mut taken, mut is_all) = self.match_orders_at_any_time(index, connection)?;
        if with_time {
            is_all = false;
            let (start, end) = self.time_range_micros();
            taken &= index.orders.times.within(start, end);
        }
        Ok((taken, is_all))
    }

    /// Returns the executions that are taken.
    ///
    /// # Errors
    /// See [`Filter::orders`].
    pub(in crate::order_log) fn match_executions(
        &self,
        index: &OrderLogIndex,
        connection: &Connection,
    ) -> rusqlite::Result<RoaringBitmap> {
        let (orders, is_all) = self.match_orders_at_any_time(index, connection)?;
        let executions = &index.executions;
        let mut taken = if is_all {
            let mut all = RoaringBitmap::new();
            all.insert_range(0..executions.len());
            all
        } else {
            executions.of_orders(&orders)
        };
        if self.start.is_some() || self.end.is_some() {
            let (start, end) = self.time_range_micros();
            taken &= executions.times.within(start, end);
        }
        Ok(taken)
    }

    fn time_range_micros(&self) -> (Option<i64>, Option<i64>) {
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microseconds);
        (micros(self.start), micros(self.end))
    }

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
        if let Some(status) = self.status {
            sets.intersect(orders.of_status(status));
        }
        if let Some(tag) = &self.tag {
            sets.intersect_owned(orders_with_tag(index, connection, tag)?);
        }
        if let Some(strategy) = &self.strategy {
            let named = orders_with_tag(index, connection, &format!("{STRATEGY_TAG_PREFIX}{strategy}"))?;
            sets.intersect_owned(named | orders_with_tag(index, connection, strategy)?);
        }
        if let Some(client_order_id) = &self.client_order_id {
            sets.intersect_owned(load_orders_with_client_order_id(connection, client_order_id)?);
        }
        if let Some(id) = self.order_id {
            sets.intersect_owned(orders.ordinal_of(id).into_iter().collect());
        }
        if let AccountScope::Only(accounts) = &self.visible_accounts {
            let of = accounts
                .iter()
                .filter_map(|account| orders.of_account(account.as_str()));
            sets.intersect_owned(of.fold(RoaringBitmap::new(), |all, one| all | one));
        }
        Ok(match sets.matched {
            None => (orders.listed().clone(), true),
            Some(taken) => (taken & orders.listed(), false),
        })
    }
}

/// The intersection of the sets so far; `None` before the first.
#[derive(Default)]
struct SetIntersection {
    matched: Option<RoaringBitmap>,
}

impl SetIntersection {
    /// Keeps what is in a set of the index, too; nothing is, where there is none.
    fn intersect(&mut self, set: Option<&RoaringBitmap>) {
        self.matched = Some(match (self.matched.take(), set) {
            (_, None) => RoaringBitmap::new(),
            (None, Some(set)) => set.clone(),
            (Some(taken), Some(set)) => taken & set,
        });
    }

    fn intersect_owned(&mut self, set: RoaringBitmap) {
        self.matched = Some(match self.matched.take() {
            None => set,
            Some(taken) => taken & set,
        });
    }
}

/// Returns the orders with a tag.
fn orders_with_tag(index: &OrderLogIndex, connection: &Connection, text: &str) -> rusqlite::Result<RoaringBitmap> {
    if let Some(frequent) = index.orders.of_frequent_tag(text) {
        return Ok(frequent.clone());
    }
    let label = connection
        .prepare_cached("SELECT label_id FROM labels WHERE text = ?1")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    label.map_or_else(
        || Ok(RoaringBitmap::new()),
        |label| load_orders_with_tag(connection, label),
    )
}

/// Returns the orders with a tag, from the file.
pub(in crate::order_log) fn load_orders_with_tag(
    connection: &Connection,
    label_id: i64,
) -> rusqlite::Result<RoaringBitmap> {
    let mut statement = connection.prepare_cached("SELECT ordinal FROM label_orders WHERE label_id = ?1")?;
    let rows = statement.query_map([label_id], |row| row.get::<_, u32>(0))?;
    rows.collect()
}

fn load_orders_with_client_order_id(connection: &Connection, client_order_id: &str) -> rusqlite::Result<RoaringBitmap> {
    let mut statement = connection.prepare_cached("SELECT ordinal FROM orders WHERE correlation_id = ?1")?;
    let rows = statement.query_map([client_order_id], |row| row.get::<_, u32>(0))?;
    rows.collect()
}
