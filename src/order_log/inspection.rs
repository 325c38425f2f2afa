//! Reading an order log's file beside its sidecar, for a comparison with the journal: every row, from one state of the file.

use std::path::Path;

use rusqlite::Connection;

use crate::domain::time::Timestamp;
use crate::order_log::database::columns::Selection;
use crate::order_log::database::file::DATABASE_FILE;
use crate::order_log::database::schema;
use crate::order_log::tables::executions::ExecutionColumn;
use crate::order_log::tables::orders::OrderColumn;
use crate::order_log::tables::positions::PositionColumn;
use crate::order_log::tables::skipped;
use crate::order_log::tables::watermarks::{self, LogStream};

/// Why an order log cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// SQLite reports an error.
    #[error("the order log {0} cannot be read: {1}")]
    Sqlite(String, rusqlite::Error),
    /// The file is another release's.
    #[error("the order log {0} was written by another release of the program; its sidecar rebuilds it when it starts")]
    OtherRelease(String),
}

/// How far an order log has applied the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderLogExtent {
    /// The last journal sequence that is applied; 0 before the first.
    pub journal_sequence: u64,
    /// When that journal was created; `None` before anything is applied.
    pub journal_created: Option<Timestamp>,
    /// How many entries were skipped.
    pub skipped: u64,
}

/// The row of an order, its values as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedOrder {
    /// The journal sequence of its first entry.
    pub id: u64,
    /// The router's id.
    pub order_id: String,
    /// The caller's id.
    pub client_order_id: String,
    /// The account.
    pub account_id: String,
    /// The broker.
    pub broker: String,
    /// The venue.
    pub venue: String,
    /// The symbol.
    pub symbol: String,
    /// Buy or sell.
    pub side: String,
    /// Market or limit.
    pub order_type: String,
    /// How long it stays open.
    pub time_in_force: String,
    /// The limit price.
    pub limit_price: Option<String>,
    /// The ordered quantity.
    pub quantity: String,
    /// The quantity filled so far.
    pub filled_quantity: String,
    /// The status.
    pub status: String,
    /// Whether it is known only by a submission that was released.
    pub is_released: bool,
    /// When the router accepted it.
    pub submitted_at: Timestamp,
    /// When it last changed by a report.
    pub reported_at: Timestamp,
    /// The mode.
    pub mode: String,
    /// The version of its last report.
    pub version: u32,
    /// How many fills it has.
    pub fills_total: u32,
    /// Why it has its status, as JSON.
    pub reason: Option<String>,
    /// Its executions.
    pub fills: Vec<InspectedFill>,
}

/// The row of an execution, its values as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedFill {
    /// The venue's id of the fill.
    pub exec_id: String,
    /// The filled quantity.
    pub quantity: String,
    /// The price.
    pub price: String,
    /// The fee.
    pub fee: String,
    /// The currency of the fee.
    pub fee_currency: String,
    /// When the venue executed it.
    pub executed_at: Timestamp,
}

/// The row of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedPosition {
    /// The mode.
    pub mode: String,
    /// The account.
    pub account_id: String,
    /// The venue.
    pub venue: String,
    /// The symbol.
    pub symbol: String,
    /// The quantity held, in units of 1e-8.
    pub quantity: String,
    /// Whether everything could be counted exactly.
    pub is_exact: bool,
}

/// An order log's file, in one state.
#[derive(Debug)]
pub struct OrderLogSnapshot {
    connection: Connection,
    path: String,
}

impl OrderLogSnapshot {
    /// Opens the order log below a data directory, in the state that it is in now; `None` if there is none.
    ///
    /// # Errors
    /// When the file cannot be read, or is another release's.
    pub fn open(data_dir: &Path) -> Result<Option<Self>, InspectionError> {
        let path = data_dir.join(DATABASE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let name = path.display().to_string();
        let failed = |error| InspectionError::Sqlite(name.clone(), error);
        let connection = schema::open_read_only(&path).map_err(failed)?;
        connection.execute_batch("BEGIN").map_err(failed)?;
        // The first read takes the state that all others see.
        if !schema::is_own(&connection).map_err(failed)? {
            return Err(InspectionError::OtherRelease(name));
        }
        Ok(Some(Self { connection, path: name }))
    }

    /// Returns how far it has applied the journal.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub fn extent(&self) -> Result<OrderLogExtent, InspectionError> {
        let read = || {
            let watermark = watermarks::load(&self.connection, LogStream::Journal)?;
            Ok(OrderLogExtent {
                journal_sequence: watermark.map_or(0, |watermark| watermark.sequence),
                journal_created: watermark.map(|watermark| watermark.stream_created_at),
                skipped: skipped::count(&self.connection)?,
            })
        };
        read().map_err(|error| self.failed(error))
    }

    /// Visits every order, with its executions.
    ///
    /// # Errors
    /// Any error of SQLite, and of a value that is none of the column's.
    pub fn visit_orders(&self, visit: impl FnMut(InspectedOrder)) -> Result<(), InspectionError> {
        self.try_visit_orders(visit).map_err(|error| self.failed(error))
    }

