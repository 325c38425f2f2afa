//! The decision on an intent, from the rules' evaluation and the store's readings.

use std::borrow::Cow;

use crate::domain::metadata::Metadata;
use crate::domain::reason::Reason;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::alerts::{CrossedCap, NewAlert};
use crate::risk::approved::Approved;
use crate::risk::cap::{Cap, CapBound, CapReading, CapReadings};
use crate::risk::evaluation::Evaluation;
use crate::risk::rules;
use crate::risk::rules::max_daily_loss;

/// The decision on an intent.
#[derive(Debug)]
pub enum RiskDecision<T> {
    /// The order may be sent to its broker, with its new alerts.
    Approved(Approved<T>, Vec<NewAlert>),
    /// A rule denied the order, and its client order id is consumed. The reason is the first lock in the order of the
    /// rules; the signals are all that the rules gave.
    Denied(Reason, Vec<RuleSignal>),
    /// A rule refused the order, which may be retried under the same id.
    Refused(Reason, Vec<RuleSignal>),
}

impl Evaluation {
    /// Returns the decision for the store's readings. An order without a reading for every cap is stopped: a check is
    /// never skipped because its input is missing (law 6 in docs/architecture.md).
    pub fn decide<T>(self, inner: T, readings: &CapReadings) -> RiskDecision<T> {
        let mut signals = Vec::new();
        for added in &self.signals {
            if !(added.allows_reductions && readings.is_reduction && added.signal.is_lock()) {
                signals.push(added.signal.clone());
            }
        }
        let mut new_alerts = Vec::new();
        for (at, cap) in self.caps.iter().enumerate() {
            let Some(reading) = readings.caps.get(at) else {
                signals.push(unread_cap_signal(cap));
                continue;
            };
            if let Some(signal) = self.evaluate_cap(cap, *reading, readings.is_reduction) {
                if !signal.is_lock() && reading.crosses_alert_threshold {
                    new_alerts.push(NewAlert {
                        name: cap.alert_name(),
                        signal: signal.clone(),
                    });
                }
                signals.push(signal);
            }
        }
        signals.extend(max_daily_loss::breach_signals(readings));
        for signal in rules::check_readings(&self.limits, readings) {
            if !signal.is_lock() {
                new_alerts.push(NewAlert {
                    name: Cow::Borrowed(signal.rule_id),
                    signal: signal.clone(),
                });
            }
            signals.push(signal);
        }
        signals.sort_by_key(|signal| rules::rule_precedence(signal.rule_id));
        match signals.iter().find(|signal| signal.is_lock()) {
            Some(lock) if lock.code.consumes_client_order_id() => RiskDecision::Denied(lock.to_reason(), signals),
            Some(lock) => RiskDecision::Refused(lock.to_reason(), signals),
            None => RiskDecision::Approved(Approved::new(inner), new_alerts),
        }
    }

    fn evaluate_cap(&self, cap: &Cap, reading: CapReading, is_reduction: bool) -> Option<RuleSignal> {
        let (value, limit) = (cap.value_after(reading.before), cap.limit);
        let is_over = match cap.bound {
            CapBound::Inclusive => value > limit,
            CapBound::Exclusive => value >= limit,
        };
        let percent = self.limits.alerts.alert_percent;
        let level = if is_over && !(cap.allows_reductions && is_reduction) {
            SignalLevel::Lock
        } else if limit > 0 && value * 100 >= limit * i128::from(percent) {
            SignalLevel::Alert
        } else {
            return None;
        };
        if level == SignalLevel::Alert {
            let alert = CrossedCap {
                rule_id: cap.rule_id,
                code: cap.code,
                unit: cap.unit,
                description: cap.description,
            };
            return Some(alert.to_signal(reading.before.saturating_add(cap.offset), value, cap.limit, percent));
        }
        let value = cap.unit.to_metadata_value(value);
        let limit = cap.unit.to_metadata_value(cap.limit);
        let before = reading.before.saturating_add(cap.offset);
        let name = cap.description;
        let message = match cap.bound {
            CapBound::Inclusive => format!("{name} would be {value}, above the limit of {limit}"),
            CapBound::Exclusive => format!("{name} is {value} and has reached the limit of {limit}"),
        };
        Some(RuleSignal {
            rule_id: cap.rule_id,
            level,
            code: cap.code,
            message,
            metadata: Metadata::new()
                .with("value", value)
                .with("limit", limit)
                .with("before", cap.unit.to_metadata_value(before)),
        })
    }
}

fn unread_cap_signal(cap: &Cap) -> RuleSignal {
    let message = format!(
        "{} could not be read; the order was stopped rather than sent unchecked",
        cap.description
    );
    RuleSignal::lock(cap.rule_id, cap.code, message, Metadata::new())
}
