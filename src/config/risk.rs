//! Settings of the risk rules (`[risk]`). Money in the base currency, as quoted strings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding};

/// The limits that do not depend on the instrument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskSettings {
    /// The currency that limits count in. Default `USD`.
    pub base_currency: String,
    /// The cap of the notional routed in one day over all accounts, until an operator sets another. Default `1000000`.
    pub daily_notional_limit: String,
    /// The loss at which an account stops. Default `50000`.
    pub account_stop_loss: String,
    /// From which share of a limit on a rule alerts, in per cent. Default 80.
    pub alert_percent: i64,
    /// What a unit of each currency is worth in the base currency. Default `USD = "1"`, `USDT = "1"`.
    pub rates: BTreeMap<String, String>,
}

impl Default for RiskSettings {
    fn default() -> Self {
        let rates = [("USD", "1"), ("USDT", "1")];
        Self {
            base_currency: "USD".to_owned(),
            daily_notional_limit: "1000000".to_owned(),
            account_stop_loss: "50000".to_owned(),
            alert_percent: 80,
            rates: rates
                .map(|(currency, rate)| (currency.to_owned(), rate.to_owned()))
                .into(),
        }
    }
}

impl RiskSettings {
    /// Returns the cap of a day's routed notional, or `None` where the setting cannot hold.
    pub fn daily_notional(&self) -> Option<Micros> {
        let limit = self.daily_notional_limit.parse::<Decimal>().ok()?;
        Micros::from_decimal(limit, Rounding::Down).filter(|limit| limit.units() > 0)
    }

    /// Returns the loss at which an account stops, or `None` where the setting cannot hold.
    pub fn stop_loss(&self) -> Option<Decimal> {
        let limit = self.account_stop_loss.parse::<Decimal>().ok()?;
        Micros::from_decimal(limit, Rounding::Down)
            .filter(|limit| limit.units() > 0)
            .map(|_| limit)
    }

    /// Returns what a unit of a currency is worth in the base currency, or `None` where no rate is known.
    pub fn rate(&self, currency: &str) -> Option<Decimal> {
        if currency == self.base_currency {
            return Some(Decimal::from(1));
        }
        let rate = self.rates.get(currency)?.parse::<Decimal>().ok()?;
        (rate.is_positive() && rate.scale() <= 8 && rate < Decimal::from(1_000_000_000)).then_some(rate)
    }

    /// Adds a sentence for each setting that is out of its range.
    pub fn check(&self, errors: &mut Vec<String>) {
        if self.daily_notional().is_none() {
            errors.push(format!(
                "risk.daily_notional_limit is {:?}; it must be a number above zero, at most 9007199254.740991",
                self.daily_notional_limit
            ));
        }
        if self.stop_loss().is_none() {
            errors.push(format!(
                "risk.account_stop_loss is {:?}; it must be a number above zero, at most 9007199254.740991",
                self.account_stop_loss
            ));
        }
        if !(1..=100).contains(&self.alert_percent) {
            errors.push(format!(
                "risk.alert_percent is {}; it must lie between 1 and 100",
                self.alert_percent
            ));
        }
        for (currency, rate) in &self.rates {
            if currency == &self.base_currency && rate.parse::<Decimal>() != Ok(Decimal::from(1)) {
                errors.push(format!(
                    "risk.rates.{currency} is the base currency's; it must be \"1\""
                ));
            } else if self.rate(currency).is_none() {
                errors.push(format!(
                    "risk.rates.{currency} is {rate:?}; it must be a number above zero"
                ));
            }
        }
    }
}
