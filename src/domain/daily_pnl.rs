//! The profit and loss of the trading day that an order is evaluated on.

use crate::domain::day_profit::DayProfit;
use crate::domain::time::TradingDate;

/// The profit of an account, or of all accounts, on a view of their sums, and what fills had made of it by then. What
/// fills make after the view counts in the step that books them: the store adds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfitView {
    /// The profit since the start of the trading day.
    pub day: DayProfit,
    /// What the day's fills had made when the sums were read, in millionths of the base currency.
    pub fill_result: i64,
    /// The fills whose fee has no price: the profit leaves these fees out.
    pub unpriced_fees: i64,
}

impl ProfitView {
    /// Returns the view's loss without what the day's fills have made: the loss at any later moment is this, less what
    /// fills have made until then.
    pub fn loss_before_fills(&self) -> i64 {
        self.fill_result.saturating_sub(self.day.profit.units())
    }
}

/// The profit of one account and of all accounts since the start of the trading day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyPnl {
    /// The trading day.
    pub trading_date: TradingDate,
    /// The account's profit.
    pub account: ProfitView,
    /// The profit of all accounts, from the net totals per symbol.
    pub total: ProfitView,
    /// When the older of the two was read, by Redis' clock, in milliseconds since 1970-01-01T00:00:00Z.
    pub measured_at_ms: i64,
}

impl DailyPnl {
    /// Returns a trading day without profit or loss.
    pub fn zero(trading_date: TradingDate) -> Self {
        Self {
            trading_date,
            account: ProfitView::default(),
            total: ProfitView::default(),
            measured_at_ms: 0,
        }
    }
}
