//! The trading day's profit and loss, as a worker sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::id::{AccountId, VenueId};
use super::intent::Symbol;
use super::money::Micros;
use super::time::TradingDate;

/// The profit and loss of one mode since the trading day began: equity now less equity at the day's start, where equity
/// is cash flow, less fees not paid in the base asset, plus position × mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayFigures {
    /// The day.
    pub trading_date: TradingDate,
    /// Over all accounts, from the net totals per symbol. None where a mark is missing.
    pub total: Option<Micros>,
    /// Per account; an account that is not in it has neither traded nor been given anything. A value of `None` means
    /// that a mark is missing.
    pub accounts: BTreeMap<AccountId, Option<Micros>>,
    /// The marks it was taken at.
    pub marks: Arc<BTreeMap<(VenueId, Symbol), super::quantity::Price>>,
}

impl DayFigures {
    /// Returns a day on which nothing has been won or lost.
    pub fn flat(trading_date: TradingDate) -> Self {
        Self {
            trading_date,
            total: Some(Micros::ZERO),
            accounts: BTreeMap::new(),
            marks: Arc::default(),
        }
    }

    /// Returns an account's profit or loss of the day; `None` where it is not known.
    pub fn of(&self, account_id: &AccountId) -> Option<Micros> {
        self.accounts.get(account_id).copied().unwrap_or(Some(Micros::ZERO))
    }
}
