//! Positions: the books of what is held and what it cost, kept in the journal's order.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::domain::decimal::Decimal;
use crate::domain::id::AccountId;
use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, Side};
use crate::domain::position_book::{PositionBook, PositionBookError, PositionBookParts};
use crate::domain::quantity::Price;
use crate::order_log::ingest::entry::LoggedReport;
use crate::order_log::query::pages::{DecimalColumn, TermColumn};
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::report::ReportedFill;

/// How many positions are remembered between two transactions.
const MAX_CACHED_POSITIONS: usize = 10_000;

/// The most positions that are told at a time.
pub(in crate::order_log) const MAX_POSITIONS_RETURNED: usize = 10_000;

const POSITION_COLUMNS: &str = "mode, account_id, venue, symbol, broker, quantity, cost, realized, fees, lot_size, base_rate, \
                       base_asset, is_whole";

/// A position: what an account holds of one instrument in one mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionRow {
    /// The mode, whose positions never mix with another's.
    pub mode: Mode,
    /// The account.
    pub account_id: String,
    /// The venue.
    pub venue: String,
    /// The symbol.
    pub symbol: String,
    /// The broker.
    pub broker: String,
    /// What is held, and what it cost.
    pub book: PositionBook,
    /// The lot that quantities count in.
    pub lot_size: Decimal,
    /// What a unit of the quote currency was worth in the base currency when it was last traded.
    pub base_rate: Decimal,
    /// The asset that is bought or sold, where fees may be paid in it.
    pub base_asset: Option<String>,
    /// Whether everything could be counted exactly.
    pub is_exact: bool,
}

type PositionRowKey = (Mode, String, String, String);

/// Positions that were met last, and those that have changed since they were written.
#[derive(Debug, Default)]
pub(in crate::order_log) struct PositionLedger {
    cached: HashMap<PositionRowKey, PositionRow>,
    dirty: HashSet<PositionRowKey>,
}

impl PositionLedger {
    /// Forgets everything: after a transaction that was not committed.
    pub(in crate::order_log) fn clear_cache(&mut self) {
        self.cached.clear();
        self.dirty.clear();
    }

    /// Books a fill.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn apply_fill(
        &mut self,
        connection: &Connection,
        report: &LoggedReport,
        fill: &ReportedFill,
    ) -> rusqlite::Result<()> {
        let quantity = match report.side {
            Side::Buy => fill.quantity,
            Side::Sell => fill.quantity.negated(),
        };
        let booked = |book: PositionBook| {
            let price = Price::new(fill.price).map_err(|_| PositionBookError::ExceedsExactRange)?;
            book.apply_trade(quantity, price)
        };
        self.update_book(connection, report, booked)
    }

    /// Takes note that a position lacks something.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn mark_inexact(
        &mut self,
        connection: &Connection,
        report: &LoggedReport,
    ) -> rusqlite::Result<()> {
        self.update_book(connection, report, |_| Err(PositionBookError::ExceedsExactRange))
    }

    /// Books the fees of a report's fills, as the shared sums count them.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn apply_fees(
        &mut self,
        connection: &Connection,
        report: &LoggedReport,
    ) -> rusqlite::Result<()> {
        let Some(moves) = report.settlement.as_ref().map(|settlement| settlement.deltas) else {
            return Ok(());
        };
        if moves.fees == 0 && moves.base_fees == 0 {
            return Ok(());
        }
        self.update_book(connection, report, |book| {
            let fees = Micros::new(moves.fees).ok_or(PositionBookError::ExceedsExactRange)?;
            book.apply_base_asset_fee(moves.base_fees)?.apply_fee(fees)
        })
    }

    /// Books an adjustment of a position; one of cash belongs to no position.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn apply_adjustment(
        &mut self,
        connection: &Connection,
        event: &AdjustmentEvent,
    ) -> rusqlite::Result<()> {
        let Some(position) = &event.position else { return Ok(()) };
        let key = (
            event.mode,
            event.account_id.clone(),
            position.venue.clone(),
            position.symbol.clone(),
        );
        // A venue is named by its broker first.
        let broker = position.venue.split('.').next().unwrap_or_default();
        let row = self.load_row(connection, key, broker)?;
        row.lot_size = position.lot_size;
        row.base_rate = position.base_rate;
        row.apply_to_book(|book| {
            let price = Price::new(position.price).map_err(|_| PositionBookError::ExceedsExactRange)?;
            book.apply_trade(position.quantity, price)
        });
        Ok(())
    }

    fn update_book(
        &mut self,
        connection: &Connection,
        report: &LoggedReport,
        booked: impl FnOnce(PositionBook) -> Result<PositionBook, PositionBookError>,
    ) -> rusqlite::Result<()> {
        let key = (
            report.mode,
            report.account_id.clone(),
            report.venue.clone(),
            report.symbol.clone(),
        );
        let row = self.load_row(connection, key, &report.broker)?;
        if let Some(settlement) = &report.settlement {
            row.lot_size = settlement.lot_size;
            row.base_rate = settlement.base_rate;
            row.base_asset.clone_from(&settlement.base_asset);
        }
        row.apply_to_book(booked);
        Ok(())
    }

    /// Returns a position to be changed; a new one is flat.
    fn load_row(
        &mut self,
        connection: &Connection,
        key: PositionRowKey,
        broker: &str,
    ) -> rusqlite::Result<&mut PositionRow> {
        if !self.dirty.contains(&key) {
            self.dirty.insert(key.clone());
        }
        let entry = match self.cached.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => return Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => entry,
        };
        let (mode, account_id, venue, symbol) = entry.key().clone();
        let find = format!(
            "SELECT {POSITION_COLUMNS} FROM positions WHERE mode = ?1 AND account_id = ?2 AND venue = ?3 AND symbol = ?4"
        );
        let found = connection
            .prepare_cached(&find)?
            .query_row(params![mode.as_str(), account_id, venue, symbol], position_from_row)
            .optional()?;
        Ok(entry.insert(found.unwrap_or_else(|| PositionRow {
            mode,
            account_id,
            venue,
            symbol,
            broker: broker.to_owned(),
            book: PositionBook::default(),
            lot_size: Decimal::from(1),
            base_rate: Decimal::from(1),
            base_asset: None,
            is_exact: true,
        })))
    }

    /// Writes what has changed: before a commit.
    ///
    /// # Errors
    /// What the file says.
    pub(in crate::order_log) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let write = format!(
            "INSERT OR REPLACE INTO positions ({POSITION_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        );
        let mut statement = connection.prepare_cached(&write)?;
        for key in self.dirty.drain() {
            let Some(row) = self.cached.get(&key) else { continue };
            let parts = row.book.parts();
            statement.execute(params![
                row.mode.as_str(),
                row.account_id,
                row.venue,
                row.symbol,
                row.broker,
                parts.quantity.to_string(),
                parts.cost.to_string(),
                parts.realized.to_string(),
                parts.fees.to_string(),
                row.lot_size.to_string(),
                row.base_rate.to_string(),
                row.base_asset,
                row.is_exact,
            ])?;
        }
        if self.cached.len() > MAX_CACHED_POSITIONS {
            self.cached.clear();
        }
        Ok(())
    }
}

