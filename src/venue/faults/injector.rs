//! Decides by the seed when a fault strikes, and counts how often each did.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::venue::amount::Amount;
use crate::venue::faults::spec::{FaultPlan, Frequency, MAX_PLANS};
use crate::venue::faults::table::FaultKind;
use crate::venue::operation::Operation;
use crate::venue::random::SeededRandom;

/// The faults in force and their counts.
#[derive(Debug)]
pub struct FaultInjector(Mutex<InjectorState>);

#[derive(Debug)]
struct InjectorState {
    seed: u64,
    random: SeededRandom,
    plans: Vec<FaultPlan>,
    injected: BTreeMap<FaultKind, u64>,
    /// The requests and the events that faults could meet.
    requests: u64,
    events: u64,
}

/// A fault that strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// The duration, in milliseconds.
    pub duration_ms: i64,
}

impl FaultInjector {
    /// Returns an injector with the faults in force from the start.
    pub fn new(plans: Vec<FaultPlan>, seed: u64) -> Self {
        Self(Mutex::new(InjectorState {
            seed,
            random: SeededRandom::new(seed),
            plans,
            injected: BTreeMap::new(),
            requests: 0,
            events: 0,
        }))
    }

    /// Counts a request that faults may meet.
    pub fn count_request(&self) {
        self.lock().requests += 1;
    }

    /// Counts an event that faults may meet.
    pub fn count_event(&self) {
        self.lock().events += 1;
    }

    /// Decides whether a fault strikes at an operation, and counts it.
    pub fn strikes(&self, kind: FaultKind, operation: Operation) -> Option<Strike> {
        self.lock().draw(kind, |plan| plan.applies_to(operation))
    }

    /// Decides whether a fault strikes at an event, and counts it.
    pub fn strikes_event(&self, kind: FaultKind) -> Option<Strike> {
        self.lock().draw(kind, |_| true)
    }

    /// Reports whether a fault strikes at each opportunity of now; it is neither counted nor used up.
    pub fn is_certain(&self, kind: FaultKind) -> bool {
        let state = self.lock();
        state.plans.iter().any(|plan| plan.kind == kind && plan.is_certain())
    }

    /// Returns the duration of a fault that may strike; it is neither counted nor used up.
    pub fn in_force(&self, kind: FaultKind) -> Option<i64> {
        let state = self.lock();
        let plan = state.plans.iter().find(|plan| plan.kind == kind && !plan.is_over())?;
        Some(plan.duration_ms)
    }

    /// Puts other faults in force; a seed begins the random numbers again.
    ///
    /// # Errors
    /// When there are too many.
    pub fn replace(&self, plans: Vec<FaultPlan>, seed: Option<u64>) -> Result<(), String> {
        if plans.len() > MAX_PLANS {
            return Err(format!("at most {MAX_PLANS} faults can be in force"));
        }
        let mut state = self.lock();
        state.plans = plans;
        if let Some(seed) = seed {
            state.seed = seed;
            state.random = SeededRandom::new(seed);
        }
        Ok(())
    }

    /// Returns the faults in force, how often each kind struck, and at how many requests and events it could.
    pub fn describe(&self) -> Value {
        let state = self.lock();
        let plans: Vec<Value> = state.plans.iter().map(FaultPlan::describe).collect();
        let injected: BTreeMap<&str, u64> = FaultKind::ALL
            .iter()
            .map(|kind| (kind.name(), state.injected.get(kind).copied().unwrap_or_default()))
            .collect();
        let table: Vec<Value> = FaultKind::ALL
            .iter()
            .map(|kind| json!({"name": kind.name(), "strikes_at": kind.scope().text(), "effect": kind.text()}))
            .collect();
        let met = json!({"requests": state.requests, "events": state.events});
        json!({"seed": state.seed, "faults": plans, "injected": injected, "met": met, "table": table})
    }

    fn lock(&self) -> MutexGuard<'_, InjectorState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InjectorState {
    fn draw(&mut self, kind: FaultKind, applies: impl Fn(&FaultPlan) -> bool) -> Option<Strike> {
        let mut strike = None;
        for plan in self.plans.iter_mut().filter(|plan| plan.kind == kind && applies(plan)) {
            let strikes = match &mut plan.frequency {
                Frequency::Count(0) => false,
                Frequency::Count(left) => {
                    *left -= 1;
                    true
                }
                // Certainty draws no number, so that a maintenance changes nothing for the other faults.
                Frequency::Probability(Amount::ONE) => true,
                Frequency::Probability(probability) => {
                    i128::from(self.random.below(PROBABILITY_STEPS)) < probability.units()
                }
            };
            if strikes {
                strike = Some(Strike {
                    duration_ms: plan.duration_ms,
                });
                break;
            }
        }
        let strike = strike?;
        *self.injected.entry(kind).or_default() += 1;
        Some(strike)
    }
}

/// The steps of a probability: the units of one whole.
const PROBABILITY_STEPS: u64 = 100_000_000;

impl FaultPlan {
    fn is_certain(&self) -> bool {
        matches!(self.frequency, Frequency::Count(1..)) || self.frequency == Frequency::Probability(Amount::ONE)
    }

    fn is_over(&self) -> bool {
        matches!(self.frequency, Frequency::Count(0)) || self.frequency == Frequency::Probability(Amount::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venue::faults::spec::parse_plans;

    fn strikes(seed: u64) -> Vec<bool> {
        let injector = FaultInjector::new(parse_plans("answer_lost=0.3").unwrap(), seed);
        let draw = |_| injector.strikes(FaultKind::AnswerLost, Operation::Place).is_some();
        (0..200).map(draw).collect()
    }

    #[test]
    fn same_seed_strikes_at_the_same_requests() {
        assert_eq!(strikes(1), strikes(1));
        assert_ne!(strikes(1), strikes(2));
        let count = strikes(1).into_iter().filter(|strikes| *strikes).count();
        assert!((30..90).contains(&count), "{count} of 200 at 30 %");
    }

    #[test]
    fn fault_that_strikes_now_and_then_is_not_certain() {
        let plans = "maintenance=1x,symbols_halted=0.5,banned";
        let injector = FaultInjector::new(parse_plans(plans).unwrap(), 0);
        assert!(injector.is_certain(FaultKind::Maintenance) && injector.is_certain(FaultKind::Banned));
        assert!(!injector.is_certain(FaultKind::SymbolsHalted));
        assert!(injector.strikes(FaultKind::Maintenance, Operation::Time).is_some());
        assert!(!injector.is_certain(FaultKind::Maintenance));
    }

    #[test]
    fn counted_faults_end_and_are_counted() {
        let injector = FaultInjector::new(parse_plans("answer_lost@cancel=2x").unwrap(), 0);
        assert!(injector.strikes(FaultKind::AnswerLost, Operation::Place).is_none());
        for expected in [true, true, false] {
            let strike = injector.strikes(FaultKind::AnswerLost, Operation::Cancel);
            assert_eq!(strike.is_some(), expected);
        }
        assert_eq!(injector.describe()["injected"]["answer_lost"], 2);
    }
}
