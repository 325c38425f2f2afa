//! From the rules' words and the store's figures to one decision.

use crate::domain::metadata::{Metadata, MetadataValue};
use crate::domain::reason::Reason;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::approved::Approved;
use crate::risk::cap::{Cap, CapBound, CapReading, CapReadings};
use crate::risk::limits::{DuplicateOrderRule, RateLimits, RiskLimits};
use crate::risk::rules::{duplicate_order, order_rate};

/// What the rules say of an intent before the shared sums have been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    limits: DecisionLimits,
    signals: Vec<ConditionalSignal>,
    caps: Vec<Cap>,
}

/// The limits a decision is judged by after the store has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DecisionLimits {
    alerts: crate::risk::limits::AlertThresholds,
    rates: RateLimits,
    duplicates: Option<DuplicateOrderRule>,
}

/// A rule's signal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConditionalSignal {
    signal: RuleSignal,
    allows_reductions: bool,
}

/// Which orders may be claimed, as far as the rules can tell before the sums are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admissibility {
    /// Any that finds room.
    All,
    /// Only what turns out to be a reduction.
    ReductionsOnly,
    /// None.
    Nothing,
}

/// What becomes of an intent.
#[derive(Debug)]
pub enum RiskDecision<T> {
    /// It may go to its broker. The signals are the alerts that are new.
    Approved(Approved<T>, Vec<RuleSignal>),
    /// It stops here, and its id is used up: the reason is the first lock in the rules' order; every signal is kept.
    Denied(Reason, Vec<RuleSignal>),
    /// It stops here, and may be tried again under the same id.
    Refused(Reason, Vec<RuleSignal>),
}

impl Evaluation {
    pub(in crate::risk) fn new(limits: &RiskLimits) -> Self {
        Self {
            limits: DecisionLimits {
                alerts: limits.alerts,
                rates: limits.order_rates,
                duplicates: limits.duplicate_order,
            },
            signals: Vec::new(),
            caps: Vec::new(),
        }
    }

    /// Adds a lock that no order passes.
    pub(in crate::risk) fn add_lock(&mut self, signal: RuleSignal) {
        self.signals.push(ConditionalSignal {
            signal,
            allows_reductions: false,
        });
    }

    /// Adds a lock that reductions pass.
    pub(in crate::risk) fn add_opening_lock(&mut self, signal: RuleSignal) {
        self.signals.push(ConditionalSignal {
            signal,
            allows_reductions: true,
        });
    }

    pub(in crate::risk) fn add_cap(&mut self, cap: Cap) {
        self.caps.push(cap);
    }

    /// Returns which orders may be claimed.
    pub fn admissibility(&self) -> Admissibility {
        let locks = || {
            self.signals
                .iter()
                .filter(|word| word.signal.level == SignalLevel::Lock)
        };
        match (locks().any(|word| !word.allows_reductions), locks().next()) {
            (true, _) => Admissibility::Nothing,
            (false, Some(_)) => Admissibility::ReductionsOnly,
            (false, None) => Admissibility::All,
        }
    }

    /// Returns the caps the store is to compare, in the order it is to answer in.
    pub fn caps(&self) -> &[Cap] {
        &self.caps
    }

    /// Returns the figures of every cap, for the journal.
    pub fn cap_measurements(&self, readings: &CapReadings) -> Metadata {
        let start = if readings.is_reduction {
            Metadata::new().with("reduction", "yes")
        } else {
            Metadata::new()
        };
        let caps = self.caps.iter().zip(&readings.caps);
        caps.fold(start, |figures, (cap, seen)| {
            let value = i64::try_from(cap.value_after(seen.before)).unwrap_or(i64::MAX);
            figures
                .with(cap.measurement_name("value"), cap.unit.to_metadata_value(value))
                .with(cap.measurement_name("limit"), cap.unit.to_metadata_value(cap.limit))
        })
    }

    /// Returns the decision, from what the store saw. Without a figure for every cap the order is denied: a check is
    /// never skipped because its input is missing.
    pub fn decide<T>(self, inner: T, readings: &CapReadings) -> RiskDecision<T> {
        let is_lock = |signal: &RuleSignal| signal.level == SignalLevel::Lock;
        let mut signals = Vec::new();
        for word in &self.signals {
            if !(word.allows_reductions && readings.is_reduction && is_lock(&word.signal)) {
                signals.push(word.signal.clone());
            }
        }
        let mut crossings = Vec::new();
        for (at, cap) in self.caps.iter().enumerate() {
            let Some(seen) = readings.caps.get(at) else {
                signals.push(unread_cap_signal(cap));
                continue;
            };
            if let Some(signal) = self.evaluate_cap(cap, *seen, readings.is_reduction) {
                if !is_lock(&signal) && seen.crosses_alert_threshold {
                    crossings.push(signal.clone());
                }
                signals.push(signal);
            }
        }
        signals.extend(order_rate::evaluate(self.limits.rates, readings.order_counts));
        let duplicate = duplicate_order::evaluate(self.limits.duplicates, readings.is_duplicate);
        crossings.extend(duplicate.clone().filter(|signal| !is_lock(signal)));
        signals.extend(duplicate);
        let places = crate::risk::rule_precedence();
        signals.sort_by_key(|signal| places.get(signal.rule_id).copied().unwrap_or(usize::MAX));
        match signals.iter().find(|signal| is_lock(signal)) {
            Some(lock) if lock.code.consumes_client_order_id() => RiskDecision::Denied(lock.to_reason(), signals),
            Some(lock) => RiskDecision::Refused(lock.to_reason(), signals),
            None => RiskDecision::Approved(Approved::new(inner), crossings),
        }
    }

    fn evaluate_cap(&self, cap: &Cap, reading: CapReading, is_reduction: bool) -> Option<RuleSignal> {
        let (value, limit) = (cap.value_after(reading.before), i128::from(cap.limit));
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
        let metadata = Metadata::new()
            .with(
                "value",
                cap.unit.to_metadata_value(i64::try_from(value).unwrap_or(i64::MAX)),
            )
            .with("limit", cap.unit.to_metadata_value(cap.limit))
            .with(
                "before",
                cap.unit.to_metadata_value(reading.before.saturating_add(cap.offset)),
            );
        let shown = |name| metadata.get(name).map(format_value).unwrap_or_default();
        let (what, value, limit) = (cap.description, shown("value"), shown("limit"));
        let message = match (level, cap.bound) {
            (SignalLevel::Lock, CapBound::Inclusive) => format!("{what} would be {value}, above the limit of {limit}"),
            (SignalLevel::Lock, CapBound::Exclusive) => {
                format!("{what} is {value} and has reached the limit of {limit}")
            }
            (SignalLevel::Alert, _) => format!("{what} is {value}, at or above {percent} % of the limit of {limit}"),
        };
        Some(RuleSignal {
            rule_id: cap.rule_id,
            level,
            code: cap.code,
            message,
            metadata,
        })
    }
}

fn unread_cap_signal(cap: &Cap) -> RuleSignal {
    RuleSignal {
        rule_id: cap.rule_id,
        level: SignalLevel::Lock,
        code: cap.code,
        message: format!(
            "{} could not be read; the order is refused rather than sent unchecked",
            cap.description
        ),
        metadata: Metadata::new(),
    }
}

fn format_value(figure: &MetadataValue) -> String {
    match figure {
        MetadataValue::Number(number) => number.to_string(),
        MetadataValue::Text(text) => text.clone(),
    }
}
