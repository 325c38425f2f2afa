//! The profit of a trading day from the shared sums: cash flow less fees, plus positions at their marks, less positions at
//! the day's start at their marks then. Exact until the final rounding.

use std::collections::BTreeMap;

use crate::domain::decimal::Decimal;
use crate::domain::id::VenueId;
use crate::domain::money::{MICROS_SCALE, Micros};
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, Price, QuantityUnits};
use crate::domain::symbol::Symbol;
use crate::domain::time::TradingDate;

/// Decimals of quantity × mark × rate, each of which has at most eight decimals.
const VALUE_SCALE: u32 = 3 * MAX_AMOUNT_DECIMALS;

/// The sums of one instrument: an account's, or the net of all accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionSums {
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// The position, in units of 1e-8.
    pub position: QuantityUnits,
    /// The position at the start of `day`, in units of 1e-8.
    pub start: QuantityUnits,
    /// The trading day of the daily sums, in days since 1970-01-01.
    pub day: i64,
    /// Proceeds of sells less cost of buys of the day, in millionths of the base currency.
    pub cash_flow: i64,
    /// Fees of the day in other currencies than the traded asset, in millionths of the base currency.
    pub fees: i64,
    /// Open orders.
    pub open_orders: i64,
}

impl PositionSums {
    /// Returns the sums on a trading day: the first move of a later day begins it, with the position at its start.
    fn on_day(&self, date: TradingDate) -> Self {
        if self.day >= date.days_since_1970() {
            return self.clone();
        }
        Self {
            start: self.position,
            cash_flow: 0,
            fees: 0,
            ..self.clone()
        }
    }
}

/// What an instrument is valued at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValuationInputs {
    /// The value of one unit of the quote currency in the base currency.
    pub base_rate: Decimal,
    /// The price that positions are marked at; `None` where there is none.
    pub mark: Option<Price>,
    /// The mark at the start of the trading day; `None` where there was none.
    pub start_mark: Option<Price>,
}

/// The profit of a trading day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DayProfit {
    /// The profit of everything that has a price, in the base currency, rounded down once.
    pub profit: Micros,
    /// The instruments whose positions, now or at the day's start, have no price: the profit leaves them out, flows
    /// included.
    pub unpriced: Vec<(VenueId, Symbol)>,
}

/// Returns the profit of a trading day; `None` where it exceeds the exact range.
pub fn compute_day_profit(
    positions: &[PositionSums],
    date: TradingDate,
    valuations: &BTreeMap<(VenueId, Symbol), ValuationInputs>,
) -> Option<DayProfit> {
    let (mut total, mut unpriced) = (0i128, Vec::new());
    for sums in positions {
        let sums = sums.on_day(date);
        let key = (sums.venue.clone(), sums.symbol.clone());
        let flow = i128::from(sums.cash_flow) - i128::from(sums.fees);
        let flow = flow.checked_mul(10i128.pow(VALUE_SCALE - MICROS_SCALE))?;
        let valuation = valuations.get(&key);
        let value = |position: QuantityUnits, mark: Option<Price>| match (position, mark, valuation) {
            (0, _, _) => Some(Some(0)),
            (_, Some(mark), Some(valuation)) => position_value(position, mark, valuation.base_rate).map(Some),
            _ => Some(None),
        };
        let now = value(sums.position, valuation.and_then(|valuation| valuation.mark))?;
        let start = value(sums.start, valuation.and_then(|valuation| valuation.start_mark))?;
        match (now, start) {
            (Some(now), Some(start)) => total = total.checked_add(flow)?.checked_add(now.checked_sub(start)?)?,
            _ => unpriced.push(key),
        }
    }
    let micros = total.div_euclid(10i128.pow(VALUE_SCALE - MICROS_SCALE));
    let profit = i64::try_from(micros).ok().and_then(Micros::new)?;
    Some(DayProfit { profit, unpriced })
}

/// Returns the value of a position in units of 10^-24 of the base currency; `None` beyond the range.
fn position_value(position: QuantityUnits, mark: Price, base_rate: Decimal) -> Option<i128> {
    let mark = mark.decimal().to_scaled_integer(MAX_AMOUNT_DECIMALS)?;
    let rate = base_rate.to_scaled_integer(MAX_AMOUNT_DECIMALS)?;
    position.checked_mul(mark)?.checked_mul(rate)
}

#[cfg(test)]
#[path = "day_profit_tests.rs"]
mod tests;
