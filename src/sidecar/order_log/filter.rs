//! Which orders, or which executions, are asked for, and which those are.

use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension};

use super::index::Index;
use crate::config::keys::Scope;
use crate::domain::id::AccountId;
use crate::domain::terms::OrderStatus;
use crate::domain::time::Timestamp;

/// Opens the tag that names a strategy.
const STRATEGY_PREFIX: &str = "strategy:";

/// Which orders or executions are asked for. What is not named does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The accounts whose orders may be told at all.
    pub accounts: Scope,
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

impl Filter {
    /// Returns the orders that are taken, and whether that is every one that is listed.
    ///
    /// # Errors
    /// What the file says; the connection must be in the transaction that the index is of.
    pub(super) fn orders(&self, index: &Index, connection: &Connection) -> rusqlite::Result<(RoaringBitmap, bool)> {
        let with_time = self.start.is_some() || self.end.is_some();
        let (mut taken, mut is_all) = self.orders_at_any_time(index, connection)?;
        if with_time {
            is_all = false;
            let (start, end) = self.span();
            taken &= index.orders.times.within(start, end);
        }
        Ok((taken, is_all))
    }

    /// Returns the executions that are taken.
    ///
    /// # Errors
    /// See [`Filter::orders`].
    pub(super) fn executions(&self, index: &Index, connection: &Connection) -> rusqlite::Result<RoaringBitmap> {
        let (orders, is_all) = self.orders_at_any_time(index, connection)?;
        let executions = &index.executions;
        let mut taken = if is_all {
            let mut all = RoaringBitmap::new();
            all.insert_range(0..executions.len());
            all
        } else {
            executions.of_orders(&orders)
        };
        if self.start.is_some() || self.end.is_some() {
            let (start, end) = self.span();
            taken &= executions.times.within(start, end);
        }
        Ok(taken)
    }

    fn span(&self) -> (Option<i64>, Option<i64>) {
        let micros = |at: Option<Timestamp>| at.map(Timestamp::microseconds);
        (micros(self.start), micros(self.end))
    }

    fn orders_at_any_time(&self, index: &Index, connection: &Connection) -> rusqlite::Result<(RoaringBitmap, bool)> {
        let orders = &index.orders;
        let mut sets = Sets::default();
        if let Some(account) = &self.account_id {
            sets.keep(orders.of_account(account.as_str()));
        }
        if let Some(symbol) = &self.symbol {
            sets.keep(orders.of_symbol(symbol));
        }
        if let Some(broker) = &self.broker {
            sets.keep(orders.of_broker(broker));
        }
        if let Some(status) = self.status {
            sets.keep(orders.of_status(status));
        }
        if let Some(tag) = &self.tag {
            sets.keep_own(tagged(index, connection, tag)?);
        }
        if let Some(strategy) = &self.strategy {
            let named = tagged(index, connection, &format!("{STRATEGY_PREFIX}{strategy}"))?;
            sets.keep_own(named | tagged(index, connection, strategy)?);
        }
        if let Some(client_order_id) = &self.client_order_id {
            sets.keep_own(of_correlation(connection, client_order_id)?);
        }
        if let Some(id) = self.order_id {
            sets.keep_own(orders.ordinal_of(id).into_iter().collect());
        }
        if let Scope::Only(accounts) = &self.accounts {
            let of = accounts
                .iter()
                .filter_map(|account| orders.of_account(account.as_str()));
            sets.keep_own(of.fold(RoaringBitmap::new(), |all, one| all | one));
        }
        Ok(match sets.taken {
            None => (orders.listed().clone(), true),
            Some(taken) => (taken & orders.listed(), false),
        })
    }
}

/// The intersection of the sets so far; `None` before the first.
#[derive(Default)]
struct Sets {
    taken: Option<RoaringBitmap>,
}

impl Sets {
    /// Keeps what is in a set of the index, too; nothing is, where there is none.
    fn keep(&mut self, set: Option<&RoaringBitmap>) {
        self.taken = Some(match (self.taken.take(), set) {
            (_, None) => RoaringBitmap::new(),
            (None, Some(set)) => set.clone(),
            (Some(taken), Some(set)) => taken & set,
        });
    }

    fn keep_own(&mut self, set: RoaringBitmap) {
        self.taken = Some(match self.taken.take() {
            None => set,
            Some(taken) => taken & set,
        });
    }
}

/// Returns the orders with a tag.
fn tagged(index: &Index, connection: &Connection, text: &str) -> rusqlite::Result<RoaringBitmap> {
    if let Some(frequent) = index.orders.of_frequent_tag(text) {
        return Ok(frequent.clone());
    }
    let label = connection
        .prepare_cached("SELECT label_id FROM labels WHERE text = ?1")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    label.map_or_else(|| Ok(RoaringBitmap::new()), |label| orders_of_label(connection, label))
}

/// Returns the orders with a tag, from the file.
pub(super) fn orders_of_label(connection: &Connection, label_id: i64) -> rusqlite::Result<RoaringBitmap> {
    let mut statement = connection.prepare_cached("SELECT ordinal FROM label_orders WHERE label_id = ?1")?;
    let rows = statement.query_map([label_id], |row| row.get::<_, u32>(0))?;
    rows.collect()
}

fn of_correlation(connection: &Connection, client_order_id: &str) -> rusqlite::Result<RoaringBitmap> {
    let mut statement = connection.prepare_cached("SELECT ordinal FROM orders WHERE correlation_id = ?1")?;
    let rows = statement.query_map([client_order_id], |row| row.get::<_, u32>(0))?;
    rows.collect()
}
