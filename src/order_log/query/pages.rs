//! Pages of orders and executions: the filter selects ordinals, and their rows are loaded from the same state.

use std::sync::LazyLock;

use roaring::RoaringBitmap;
use rusqlite::{Connection, Row};

use crate::domain::sort_direction::SortDirection;
use crate::domain::time::Timestamp;
use crate::order_log::database::columns::Selection;
use crate::order_log::database::sql_types::JsonColumn;
use crate::order_log::index::OrderLogIndex;
use crate::order_log::query::filter::OrderLogFilter;
use crate::order_log::tables::executions::{self, ExecutionColumn};
use crate::order_log::tables::orders::{OrderColumn, updated_at};
use crate::wire::order_record::{ExecutionRecord, OrderRecord};

/// The most executions that an order's record shows.
pub(in crate::order_log) const MAX_EXECUTIONS_PER_ORDER: usize = 100;
/// The most bytes of notes and tags in a page.
const MAX_PAGE_TEXT_BYTES: usize = 16 * 1_024 * 1_024;

const ORDER: Selection<OrderColumn> = Selection::ALL;
const EXECUTION: Selection<ExecutionColumn> = Selection::ALL;
/// What an execution's record shows of its order.
const ORDER_OF_EXECUTION: Selection<OrderColumn> = Selection::after(
    EXECUTION,
    &[
        OrderColumn::Id,
        OrderColumn::ClientOrderId,
        OrderColumn::AccountId,
        OrderColumn::Symbol,
        OrderColumn::Side,
        OrderColumn::Notes,
        OrderColumn::Tags,
    ],
);
static SELECT_ORDER: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM orders o WHERE o.ordinal = ?1", ORDER.list("o")));
static SELECT_EXECUTION: LazyLock<String> = LazyLock::new(|| select_executions_where("e.ordinal = ?1"));
static SELECT_EXECUTIONS_OF_ORDER: LazyLock<String> =
    LazyLock::new(|| select_executions_where("e.order_ordinal = ?1 ORDER BY e.ordinal LIMIT ?2"));

fn select_executions_where(condition: &str) -> String {
    let (execution, order) = (EXECUTION.list("e"), ORDER_OF_EXECUTION.list("o"));
    format!(
        "SELECT {execution}, {order} FROM executions e JOIN orders o ON o.ordinal = e.order_ordinal WHERE {condition}"
    )
}

/// A page of the rows that match a filter, and how many match in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage<T> {
    /// The rows, in the direction of the window.
    pub items: Vec<T>,
    /// How many matching rows come before the page.
    pub offset: u64,
    /// How many rows match the filter.
    pub total: u64,
    /// The id after which the next page begins; `None` when no row follows.
    pub next: Option<u64>,
}

/// The part of the matching rows that a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageWindow {
    /// The direction of the rows.
    pub sort: SortDirection,
    /// The most rows of the page.
    pub limit: u64,
    /// How many rows to skip, from the beginning or from the cursor.
    pub offset: u64,
    /// The cursor: the id of a row. The page begins after it, whatever was added since.
    pub after: Option<u64>,
}

impl PageWindow {
    /// Returns the highest id on the older side of the cursor.
    fn last_older_id(self) -> Option<u64> {
        let after = self.after?;
        Some(match self.sort {
            SortDirection::Asc => after,
            SortDirection::Desc => after.saturating_sub(1),
        })
    }

    /// Returns the window of the newest rows.
    pub fn newest(limit: u64) -> Self {
        Self {
            sort: SortDirection::Desc,
            limit,
            offset: 0,
            after: None,
        }
    }
}

/// The rows that a window selects.
pub(in crate::order_log) struct SelectedRows {
    ordinals: Vec<u32>,
    offset: u64,
    total: u64,
}

