//! The position ledger: books fills, fees and adjustments in the order of the journal.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding, round_to_units};
use crate::domain::order_terms::Side;
use crate::domain::position_book::{PositionBook, PositionBookError};
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price};
use crate::order_log::ingest::entry::LoggedReport;
use crate::order_log::tables::positions::{self, PositionRow, PositionRowKey};
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::report::ReportedFill;

/// The most positions that stay in the cache between two transactions.
const MAX_CACHED_POSITIONS: usize = 10_000;

/// A cache of the positions that were used last, and the keys of those that changed since they were written.
#[derive(Debug, Default)]
pub(in crate::order_log) struct PositionLedger {
    cached: HashMap<PositionRowKey, PositionRow>,
    dirty: HashSet<PositionRowKey>,
}

impl PositionLedger {
    /// Clears the cache: after a transaction that was not committed.
    pub(in crate::order_log) fn clear_cache(&mut self) {
        self.cached.clear();
        self.dirty.clear();
    }

    /// Books a fill, with its fee if it is paid in the traded asset.
    ///
    /// # Errors
    /// Any error of SQLite.
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
        let base_asset = report
            .settlement
            .as_ref()
            .and_then(|settlement| settlement.base_asset.as_deref());
        let is_paid_in_asset = base_asset == Some(fill.fee_currency.as_str());
        self.update_book(connection, report, |book| {
            let book = apply_trade(book, quantity, fill.price)?;
            if !is_paid_in_asset {
                return Ok(book);
            }
            let fee = round_to_units(fill.fee, MAX_AMOUNT_DECIMALS, Rounding::Up);
            book.apply_base_asset_fee(fee.ok_or(PositionBookError::ExceedsExactRange)?)
        })
    }

    /// Marks a position as inexact: a part of it is unknown.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn mark_inexact(
        &mut self,
        connection: &Connection,
        report: &LoggedReport,
    ) -> rusqlite::Result<()> {
        self.update_book(connection, report, |_| Err(PositionBookError::ExceedsExactRange))
    }

    /// Books the other fees of a report's fills, as the shared sums count them.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn apply_fees(
        &mut self,
        connection: &Connection,
        report: &LoggedReport,
    ) -> rusqlite::Result<()> {
        let Some(deltas) = report.settlement.as_ref().map(|settlement| settlement.deltas) else {
            return Ok(());
        };
        if deltas.fees == 0 {
            return Ok(());
        }
        self.update_book(connection, report, |book| {
            let fees = Micros::new(deltas.fees).ok_or(PositionBookError::ExceedsExactRange)?;
            book.apply_fee(fees)
        })
    }

    /// Books an adjustment of a position, or a fee that is priced. An adjustment of cash changes no position.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn apply_adjustment(
        &mut self,
        connection: &Connection,
        event: &AdjustmentEvent,
    ) -> rusqlite::Result<()> {
        if let Some(fee) = &event.fee {
            let key = (
                event.mode,
                event.account_id.clone(),
                fee.venue.clone(),
                fee.symbol.clone(),
            );
            let row = self.load_row(connection, key, broker_of(&fee.venue))?;
            row.apply_to_book(|book| {
                book.apply_fee(Micros::new(event.deltas.fees).ok_or(PositionBookError::ExceedsExactRange)?)
            });
            return Ok(());
        }
        let Some(adjusted) = &event.position else { return Ok(()) };
        let key = (
            event.mode,
            event.account_id.clone(),
            adjusted.venue.clone(),
            adjusted.symbol.clone(),
        );
        let row = self.load_row(connection, key, broker_of(&adjusted.venue))?;
        row.lot_size = adjusted.lot_size;
        row.base_rate = adjusted.base_rate;
        row.apply_to_book(|book| apply_trade(book, adjusted.quantity, adjusted.price));
        Ok(())
    }

    fn update_book(
        &mut self,
        connection: &Connection,
        report: &LoggedReport,
        change: impl FnOnce(PositionBook) -> Result<PositionBook, PositionBookError>,
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
        row.apply_to_book(change);
        Ok(())
    }

    /// Returns a position to change, and marks it as changed; a new position is flat.
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
            Entry::Occupied(entry) => return Ok(entry.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        if let Some(stored) = positions::find(connection, entry.key())? {
            return Ok(entry.insert(stored));
        }
        let (mode, account_id, venue, symbol) = entry.key().clone();
        Ok(entry.insert(PositionRow {
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
        }))
    }

    /// Writes the changed positions to the file: before a commit.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(in crate::order_log) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for key in self.dirty.drain() {
            if let Some(row) = self.cached.get(&key) {
                positions::replace(connection, row)?;
            }
        }
        if self.cached.len() > MAX_CACHED_POSITIONS {
            self.cached.clear();
        }
        Ok(())
    }
}

impl PositionRow {
    /// Changes the book; a change that cannot be counted exactly leaves the book and marks the position.
    fn apply_to_book(&mut self, change: impl FnOnce(PositionBook) -> Result<PositionBook, PositionBookError>) {
        match change(self.book) {
            Ok(book) => self.book = book,
            Err(error) => {
                let (account_id, symbol) = (&self.account_id, &self.symbol);
                tracing::error!(
                    account_id,
                    symbol,
                    %error,
                    "a position of the order log is no longer exact: part of it cannot be counted"
                );
                self.is_exact = false;
            }
        }
    }
}

/// Books a trade of a signed quantity.
/// Returns the broker of a venue: its name begins with it.
fn broker_of(venue: &str) -> &str {
    venue.split('.').next().unwrap_or_default()
}

fn apply_trade(book: PositionBook, quantity: Decimal, price: Decimal) -> Result<PositionBook, PositionBookError> {
    let price = Price::new(price).map_err(|_| PositionBookError::ExceedsExactRange)?;
    book.apply_trade(quantity, price)
}
