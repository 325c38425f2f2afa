//! The equity of accounts: cash flow, less fees, plus positions at their marks. Exact until the final rounding.

use std::collections::BTreeMap;

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::money::{BASE_ASSET_FEE_SCALE, MICROS_SCALE, Micros};
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price};
use crate::domain::symbol::Symbol;

/// Decimals of quantity × mark × rate, each of which has at most eight decimals.
const VALUE_SCALE: u32 = 3 * MAX_AMOUNT_DECIMALS;

/// An account's shared sums for one instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionSums {
    /// The account.
    pub account_id: AccountId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// The net quantity of the fills, before fees in the base asset, in lots.
    pub position_lots: i64,
    /// Fees in the base asset, in units of 1e-8 of it.
    pub base_fees: i64,
    /// Proceeds of sells less cost of buys, in millionths of the base currency.
    pub cash_flow: i64,
    /// Fees in other currencies than the base asset, in millionths of the base currency.
    pub fees: i64,
}

/// The inputs to the valuation of a position in one instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValuationInputs {
    /// The lot size that positions count in.
    pub lot_size: Decimal,
    /// The value of one unit of the quote currency in the base currency.
    pub base_rate: Decimal,
    /// The price that positions are marked at.
    pub mark: Price,
}

/// The equity of accounts, in the base currency. Each amount is rounded down once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Equities {
    /// The equity of all accounts, from the net totals per symbol; `None` where it is unknown.
    pub total: Option<Micros>,
    /// The equity of each account with sums; `None` where it is unknown.
    pub accounts: BTreeMap<AccountId, Option<Micros>>,
}

/// Lots and base asset fees of one instrument, which are added up before their valuation.
#[derive(Debug, Clone, Copy, Default)]
struct NetPosition {
    lots: i128,
    base_fees: i128,
}

/// A sum of cash and position values in units of 10^-24; `None` where a part is unknown or the sum overflows.
type ScaledValue = Option<i128>;

/// Returns the equity of accounts. An open position without a valuation makes an equity unknown; a flat one needs no
/// valuation.
pub fn compute_equities(
    positions: &[PositionSums],
    valuations: &BTreeMap<(VenueId, Symbol), ValuationInputs>,
) -> Equities {
    let (mut accounts, mut net): (BTreeMap<AccountId, ScaledValue>, BTreeMap<_, NetPosition>) = Default::default();
    let mut total: ScaledValue = Some(0);
    for sums in positions {
        let key = (sums.venue.clone(), sums.symbol.clone());
        let position = NetPosition {
            lots: sums.position_lots.into(),
            base_fees: sums.base_fees.into(),
        };
        let cash = cash_value(sums);
        let value = add_values(cash, position_value(position, valuations.get(&key)));
        let account = accounts.entry(sums.account_id.clone()).or_insert(Some(0));
        *account = add_values(*account, value);
        total = add_values(total, cash);
        let net_position = net.entry(key).or_default();
        net_position.lots += position.lots;
        net_position.base_fees += position.base_fees;
    }
    for (key, position) in &net {
        total = add_values(total, position_value(*position, valuations.get(key)));
    }
    Equities {
        total: round_down_to_micros(total),
        accounts: accounts
            .into_iter()
            .map(|(account, value)| (account, round_down_to_micros(value)))
            .collect(),
    }
}

fn cash_value(sums: &PositionSums) -> ScaledValue {
    let micros = i128::from(sums.cash_flow) - i128::from(sums.fees);
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

/// Rounds towards minus infinity: equity is an asset, which is rounded against us.
fn round_down_to_micros(value: ScaledValue) -> Option<Micros> {
    let micros = value?.div_euclid(10i128.pow(VALUE_SCALE - MICROS_SCALE));
    i64::try_from(micros).ok().and_then(Micros::new)
}

#[cfg(test)]
#[path = "equity_tests.rs"]
mod tests;
