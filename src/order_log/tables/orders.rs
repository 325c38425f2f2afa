//! The orders: one row each, by ordinal.
//!
//! A new field of an order is one line in [`OrderColumn`], beside its line in
//! [`LoggedReport`] and in the row reader (`query/pages.rs`).

use std::sync::LazyLock;

use roaring::RoaringBitmap;
use rusqlite::types::Null;
use rusqlite::{Connection, OptionalExtension, params};

use crate::domain::order_terms::OrderStatus;
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::time::Timestamp;
use crate::order_log::database::columns::{RowStatement, Selection, columns};
use crate::order_log::database::sql_types::{DomainColumn, JsonColumn};
use crate::order_log::ingest::entry::LoggedReport;

/// What an order's row is written from.
#[derive(Debug, Clone, Copy)]
pub(in crate::order_log) struct OrderRow<'a> {
    /// The order's place among the orders, from 0.
    pub(in crate::order_log) ordinal: u32,
    /// The journal sequence of the entry.
    pub(in crate::order_log) sequence: u64,
    /// When the journal stored the entry.
    pub(in crate::order_log) stored_at: Timestamp,
    /// The order's status; `unknown` for a submission.
    pub(in crate::order_log) status: OrderStatus,
    /// The claim of a submission.
    pub(in crate::order_log) claim: Option<&'a str>,
    /// The report, or the order of the submission.
    pub(in crate::order_log) report: &'a LoggedReport,
}

columns! {
    /// The columns of `orders`. Long texts are last: SQLite reads a row from its beginning.
    OrderColumn of "orders" from order: OrderRow<'_> {
        Ordinal: "ordinal" "INTEGER PRIMARY KEY", Keep = order.ordinal;
        Id: "id" "INTEGER NOT NULL", Keep = order.sequence;
        OrderId: "order_id" "TEXT NOT NULL", Keep = &order.report.order_id;
        ClientOrderId: "client_order_id" "TEXT NOT NULL", Keep = &order.report.client_order_id;
        AccountId: "account_id" "TEXT NOT NULL", Keep = &order.report.account_id;
        Broker: "broker" "TEXT NOT NULL", Keep = &order.report.broker;
        Venue: "venue" "TEXT NOT NULL", Keep = &order.report.venue;
        Symbol: "symbol" "TEXT NOT NULL", Keep = &order.report.symbol;
        Side: "side" "TEXT NOT NULL", Keep = DomainColumn(order.report.side);
        OrderType: "order_type" "TEXT NOT NULL", Keep = DomainColumn(order.report.order_type);
        TimeInForce: "time_in_force" "TEXT NOT NULL", Keep = DomainColumn(order.report.time_in_force);
        LimitPrice: "limit_price" "TEXT", Replace = DomainColumn(order.report.price);
        Quantity: "quantity" "TEXT NOT NULL", Replace = DomainColumn(order.report.quantity);
        FilledQuantity: "filled_quantity" "TEXT NOT NULL", Replace = DomainColumn(order.report.filled_quantity);
        Status: "status" "TEXT NOT NULL", Replace = DomainColumn(order.status);
        IsReleased: "is_released" "INTEGER NOT NULL", Replace = false;
        Claim: "claim" "TEXT", Keep = order.claim;
        SubmittedAt: "submitted_at" "INTEGER NOT NULL", Keep = DomainColumn(order.report.submitted_at);
        ExpiresAt: "expires_at" "INTEGER", ReplaceIfPresent = DomainColumn(order.report.expires_at());
        ReportedAt: "reported_at" "INTEGER NOT NULL", Replace = DomainColumn(order.report.updated_at);
        NotedAt: "noted_at" "INTEGER", Keep = Null;
        CreatedAt: "created_at" "INTEGER NOT NULL", Keep = DomainColumn(order.stored_at);
        Mode: "mode" "TEXT NOT NULL", Keep = DomainColumn(order.report.mode);
        Version: "version" "INTEGER NOT NULL", Replace = order.report.version;
        Settlement: "settlement" "INTEGER NOT NULL", Replace = order.report.settlement_end().0;
        FillsTotal: "fills_total" "INTEGER NOT NULL", Replace = order.report.fills_total;
        Tags: "tags" "TEXT NOT NULL", Keep = JsonColumn(&order.report.tags);
        Reason: "reason" "TEXT", Replace = order.report.reason.as_ref().map(|reason| reason.get());
        Notes: "notes" "TEXT", Keep = Null;
    }
}

