//! The index from the file, at each start.

use rusqlite::Connection;

use crate::domain::order_terms::OrderStatus;
use crate::order_log::index::{FREQUENT_TAG_MIN_ORDERS, IndexChange, OrderLogIndex};
use crate::order_log::query::filter::load_orders_with_tag;
use crate::order_log::query::pages::TermColumn;

const SELECT_INDEXED_ORDERS: &str =
    "SELECT id, account_id, symbol, broker, submitted_at, status, released FROM orders ORDER BY ordinal";
const SELECT_INDEXED_EXECUTIONS: &str = "SELECT order_ordinal, executed_at FROM executions ORDER BY ordinal";
const SELECT_FREQUENT_TAGS: &str = "SELECT label_id, text FROM labels WHERE orders >= ?1";

/// Reads the index.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn load_index(connection: &Connection) -> rusqlite::Result<OrderLogIndex> {
    let mut index = OrderLogIndex::default();
    let mut statement = connection.prepare(SELECT_INDEXED_ORDERS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let is_released: bool = row.get(6)?;
        let status = row.get::<_, TermColumn<OrderStatus>>(5)?.0;
        index.apply(IndexChange::OrderAdded {
            id: row.get(0)?,
            account_id: row.get(1)?,
            symbol: row.get(2)?,
            broker: row.get(3)?,
            submitted_at: row.get(4)?,
            status: (!is_released).then_some(status),
        });
    }
    let mut statement = connection.prepare(SELECT_INDEXED_EXECUTIONS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        index.apply(IndexChange::ExecutionAdded {
            order_ordinal: row.get(0)?,
            executed_at: row.get(1)?,
        });
    }
    let mut statement = connection.prepare(SELECT_FREQUENT_TAGS)?;
    let mut rows = statement.query([FREQUENT_TAG_MIN_ORDERS])?;
    while let Some(row) = rows.next()? {
        let orders = load_orders_with_tag(connection, row.get(0)?)?;
        index.apply(IndexChange::TagBecameFrequent {
            text: row.get(1)?,
            orders,
        });
    }
    Ok(index)
}
