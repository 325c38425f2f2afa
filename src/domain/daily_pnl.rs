//! The trading day's profit and loss, as a worker sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::equity::Equities;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::Micros;
use crate::domain::time::TradingDate;

/// The profit and loss of one mode since the trading day began: equity now less equity at the day's start, where equity
/// is cash flow, less fees not paid in the base asset, plus position × mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyPnl {
    /// The day.
    pub trading_date: TradingDate,
    /// Over all accounts, from the net totals per symbol. None where a mark is missing.
    pub total: Option<Micros>,
    /// Per account; an account that is not in it has neither traded nor been given anything. A value of `None` means
    /// that a mark is missing.
    pub accounts: BTreeMap<AccountId, Option<Micros>>,
    /// When they were taken, by Redis' clock, in milliseconds since 1970.
    pub measured_at_ms: i64,
    /// The marks it was taken at.
    pub marks: Arc<BTreeMap<(VenueId, Symbol), crate::domain::quantity::Price>>,
}

impl DailyPnl {
    /// Returns a day on which nothing has been won or lost.
    pub fn zero(trading_date: TradingDate) -> Self {
        Self {
            trading_date,
            total: Some(Micros::ZERO),
            accounts: BTreeMap::new(),
            measured_at_ms: 0,
            marks: Arc::default(),
        }
    }

    /// Returns an account's profit or loss of the day; `None` where it is not known.
    pub fn account_pnl(&self, account_id: &AccountId) -> Option<Micros> {
        self.accounts.get(account_id).copied().unwrap_or(Some(Micros::ZERO))
    }
}

/// What accounts were worth at a day's start, in the base currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DayStartEquity {
    /// Per account; one that is not in it was worth nothing. A value of `None` means that it was not known.
    pub accounts: BTreeMap<AccountId, Option<Micros>>,
    /// What all accounts together were worth beyond the sum of the accounts that are known, which are each rounded down.
    /// `None` means that the worth of all was not known.
    pub total_remainder: Option<Micros>,
}

impl DayStartEquity {
    /// Returns the start of a day that begins with these equities.
    pub fn from_equities(equities: &Equities) -> Self {
        let known = sum_known(&equities.accounts);
        let beyond = match (equities.total, known) {
            (Some(total), Some(known)) => total.units().checked_sub(known).and_then(Micros::new),
            _ => None,
        };
        let worth_something = |(_, equity): &(&AccountId, &Option<Micros>)| **equity != Some(Micros::ZERO);
        let accounts = equities.accounts.iter().filter(worth_something);
        Self {
            accounts: accounts.map(|(account, equity)| (account.clone(), *equity)).collect(),
            total_remainder: beyond,
        }
    }

    /// Returns what all accounts together were worth; `None` where it is not known.
    pub fn total(&self) -> Option<Micros> {
        Micros::new(sum_known(&self.accounts)?.checked_add(self.total_remainder?.units())?)
    }

    /// Returns the profit or loss since this start, over all accounts and of each.
    pub fn pnl_since_start(&self, current: &Equities) -> (Option<Micros>, BTreeMap<AccountId, Option<Micros>>) {
        let nothing = Some(Micros::ZERO);
        let of = |account: &AccountId| {
            let now = current.accounts.get(account).copied().unwrap_or(nothing);
            let start = self.accounts.get(account).copied().unwrap_or(nothing);
            (account.clone(), difference(now, start))
        };
        let accounts = current.accounts.keys().chain(self.accounts.keys()).map(of).collect();
        (difference(current.total, self.total()), accounts)
    }
}

/// Adds up what is known, in millionths.
fn sum_known(accounts: &BTreeMap<AccountId, Option<Micros>>) -> Option<i64> {
    let known = accounts.values().flatten();
    known.map(|equity| equity.units()).try_fold(0, i64::checked_add)
}

fn difference(minuend: Option<Micros>, subtrahend: Option<Micros>) -> Option<Micros> {
    Micros::new(minuend?.units().checked_sub(subtrahend?.units())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountId {
        AccountId::new(name).unwrap()
    }

    fn equities(total: Option<i64>, accounts: &[(&str, Option<i64>)]) -> Equities {
        let micros = |units: Option<i64>| units.map(|units| Micros::new(units).unwrap());
        let of = |(name, units): &(&str, Option<i64>)| (account(name), micros(*units));
        Equities {
            total: micros(total),
            accounts: accounts.iter().map(of).collect(),
        }
    }

    #[test]
    fn profit_is_what_came_since_the_start() {
        let start =
            DayStartEquity::from_equities(&equities(Some(16), &[("a", Some(10)), ("b", Some(5)), ("c", Some(0))]));
        assert_eq!(start.total().map(Micros::units), Some(16));
        assert!(!start.accounts.contains_key(&account("c")));
        let (total, of) = start.pnl_since_start(&equities(Some(9), &[("b", Some(7)), ("c", Some(2)), ("d", Some(-1))]));
        assert_eq!(total.map(Micros::units), Some(-7));
        let of: Vec<_> = of.values().map(|profit| profit.map(Micros::units)).collect();
        assert_eq!(of, [Some(-10), Some(2), Some(2), Some(-1)]);
    }

    #[test]
    fn what_was_not_known_at_the_start_or_is_not_now_gives_no_profit() {
        let start = DayStartEquity::from_equities(&equities(None, &[("a", None), ("b", Some(5))]));
        assert_eq!(start.total(), None);
        let (total, of) = start.pnl_since_start(&equities(Some(9), &[("a", Some(7)), ("b", None), ("c", Some(2))]));
        let of: Vec<_> = of.values().map(|profit| profit.map(Micros::units)).collect();
        assert_eq!((total, of), (None, vec![None, None, Some(2)]));
        // All together can be known where an account is not: it holds what another is short of.
        let start = DayStartEquity::from_equities(&equities(Some(9), &[("a", None), ("b", Some(5))]));
        assert_eq!(start.total().map(Micros::units), Some(9));
    }
}
