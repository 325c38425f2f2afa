//! Settings of the risk rules (`[risk]`). Money is in the base currency, as quoted strings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;
use crate::domain::calendar::{self, TradingCalendar};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding};
use crate::domain::rule_signal::SignalLevel;

const COUNT_BOUNDS: RangeInclusive<i64> = 1..=1_000_000;
const DAY_MS: i64 = 86_400_000;

/// The limits that are independent of the instrument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskSettings {
    /// The currency that limits and totals count in. Default `USD`.
    pub base_currency: String,
    /// The cap of the notional routed in one day over all accounts, unless an operator has set another: in the base currency, above zero, at most 9007199254.740991. Default `1000000`.
    pub daily_notional_limit: String,
    /// The daily loss at which an account, or all accounts together, are locked, unless an operator has set another: in the base currency, above zero, at most 9007199254.740991. Default `50000`.
    pub daily_loss_limit: String,
    /// The largest notional of one live order, in the base currency, above zero, at most 9007199254.740991; empty for none. Required with `brokers.allow_live`. Default empty.
    pub max_live_order_notional: String,
    /// The loss of the day at which orders of an account are denied, in the base currency, above zero, at most 9007199254.740991. Default `50000`.
    pub account_stop_loss: String,
    /// How far a limit price may be beyond the reference price on the losing side, in percent, 1 to 10000; default 20.
    pub price_collar_percent: i64,
    /// Maximum number of new orders of one account in a second, over all workers, 1 to 1000000; default 1000.
    pub orders_per_second_and_account: i64,
    /// Maximum number of new orders at one broker in a second, over all workers, 1 to 1000000; default 5000.
    pub orders_per_second_and_broker: i64,
    /// Maximum number of cancels of one account in a second, over all workers, 1 to 1000000; default 5000.
    pub cancels_per_second_and_account: i64,
    /// Maximum number of cancels at one broker in a second, over all workers, 1 to 1000000; default 25000.
    pub cancels_per_second_and_broker: i64,
    /// Maximum number of denials of one account in an hour that use up their ids and are recorded, 1 to 1000000000; beyond it a denied order gets `rate_limited`. Default 10000.
    pub max_denials_per_hour: i64,
    /// Maximum number of open orders of one account and symbol, 1 to 1000000; default 10000.
    pub max_open_orders: i64,
    /// How long an equal order under another id makes an order a duplicate, in milliseconds, 0 to 86400000, where 0 disables the rule; default 0.
    pub duplicate_window_ms: i64,
    /// The signal for a duplicate: `alert` lets it pass, `lock` denies it. Default `alert`.
    pub duplicate_level: String,
    /// The share of a limit from which a rule alerts, in percent, 1 to 100; default 80.
    pub alert_percent: i64,
    /// How far usage must fall below the alert share before the next crossing alerts again, in percent of the limit, 0 to 100; default 5.
    pub alert_hysteresis_percent: i64,
    /// How long after an alert a rule that is still above its share alerts again, in seconds, 1 to 604800; default 3600.
    pub alert_repeat_s: u64,
    /// Whether a day roll lifts the locks of `max_daily_loss`. Default false.
    pub new_day_lifts_daily_loss: bool,
    /// The maximum age of a market quote as reference price, in milliseconds, 1 to 86400000; default 10000. With an older one, openings are refused.
    pub quote_max_age_ms: u64,
    /// The time zone of the trading day, an IANA name. Default `UTC`.
    pub trading_day_time_zone: String,
    /// The start of a trading day in that zone, as `HH:MM`; the day has the date of its start. Default `00:00`.
    pub trading_day_begins: String,
    /// The value of one unit of each currency in the base currency. Default `USD = "1"`, `USDT = "1"`.
    pub rates: BTreeMap<String, String>,
}

impl Default for RiskSettings {
    fn default() -> Self {
        let rates = [("USD", "1"), ("USDT", "1")];
        Self {
            base_currency: "USD".to_owned(),
            daily_notional_limit: "1000000".to_owned(),
            daily_loss_limit: "50000".to_owned(),
            max_live_order_notional: String::new(),
            account_stop_loss: "50000".to_owned(),
            price_collar_percent: 20,
            orders_per_second_and_account: 1_000,
            orders_per_second_and_broker: 5_000,
            cancels_per_second_and_account: 5_000,
            cancels_per_second_and_broker: 25_000,
            max_denials_per_hour: 10_000,
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
    /// Returns the cap of a day's routed notional; `None` if the setting is invalid.
    pub fn parse_daily_notional_limit(&self) -> Option<Micros> {
        parse_positive_money(&self.daily_notional_limit)
    }

    /// Returns the daily loss limit; `None` if the setting is invalid.
    pub fn parse_daily_loss_limit(&self) -> Option<Micros> {
        parse_positive_money(&self.daily_loss_limit)
    }

    /// Returns the stop-loss of an account; `None` if the setting is invalid.
    pub fn parse_account_stop_loss(&self) -> Option<Micros> {
        parse_positive_money(&self.account_stop_loss)
    }

    /// Returns the largest notional of one live order, which may be none; `None` if the setting is invalid.
    pub fn parse_max_live_order_notional(&self) -> Option<Option<Micros>> {
        match self.max_live_order_notional.as_str() {
            "" => Some(None),
            text => parse_positive_money(text).map(Some),
        }
    }

    /// Returns the signal level of a duplicate order; `None` if the setting is invalid.
    pub fn parse_duplicate_level(&self) -> Option<SignalLevel> {
        [SignalLevel::Alert, SignalLevel::Lock]
            .into_iter()
            .find(|level| level.as_str() == self.duplicate_level)
    }

    /// Returns the trading calendar; `None` if the settings are invalid.
    pub fn trading_calendar(&self) -> Option<TradingCalendar> {
        TradingCalendar::new(&self.trading_day_time_zone, &self.trading_day_begins).ok()
    }

    /// Returns the rates of all currencies into the base currency.
    pub fn rates(&self) -> CurrencyRates {
        let known = self.rates.keys().chain([&self.base_currency]);
        CurrencyRates::new(known.filter_map(|currency| Some((currency.clone(), self.base_rate(currency)?))))
    }

    /// Returns the value of one unit of a currency in the base currency; `None` without a rate.
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
        if self.parse_max_live_order_notional().is_none() {
            errors.push(format!(
                "risk.max_live_order_notional is {:?}; it must be empty, or a number above zero, at most 9007199254.740991",
                self.max_live_order_notional
            ));
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
            ("max_denials_per_hour", self.max_denials_per_hour, 1..=1_000_000_000),
            ("max_open_orders", self.max_open_orders, COUNT_BOUNDS),
            ("duplicate_window_ms", self.duplicate_window_ms, 0..=DAY_MS),
            ("alert_percent", self.alert_percent, 1..=100),
            ("alert_hysteresis_percent", self.alert_hysteresis_percent, 0..=100),
            ("alert_repeat_s", repeat_s, 1..=604_800),
            ("quote_max_age_ms", quote_ms, 1..=DAY_MS),
        ] {
            check_range(errors, &format!("risk.{name}"), value, &bounds);
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
    fn invalid_time_zone_and_day_start_are_two_errors() {
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
