//! How an order moves the shared sums. All of them commute, so replay order does not matter.

use super::decimal::Decimal;
use super::id::{AccountId, VenueId};
use super::intent::Symbol;
use super::money::Micros;
use super::terms::Mode;
use super::time::TradingDate;

/// What an order holds of the shared limits, fixed when it was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The lot the quantities below count in.
    pub lot_size: Decimal,
    /// What a unit of the quote currency was worth in the base currency.
    pub base_rate: Decimal,
    /// Lots still reserved: neither filled nor given back.
    pub rest_lots: i64,
    /// What the order counts for in the day's routed notional.
    pub daily_notional: Micros,
    /// The day it counts for.
    pub trading_date: TradingDate,
}

/// Which shared sums an order belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The mode, whose sums never mix with another's.
    pub mode: Mode,
    /// The account.
    pub account_id: AccountId,
    /// The venue, whose lot the quantities count in.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// The day of the daily sums.
    pub trading_date: TradingDate,
}

/// One shared sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Position + open buys, in lots.
    Long,
    /// −position + open sells, in lots.
    Short,
    /// Position, in lots.
    Position,
    /// What trading brought in less what it paid, in millionths of the base currency.
    CashFlow,
    /// Notional routed on the scope's day over all accounts, in millionths of the base currency.
    DailyNotional,
}

impl Counter {
    /// Every sum.
    pub const ALL: [Self; 5] = [
        Self::Long,
        Self::Short,
        Self::Position,
        Self::CashFlow,
        Self::DailyNotional,
    ];
}

/// How far one event moves each sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deltas {
    /// See [`Counter::Long`].
    pub long: i64,
    /// See [`Counter::Short`].
    pub short: i64,
    /// See [`Counter::Position`].
    pub position: i64,
    /// See [`Counter::CashFlow`].
    pub cash_flow: i64,
    /// See [`Counter::DailyNotional`].
    pub daily_notional: i64,
}

impl Deltas {
    /// Returns the move of one sum.
    pub fn of(&self, counter: Counter) -> i64 {
        match counter {
            Counter::Long => self.long,
            Counter::Short => self.short,
            Counter::Position => self.position,
            Counter::CashFlow => self.cash_flow,
            Counter::DailyNotional => self.daily_notional,
        }
    }

    /// Returns the moves of both, or `None` on overflow.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            long: self.long.checked_add(other.long)?,
            short: self.short.checked_add(other.short)?,
            position: self.position.checked_add(other.position)?,
            cash_flow: self.cash_flow.checked_add(other.cash_flow)?,
            daily_notional: self.daily_notional.checked_add(other.daily_notional)?,
        })
    }

    /// Returns the moves that undo these.
    pub fn undone(&self) -> Self {
        Self {
            long: -self.long,
            short: -self.short,
            position: -self.position,
            cash_flow: -self.cash_flow,
            daily_notional: -self.daily_notional,
        }
    }
}