static INSERT: LazyLock<RowStatement<OrderColumn>> = LazyLock::new(RowStatement::insert);
static UPDATE: LazyLock<RowStatement<OrderColumn>> = LazyLock::new(RowStatement::update);

/// Adds the row of a new order.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn insert(connection: &Connection, order: &OrderRow<'_>) -> rusqlite::Result<()> {
    OrderColumn::write(connection, &INSERT, order)
}

/// Updates the row of an order by a later report.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn update(connection: &Connection, order: &OrderRow<'_>) -> rusqlite::Result<()> {
    OrderColumn::write(connection, &UPDATE, order)
}

/// Returns when an order last changed, by a report or by a note.
pub(in crate::order_log) fn updated_at(reported_at: Timestamp, noted_at: Option<Timestamp>) -> Timestamp {
    noted_at.map_or(reported_at, |noted_at| noted_at.max(reported_at))
}

/// The part of an order's row that the next entry is compared with.
#[derive(Debug)]
pub(in crate::order_log) struct ProjectedOrder {
    /// The order's ordinal.
    pub(in crate::order_log) ordinal: u32,
    /// The version of the last report; 0 before the first.
    pub(in crate::order_log) version: u32,
    /// The settlement that made that version.
    pub(in crate::order_log) settlement: SettlementEnd,
    /// The order's status.
    pub(in crate::order_log) status: OrderStatus,
    /// Whether the order is known only by a submission that was released.
    pub(in crate::order_log) is_released: bool,
    /// The claim of the last submission.
    pub(in crate::order_log) claim: Option<String>,
    /// How many fills the order has.
    pub(in crate::order_log) fills_total: u32,
    /// The filled quantity, as stored.
    pub(in crate::order_log) filled_quantity: String,
    /// The time of the last note.
    pub(in crate::order_log) noted_at: Option<Timestamp>,
}

impl ProjectedOrder {
    /// Returns the status under which the order is listed; `None` while it is not listed.
    pub(in crate::order_log) fn listed_status(&self) -> Option<OrderStatus> {
        (!self.is_released).then_some(self.status)
    }
}

const PROJECTED: Selection<OrderColumn> = Selection::new(&[
    OrderColumn::Ordinal,
    OrderColumn::Version,
    OrderColumn::Settlement,
    OrderColumn::Status,
    OrderColumn::IsReleased,
    OrderColumn::Claim,
    OrderColumn::FillsTotal,
    OrderColumn::FilledQuantity,
    OrderColumn::NotedAt,
]);
static SELECT_PROJECTED: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM orders o WHERE o.order_id = ?1", PROJECTED.list("o")));

/// Returns what is stored of an order.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn find(connection: &Connection, order_id: &str) -> rusqlite::Result<Option<ProjectedOrder>> {
    let mut statement = connection.prepare_cached(&SELECT_PROJECTED)?;
    let found = statement.query_row([order_id], |row| {
        let order = PROJECTED.of(row);
        Ok(ProjectedOrder {
            ordinal: order.get(OrderColumn::Ordinal)?,
            version: order.get(OrderColumn::Version)?,
            settlement: SettlementEnd(order.get(OrderColumn::Settlement)?),
            status: order.get_domain(OrderColumn::Status)?,
            is_released: order.get(OrderColumn::IsReleased)?,
            claim: order.get(OrderColumn::Claim)?,
            fills_total: order.get(OrderColumn::FillsTotal)?,
            filled_quantity: order.get(OrderColumn::FilledQuantity)?,
            noted_at: order.get_domain(OrderColumn::NotedAt)?,
        })
    });
    found.optional()
}

