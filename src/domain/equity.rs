//! What accounts are worth: cash flow, less fees, plus what they hold at its mark. Exact until the last step.

use std::collections::BTreeMap;

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::{BASE_ASSET_FEE_SCALE, MICROS_SCALE, Micros};
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price};

/// Decimals of quantity × mark × rate, each of which has at most eight.
const VALUE_SCALE: u32 = 3 * MAX_AMOUNT_DECIMALS;

/// What an account's shared sums say of one instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionSums {
    /// The account.
    pub account_id: AccountId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// What fills have left, before fees in the base asset, in lots.
    pub position_lots: i64,
    /// Fees that were paid in the base asset, in units of 1e-8 of it.
    pub base_fees: i64,
    /// What trading brought in less what it paid, in millionths of the base currency.
    pub cash_flow: i64,
    /// Fees that were not paid in the base asset, in millionths of the base currency.
    pub fees: i64,
}

/// What a position in an instrument is valued by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValuationInputs {
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
struct NetPosition {
    lots: i128,
    base_fees: i128,
}

/// A sum of cash and values in units of 10^-24; `None` once a part of it is missing.
type ScaledValue = Option<i128>;

/// Returns what accounts are worth. A position without a valuation makes a figure unknown; one that is flat needs none.
pub fn compute_equities(
    holdings: &[PositionSums],
    valuations: &BTreeMap<(VenueId, Symbol), ValuationInputs>,
) -> Equities {
    let (mut accounts, mut net): (BTreeMap<AccountId, ScaledValue>, BTreeMap<_, NetPosition>) = Default::default();
    let mut total: ScaledValue = Some(0);
    for holding in holdings {
        let key = (holding.venue.clone(), holding.symbol.clone());
        let position = NetPosition {
            lots: holding.position_lots.into(),
            base_fees: holding.base_fees.into(),
        };
        let cash = cash_value(holding);
        let worth = add_values(cash, position_value(position, valuations.get(&key)));
        let account = accounts.entry(holding.account_id.clone()).or_insert(Some(0));
        *account = add_values(*account, worth);
        total = add_values(total, cash);
        let all = net.entry(key).or_default();
        all.lots += position.lots;
        all.base_fees += position.base_fees;
    }
    for (key, position) in &net {
        total = add_values(total, position_value(*position, valuations.get(key)));
    }
    Equities {
        total: round_down_to_micros(total),
        accounts: accounts
            .into_iter()
            .map(|(account, worth)| (account, round_down_to_micros(worth)))
            .collect(),
    }
}

fn cash_value(holding: &PositionSums) -> ScaledValue {
    let micros = i128::from(holding.cash_flow) - i128::from(holding.fees);
    micros.checked_mul(10i128.pow(VALUE_SCALE - MICROS_SCALE))
}

fn position_value(position: NetPosition, valuation: Option<&ValuationInputs>) -> ScaledValue {
    if position.lots == 0 && position.base_fees == 0 {
        return Some(0);
    }
    let valuation = valuation?;
    let lot = valuation.lot_size.to_scaled_integer(BASE_ASSET_FEE_SCALE)?;
    let quantity = position.lots.checked_mul(lot)?.checked_sub(position.base_fees)?;
    let mark = valuation.mark.decimal().to_scaled_integer(MAX_AMOUNT_DECIMALS)?;
    let rate = valuation.base_rate.to_scaled_integer(MAX_AMOUNT_DECIMALS)?;
    quantity.checked_mul(mark)?.checked_mul(rate)
}

fn add_values(one: ScaledValue, other: ScaledValue) -> ScaledValue {
    one?.checked_add(other?)
}

/// Rounds down: an equity is what we have.
fn round_down_to_micros(worth: ScaledValue) -> Option<Micros> {
    let micros = worth?.div_euclid(10i128.pow(VALUE_SCALE - MICROS_SCALE));
    i64::try_from(micros).ok().and_then(Micros::new)
}

#[cfg(test)]
#[path = "equity_tests.rs"]
mod tests;
