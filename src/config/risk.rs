//! Settings of the risk rules (`[risk]`). Money in the base currency, as quoted strings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::domain::calendar::{self, TradingCalendar};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding};
use crate::domain::rule_signal::SignalLevel;

const COUNT_BOUNDS: RangeInclusive<i64> = 1..=1_000_000;
const DAY_MS: i64 = 86_400_000;

/// The limits that do not depend on the instrument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskSettings {
    /// The currency that limits count in. Default `USD`.
    pub base_currency: String,
    /// The cap of the notional routed in one day over all accounts, until an operator sets another. Default `1000000`.
    pub daily_notional_limit: String,
    /// The loss of a day at which an account, and all accounts together, are closed to all but reductions, until an operator sets another. Default `50000`.
    pub daily_loss_limit: String,
    /// The loss at which an account stops. Default `50000`.
    pub account_stop_loss: String,
    /// How far a limit price may lie beyond the reference price on the losing side, in per cent (1–10 000, default 20).
    pub price_collar_percent: i64,
    /// New orders of one account in a second, over all workers (1–1 000 000, default 1000).
    pub orders_per_second_and_account: i64,
    /// New orders at one broker in a second, over all workers (1–1 000 000, default 5000).
    pub orders_per_second_and_broker: i64,
    /// Cancels of one account in a second, over all workers (1–1 000 000, default 5000).
    pub cancels_per_second_and_account: i64,
    /// Cancels at one broker in a second, over all workers (1–1 000 000, default 25000).
    pub cancels_per_second_and_broker: i64,
    /// Orders of one account and symbol that may be open at a time (1–1 000 000, default 10000).
    pub max_open_orders: i64,
    /// How long an order like it under another id makes an order a duplicate, in milliseconds; 0 turns the rule off (0–86 400 000, default 0).
    pub duplicate_window_ms: i64,
    /// What a duplicate is: `alert` lets it pass, `lock` stops it. Default `alert`.
    pub duplicate_level: String,
    /// From which share of a limit on a rule alerts, in per cent. Default 80.
    pub alert_percent: i64,
    /// How far below the share it alerts at a limit must be left before a rule alerts again, in per cent of the limit (0–100, default 5).
    pub alert_hysteresis_percent: i64,
    /// After how long a rule that still is above its share alerts again, in seconds (1–604 800, default 3600).
    pub alert_repeat_s: u64,
    /// Whether a new trading day lifts the latches that `max_daily_loss` has closed. Default false.
    pub new_day_lifts_daily_loss: bool,
    /// How old a reference price of the market may be, in milliseconds; orders are refused when it is older (1–86 400 000, default 10000).
    pub quote_max_age_ms: u64,
    /// The time zone of the trading day, by its IANA name. Default `UTC`.
    pub trading_day_time_zone: String,
    /// When a trading day begins in that zone, as `HH:MM`; it has the date it begins on. Default `00:00`.
    pub trading_day_begins: String,
    /// What a unit of each currency is worth in the base currency. Default `USD = "1"`, `USDT = "1"`.
    pub rates: BTreeMap<String, String>,
}

impl Default for RiskSettings {
    fn default() -> Self {
        let rates = [("USD", "1"), ("USDT", "1")];
        Self {
            base_currency: "USD".to_owned(),
            daily_notional_limit: "1000000".to_owned(),
            daily_loss_limit: "50000".to_owned(),
            account_stop_loss: "50000".to_owned(),
            price_collar_percent: 20,
            orders_per_second_and_account: 1_000,
            orders_per_second_and_broker: 5_000,
            cancels_per_second_and_account: 5_000,
            cancels_per_second_and_broker: 25_000,
            max_open_orders: 10_000,
            duplicate_window_ms: 0,
            duplicate_level: "alert".to_owned(),
            alert_percent: 80,
            alert_hysteresis_percent: 5,
            alert_repeat_s: 3_600,
            new_day_lifts_daily_loss: false,
            quote_max_age_ms: 10_000,
            trading_day_time_zone: "UTC".to_owned(),
            trading_day_begins: "00:00".to_owned(),
            rates: rates
                .map(|(currency, rate)| (currency.to_owned(), rate.to_owned()))
                .into(),
        }
    }
}

impl RiskSettings {
    /// Returns the cap of a day's routed notional, or `None` where the setting cannot hold.
    pub fn parse_daily_notional_limit(&self) -> Option<Micros> {
        parse_positive_money(&self.daily_notional_limit)
    }

    /// Returns the loss of a day that closes what made it, or `None` where the setting cannot hold.
    pub fn parse_daily_loss_limit(&self) -> Option<Micros> {
        parse_positive_money(&self.daily_loss_limit)
    }

    /// Returns the loss at which an account stops, or `None` where the setting cannot hold.
    pub fn parse_account_stop_loss(&self) -> Option<Micros> {
        parse_positive_money(&self.account_stop_loss)
    }

    /// Returns what a duplicate order is, or `None` where the setting cannot hold.
    pub fn parse_duplicate_level(&self) -> Option<SignalLevel> {
        [SignalLevel::Alert, SignalLevel::Lock]
            .into_iter()
            .find(|level| level.as_str() == self.duplicate_level)
    }