/// Marks an order as submitted again, under another claim.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn mark_submitted(
    connection: &Connection,
    ordinal: u32,
    claim: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE orders SET is_released = 0, claim = ?2 WHERE ordinal = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![ordinal, claim]).map(drop)
}

/// Marks an order as released: its submission under this claim was not sent.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn mark_released(
    connection: &Connection,
    ordinal: u32,
    claim: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE orders SET is_released = 1, claim = ?2 WHERE ordinal = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![ordinal, claim]).map(drop)
}

/// The order that holds a client order id, or held it last.
#[derive(Debug)]
pub(in crate::order_log) struct ClientOrderIdHolder {
    /// The order's status.
    pub(in crate::order_log) status: OrderStatus,
    /// Whether the order is known only by a submission that was released.
    pub(in crate::order_log) is_released: bool,
    /// The time of the last report.
    pub(in crate::order_log) reported_at: Timestamp,
}

/// Returns the newest order with the account and client order id of a report. Dry runs have ids of their own.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn find_client_order_id_holder(
    connection: &Connection,
    report: &LoggedReport,
    is_dry_run: bool,
) -> rusqlite::Result<Option<ClientOrderIdHolder>> {
    let sql = "SELECT status, is_released, reported_at FROM orders WHERE client_order_id = ?1 AND account_id = ?2 \
               AND (mode = 'dry_run') = ?3 ORDER BY ordinal DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let key = params![report.client_order_id, report.account_id, is_dry_run];
    let found = statement.query_row(key, |row| {
        Ok(ClientOrderIdHolder {
            status: row.get::<_, DomainColumn<_>>(0)?.0,
            is_released: row.get(1)?,
            reported_at: row.get::<_, DomainColumn<_>>(2)?.0,
        })
    });
    found.optional()
}

/// Returns the ordinals of the orders with a client order id, over all accounts.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn load_ordinals_by_client_order_id(
    connection: &Connection,
    client_order_id: &str,
) -> rusqlite::Result<RoaringBitmap> {
    let mut statement = connection.prepare_cached("SELECT ordinal FROM orders WHERE client_order_id = ?1")?;
    let rows = statement.query_map([client_order_id], |row| row.get::<_, u32>(0))?;
    rows.collect()
}

/// The notes and tags of an order.
#[derive(Debug)]
pub(in crate::order_log) struct OrderAnnotations {
    /// The order's ordinal.
    pub(in crate::order_log) ordinal: u32,
    /// The notes, one a line.
    pub(in crate::order_log) notes: Option<String>,
    /// The tags, as they were given.
    pub(in crate::order_log) tags: Vec<String>,
    /// The time of the last report.
    pub(in crate::order_log) reported_at: Timestamp,
    /// The time of the last note.
    pub(in crate::order_log) noted_at: Option<Timestamp>,
}

/// Returns the notes and tags of an account's order.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn find_annotations(
    connection: &Connection,
    order_id: &str,
    account_id: &str,
) -> rusqlite::Result<Option<OrderAnnotations>> {
    let sql = "SELECT ordinal, notes, tags, reported_at, noted_at FROM orders WHERE order_id = ?1 AND account_id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([order_id, account_id], |row| {
        Ok(OrderAnnotations {
            ordinal: row.get(0)?,
            notes: row.get(1)?,
            tags: row.get::<_, JsonColumn<_>>(2)?.0,
            reported_at: row.get::<_, DomainColumn<_>>(3)?.0,
            noted_at: row.get::<_, DomainColumn<_>>(4)?.0,
        })
    });
    found.optional()
}

/// Stores the notes and tags of an order, and the time of its last note.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn update_annotations(
    connection: &Connection,
    annotations: &OrderAnnotations,
) -> rusqlite::Result<()> {
    let sql = "UPDATE orders SET notes = ?2, tags = ?3, noted_at = ?4 WHERE ordinal = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let OrderAnnotations {
        ordinal,
        notes,
        tags,
        noted_at,
        ..
    } = annotations;
    statement
        .execute(params![ordinal, notes, JsonColumn(tags), DomainColumn(*noted_at)])
        .map(drop)
}
