//! New alerts of an approved order, and how a worker that did not evaluate it makes them from the facts in the store.

use std::borrow::Cow;

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::cap::CapUnit;
use crate::risk::rules::exposure_cap::{LONG_EXPOSURE, SHORT_EXPOSURE};
use crate::risk::rules::{
    duplicate_order, max_daily_loss, max_daily_notional, max_notional, max_open_orders, position_limit, stop_loss,
};

/// An alert that an approved order is the first to raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlert {
    /// Its name: unique among the alerts of one order.
    pub name: Cow<'static, str>,
    /// The signal.
    pub signal: RuleSignal,
}

impl NewAlert {
    /// Returns the signals of alerts.
    pub fn signals(alerts: Vec<Self>) -> Vec<RuleSignal> {
        alerts.into_iter().map(|alert| alert.signal).collect()
    }
}

/// A cap whose alert share an order has crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossedCap {
    /// The rule's id.
    pub rule_id: &'static str,
    /// The code of the rule.
    pub code: ReasonCode,
    /// The unit of the value.
    pub unit: CapUnit,
    /// The name of the value in messages.
    pub description: &'static str,
}

impl CrossedCap {
    /// Returns the cap of an alert's name, which is the rule's id with the cap's label; `None` for another name.
    pub fn of_name(name: &str) -> Option<Self> {
        let (rule_id, label) = name.split_once('.').unwrap_or((name, ""));
        let cap = |rule_id, unit, description| {
            let code = match rule_id {
                max_daily_notional::ID => ReasonCode::DailyNotionalExceeded,
                max_daily_loss::ID => ReasonCode::DailyLossExceeded,
                _ => ReasonCode::RiskLocked,
            };
            Some(Self {
                rule_id,
                code,
                unit,
                description,
            })
        };
        let exposure = |rule_id| match label {
            "long" => cap(rule_id, CapUnit::Quantity, LONG_EXPOSURE),
            "short" => cap(rule_id, CapUnit::Quantity, SHORT_EXPOSURE),
            _ => None,
        };
        match (rule_id, label) {
            (max_notional::ID, _) => exposure(max_notional::ID),
            (position_limit::ID, _) => exposure(position_limit::ID),
            (max_daily_notional::ID, "") => cap(max_daily_notional::ID, CapUnit::Micros, max_daily_notional::TOTAL),
            (max_daily_notional::ID, "account") => {
                cap(max_daily_notional::ID, CapUnit::Micros, max_daily_notional::ACCOUNT)
            }
            (max_daily_loss::ID, "") => cap(max_daily_loss::ID, CapUnit::Micros, max_daily_loss::TOTAL),
            (max_daily_loss::ID, "account") => cap(max_daily_loss::ID, CapUnit::Micros, max_daily_loss::ACCOUNT),
            (max_daily_loss::ID, "account_by_caller") => {
                cap(max_daily_loss::ID, CapUnit::Micros, max_daily_loss::BY_CALLER)
            }
            (stop_loss::ID, "" | "by_caller") => cap(stop_loss::ID, CapUnit::Micros, stop_loss::DESCRIPTION),
            (max_open_orders::ID, "") => cap(max_open_orders::ID, CapUnit::Orders, max_open_orders::DESCRIPTION),
            _ => None,
        }
    }

    /// Returns the alert of a value that is at or above a share of its limit; `before` is the value before the order.
    pub fn to_signal(self, before: i128, value: i128, limit: i128, percent: i64) -> RuleSignal {
        let (value, limit) = (self.unit.to_metadata_value(value), self.unit.to_metadata_value(limit));
        RuleSignal {
            rule_id: self.rule_id,
            level: SignalLevel::Alert,
            code: self.code,
            message: format!(
                "{} is {value}, at or above {percent} % of the limit of {limit}",
                self.description
            ),
            metadata: Metadata::new()
                .with("value", value)
                .with("limit", limit)
                .with("before", self.unit.to_metadata_value(before)),
        }
    }
}

/// The name of the alert of a duplicate.
pub const DUPLICATE_ALERT: &str = duplicate_order::ID;

/// Returns the alert of a duplicate within a window.
pub fn duplicate_alert(window_ms: i64) -> RuleSignal {
    duplicate_order::signal(SignalLevel::Alert, window_ms)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::risk::cap::Cap;

    /// Checks that a worker that did not evaluate an order makes the same alert of a cap's name.
    pub fn assert_is_named(cap: &Cap) {
        let crossed = CrossedCap {
            rule_id: cap.rule_id,
            code: cap.code,
            unit: cap.unit,
            description: cap.description,
        };
        assert_eq!(CrossedCap::of_name(&cap.alert_name()), Some(crossed));
    }
}
