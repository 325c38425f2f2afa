//! The limits in force, in the form that the rules need. All workers take them from the journal's newest event of limits; a
//! worker's own settings are only a proposal.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bus::journal::limits::settings_of;
use crate::config::SettingsError;
use crate::config::accounts::AccountSettings;
use crate::config::limits::LimitSettings;
use crate::domain::calendar::TradingCalendar;
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::id::AccountId;
use crate::domain::money::{Micros, Rounding};
use crate::risk::limits::{AccountLimits, AlertThresholds, DuplicateOrderRule, RateLimits, RiskLimits};
use crate::wire::limits::LimitsEvent;
use crate::worker::instruments::Instruments;

/// Everything that orders are evaluated by beside the operator state and the locks.
#[derive(Debug)]
pub struct EnforcedLimits {
    /// The hash of the limits, by which the shared state names them; empty for those of a worker's own settings.
    pub hash: String,
    /// The settings that they come from.
    pub settings: LimitSettings,
    /// The rules' limits.
    pub risk: RiskLimits,
    /// The instruments.
    pub instruments: Instruments,
    /// The rates of currencies into the base currency.
    pub rates: CurrencyRates,
    /// When trading days start and end.
    pub calendar: TradingCalendar,
    /// The age from which a quote is no reference price.
    pub quote_max_age: Duration,
    /// The time of the dead man's switch of each account whose settings arm one, in milliseconds.
    pub heartbeat_timeouts_ms: BTreeMap<AccountId, u64>,
    /// Whether a new trading day lifts the locks of the daily loss rule.
    pub new_day_lifts_daily_loss: bool,
}

impl EnforcedLimits {
    /// Returns the limits of a worker's own settings; `None` if one is out of range, which the check of the settings
    /// excludes.
    pub fn of_settings(settings: LimitSettings) -> Option<Self> {
        Self::build(settings, String::new())
    }

    /// Returns the limits of a journal event.
    ///
    /// # Errors
    /// Why this release cannot enforce them.
    pub fn of_event(event: &LimitsEvent) -> Result<Self, SettingsError> {
        let out_of_range = || SettingsError(vec!["a limit is out of its range".to_owned()]);
        Self::build(settings_of(event)?, event.hash.clone()).ok_or_else(out_of_range)
    }

    fn build(settings: LimitSettings, hash: String) -> Option<Self> {
        let risk = settings.risk();
        Some(Self {
            hash,
            risk: risk_limits(&settings)?,
            instruments: Instruments::of(&settings),
            rates: risk.rates(),
            calendar: risk.trading_calendar()?,
            quote_max_age: Duration::from_millis(risk.quote_max_age_ms),
            heartbeat_timeouts_ms: heartbeat_timeouts(&settings),
            new_day_lifts_daily_loss: risk.new_day_lifts_daily_loss,
            settings,
        })
    }
}

fn heartbeat_timeouts(settings: &LimitSettings) -> BTreeMap<AccountId, u64> {
    let accounts = settings.accounts().0.iter();
    let timeouts = accounts.filter_map(|account| {
        let account_id = AccountId::new(&account.account_id).ok()?;
        Some((account_id, account.heartbeat_timeout_ms?))
    });
    timeouts.collect()
}

/// Returns the rules' limits; `None` if one is out of range, which the check of the settings excludes.
pub fn risk_limits(settings: &LimitSettings) -> Option<RiskLimits> {
    let risk = settings.risk();
    let duplicates = DuplicateOrderRule {
        window_ms: risk.duplicate_window_ms,
        level: risk.parse_duplicate_level()?,
    };
    Some(RiskLimits {
        daily_notional: risk.parse_daily_notional_limit()?,
        daily_loss: risk.parse_daily_loss_limit()?,
        live_order_notional: risk.parse_max_live_order_notional()?,
        account_stop_loss: risk.parse_account_stop_loss()?,
        price_collar_percent: risk.price_collar_percent,
        order_rates: RateLimits {
            per_account: risk.orders_per_second_and_account,
            per_broker: risk.orders_per_second_and_broker,
        },
        cancel_rates: RateLimits {
            per_account: risk.cancels_per_second_and_account,
            per_broker: risk.cancels_per_second_and_broker,
        },
        denials_per_hour: risk.max_denials_per_hour,
        max_open_orders: risk.max_open_orders,
        duplicate_order: Some(duplicates).filter(|duplicates| duplicates.window_ms > 0),
        alerts: AlertThresholds {
            alert_percent: risk.alert_percent,
            rearm_percent: risk.alert_percent.saturating_sub(risk.alert_hysteresis_percent).max(0),
            repeat_after_ms: i64::try_from(risk.alert_repeat_s).ok()?.checked_mul(1_000)?,
        },
        accounts: settings
            .accounts()
            .0
            .iter()
            .map(account_limits)
            .collect::<Option<_>>()?,
    })
}

/// Returns an account's limits; `None` if one is out of range.
fn account_limits(settings: &AccountSettings) -> Option<(AccountId, AccountLimits)> {
    let money = |text: &Option<String>| match text {
        None => Some(None),
        Some(text) => {
            let limit = Micros::from_decimal(text.parse().ok()?, Rounding::Down)?;
            Some(Some(limit))
        }
    };
    let limits = AccountLimits {
        daily_notional: money(&settings.daily_notional_limit)?,
        daily_loss: money(&settings.daily_loss_limit)?,
        stop_loss: money(&settings.stop_loss)?,
        max_open_orders: settings.max_open_orders,
        max_positions: settings.max_position_limits().collect(),
    };
    Some((AccountId::new(&settings.account_id).ok()?, limits))
}
