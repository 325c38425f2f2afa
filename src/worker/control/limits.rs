//! The rules' limits, from the settings.

use crate::config::Settings;
use crate::config::accounts::AccountSettings;
use crate::domain::id::AccountId;
use crate::domain::money::{Micros, Rounding};
use crate::risk::limits::{AccountLimits, AlertThresholds, DuplicateOrderRule, RateLimits, RiskLimits};

/// Returns the limits of the settings; `None` if one is out of range, which the check of the settings excludes.
pub fn limits_from_settings(settings: &Settings) -> Option<RiskLimits> {
    let risk = &settings.risk;
    let duplicates = DuplicateOrderRule {
        window_ms: risk.duplicate_window_ms,
        level: risk.parse_duplicate_level()?,
    };
    Some(RiskLimits {
        daily_notional: risk.parse_daily_notional_limit()?,
        daily_loss: risk.parse_daily_loss_limit()?,
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
        accounts: settings.accounts.0.iter().map(account_limits).collect::<Option<_>>()?,
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