    /// Returns when trading days begin, or `None` where the settings cannot hold.
    pub fn trading_calendar(&self) -> Option<TradingCalendar> {
        TradingCalendar::new(&self.trading_day_time_zone, &self.trading_day_begins).ok()
    }

    /// Returns what currencies are worth in the base currency.
    pub fn rates(&self) -> CurrencyRates {
        let known = self.rates.keys().chain([&self.base_currency]);
        CurrencyRates::new(known.filter_map(|currency| Some((currency.clone(), self.base_rate(currency)?))))
    }

    /// Returns what a unit of a currency is worth in the base currency, or `None` where no rate is known.
    pub fn base_rate(&self, currency: &str) -> Option<Decimal> {
        if currency == self.base_currency {
            return Some(Decimal::from(1));
        }
        let rate = self.rates.get(currency)?.parse::<Decimal>().ok()?;
        (rate.is_positive() && rate.scale() <= 8 && rate < Decimal::from(1_000_000_000)).then_some(rate)
    }

    /// Adds a sentence for each setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        for (name, text) in [
            ("daily_notional_limit", &self.daily_notional_limit),
            ("daily_loss_limit", &self.daily_loss_limit),
            ("account_stop_loss", &self.account_stop_loss),
        ] {
            if parse_positive_money(text).is_none() {
                errors.push(format!(
                    "risk.{name} is {text:?}; it must be a number above zero, at most 9007199254.740991"
                ));
            }
        }
        self.validate_integers(errors);
        if self.parse_duplicate_level().is_none() {
            errors.push(format!(
                "risk.duplicate_level is {:?}; it must be \"alert\" or \"lock\"",
                self.duplicate_level
            ));
        }
        for (name, text, checked) in [
            (
                "trading_day_time_zone",
                &self.trading_day_time_zone,
                calendar::validate_time_zone(&self.trading_day_time_zone),
            ),
            (
                "trading_day_begins",
                &self.trading_day_begins,
                calendar::validate_day_start(&self.trading_day_begins),
            ),
        ] {
            if let Err(rule) = checked {
                errors.push(format!("risk.{name} is {text:?}; it {rule}"));
            }
        }
        for (currency, rate) in &self.rates {
            if currency == &self.base_currency && rate.parse::<Decimal>() != Ok(Decimal::from(1)) {
                errors.push(format!(
                    "risk.rates.{currency} is the base currency's; it must be \"1\""
                ));
            } else if self.base_rate(currency).is_none() {
                errors.push(format!(
                    "risk.rates.{currency} is {rate:?}; it must be a number above zero"
                ));
            }
        }
    }

    /// Adds a sentence for each whole number that is out of its range.
    fn validate_integers(&self, errors: &mut Vec<String>) {
        let repeat_s = i64::try_from(self.alert_repeat_s).unwrap_or(i64::MAX);
        let quote_ms = i64::try_from(self.quote_max_age_ms).unwrap_or(i64::MAX);
        for (name, value, bounds) in [
            ("price_collar_percent", self.price_collar_percent, 1..=10_000),
            (
                "orders_per_second_and_account",
                self.orders_per_second_and_account,
                COUNT_BOUNDS,
            ),
            (
                "orders_per_second_and_broker",
                self.orders_per_second_and_broker,
                COUNT_BOUNDS,
            ),
            (
                "cancels_per_second_and_account",
                self.cancels_per_second_and_account,
                COUNT_BOUNDS,
            ),
            (
                "cancels_per_second_and_broker",
                self.cancels_per_second_and_broker,
                COUNT_BOUNDS,
            ),
            ("max_open_orders", self.max_open_orders, COUNT_BOUNDS),
            ("duplicate_window_ms", self.duplicate_window_ms, 0..=DAY_MS),
            ("alert_percent", self.alert_percent, 1..=100),
            ("alert_hysteresis_percent", self.alert_hysteresis_percent, 0..=100),
            ("alert_repeat_s", repeat_s, 1..=604_800),
            ("quote_max_age_ms", quote_ms, 1..=DAY_MS),
        ] {
            if !bounds.contains(&value) {
                let (from, to) = (bounds.start(), bounds.end());
                errors.push(format!("risk.{name} is {value}; it must lie between {from} and {to}"));
            }
        }
    }
}

pub(super) fn parse_positive_money(text: &str) -> Option<Micros> {
    let limit = text.parse::<Decimal>().ok()?;
    Micros::from_decimal(limit, Rounding::Down).filter(|limit| limit.units() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_and_a_beginning_that_cannot_be_are_told_one_by_one() {
        let mut errors = Vec::new();
        let settings = RiskSettings {
            trading_day_time_zone: "Europe/Atlantis".to_owned(),
            trading_day_begins: "25:00".to_owned(),
            ..RiskSettings::default()
        };
        settings.validate(&mut errors);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("trading_day_time_zone") && errors[1].contains("trading_day_begins"));
        assert_eq!(settings.trading_calendar(), None);
        let mut errors = Vec::new();
        let berlin = RiskSettings {
            trading_day_time_zone: "Europe/Berlin".to_owned(),
            trading_day_begins: "22:00".to_owned(),
            ..RiskSettings::default()
        };
        berlin.validate(&mut errors);
        assert_eq!((errors, berlin.trading_calendar().is_some()), (Vec::new(), true));
    }
}