    fn try_visit_orders(&self, mut visit: impl FnMut(InspectedOrder)) -> rusqlite::Result<()> {
        const ORDERS: Selection<OrderColumn> = Selection::ALL;
        const FILLS: Selection<ExecutionColumn> = Selection::ALL;
        let orders = format!("SELECT {} FROM orders o ORDER BY o.ordinal", ORDERS.list("o"));
        let fills = format!(
            "SELECT {} FROM executions e ORDER BY e.order_ordinal, e.ordinal",
            FILLS.list("e")
        );
        let (mut orders, mut fills) = (self.connection.prepare(&orders)?, self.connection.prepare(&fills)?);
        let mut fills = FillRows::begin(fills.query([])?)?;
        let mut orders = orders.query([])?;
        while let Some(row) = orders.next()? {
            let order = ORDERS.of(row);
            let ordinal: u32 = order.get(OrderColumn::Ordinal)?;
            let mut inspected = InspectedOrder {
                id: order.get(OrderColumn::Id)?,
                order_id: order.get(OrderColumn::OrderId)?,
                client_order_id: order.get(OrderColumn::ClientOrderId)?,
                account_id: order.get(OrderColumn::AccountId)?,
                broker: order.get(OrderColumn::Broker)?,
                venue: order.get(OrderColumn::Venue)?,
                symbol: order.get(OrderColumn::Symbol)?,
                side: order.get(OrderColumn::Side)?,
                order_type: order.get(OrderColumn::OrderType)?,
                time_in_force: order.get(OrderColumn::TimeInForce)?,
                limit_price: order.get(OrderColumn::LimitPrice)?,
                quantity: order.get(OrderColumn::Quantity)?,
                filled_quantity: order.get(OrderColumn::FilledQuantity)?,
                status: order.get(OrderColumn::Status)?,
                is_released: order.get(OrderColumn::IsReleased)?,
                submitted_at: order.get_domain(OrderColumn::SubmittedAt)?,
                reported_at: order.get_domain(OrderColumn::ReportedAt)?,
                mode: order.get(OrderColumn::Mode)?,
                version: order.get(OrderColumn::Version)?,
                fills_total: order.get(OrderColumn::FillsTotal)?,
                reason: order.get(OrderColumn::Reason)?,
                fills: Vec::new(),
            };
            while let Some(fill) = fills.next_up_to(ordinal)? {
                inspected.fills.push(fill);
            }
            visit(inspected);
        }
        Ok(())
    }

    /// Returns every position, flat ones included.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub fn positions(&self) -> Result<Vec<InspectedPosition>, InspectionError> {
        const POSITIONS: Selection<PositionColumn> = Selection::ALL;
        let read = || {
            let sql = format!("SELECT {} FROM positions p", POSITIONS.list("p"));
            let mut statement = self.connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| {
                let position = POSITIONS.of(row);
                Ok(InspectedPosition {
                    mode: position.get(PositionColumn::Mode)?,
                    account_id: position.get(PositionColumn::AccountId)?,
                    venue: position.get(PositionColumn::Venue)?,
                    symbol: position.get(PositionColumn::Symbol)?,
                    quantity: position.get(PositionColumn::Quantity)?,
                    is_exact: position.get(PositionColumn::IsExact)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<InspectedPosition>>>()
        };
        read().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> InspectionError {
        InspectionError::Sqlite(self.path.clone(), error)
    }
}

/// The executions in the order of their orders, the next one at hand.
struct FillRows<'s> {
    rows: rusqlite::Rows<'s>,
    next: Option<(u32, InspectedFill)>,
}

impl<'s> FillRows<'s> {
    fn begin(rows: rusqlite::Rows<'s>) -> rusqlite::Result<Self> {
        let mut fills = Self { rows, next: None };
        fills.next = fills.read()?;
        Ok(fills)
    }

    /// Returns the next execution of an order up to this one; `None` where the next one belongs to a later order.
    fn next_up_to(&mut self, ordinal: u32) -> rusqlite::Result<Option<InspectedFill>> {
        if self.next.as_ref().is_none_or(|(of, _)| *of > ordinal) {
            return Ok(None);
        }
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.next, next).map(|(_, fill)| fill))
    }

    fn read(&mut self) -> rusqlite::Result<Option<(u32, InspectedFill)>> {
        const FILLS: Selection<ExecutionColumn> = Selection::ALL;
        let Some(row) = self.rows.next()? else { return Ok(None) };
        let fill = FILLS.of(row);
        let inspected = InspectedFill {
            exec_id: fill.get(ExecutionColumn::ExecId)?,
            quantity: fill.get(ExecutionColumn::Quantity)?,
            price: fill.get(ExecutionColumn::Price)?,
            fee: fill.get(ExecutionColumn::Fees)?,
            fee_currency: fill.get(ExecutionColumn::FeeCurrency)?,
            executed_at: fill.get_domain(ExecutionColumn::ExecutedAt)?,
        };
        Ok(Some((fill.get(ExecutionColumn::OrderOrdinal)?, inspected)))
    }
}
