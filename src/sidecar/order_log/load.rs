//! The index from the file, at each start.

use rusqlite::Connection;

use super::filter::orders_of_label;
use super::index::{Change, FREQUENT_TAG, Index};
use super::read::Word;
use crate::domain::terms::OrderStatus;

const ORDERS: &str =
    "SELECT id, account_id, symbol, broker, submitted_at, status, released FROM orders ORDER BY ordinal";
const EXECUTIONS: &str = "SELECT order_ordinal, executed_at FROM executions ORDER BY ordinal";
const FREQUENT_TAGS: &str = "SELECT label_id, text FROM labels WHERE orders >= ?1";

/// Reads the index.
///
/// # Errors
/// What the file says.
pub(super) fn index(connection: &Connection) -> rusqlite::Result<Index> {
    let mut index = Index::default();
    let mut statement = connection.prepare(ORDERS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let is_released: bool = row.get(6)?;
        let status = row.get::<_, Word<OrderStatus>>(5)?.0;
        index.apply(Change::Order {
            id: row.get(0)?,
            account_id: row.get(1)?,
            symbol: row.get(2)?,
            broker: row.get(3)?,
            submitted_at: row.get(4)?,
            status: (!is_released).then_some(status),
        });
    }
    let mut statement = connection.prepare(EXECUTIONS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        index.apply(Change::Execution {
            order: row.get(0)?,
            executed_at: row.get(1)?,
        });
    }
    let mut statement = connection.prepare(FREQUENT_TAGS)?;
    let mut rows = statement.query([FREQUENT_TAG])?;
    while let Some(row) = rows.next()? {
        let orders = orders_of_label(connection, row.get(0)?)?;
        index.apply(Change::FrequentTag {
            text: row.get(1)?,
            orders,
        });
    }
    Ok(index)
}
