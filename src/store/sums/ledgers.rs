//! Ledgers: the sums of one account or of all accounts, each read at one moment (`lua/moment.lua`).

use std::sync::Arc;
use std::time::Duration;

use crate::domain::day_profit::PositionSums;
use crate::domain::id::AccountId;
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::{BatchReplies, READ_MOMENT, decode_value};

/// The field of a ledger that holds its own sums.
pub(in crate::store) const SUMS_FIELD: &str = "sums";

/// About how long Redis takes to read a ledger, and for each field in it. A transaction does not tell how long it ran; with
/// these a call holds fewer ledgers where they are large.
const READ_TIME: Duration = Duration::from_micros(2);
const READ_TIME_OF_A_FIELD: Duration = Duration::from_nanos(120);

/// Whose ledger it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LedgerOwner {
    /// One account's, in a mode.
    Account(Mode, AccountId),
    /// That of all accounts, in a mode. Its holdings are net.
    Total(Mode),
}

impl LedgerOwner {
    /// Returns the key of the ledger.
    pub(in crate::store) fn key(&self) -> String {
        match self {
            Self::Account(mode, account_id) => keys::account_ledger(*mode, account_id),
            Self::Total(mode) => keys::total_ledger(*mode),
        }
    }
}

/// A ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// When it was read, in milliseconds since 1970 by Redis' clock.
    pub read_at_ms: i64,
    /// The day of its daily sums, in days since 1970-01-01; 0 in a ledger that does not exist.
    pub day: i64,
    /// Notional routed on that day, in millionths of the base currency.
    pub notional: i64,
    /// What that day's fills have made, in millionths of the base currency.
    pub fill_result: i64,
    /// The fills whose fee has no price.
    pub unpriced_fees: i64,
    /// The holdings.
    pub holdings: Vec<PositionSums>,
}

impl Ledger {
    /// Returns the notional routed on a trading day.
    pub fn notional_on(&self, date: TradingDate) -> Micros {
        let is_today = self.day == date.days_since_1970();
        Micros::new(self.notional).filter(|_| is_today).unwrap_or(Micros::ZERO)
    }

    /// Returns what fills have made on a trading day.
    pub fn fill_result_on(&self, date: TradingDate) -> i64 {
        if self.day == date.days_since_1970() {
            self.fill_result
        } else {
            0
        }
    }
}

/// Reads a batch of ledgers in one transaction; returns each, in order.
pub(in crate::store) async fn run_ledger_batch(
    connection: StoreConnection,
    owners: Arc<[LedgerOwner]>,
) -> Result<BatchReplies<Ledger>, StoreError> {
    let call = connection.script_call(&READ_MOMENT, None, &[keys::meta()])?;
    let read = connection.run_with_reads(call, |commands| {
        for owner in owners.iter() {
            commands.cmd("HGETALL").arg(owner.key());
        }
    });
    let (mut reply, ledgers) = read.await?;
    let read_at_ms = reply.next_integer()?;
    let mut took = Duration::ZERO;
    let mut results = Vec::with_capacity(ledgers.len());
    for fields in ledgers {
        let fields: Result<Vec<(String, String)>, _> = decode_value(fields);
        let count = fields.as_ref().map_or(0, Vec::len);
        took += READ_TIME + READ_TIME_OF_A_FIELD.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        results.push(fields.and_then(|fields| decode_ledger(read_at_ms, fields)));
    }
    Ok(BatchReplies { results, took })
}

fn decode_ledger(read_at_ms: i64, fields: Vec<(String, String)>) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger {
        read_at_ms,
        ..Ledger::default()
    };
    for (field, value) in fields {
        if field == SUMS_FIELD {
            let [day, notional, _, fill_result, _, _, _, unpriced_fees] = parse_numbers(&value)?[..] else {
                return Err(StoreError::corrupt("a ledger's sums are not eight numbers"));
            };
            ledger.day = small(day)?;
            ledger.notional = small(notional)?;
            ledger.fill_result = small(fill_result)?;
            ledger.unpriced_fees = small(unpriced_fees)?;
        } else if let Some((venue, symbol)) = keys::parse_holding_name(&field) {
            let [_, _, position, start, day, cash_flow, fees, open_orders] = parse_numbers(&value)?[..] else {
                return Err(StoreError::corrupt(format!(
                    "the holding {field} has not eight numbers"
                )));
            };
            ledger.holdings.push(PositionSums {
                venue,
                symbol,
                position,
                start,
                day: small(day)?,
                cash_flow: small(cash_flow)?,
                fees: small(fees)?,
                open_orders: small(open_orders)?,
            });
        }
        // Another field is what rules remember of their alerts: no sum.
    }
    Ok(ledger)
}

fn parse_numbers(text: &str) -> Result<Vec<i128>, StoreError> {
    let numbers: Option<Vec<i128>> = text.split(' ').map(|number| number.parse().ok()).collect();
    numbers.ok_or_else(|| StoreError::corrupt(format!("{text:?} are no sums")))
}

fn small(number: i128) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::corrupt(format!("{number} is no sum of money")))
}
