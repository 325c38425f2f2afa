//! The index in memory: which orders have which account, symbol, broker, side, status and tag, when they were submitted,
//! and when they last changed. It makes totals exact and fast for any combination of filters, and is loaded from the file at each start.
//!
//! It takes about 70 bytes per order. There may be as many tags as orders: the index holds only frequent tags, the others
//! are read from the file.

pub(in crate::order_log) mod load;
pub(in crate::order_log) mod times;

use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::domain::order_terms::{OrderStatus, Side};
use crate::order_log::index::times::TimeIndex;

/// The number of orders from which on a tag is frequent and held in memory.
pub(in crate::order_log) const FREQUENT_TAG_MIN_ORDERS: u64 = 512;
/// The most orders, and the most executions, of one log.
pub(in crate::order_log) const MAX_ROWS: u32 = u32::MAX - 1;

/// The index of the orders and executions.
#[derive(Debug, Default)]
pub(in crate::order_log) struct OrderLogIndex {
    pub(in crate::order_log) orders: OrderIndex,
    pub(in crate::order_log) executions: ExecutionIndex,
}

/// Sets of orders, each order as its ordinal.
#[derive(Debug, Default)]
pub(in crate::order_log) struct OrderIndex {
    /// The ids, ascending.
    ids: Vec<u64>,
    /// The times of submission.
    pub(in crate::order_log) times: TimeIndex,
    /// The times of the last change.
    pub(in crate::order_log) update_times: TimeIndex,
    /// The listed orders: all but those whose submission was released.
    listed: RoaringBitmap,
    accounts: HashMap<String, RoaringBitmap>,
    symbols: HashMap<String, RoaringBitmap>,
    brokers: HashMap<String, RoaringBitmap>,
    sides: HashMap<Side, RoaringBitmap>,
    statuses: HashMap<OrderStatus, RoaringBitmap>,
    tags: HashMap<String, RoaringBitmap>,
}

/// The executions, by their ordinals.
#[derive(Debug, Default)]
pub(in crate::order_log) struct ExecutionIndex {
    /// The times of execution.
    pub(in crate::order_log) times: TimeIndex,
    /// The ordinal of each execution's order.
    pub(in crate::order_log) order_ordinals: Vec<u32>,
}

/// A change of the index, collected in a transaction and applied with its commit.
#[derive(Debug)]
pub(in crate::order_log) enum IndexChange {
    /// An order was added; it gets the next ordinal.
    OrderAdded {
        /// The order's id.
        id: u64,
        /// The account.
        account_id: String,
        /// The symbol.
        symbol: String,
        /// The broker.
        broker: String,
        /// The side.
        side: Side,
        /// The time of submission, in µs since 1970.
        submitted_at: i64,
        /// The time of the last change, in µs since 1970.
        updated_at: i64,
        /// The status; `None` while the order is not listed.
        status: Option<OrderStatus>,
    },
    /// The status of an order changed; `None` while the order is not listed.
    StatusChanged {
        ordinal: u32,
        from: Option<OrderStatus>,
        to: Option<OrderStatus>,
    },
    /// An order changed at a time, in µs since 1970: by a report or a note.
    OrderUpdated { ordinal: u32, updated_at: i64 },
    /// An execution was added; it gets the next ordinal.
    ExecutionAdded {
        order_ordinal: u32,
        /// The time of execution, in µs since 1970.
        executed_at: i64,
    },
    /// An order got a frequent tag, in lower case.
    TagAdded { ordinal: u32, text: String },
    /// A tag became frequent; `orders` are all that have it.
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
                side,
                submitted_at,
                updated_at,
                status,
            } => {
                let ordinal = orders.len();
                orders.ids.push(id);
                orders.times.push(submitted_at);
                orders.update_times.push(updated_at);
                insert_ordinal(&mut orders.accounts, account_id, ordinal);
                insert_ordinal(&mut orders.symbols, symbol, ordinal);
                insert_ordinal(&mut orders.brokers, broker, ordinal);
                orders.sides.entry(side).or_default().insert(ordinal);
                orders.set_status(ordinal, None, status);
            }
            IndexChange::StatusChanged { ordinal, from, to } => orders.set_status(ordinal, from, to),
            IndexChange::OrderUpdated { ordinal, updated_at } => orders.update_times.set(ordinal, updated_at),
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
    /// Returns how many orders there are, unlisted ones included.
    pub(in crate::order_log) fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(MAX_ROWS)
    }

    /// Returns the ordinal of an order.
    pub(in crate::order_log) fn ordinal_of(&self, id: u64) -> Option<u32> {
        let ordinal = self.ids.binary_search(&id).ok()?;
        u32::try_from(ordinal).ok()
    }

    /// Returns how many orders, the oldest ones, have an id up to this one.
    pub(in crate::order_log) fn count_up_to(&self, id: u64) -> u32 {
        u32::try_from(self.ids.partition_point(|&known| known <= id)).unwrap_or(MAX_ROWS)
    }

    /// Returns the listed orders.
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

    /// Returns the orders of a side.
    pub(in crate::order_log) fn of_side(&self, side: Side) -> Option<&RoaringBitmap> {
        self.sides.get(&side)
    }

    /// Returns the listed orders with a status.
    pub(in crate::order_log) fn of_status(&self, status: OrderStatus) -> Option<&RoaringBitmap> {
        self.statuses.get(&status)
    }

    /// Returns the orders with a frequent tag; `None` for any other tag.
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
    /// Returns how many executions there are.
    pub(in crate::order_log) fn len(&self) -> u32 {
        u32::try_from(self.order_ordinals.len()).unwrap_or(MAX_ROWS)
    }

    /// Returns the executions of a set of orders.
    pub(in crate::order_log) fn of_orders(&self, orders: &RoaringBitmap) -> RoaringBitmap {
        let words = orders.max().map_or(0, |last| last as usize / 64 + 1);
        let mut is_in = vec![0_u64; words];
        for ordinal in orders {
            if let Some(word) = is_in.get_mut(ordinal as usize / 64) {
                *word |= 1 << (ordinal % 64);
            }
        }
        let matched = (0_u32..).zip(&self.order_ordinals).filter_map(|(ordinal, &order)| {
            let word = is_in.get(order as usize / 64)?;
            (word >> (order % 64) & 1 == 1).then_some(ordinal)
        });
        // The ordinals are sorted: the set is built without a search.
        RoaringBitmap::from_sorted_iter(matched).unwrap_or_default()
    }
}
