//! The evaluation of an intent: the signals and caps that the rules add before the shared sums are read.

use crate::domain::metadata::Metadata;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::approved::ApprovedUnderCaps;
use crate::risk::cap::Cap;
use crate::risk::limits::{AlertThresholds, DuplicateOrderRule, RateLimits, RiskLimits};

/// The signals and caps of all rules for one intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    pub(in crate::risk) limits: DecisionLimits,
    pub(in crate::risk) signals: Vec<ConditionalSignal>,
    pub(in crate::risk) caps: Vec<Cap>,
}

/// The limits that the decision needs after the store has read the shared sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::risk) struct DecisionLimits {
    pub(in crate::risk) alerts: AlertThresholds,
    pub(in crate::risk) rates: RateLimits,
    pub(in crate::risk) duplicates: Option<DuplicateOrderRule>,
}

/// A rule's signal, and whether a reduction passes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::risk) struct ConditionalSignal {
    pub(in crate::risk) signal: RuleSignal,
    pub(in crate::risk) allows_reductions: bool,
}

/// Which orders the store may claim, as far as the rules can decide before the shared sums are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admissibility {
    /// Any order that every cap has room for.
    All,
    /// Only reductions.
    ReductionsOnly,
    /// No order.
    Nothing,
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

    /// Adds a lock that stops every order.
    pub(in crate::risk) fn add_lock(&mut self, signal: RuleSignal) {
        self.signals.push(ConditionalSignal {
            signal,
            allows_reductions: false,
        });
    }

    /// Adds a lock that lets reductions pass.
    pub(in crate::risk) fn add_opening_lock(&mut self, signal: RuleSignal) {
        self.signals.push(ConditionalSignal {
            signal,
            allows_reductions: true,
        });
    }

    pub(in crate::risk) fn add_cap(&mut self, cap: Cap) {
        self.caps.push(cap);
    }

    /// Returns which orders the store may claim.
    pub fn admissibility(&self) -> Admissibility {
        let locks = || {
            self.signals
                .iter()
                .filter(|added| added.signal.level == SignalLevel::Lock)
        };
        match (locks().any(|lock| !lock.allows_reductions), locks().next()) {
            (true, _) => Admissibility::Nothing,
            (false, Some(_)) => Admissibility::ReductionsOnly,
            (false, None) => Admissibility::All,
        }
    }

    /// Returns the caps to compare. The store returns its readings in the same order.
    pub fn caps(&self) -> &[Cap] {
        &self.caps
    }

    /// Returns the figures that the order is judged by, for the journal: what it adds to the measure of every cap, the
    /// cap's limit, and the store's readings in the order of the caps.
    pub fn figures(&self, readings: &str) -> Metadata {
        let caps = self.caps.iter();
        let limits = caps.fold(Metadata::new(), |figures, cap| {
            let order = cap.unit.to_metadata_value(cap.value_after(0));
            figures
                .with(cap.measurement_name("order"), order)
                .with(cap.measurement_name("limit"), cap.unit.to_metadata_value(cap.limit))
        });
        limits.with("readings", readings)
    }

    /// Returns an order's approval under its caps: the step that claims it compares them, and lets it pass only where all have
    /// room. `None` for an order that a rule stops whatever the readings are.
    pub fn approve_under_caps<T>(&self, inner: T) -> Option<ApprovedUnderCaps<T>> {
        (self.admissibility() != Admissibility::Nothing).then(|| ApprovedUnderCaps::new(inner))
    }
}
