//! The order log's index in memory: which orders have which account, symbol, broker, state and tag, and when. It makes
//! totals exact and quick for any combination of filters, and is read anew from the file at each start.
//!
//! It takes about 60 bytes an order. Tags may be as many as there are orders: only those that many orders have are in
//! here, the others are looked up in the file.

pub(in crate::order_log) mod load;
pub(in crate::order_log) mod times;
use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::domain::order_terms::OrderStatus;
use crate::order_log::index::times::TimeIndex;

/// From how many orders on a tag is kept in memory.
pub(in crate::order_log) const FREQUENT_TAG_MIN_ORDERS: u64 = 512;
/// The most orders, and the most executions, that one log holds.
pub(in crate::order_log) const MAX_ROWS: u32 = u32::MAX - 1;

/// The orders and executions of the log.
#[derive(Debug, Default)]
pub(in crate::order_log) struct OrderLogIndex {
    pub(in crate::order_log) orders: OrderIndex,
    pub(in crate::order_log) executions: ExecutionIndex,
}

/// Sets of orders, each order being its ordinal.
#[derive(Debug, Default)]
pub(in crate::order_log) struct OrderIndex {
    /// Their ids, ascending.
    ids: Vec<u64>,
    /// When they were submitted.
    pub(in crate::order_log) times: TimeIndex,
    /// All but those that were never sent.
    listed: RoaringBitmap,
    accounts: HashMap<String, RoaringBitmap>,
    symbols: HashMap<String, RoaringBitmap>,
    brokers: HashMap<String, RoaringBitmap>,
    statuses: HashMap<OrderStatus, RoaringBitmap>,
    tags: HashMap<String, RoaringBitmap>,
}

/// The executions, by their ordinals.
#[derive(Debug, Default)]
pub(in crate::order_log) struct ExecutionIndex {
    /// When they were executed.
    pub(in crate::order_log) times: TimeIndex,
    /// The ordinals of their orders.
    pub(in crate::order_log) order_ordinals: Vec<u32>,
}

/// What one transaction changes.
#[derive(Debug)]
pub(in crate::order_log) enum IndexChange {
    /// The next order.
    OrderAdded {
        /// Its id.
        id: u64,
        /// The account.
        account_id: String,
        /// The symbol.
        symbol: String,
        /// The broker.
        broker: String,
        /// When it was submitted, in µs since 1970.
        submitted_at: i64,
        /// Its state; `None` while it is not listed.
        status: Option<OrderStatus>,
    },
    /// The state of an order, from one to another.
    StatusChanged {
        ordinal: u32,
        from: Option<OrderStatus>,
        to: Option<OrderStatus>,
    },
    /// The next execution.
    ExecutionAdded {
        order_ordinal: u32,
        /// In µs since 1970.
        executed_at: i64,
    },
    /// An order has a tag, in lower case.
    TagAdded { ordinal: u32, text: String },
    /// A tag has become frequent: every order that has it.
    TagBecameFrequent { text: String, orders: RoaringBitmap },
}

impl OrderLogIndex {
    /// Applies a change.
    pub(in crate::order_log) fn apply(&mut self, change: IndexChange) {
        let orders = &mut self.orders;
        match change {
            IndexChange::OrderAdded {
                id,
                account_id,
                symbol,
                broker,
                submitted_at,
                status,
            } => {
                let ordinal = orders.len();
                orders.ids.push(id);
                orders.times.push(submitted_at);
                insert_ordinal(&mut orders.accounts, account_id, ordinal);
                insert_ordinal(&mut orders.symbols, symbol, ordinal);
                insert_ordinal(&mut orders.brokers, broker, ordinal);
                orders.set_status(ordinal, None, status);
            }
            IndexChange::StatusChanged { ordinal, from, to } => orders.set_status(ordinal, from, to),
            IndexChange::ExecutionAdded {
                order_ordinal: order,
                executed_at,
            } => {
                self.executions.times.push(executed_at);
                self.executions.order_ordinals.push(order);
            }
            IndexChange::TagAdded { ordinal, text } => {
                if let Some(tagged) = orders.tags.get_mut(&text) {
                    tagged.insert(ordinal);
                }
            }
            IndexChange::TagBecameFrequent { text, orders: tagged } => {
                orders.tags.insert(text, tagged);
            }
        }
    }
}

fn insert_ordinal(sets: &mut HashMap<String, RoaringBitmap>, text: String, ordinal: u32) {
    sets.entry(text).or_default().insert(ordinal);
}

impl OrderIndex {
    /// Returns how many orders there are, those that are not listed included.
    pub(in crate::order_log) fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(MAX_ROWS)
    }

    /// Returns the ordinal of an order.
    pub(in crate::order_log) fn ordinal_of(&self, id: u64) -> Option<u32> {
        let ordinal = self.ids.binary_search(&id).ok()?;
        u32::try_from(ordinal).ok()
    }

    /// Returns every order that is listed.
    pub(in crate::order_log) fn listed(&self) -> &RoaringBitmap {
        &self.listed
    }

    /// Returns the orders of an account.
    pub(in crate::order_log) fn of_account(&self, account_id: &str) -> Option<&RoaringBitmap> {
        self.accounts.get(account_id)
    }

    /// Returns the orders of a symbol.
    pub(in crate::order_log) fn of_symbol(&self, symbol: &str) -> Option<&RoaringBitmap> {
        self.symbols.get(symbol)
    }

    /// Returns the orders at a broker.
    pub(in crate::order_log) fn of_broker(&self, broker: &str) -> Option<&RoaringBitmap> {
        self.brokers.get(broker)
    }

    /// Returns the orders in a state.
    pub(in crate::order_log) fn of_status(&self, status: OrderStatus) -> Option<&RoaringBitmap> {
        self.statuses.get(&status)
    }

    /// Returns the orders with a tag, if that is a frequent one.
    pub(in crate::order_log) fn of_frequent_tag(&self, text: &str) -> Option<&RoaringBitmap> {
        self.tags.get(text)
    }

    fn set_status(&mut self, ordinal: u32, from: Option<OrderStatus>, to: Option<OrderStatus>) {
        if let Some(from) = from.and_then(|from| self.statuses.get_mut(&from)) {
            from.remove(ordinal);
        }
        match to {
            Some(to) => {
                self.statuses.entry(to).or_default().insert(ordinal);
                self.listed.insert(ordinal);
            }
            None => {
                self.listed.remove(ordinal);
            }
        }
    }
}

impl ExecutionIndex {
    /// Returns how many there are.
    pub(in crate::order_log) fn len(&self) -> u32 {
        u32::try_from(self.order_ordinals.len()).unwrap_or(MAX_ROWS)
    }

    /// Returns the executions of these orders.
    pub(in crate::order_log) fn of_orders(&self, orders: &RoaringBitmap) -> RoaringBitmap {
        let words = orders.max().map_or(0, |last| last as usize / 64 + 1);
        let mut is_in = vec![0_u64; words];
        for ordinal in orders {
            if let Some(word) = is_in.get_mut(ordinal as usize / 64) {
                *word |= 1 << (ordinal % 64);
            }
        }
        let taken = (0_u32..).zip(&self.order_ordinals).filter_map(|(ordinal, &order)| {
            let word = is_in.get(order as usize / 64)?;
            (word >> (order % 64) & 1 == 1).then_some(ordinal)
        });
        // Ordinals come in their order: the set is built without a search.
        RoaringBitmap::from_sorted_iter(taken).unwrap_or_default()
    }
}
