//! Pages of orders and executions: which ones by the index, what they say by the file, both of the same moment.

use roaring::RoaringBitmap;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;
use crate::order_log::LogPage;
use crate::order_log::index::OrderLogIndex;
use crate::order_log::query::filter::OrderLogFilter;
use crate::wire::order_record::{ExecutionRecord, OrderRecord};

/// The most executions that an order of a page shows.
pub(in crate::order_log) const MAX_EXECUTIONS_PER_ORDER: usize = 100;
/// The most bytes of notes and tags that a page has.
const MAX_PAGE_TEXT_BYTES: usize = 16 * 1_024 * 1_024;

const SELECT_ORDER: &str = "SELECT id, external_order_id, correlation_id, account_id, broker, venue, symbol, side, order_type, \
    quantity, filled_quantity, limit_price, status, time_in_force, submitted_at, expires_at, notes, tags, created_at, \
    reported_at, noted_at, mode, reason, fills_total FROM orders WHERE ordinal = ?1";
const SELECT_EXECUTIONS_OF_ORDER: &str = "SELECT e.id, o.id, e.external_execution_id, o.correlation_id, o.account_id, o.symbol, \
    o.side, e.quantity, e.price, e.fees, e.fee_currency, e.executed_at, e.created_at, o.notes, o.tags \
    FROM executions e JOIN orders o ON o.ordinal = e.order_ordinal WHERE e.order_ordinal = ?1 ORDER BY e.ordinal LIMIT ?2";
const SELECT_EXECUTION: &str = "SELECT e.id, o.id, e.external_execution_id, o.correlation_id, o.account_id, o.symbol, \
    o.side, e.quantity, e.price, e.fees, e.fee_currency, e.executed_at, e.created_at, o.notes, o.tags \
    FROM executions e JOIN orders o ON o.ordinal = e.order_ordinal WHERE e.ordinal = ?1";

/// Which part of what is taken is told, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageWindow {
    /// The most that are told.
    pub limit: u64,
    /// How many newer ones are passed over.
    pub offset: u64,
}

/// Returns how many there are, and the ordinals of those in a window, the newest first.
fn select_window(taken: &RoaringBitmap, window: PageWindow) -> (u64, Vec<u32>) {
    let total = taken.len();
    let told = window.limit.min(total.saturating_sub(window.offset));
    let from_end = window.offset..window.offset.saturating_add(told);
    let place = |newer: u64| u32::try_from(total.checked_sub(1)?.checked_sub(newer)?).ok();
    let ordinals = from_end.filter_map(|newer| taken.select(place(newer)?)).collect();
    (total, ordinals)
}

/// Returns how many orders a filter takes, and which of them a window shows.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn select_orders(
    filter: &OrderLogFilter,
    window: PageWindow,
    index: &OrderLogIndex,
    connection: &Connection,
) -> rusqlite::Result<(u64, Vec<u32>)> {
    let (taken, _) = filter.match_orders(index, connection)?;
    Ok(select_window(&taken, window))
}

/// Returns how many executions a filter takes, and which of them a window shows.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn select_executions(
    filter: &OrderLogFilter,
    window: PageWindow,
    index: &OrderLogIndex,
    connection: &Connection,
) -> rusqlite::Result<(u64, Vec<u32>)> {
    Ok(select_window(&filter.match_executions(index, connection)?, window))
}

/// Returns a page of what was chosen; `None` where it would be too large.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn load_page<T: ClientTextSize>(
    (total, ordinals): (u64, Vec<u32>),
    mut load_one: impl FnMut(u32) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<LogPage<T>>> {
    let (mut items, mut bytes) = (Vec::with_capacity(ordinals.len()), 0);
    for ordinal in ordinals {
        let item = load_one(ordinal)?;
        bytes += item.client_text_bytes();
        if bytes > MAX_PAGE_TEXT_BYTES {
            return Ok(None);
        }
        items.push(item);
    }
    Ok(Some(LogPage { items, total }))
}

/// What can make a page large: texts of the clients' own.
pub(in crate::order_log) trait ClientTextSize {
    /// Returns about how many bytes it has of notes and tags.
    fn client_text_bytes(&self) -> usize;
}

fn note_and_tag_bytes(notes: Option<&String>, tags: &[String]) -> usize {
    notes.map_or(0, String::len) + tags.iter().map(String::len).sum::<usize>()
}

impl ClientTextSize for OrderRecord {
    fn client_text_bytes(&self) -> usize {
        (1 + self.executions.len()) * note_and_tag_bytes(self.notes.as_ref(), &self.tags)
    }
}

impl ClientTextSize for ExecutionRecord {
    fn client_text_bytes(&self) -> usize {
        note_and_tag_bytes(self.notes.as_ref(), &self.tags)
    }
}

