//! The executions: one row per fill, by ordinal.

use std::sync::LazyLock;

use rusqlite::{Connection, params};

use crate::domain::time::Timestamp;
use crate::order_log::database::columns::{RowStatement, columns};
use crate::order_log::database::sql_types::DomainColumn;
use crate::wire::report::ReportedFill;

/// What an execution's row is written from.
#[derive(Debug, Clone, Copy)]
pub(in crate::order_log) struct ExecutionRow<'a> {
    /// The execution's place among the executions, from 0.
    pub(in crate::order_log) ordinal: u32,
    /// The execution's id.
    pub(in crate::order_log) id: u64,
    /// The ordinal of the order.
    pub(in crate::order_log) order_ordinal: u32,
    /// When the journal stored the report.
    pub(in crate::order_log) stored_at: Timestamp,
    /// The fill.
    pub(in crate::order_log) fill: &'a ReportedFill,
}

columns! {
    /// The columns of `executions`.
    ExecutionColumn of "executions" from execution: ExecutionRow<'_> {
        Ordinal: "ordinal" "INTEGER PRIMARY KEY", Keep = execution.ordinal;
        Id: "id" "INTEGER NOT NULL", Keep = execution.id;
        OrderOrdinal: "order_ordinal" "INTEGER NOT NULL", Keep = execution.order_ordinal;
        ExecId: "exec_id" "TEXT NOT NULL", Keep = &execution.fill.exec_id;
        Quantity: "quantity" "TEXT NOT NULL", Keep = DomainColumn(execution.fill.quantity);
        Price: "price" "TEXT NOT NULL", Keep = DomainColumn(execution.fill.price);
        Fees: "fees" "TEXT NOT NULL", Keep = DomainColumn(execution.fill.fee);
        FeeCurrency: "fee_currency" "TEXT NOT NULL", Keep = &execution.fill.fee_currency;
        ExecutedAt: "executed_at" "INTEGER NOT NULL", Keep = DomainColumn(execution.fill.timestamp);
        CreatedAt: "created_at" "INTEGER NOT NULL", Keep = DomainColumn(execution.stored_at);
    }
}

static INSERT: LazyLock<RowStatement<ExecutionColumn>> = LazyLock::new(RowStatement::insert);

/// Adds the row of an execution.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn insert(connection: &Connection, execution: &ExecutionRow<'_>) -> rusqlite::Result<()> {
    ExecutionColumn::write(connection, &INSERT, execution)
}

/// Returns how many executions, the oldest ones of `total`, have an id up to this one: ids rise with the ordinals.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn count_up_to(connection: &Connection, id: u64, total: u32) -> rusqlite::Result<u32> {
    let mut statement = connection.prepare_cached("SELECT id FROM executions WHERE ordinal = ?1")?;
    let (mut low, mut high) = (0, total);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: u64 = statement.query_row([middle], |row| row.get(0))?;
        if found <= id {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Returns the fills of a report that the order has no execution of.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn select_unrecorded<'r>(
    connection: &Connection,
    order_ordinal: u32,
    fills: &'r [ReportedFill],
) -> rusqlite::Result<Vec<&'r ReportedFill>> {
    let sql = "SELECT 1 FROM executions WHERE order_ordinal = ?1 AND exec_id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut unrecorded = Vec::new();
    for fill in fills {
        if !statement.exists(params![order_ordinal, fill.exec_id])? {
            unrecorded.push(fill);
        }
    }
    Ok(unrecorded)
}
