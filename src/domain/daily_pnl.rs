//! The profit and loss of the trading day, and the equity at its start.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::equity::Equities;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::money::Micros;
use crate::domain::quantity::Price;
use crate::domain::symbol::Symbol;
use crate::domain::time::TradingDate;

/// The profit and loss of one mode since the start of the trading day: current equity less equity at the start. Equity is
/// cash flow, less fees in other currencies than the base asset, plus position × mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyPnl {
    /// The trading day.
    pub trading_date: TradingDate,
    /// The profit of all accounts, from the net totals per symbol; `None` where a mark is missing.
    pub total: Option<Micros>,
    /// The profit of each account; `None` where a mark is missing. An account without an entry has no trades and no
    /// adjustments.
    pub accounts: BTreeMap<AccountId, Option<Micros>>,
    /// When the sums were read, by Redis' clock, in milliseconds since 1970-01-01T00:00:00Z.
    pub measured_at_ms: i64,
    /// The marks that positions were valued at.
    pub marks: Arc<BTreeMap<(VenueId, Symbol), Price>>,
}

impl DailyPnl {
    /// Returns a trading day without profit or loss.
    pub fn zero(trading_date: TradingDate) -> Self {
        Self {
            trading_date,
            total: Some(Micros::ZERO),
            accounts: BTreeMap::new(),
            measured_at_ms: 0,
            marks: Arc::default(),
        }
    }

    /// Returns an account's profit of the day; `None` where it is unknown.
    pub fn account_pnl(&self, account_id: &AccountId) -> Option<Micros> {
        self.accounts.get(account_id).copied().unwrap_or(Some(Micros::ZERO))
    }
}

/// The equity of accounts at the start of a trading day, in the base currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DayStartEquity {
    /// The equity of each account; `None` where it was unknown. An account without an entry had zero equity.
    pub accounts: BTreeMap<AccountId, Option<Micros>>,
    /// The total equity less the sum of the known accounts, each of which is rounded down; `None` where the total was
    /// unknown.
    pub total_remainder: Option<Micros>,
}

impl DayStartEquity {
    /// Returns the start of a trading day with these equities.
    pub fn from_equities(equities: &Equities) -> Self {
        let known = sum_known(&equities.accounts);
        let total_remainder = match (equities.total, known) {
            (Some(total), Some(known)) => total.units().checked_sub(known).and_then(Micros::new),
            _ => None,
        };
        let is_non_zero = |(_, equity): &(&AccountId, &Option<Micros>)| **equity != Some(Micros::ZERO);
        let accounts = equities.accounts.iter().filter(is_non_zero);
        Self {
            accounts: accounts.map(|(account, equity)| (account.clone(), *equity)).collect(),
            total_remainder,
        }
    }

    /// Returns the total equity of all accounts; `None` where it was unknown.
    pub fn total(&self) -> Option<Micros> {
        Micros::new(sum_known(&self.accounts)?.checked_add(self.total_remainder?.units())?)
    }

    /// Returns the profit since this start, of all accounts together and of each.
    pub fn pnl_since_start(&self, current: &Equities) -> (Option<Micros>, BTreeMap<AccountId, Option<Micros>>) {
        let zero = Some(Micros::ZERO);
        let account_pnl = |account: &AccountId| {
            let now = current.accounts.get(account).copied().unwrap_or(zero);
            let start = self.accounts.get(account).copied().unwrap_or(zero);
            (account.clone(), difference(now, start))
        };
        let accounts = current.accounts.keys().chain(self.accounts.keys());
        let accounts = accounts.map(account_pnl).collect();
        (difference(current.total, self.total()), accounts)
    }
}

/// Returns the sum of the known equities, in millionths; `None` on overflow.
fn sum_known(accounts: &BTreeMap<AccountId, Option<Micros>>) -> Option<i64> {
    let known = accounts.values().flatten();
    known.map(|equity| equity.units()).try_fold(0, i64::checked_add)
}

fn difference(minuend: Option<Micros>, subtrahend: Option<Micros>) -> Option<Micros> {
    minuend?.checked_sub(subtrahend?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountId {
        AccountId::new(name).unwrap()
    }

    fn equities(total: Option<i64>, accounts: &[(&str, Option<i64>)]) -> Equities {
        let micros = |units: Option<i64>| units.map(|units| Micros::new(units).unwrap());
        let entry = |(name, units): &(&str, Option<i64>)| (account(name), micros(*units));
        Equities {
            total: micros(total),
            accounts: accounts.iter().map(entry).collect(),
        }
    }

    #[test]
    fn profit_is_the_change_of_equity_since_the_start() {
        let start =
            DayStartEquity::from_equities(&equities(Some(16), &[("a", Some(10)), ("b", Some(5)), ("c", Some(0))]));
        assert_eq!(start.total().map(Micros::units), Some(16));
        assert!(!start.accounts.contains_key(&account("c")));
        let (total, accounts) =
            start.pnl_since_start(&equities(Some(9), &[("b", Some(7)), ("c", Some(2)), ("d", Some(-1))]));
        assert_eq!(total.map(Micros::units), Some(-7));
        let accounts: Vec<_> = accounts.values().map(|profit| profit.map(Micros::units)).collect();
        assert_eq!(accounts, [Some(-10), Some(2), Some(2), Some(-1)]);
    }

    #[test]
    fn unknown_equity_gives_an_unknown_profit() {
        let start = DayStartEquity::from_equities(&equities(None, &[("a", None), ("b", Some(5))]));
        assert_eq!(start.total(), None);
        let (total, accounts) =
            start.pnl_since_start(&equities(Some(9), &[("a", Some(7)), ("b", None), ("c", Some(2))]));
        let accounts: Vec<_> = accounts.values().map(|profit| profit.map(Micros::units)).collect();
        assert_eq!((total, accounts), (None, vec![None, None, Some(2)]));
        // The total can be known where an account is not: another account may hold the opposite position.
        let start = DayStartEquity::from_equities(&equities(Some(9), &[("a", None), ("b", Some(5))]));
        assert_eq!(start.total().map(Micros::units), Some(9));
    }
}
