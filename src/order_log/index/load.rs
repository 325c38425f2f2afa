//! Loads the index from the file, at each start.

use std::sync::LazyLock;

use rusqlite::Connection;

use crate::order_log::database::columns::Selection;
use crate::order_log::index::{FREQUENT_TAG_MIN_ORDERS, IndexChange, OrderLogIndex};
use crate::order_log::tables::executions::ExecutionColumn;
use crate::order_log::tables::orders::{OrderColumn, updated_at};
use crate::order_log::tables::tags::load_orders_with_tag;

const INDEXED_ORDER: Selection<OrderColumn> = Selection::new(&[
    OrderColumn::Id,
    OrderColumn::AccountId,
    OrderColumn::Symbol,
    OrderColumn::Broker,
    OrderColumn::Side,
    OrderColumn::SubmittedAt,
    OrderColumn::ReportedAt,
    OrderColumn::NotedAt,
    OrderColumn::Status,
    OrderColumn::IsReleased,
]);
const INDEXED_EXECUTION: Selection<ExecutionColumn> =
    Selection::new(&[ExecutionColumn::OrderOrdinal, ExecutionColumn::ExecutedAt]);
static SELECT_ORDERS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM orders o ORDER BY o.ordinal", INDEXED_ORDER.list("o")));
static SELECT_EXECUTIONS: LazyLock<String> = LazyLock::new(|| {
    let columns = INDEXED_EXECUTION.list("e");
    format!("SELECT {columns} FROM executions e ORDER BY e.ordinal")
});

/// Returns the index of the rows in the file.
///
/// # Errors
/// Any error of SQLite, or of a row that cannot be decoded.
pub(in crate::order_log) fn load_index(connection: &Connection) -> rusqlite::Result<OrderLogIndex> {
    let mut index = OrderLogIndex::default();
    let mut statement = connection.prepare(&SELECT_ORDERS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let order = INDEXED_ORDER.of(row);
        let is_released: bool = order.get(OrderColumn::IsReleased)?;
        let status = order.get_domain(OrderColumn::Status)?;
        index.apply(IndexChange::OrderAdded {
            id: order.get(OrderColumn::Id)?,
            account_id: order.get(OrderColumn::AccountId)?,
            symbol: order.get(OrderColumn::Symbol)?,
            broker: order.get(OrderColumn::Broker)?,
            side: order.get_domain(OrderColumn::Side)?,
            submitted_at: order.get(OrderColumn::SubmittedAt)?,
            updated_at: updated_at(
                order.get_domain(OrderColumn::ReportedAt)?,
                order.get_domain(OrderColumn::NotedAt)?,
            )
            .as_microseconds(),
            status: (!is_released).then_some(status),
        });
    }
    let mut statement = connection.prepare(&SELECT_EXECUTIONS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let execution = INDEXED_EXECUTION.of(row);
        index.apply(IndexChange::ExecutionAdded {
            order_ordinal: execution.get(ExecutionColumn::OrderOrdinal)?,
            executed_at: execution.get(ExecutionColumn::ExecutedAt)?,
        });
    }
    let mut statement = connection.prepare("SELECT tag_id, text FROM tags WHERE order_count >= ?1")?;
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
