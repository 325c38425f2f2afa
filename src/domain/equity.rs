//! What accounts are worth: cash flow, less fees, plus what they hold at its mark. Exact until the last step.

use std::collections::BTreeMap;

use super::decimal::Decimal;
use super::id::{AccountId, VenueId};
use super::intent::Symbol;
use super::money::{BASE_FEE_SCALE, MICROS_SCALE, Micros};
use super::quantity::{MAX_DECIMALS, Price};

/// Decimals of quantity × mark × rate, each of which has at most eight.
const VALUE_SCALE: u32 = 3 * MAX_DECIMALS;

/// What an account's shared sums say of one instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The account.
    pub account_id: AccountId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// What fills have left, before fees in the base asset, in lots.
    pub position: i64,
    /// Fees that were paid in the base asset, in units of 1e-8 of it.
    pub base_fees: i64,
    /// What trading brought in less what it paid, in millionths of the base currency.
    pub cash_flow: i64,
    /// Fees that were not paid in the base asset, in millionths of the base currency.
    pub fees: i64,
}

/// What a position in an instrument is valued by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valuation {
    /// The lot that positions count in.
    pub lot_size: Decimal,
    /// What a unit of the quote currency is worth in the base currency.
    pub base_rate: Decimal,
    /// The price positions are marked at.
    pub mark: Price,
}

/// What accounts are worth, in the base currency, each figure rounded down once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Equities {
    /// Over all accounts, from the net totals per symbol; `None` where it cannot be told.
    pub total: Option<Micros>,
    /// Of each account that has traded; `None` where it cannot be told.
    pub accounts: BTreeMap<AccountId, Option<Micros>>,
}

/// Lots and base fees of one instrument, which add up before they are valued.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    lots: i128,
    base_fees: i128,
}

/// A sum of cash and values in units of 10^-24; `None` once a part of it is missing.
type Worth = Option<i128>;

/// Returns what accounts are worth. A position without a valuation makes a figure unknown; one that is flat needs none.
pub fn equities(holdings: &[Holding], valuations: &BTreeMap<(VenueId, Symbol), Valuation>) -> Equities {
    let (mut accounts, mut net): (BTreeMap<AccountId, Worth>, BTreeMap<_, Position>) = Default::default();
    let mut total: Worth = Some(0);
    for holding in holdings {
        let key = (holding.venue.clone(), holding.symbol.clone());
        let position = Position {
            lots: holding.position.into(),
            base_fees: holding.base_fees.into(),
        };
        let cash = cash(holding);
        let worth = plus(cash, value(position, valuations.get(&key)));
        let account = accounts.entry(holding.account_id.clone()).or_insert(Some(0));
        *account = plus(*account, worth);
        total = plus(total, cash);
        let all = net.entry(key).or_default();
        all.lots += position.lots;
        all.base_fees += position.base_fees;
    }
    for (key, position) in &net {
        total = plus(total, value(*position, valuations.get(key)));
    }
    Equities {
        total: rounded(total),
        accounts: accounts
            .into_iter()
            .map(|(account, worth)| (account, rounded(worth)))
            .collect(),
    }
}

fn cash(holding: &Holding) -> Worth {
    let micros = i128::from(holding.cash_flow) - i128::from(holding.fees);
    micros.checked_mul(10i128.pow(VALUE_SCALE - MICROS_SCALE))
}

fn value(position: Position, valuation: Option<&Valuation>) -> Worth {
    if position.lots == 0 && position.base_fees == 0 {
        return Some(0);
    }
    let valuation = valuation?;
    let lot = valuation.lot_size.scaled(BASE_FEE_SCALE)?;
    let quantity = position.lots.checked_mul(lot)?.checked_sub(position.base_fees)?;
    let mark = valuation.mark.decimal().scaled(MAX_DECIMALS)?;
    let rate = valuation.base_rate.scaled(MAX_DECIMALS)?;
    quantity.checked_mul(mark)?.checked_mul(rate)
}

fn plus(one: Worth, other: Worth) -> Worth {
    one?.checked_add(other?)
}

/// Rounds down: an equity is what we have.
fn rounded(worth: Worth) -> Option<Micros> {
    let micros = worth?.div_euclid(10i128.pow(VALUE_SCALE - MICROS_SCALE));
    i64::try_from(micros).ok().and_then(Micros::new)
}

#[cfg(test)]
#[path = "equity_tests.rs"]
mod tests;
