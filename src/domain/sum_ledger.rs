//! A ledger of the shared sums in memory: how moves change it. The store's scripts change theirs in the same way
//! (`src/store/lua/prelude.lua`).

use std::collections::HashMap;

use crate::domain::id::VenueId;
use crate::domain::quantity::QuantityUnits;
use crate::domain::settlement::SumDeltas;
use crate::domain::symbol::Symbol;

/// How far an event moves a ledger, and the days that it counts for, in days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SumMoves {
    /// How far each sum moves.
    pub deltas: SumDeltas,
    /// The day that the notional counts for.
    pub notional_day: i64,
    /// The day that fills count for.
    pub day: i64,
}

impl SumMoves {
    /// Returns the moves that reverse these, on the same days.
    pub fn reversed(&self) -> Self {
        Self {
            deltas: self.deltas.reversed(),
            ..*self
        }
    }
}

/// The sums of one account or of all accounts. Daily sums are those of `day`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SumLedger {
    /// The day of the daily sums, in days since 1970-01-01; 0 before the first move.
    pub day: i64,
    /// Notional routed on that day, in millionths of the base currency.
    pub notional: i128,
    /// The loss that open orders expect, in millionths of the base currency.
    pub open_loss: i128,
    /// What that day's fills have made, in millionths of the base currency.
    pub fill_result: i128,
    /// Fills whose fee has no price yet.
    pub unpriced_fees: i128,
    /// The holdings that a move has named.
    pub holdings: HashMap<(VenueId, Symbol), SumHolding>,
}

/// The sums of one instrument in a ledger. Quantities count in units of 1e-8, money in millionths of the base currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SumHolding {
    /// Position + open buys.
    pub long: QuantityUnits,
    /// −position + open sells.
    pub short: QuantityUnits,
    /// The position.
    pub position: QuantityUnits,
    /// The position at the start of `day`.
    pub start: QuantityUnits,
    /// The day of cash flow and fees, in days since 1970-01-01; 0 before the first move.
    pub day: i64,
    /// That day's cash flow.
    pub cash_flow: i128,
    /// That day's fees.
    pub fees: i128,
    /// Open orders.
    pub open_orders: i128,
}

impl SumLedger {
    /// Moves the sums. A later day begins with daily sums of zero; an earlier day's moves count in what that day left to
    /// the next.
    pub fn apply(&mut self, instrument: (VenueId, Symbol), moves: &SumMoves) {
        let deltas = &moves.deltas;
        // A fill may be booked on the day before its order's.
        let latest = moves.day.max(moves.notional_day);
        if latest > self.day {
            (self.day, self.notional, self.fill_result) = (latest, 0, 0);
        }
        if moves.notional_day == self.day {
            self.notional += i128::from(deltas.daily_notional);
        }
        if moves.day == self.day {
            self.fill_result += i128::from(deltas.fill_result);
        }
        self.open_loss += i128::from(deltas.open_loss);
        self.unpriced_fees += i128::from(deltas.unpriced_fees);
        self.holdings.entry(instrument).or_default().apply(moves);
    }

    /// Returns how many holdings are not flat.
    pub fn held(&self) -> usize {
        self.holdings.values().filter(|holding| !holding.is_flat()).count()
    }

    /// Reports whether the ledger outlives its day: it holds something, or a fee of its fills has no price yet.
    pub fn is_kept(&self) -> bool {
        self.held() > 0 || self.unpriced_fees != 0
    }

    /// Returns the latest day that any of its daily sums counts for.
    pub fn latest_day(&self) -> i64 {
        let days = self.holdings.values().map(|holding| holding.day);
        days.fold(self.day, i64::max)
    }
}

impl SumHolding {
    fn apply(&mut self, moves: &SumMoves) {
        let deltas = &moves.deltas;
        if moves.day > self.day {
            (self.day, self.start, self.cash_flow, self.fees) = (moves.day, self.position, 0, 0);
        }
        self.long += deltas.long;
        self.short += deltas.short;
        self.position += deltas.position;
        if moves.day == self.day {
            self.cash_flow += i128::from(deltas.cash_flow);
            self.fees += i128::from(deltas.fees);
        } else {
            self.start += deltas.position;
        }
        self.open_orders += i128::from(deltas.open_orders);
    }

    /// Reports whether nothing is held and no order is open.
    pub fn is_flat(&self) -> bool {
        (self.position, self.open_orders, self.long, self.short) == (0, 0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(position: i128, cash_flow: i64, notional_day: i64, day: i64) -> SumMoves {
        let deltas = SumDeltas {
            long: position,
            short: -position,
            position,
            cash_flow,
            fill_result: 1,
            daily_notional: 10,
            ..SumDeltas::default()
        };
        SumMoves {
            deltas,
            notional_day,
            day,
        }
    }

    #[test]
    fn later_day_begins_daily_sums_and_earlier_day_shifts_the_start() {
        let instrument = (
            VenueId::new("binance.paper").unwrap(),
            Symbol::parse("BTCUSDT").unwrap(),
        );
        let mut ledger = SumLedger::default();
        ledger.apply(instrument.clone(), &moves(100, -5, 10, 10));
        ledger.apply(instrument.clone(), &moves(20, -1, 11, 11));
        assert_eq!((ledger.day, ledger.notional, ledger.fill_result), (11, 10, 1));
        let holding = ledger.holdings[&instrument];
        assert_eq!((holding.start, holding.position, holding.cash_flow), (100, 120, -1));
        // A fill of the day before, of an order of that day.
        ledger.apply(instrument.clone(), &moves(3, -7, 10, 10));
        let holding = ledger.holdings[&instrument];
        assert_eq!((holding.start, holding.position, holding.cash_flow), (103, 123, -1));
        assert_eq!((ledger.day, ledger.notional, ledger.fill_result), (11, 10, 1));
        assert_eq!(ledger.held(), 1);
        ledger.apply(instrument, &moves(-123, 0, 11, 11));
        assert_eq!(ledger.held(), 0);
    }
}
