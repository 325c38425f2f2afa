//! The positions: one row per mode, account, venue and symbol.

use std::sync::LazyLock;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::domain::decimal::Decimal;
use crate::domain::id::AccountId;
use crate::domain::order_terms::Mode;
use crate::domain::position_book::{PositionBook, PositionBookParts};
use crate::order_log::database::columns::{RowStatement, Selection, columns};
use crate::order_log::database::sql_types::{DomainColumn, WideInteger};

/// The most positions that one response holds.
pub(in crate::order_log) const MAX_POSITIONS_RETURNED: usize = 10_000;

/// A position: what an account holds of one instrument in one mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionRow {
    /// The mode. Positions of different modes never mix.
    pub mode: Mode,
    /// The account.
    pub account_id: String,
    /// The venue.
    pub venue: String,
    /// The symbol.
    pub symbol: String,
    /// The broker.
    pub broker: String,
    /// The quantity held, its cost, the realized result and the fees.
    pub book: PositionBook,
    /// The lot that quantities count in.
    pub lot_size: Decimal,
    /// The value of one unit of the quote currency in the base currency, at the last trade.
    pub base_rate: Decimal,
    /// The asset that is bought or sold, where fees may be paid in it.
    pub base_asset: Option<String>,
    /// Whether everything could be counted exactly.
    pub is_exact: bool,
}

/// The key of a position: mode, account, venue and symbol.
pub(in crate::order_log) type PositionRowKey = (Mode, String, String, String);

columns! {
    /// The columns of `positions`.
    PositionColumn of "positions" from position: PositionRow {
        Mode: "mode" "TEXT NOT NULL", Keep = DomainColumn(position.mode);
        AccountId: "account_id" "TEXT NOT NULL", Keep = &position.account_id;
        Venue: "venue" "TEXT NOT NULL", Keep = &position.venue;
        Symbol: "symbol" "TEXT NOT NULL", Keep = &position.symbol;
        Broker: "broker" "TEXT NOT NULL", Replace = &position.broker;
        Quantity: "quantity" "TEXT NOT NULL", Replace = WideInteger(position.book.parts().quantity);
        Cost: "cost" "TEXT NOT NULL", Replace = WideInteger(position.book.parts().cost);
        Realized: "realized" "TEXT NOT NULL", Replace = WideInteger(position.book.parts().realized);
        Fees: "fees" "TEXT NOT NULL", Replace = WideInteger(position.book.parts().fees);
        LotSize: "lot_size" "TEXT NOT NULL", Replace = DomainColumn(position.lot_size);
        BaseRate: "base_rate" "TEXT NOT NULL", Replace = DomainColumn(position.base_rate);
        BaseAsset: "base_asset" "TEXT", Replace = &position.base_asset;
        IsExact: "is_exact" "INTEGER NOT NULL", Replace = position.is_exact;
    }
}

const ALL_COLUMNS: Selection<PositionColumn> = Selection::ALL;
static REPLACE: LazyLock<RowStatement<PositionColumn>> = LazyLock::new(RowStatement::insert_or_replace);
static SELECT_ONE: LazyLock<String> = LazyLock::new(|| {
    let columns = ALL_COLUMNS.list("p");
    format!(
        "SELECT {columns} FROM positions p \
         WHERE p.mode = ?1 AND p.account_id = ?2 AND p.venue = ?3 AND p.symbol = ?4"
    )
});
static SELECT_LIST: LazyLock<String> = LazyLock::new(|| {
    let (columns, limit) = (ALL_COLUMNS.list("p"), MAX_POSITIONS_RETURNED + 1);
    format!(
        "SELECT {columns} FROM positions p WHERE ?1 IS NULL OR p.account_id = ?1 \
         ORDER BY p.mode, p.account_id, p.venue, p.symbol LIMIT {limit}"
    )
});

/// Writes a position, in the place of the stored one.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn replace(connection: &Connection, position: &PositionRow) -> rusqlite::Result<()> {
    PositionColumn::write(connection, &REPLACE, position)
}

/// Returns the position with a key.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn find(
    connection: &Connection,
    (mode, account_id, venue, symbol): &PositionRowKey,
) -> rusqlite::Result<Option<PositionRow>> {
    connection
        .prepare_cached(&SELECT_ONE)?
        .query_row(
            params![DomainColumn(*mode), account_id, venue, symbol],
            position_from_row,
        )
        .optional()
}

/// Returns the positions of an account, or of every account, flat ones included: one more than
/// [`MAX_POSITIONS_RETURNED`] at most.
///
/// # Errors
/// Any error of SQLite.
pub(in crate::order_log) fn list(
    connection: &Connection,
    account: Option<&AccountId>,
) -> rusqlite::Result<Vec<PositionRow>> {
    let mut statement = connection.prepare_cached(&SELECT_LIST)?;
    let rows = statement.query_map([account.map(AccountId::as_str)], position_from_row)?;
    rows.collect()
}

fn position_from_row(row: &Row<'_>) -> rusqlite::Result<PositionRow> {
    let position = ALL_COLUMNS.of(row);
    let parts = PositionBookParts {
        quantity: position.get::<WideInteger>(PositionColumn::Quantity)?.0,
        cost: position.get::<WideInteger>(PositionColumn::Cost)?.0,
        realized: position.get::<WideInteger>(PositionColumn::Realized)?.0,
        fees: position.get::<WideInteger>(PositionColumn::Fees)?.0,
    };
    let book = PositionBook::from_parts(parts).map_err(|error| {
        let quantity = PositionColumn::Quantity as usize;
        rusqlite::Error::FromSqlConversionFailure(quantity, Type::Text, Box::new(error))
    })?;
    Ok(PositionRow {
        mode: position.get_domain(PositionColumn::Mode)?,
        account_id: position.get(PositionColumn::AccountId)?,
        venue: position.get(PositionColumn::Venue)?,
        symbol: position.get(PositionColumn::Symbol)?,
        broker: position.get(PositionColumn::Broker)?,
        book,
        lot_size: position.get_domain(PositionColumn::LotSize)?,
        base_rate: position.get_domain(PositionColumn::BaseRate)?,
        base_asset: position.get(PositionColumn::BaseAsset)?,
        is_exact: position.get(PositionColumn::IsExact)?,
    })
}