/// Returns the matching rows in a window. `boundary` is the first ordinal on the newer side of the cursor; the cursor
/// itself is on the side that the page leaves behind.
fn select_window(matched: &RoaringBitmap, window: PageWindow, boundary: Option<u32>) -> SelectedRows {
    let total = matched.len();
    let passed = match (boundary, window.sort) {
        (None, _) => 0,
        (Some(boundary), SortDirection::Asc) => matched.range_cardinality(..boundary),
        (Some(boundary), SortDirection::Desc) => matched.range_cardinality(boundary..),
    };
    let offset = passed.saturating_add(window.offset);
    let length = window.limit.min(total.saturating_sub(offset));
    let place = |passed: u64| {
        let place = match window.sort {
            SortDirection::Asc => passed,
            SortDirection::Desc => total.checked_sub(1)?.checked_sub(passed)?,
        };
        u32::try_from(place).ok()
    };
    let places = offset..offset.saturating_add(length);
    SelectedRows {
        ordinals: places.filter_map(|passed| matched.select(place(passed)?)).collect(),
        offset,
        total,
    }
}

/// Returns the orders that match a filter, in a window.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn select_orders(
    filter: &OrderLogFilter,
    window: PageWindow,
    index: &OrderLogIndex,
    connection: &Connection,
) -> rusqlite::Result<SelectedRows> {
    let boundary = window.last_older_id().map(|id| index.orders.count_up_to(id));
    Ok(select_window(
        &filter.match_orders(index, connection)?,
        window,
        boundary,
    ))
}

/// Returns the executions that match a filter, in a window.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn select_executions(
    filter: &OrderLogFilter,
    window: PageWindow,
    index: &OrderLogIndex,
    connection: &Connection,
) -> rusqlite::Result<SelectedRows> {
    let count_up_to = |id| executions::count_up_to(connection, id, index.executions.len());
    let boundary = window.last_older_id().map(count_up_to).transpose()?;
    let matched = filter.match_executions(index, connection)?;
    Ok(select_window(&matched, window, boundary))
}

/// Returns a page of the selected rows; `None` when their notes and tags would exceed the limit.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn load_page<T: LogRecord>(
    selected: SelectedRows,
    mut load_one: impl FnMut(u32) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<LogPage<T>>> {
    let (mut items, mut bytes) = (Vec::with_capacity(selected.ordinals.len()), 0);
    for ordinal in selected.ordinals {
        let item = load_one(ordinal)?;
        bytes += item.client_text_bytes();
        if bytes > MAX_PAGE_TEXT_BYTES {
            return Ok(None);
        }
        items.push(item);
    }
    let passed = selected.offset.saturating_add(items.len() as u64);
    Ok(Some(LogPage {
        next: items.last().map(T::id).filter(|_| passed < selected.total),
        items,
        offset: selected.offset,
        total: selected.total,
    }))
}

/// A record of a page. Clients decide its size: by notes and tags.
pub(in crate::order_log) trait LogRecord {
    /// Returns the record's id, which rises from row to row.
    fn id(&self) -> u64;

    /// Returns about how many bytes of notes and tags the record has.
    fn client_text_bytes(&self) -> usize;
}

fn note_and_tag_bytes(notes: Option<&String>, tags: &[String]) -> usize {
    notes.map_or(0, String::len) + tags.iter().map(String::len).sum::<usize>()
}

impl LogRecord for OrderRecord {
    fn id(&self) -> u64 {
        self.id
    }

    fn client_text_bytes(&self) -> usize {
        (1 + self.executions.len()) * note_and_tag_bytes(self.notes.as_ref(), &self.tags)
    }
}

impl LogRecord for ExecutionRecord {
    fn id(&self) -> u64 {
        self.id
    }

    fn client_text_bytes(&self) -> usize {
        note_and_tag_bytes(self.notes.as_ref(), &self.tags)
    }
}

/// Returns an order with its first executions, at most [`MAX_EXECUTIONS_PER_ORDER`].
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn load_order(connection: &Connection, ordinal: u32) -> rusqlite::Result<OrderRecord> {
    let mut record = connection
        .prepare_cached(&SELECT_ORDER)?
        .query_row([ordinal], order_from_row)?;
    let mut statement = connection.prepare_cached(&SELECT_EXECUTIONS_OF_ORDER)?;
    let rows = statement.query_map((ordinal, MAX_EXECUTIONS_PER_ORDER), execution_from_row)?;
    record.executions = rows.collect::<Result<_, _>>()?;
    Ok(record)
}

