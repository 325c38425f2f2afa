//! Pages of orders and executions: which ones by the index, what they say by the file, both of the same moment.

use roaring::RoaringBitmap;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;

use super::Page;
use super::filter::Filter;
use super::index::Index;
use crate::domain::decimal::Decimal;
use crate::domain::terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;
use crate::wire::order_record::{ExecutionRecord, OrderRecord};

/// The most executions that an order of a page shows.
pub(super) const MAX_EXECUTIONS_SHOWN: usize = 100;
/// The most bytes of notes and tags that a page has.
const MAX_PAGE_BYTES: usize = 16 * 1_024 * 1_024;

const ORDER: &str = "SELECT id, external_order_id, correlation_id, account_id, broker, venue, symbol, side, order_type, \
    quantity, filled_quantity, limit_price, status, time_in_force, submitted_at, expires_at, notes, tags, created_at, \
    reported_at, noted_at, mode, reason, fills_total FROM orders WHERE ordinal = ?1";
const EXECUTIONS_OF: &str = "SELECT e.id, o.id, e.external_execution_id, o.correlation_id, o.account_id, o.symbol, \
    o.side, e.quantity, e.price, e.fees, e.fee_currency, e.executed_at, e.created_at, o.notes, o.tags \
    FROM executions e JOIN orders o ON o.ordinal = e.order_ordinal WHERE e.order_ordinal = ?1 ORDER BY e.ordinal LIMIT ?2";
const EXECUTION: &str = "SELECT e.id, o.id, e.external_execution_id, o.correlation_id, o.account_id, o.symbol, \
    o.side, e.quantity, e.price, e.fees, e.fee_currency, e.executed_at, e.created_at, o.notes, o.tags \
    FROM executions e JOIN orders o ON o.ordinal = e.order_ordinal WHERE e.ordinal = ?1";

/// Which part of what is taken is told, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The most that are told.
    pub limit: u64,
    /// How many newer ones are passed over.
    pub offset: u64,
}