/// Returns an order with its first executions.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn load_order(connection: &Connection, ordinal: u32) -> rusqlite::Result<OrderRecord> {
    let mut record = connection
        .prepare_cached(SELECT_ORDER)?
        .query_row([ordinal], order_from_row)?;
    let mut statement = connection.prepare_cached(SELECT_EXECUTIONS_OF_ORDER)?;
    let rows = statement.query_map((ordinal, MAX_EXECUTIONS_PER_ORDER), execution_from_row)?;
    record.executions = rows.collect::<Result<_, _>>()?;
    Ok(record)
}

/// Returns an execution.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn load_execution(connection: &Connection, ordinal: u32) -> rusqlite::Result<ExecutionRecord> {
    connection
        .prepare_cached(SELECT_EXECUTION)?
        .query_row([ordinal], execution_from_row)
}

fn order_from_row(row: &Row<'_>) -> rusqlite::Result<OrderRecord> {
    let reported_at = timestamp_from_micros(row.get(19)?);
    let noted_at = row.get::<_, Option<i64>>(20)?.map(timestamp_from_micros);
    Ok(OrderRecord {
        id: row.get(0)?,
        external_order_id: row.get(1)?,
        correlation_id: row.get(2)?,
        account_id: row.get(3)?,
        broker: row.get(4)?,
        venue: row.get(5)?,
        symbol: row.get(6)?,
        side: row.get::<_, TermColumn<Side>>(7)?.0,
        order_type: row.get::<_, TermColumn<OrderType>>(8)?.0,
        quantity: row.get::<_, DecimalColumn>(9)?.0,
        filled_quantity: row.get::<_, DecimalColumn>(10)?.0,
        limit_price: row.get::<_, Option<DecimalColumn>>(11)?.map(|number| number.0),
        stop_price: None,
        status: row.get::<_, TermColumn<OrderStatus>>(12)?.0,
        time_in_force: row.get::<_, TermColumn<TimeInForce>>(13)?.0,
        submitted_at: timestamp_from_micros(row.get(14)?),
        expires_at: row.get::<_, Option<i64>>(15)?.map(timestamp_from_micros),
        notes: row.get(16)?,
        tags: row.get::<_, JsonColumn<Vec<String>>>(17)?.0,
        created_at: timestamp_from_micros(row.get(18)?),
        updated_at: noted_at.map_or(reported_at, |noted_at| noted_at.max(reported_at)),
        mode: row.get::<_, TermColumn<Mode>>(21)?.0,
        // A code that only newer versions know is none to this one.
        reason: row
            .get::<_, Option<String>>(22)?
            .and_then(|text| serde_json::from_str(&text).ok()),
        executions: Vec::new(),
        executions_total: row.get(23)?,
    })
}

fn execution_from_row(row: &Row<'_>) -> rusqlite::Result<ExecutionRecord> {
    Ok(ExecutionRecord {
        id: row.get(0)?,
        order_id: row.get(1)?,
        external_execution_id: row.get(2)?,
        correlation_id: row.get(3)?,
        account_id: row.get(4)?,
        symbol: row.get(5)?,
        side: row.get::<_, TermColumn<Side>>(6)?.0,
        quantity: row.get::<_, DecimalColumn>(7)?.0,
        price: row.get::<_, DecimalColumn>(8)?.0,
        fees: row.get::<_, DecimalColumn>(9)?.0,
        fee_currency: row.get(10)?,
        liquidity: None,
        executed_at: timestamp_from_micros(row.get(11)?),
        created_at: timestamp_from_micros(row.get(12)?),
        notes: row.get(13)?,
        tags: row.get::<_, JsonColumn<Vec<String>>>(14)?.0,
    })
}

fn timestamp_from_micros(microseconds: i64) -> Timestamp {
    Timestamp::from_microseconds(microseconds)
}

/// A word of the domain, as it stands in messages.
pub(in crate::order_log) struct TermColumn<T>(pub(in crate::order_log) T);

/// An exact number as text.
pub(in crate::order_log) struct DecimalColumn(pub(in crate::order_log) Decimal);

/// A JSON text.
pub(in crate::order_log) struct JsonColumn<T>(pub(in crate::order_log) T);

fn conversion_error(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}

macro_rules! words {
    ($($word:ty),+) => {$(
        impl FromSql for TermColumn<$word> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                <$word>::parse(value.as_str()?).map(Self).ok_or(FromSqlError::InvalidType)
            }
        }
    )+};
}

words!(Side, OrderType, OrderStatus, TimeInForce, Mode);

impl FromSql for DecimalColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(conversion_error)
    }
}

impl<T: DeserializeOwned> FromSql for JsonColumn<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(conversion_error)
    }
}