impl PositionRow {
    fn apply_to_book(&mut self, booked: impl FnOnce(PositionBook) -> Result<PositionBook, PositionBookError>) {
        match booked(self.book) {
            Ok(book) => self.book = book,
            Err(error) => {
                let (account_id, symbol) = (&self.account_id, &self.symbol);
                tracing::error!(account_id, symbol, %error, "a position of the order log is not whole any more");
                self.is_exact = false;
            }
        }
    }
}

/// Returns the positions of an account, or of every one.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn list_positions(
    connection: &Connection,
    account: Option<&AccountId>,
) -> rusqlite::Result<Vec<PositionRow>> {
    let list = format!(
        "SELECT {POSITION_COLUMNS} FROM positions WHERE ?1 IS NULL OR account_id = ?1 ORDER BY mode, account_id, venue, symbol \
         LIMIT {}",
        MAX_POSITIONS_RETURNED + 1
    );
    let mut statement = connection.prepare_cached(&list)?;
    let rows = statement.query_map([account.map(AccountId::as_str)], position_from_row)?;
    rows.collect()
}

/// Returns the mode that operators have set last; the one every router starts in before that.
///
/// # Errors
/// What the file says.
pub(in crate::order_log) fn load_mode(connection: &Connection) -> rusqlite::Result<Mode> {
    let find = "SELECT mode FROM state WHERE mode IS NOT NULL";
    let mode = connection
        .prepare_cached(find)?
        .query_row([], |row| row.get::<_, TermColumn<Mode>>(0))
        .optional()?;
    Ok(mode.map_or(Mode::Paper, |mode| mode.0))
}

fn position_from_row(row: &Row<'_>) -> rusqlite::Result<PositionRow> {
    let whole = |at: usize| -> rusqlite::Result<i128> {
        let text: String = row.get(at)?;
        let kind = rusqlite::types::Type::Text;
        text.parse()
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(error)))
    };
    let parts = PositionBookParts {
        quantity: whole(5)?,
        cost: whole(6)?,
        realized: whole(7)?,
        fees: whole(8)?,
    };
    let kind = rusqlite::types::Type::Text;
    let book = PositionBook::from_parts(parts)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(5, kind, Box::new(error)))?;
    Ok(PositionRow {
        mode: row.get::<_, TermColumn<Mode>>(0)?.0,
        account_id: row.get(1)?,
        venue: row.get(2)?,
        symbol: row.get(3)?,
        broker: row.get(4)?,
        book,
        lot_size: row.get::<_, DecimalColumn>(9)?.0,
        base_rate: row.get::<_, DecimalColumn>(10)?.0,
        base_asset: row.get(11)?,
        is_exact: row.get(12)?,
    })
}