/// Returns how many there are, and the ordinals of those in a window, the newest first.
fn windowed(taken: &RoaringBitmap, window: Window) -> (u64, Vec<u32>) {
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
pub(super) fn choose_orders(
    filter: &Filter,
    window: Window,
    index: &Index,
    connection: &Connection,
) -> rusqlite::Result<(u64, Vec<u32>)> {
    let (taken, _) = filter.orders(index, connection)?;
    Ok(windowed(&taken, window))
}

/// Returns how many executions a filter takes, and which of them a window shows.
///
/// # Errors
/// What the file says.
pub(super) fn choose_executions(
    filter: &Filter,
    window: Window,
    index: &Index,
    connection: &Connection,
) -> rusqlite::Result<(u64, Vec<u32>)> {
    Ok(windowed(&filter.executions(index, connection)?, window))
}

/// Returns a page of what was chosen; `None` where it would be too large.
///
/// # Errors
/// What the file says.
pub(super) fn page<T: Texts>(
    (total, ordinals): (u64, Vec<u32>),
    mut one: impl FnMut(u32) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<Page<T>>> {
    let (mut items, mut bytes) = (Vec::with_capacity(ordinals.len()), 0);
    for ordinal in ordinals {
        let item = one(ordinal)?;
        bytes += item.texts();
        if bytes > MAX_PAGE_BYTES {
            return Ok(None);
        }
        items.push(item);
    }
    Ok(Some(Page { items, total }))
}

/// What can make a page large: texts of the clients' own.
pub(super) trait Texts {
    /// Returns about how many bytes it has of notes and tags.
    fn texts(&self) -> usize;
}

fn texts(notes: Option<&String>, tags: &[String]) -> usize {
    notes.map_or(0, String::len) + tags.iter().map(String::len).sum::<usize>()
}

impl Texts for OrderRecord {
    fn texts(&self) -> usize {
        (1 + self.executions.len()) * texts(self.notes.as_ref(), &self.tags)
    }
}

impl Texts for ExecutionRecord {
    fn texts(&self) -> usize {
        texts(self.notes.as_ref(), &self.tags)
    }
}

/// Returns an order with its first executions.
///
/// # Errors
/// What the file says.
pub(super) fn order(connection: &Connection, ordinal: u32) -> rusqlite::Result<OrderRecord> {
    let mut record = connection.prepare_cached(ORDER)?.query_row([ordinal], order_of)?;
    let mut statement = connection.prepare_cached(EXECUTIONS_OF)?;
    let rows = statement.query_map((ordinal, MAX_EXECUTIONS_SHOWN), execution_of)?;
    record.executions = rows.collect::<Result<_, _>>()?;
    Ok(record)
}

/// Returns an execution.
///
/// # Errors
/// What the file says.
pub(super) fn execution(connection: &Connection, ordinal: u32) -> rusqlite::Result<ExecutionRecord> {
    connection.prepare_cached(EXECUTION)?.query_row([ordinal], execution_of)
}

fn order_of(row: &Row<'_>) -> rusqlite::Result<OrderRecord> {
    let reported_at = moment(row.get(19)?);
    let noted_at = row.get::<_, Option<i64>>(20)?.map(moment);
    Ok(OrderRecord {
        id: row.get(0)?,
        external_order_id: row.get(1)?,
        correlation_id: row.get(2)?,
        account_id: row.get(3)?,
        broker: row.get(4)?,
        venue: row.get(5)?,
        symbol: row.get(6)?,
        side: row.get::<_, Word<Side>>(7)?.0,
        order_type: row.get::<_, Word<OrderType>>(8)?.0,
        quantity: row.get::<_, Number>(9)?.0,
        filled_quantity: row.get::<_, Number>(10)?.0,
        limit_price: row.get::<_, Option<Number>>(11)?.map(|number| number.0),
        stop_price: None,
        status: row.get::<_, Word<OrderStatus>>(12)?.0,
        time_in_force: row.get::<_, Word<TimeInForce>>(13)?.0,
        submitted_at: moment(row.get(14)?),
        expires_at: row.get::<_, Option<i64>>(15)?.map(moment),
        notes: row.get(16)?,
        tags: row.get::<_, Json<Vec<String>>>(17)?.0,
        created_at: moment(row.get(18)?),
        updated_at: noted_at.map_or(reported_at, |noted_at| noted_at.max(reported_at)),
        mode: row.get::<_, Word<Mode>>(21)?.0,
        // A code that only newer versions know is none to this one.
        reason: row
            .get::<_, Option<String>>(22)?
            .and_then(|text| serde_json::from_str(&text).ok()),
        executions: Vec::new(),
        executions_total: row.get(23)?,
    })
}

fn execution_of(row: &Row<'_>) -> rusqlite::Result<ExecutionRecord> {
    Ok(ExecutionRecord {
        id: row.get(0)?,
        order_id: row.get(1)?,
        external_execution_id: row.get(2)?,
        correlation_id: row.get(3)?,
        account_id: row.get(4)?,
        symbol: row.get(5)?,
        side: row.get::<_, Word<Side>>(6)?.0,
        quantity: row.get::<_, Number>(7)?.0,
        price: row.get::<_, Number>(8)?.0,
        fees: row.get::<_, Number>(9)?.0,
        fee_currency: row.get(10)?,
        liquidity: None,
        executed_at: moment(row.get(11)?),
        created_at: moment(row.get(12)?),
        notes: row.get(13)?,
        tags: row.get::<_, Json<Vec<String>>>(14)?.0,
    })
}

fn moment(microseconds: i64) -> Timestamp {
    Timestamp::from_microseconds(microseconds)
}

/// A word of the domain, as it stands in messages.
pub(super) struct Word<T>(pub(super) T);

/// An exact number as text.
pub(super) struct Number(pub(super) Decimal);

/// A JSON text.
pub(super) struct Json<T>(pub(super) T);

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}

macro_rules! words {
    ($($word:ty),+) => {$(
        impl FromSql for Word<$word> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                <$word>::parse(value.as_str()?).map(Self).ok_or(FromSqlError::InvalidType)
            }
        }
    )+};
}

words!(Side, OrderType, OrderStatus, TimeInForce, Mode);

impl FromSql for Number {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(unreadable)
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(unreadable)
    }
}