/// Returns an execution.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn load_execution(connection: &Connection, ordinal: u32) -> rusqlite::Result<ExecutionRecord> {
    connection
        .prepare_cached(&SELECT_EXECUTION)?
        .query_row([ordinal], execution_from_row)
}

fn order_from_row(row: &Row<'_>) -> rusqlite::Result<OrderRecord> {
    let order = ORDER.of(row);
    let reported_at: Timestamp = order.get_domain(OrderColumn::ReportedAt)?;
    let noted_at: Option<Timestamp> = order.get_domain(OrderColumn::NotedAt)?;
    let reason: Option<String> = order.get(OrderColumn::Reason)?;
    Ok(OrderRecord {
        id: order.get(OrderColumn::Id)?,
        external_order_id: order.get(OrderColumn::OrderId)?,
        correlation_id: order.get(OrderColumn::ClientOrderId)?,
        account_id: order.get(OrderColumn::AccountId)?,
        broker: order.get(OrderColumn::Broker)?,
        venue: order.get(OrderColumn::Venue)?,
        symbol: order.get(OrderColumn::Symbol)?,
        side: order.get_domain(OrderColumn::Side)?,
        order_type: order.get_domain(OrderColumn::OrderType)?,
        quantity: order.get_domain(OrderColumn::Quantity)?,
        filled_quantity: order.get_domain(OrderColumn::FilledQuantity)?,
        limit_price: order.get_domain(OrderColumn::LimitPrice)?,
        stop_price: None,
        status: order.get_domain(OrderColumn::Status)?,
        time_in_force: order.get_domain(OrderColumn::TimeInForce)?,
        submitted_at: order.get_domain(OrderColumn::SubmittedAt)?,
        expires_at: order.get_domain(OrderColumn::ExpiresAt)?,
        notes: order.get(OrderColumn::Notes)?,
        tags: order.get::<JsonColumn<_>>(OrderColumn::Tags)?.0,
        created_at: order.get_domain(OrderColumn::CreatedAt)?,
        updated_at: updated_at(reported_at, noted_at),
        mode: order.get_domain(OrderColumn::Mode)?,
        // A reason whose code only newer versions know reads as none.
        reason: reason.and_then(|text| serde_json::from_str(&text).ok()),
        executions: Vec::new(),
        executions_total: order.get(OrderColumn::FillsTotal)?,
    })
}

fn execution_from_row(row: &Row<'_>) -> rusqlite::Result<ExecutionRecord> {
    let (execution, order) = (EXECUTION.of(row), ORDER_OF_EXECUTION.of(row));
    Ok(ExecutionRecord {
        id: execution.get(ExecutionColumn::Id)?,
        order_id: order.get(OrderColumn::Id)?,
        external_execution_id: execution.get(ExecutionColumn::ExecId)?,
        correlation_id: order.get(OrderColumn::ClientOrderId)?,
        account_id: order.get(OrderColumn::AccountId)?,
        symbol: order.get(OrderColumn::Symbol)?,
        side: order.get_domain(OrderColumn::Side)?,
        quantity: execution.get_domain(ExecutionColumn::Quantity)?,
        price: execution.get_domain(ExecutionColumn::Price)?,
        fees: execution.get_domain(ExecutionColumn::Fees)?,
        fee_currency: execution.get(ExecutionColumn::FeeCurrency)?,
        liquidity: None,
        executed_at: execution.get_domain(ExecutionColumn::ExecutedAt)?,
        created_at: execution.get_domain(ExecutionColumn::CreatedAt)?,
        notes: order.get(OrderColumn::Notes)?,
        tags: order.get::<JsonColumn<_>>(OrderColumn::Tags)?.0,
    })
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
