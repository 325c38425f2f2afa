//! The risk engine: pure rules, their order, and the verdict. No servers are needed to ask it.
//!
//! [`assess`] runs every rule in [`RULES`]' order. A rule speaks in two ways: by a signal, where the intent alone is
//! enough to judge, or by a cap on a shared sum, which the store compares and reserves in one step for all workers.
//! [`Assessment::decide`] then puts both together: every signal is kept, and the first lock in the rules' order is the
//! answer. Only it can make an [`Approved`] order, and brokers accept nothing else.

use std::collections::BTreeMap;

use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::quantity::Price;
use crate::domain::settlement::Reservation;

pub mod approved;
pub mod cap;
pub mod intent_age;
pub mod limits;
mod max_daily_notional;
mod max_notional;
mod order_size;
mod stop_loss;
pub mod verdict;

pub use approved::Approved;
pub use cap::{Cap, CapLimit, Observed};
pub use limits::Limits;
pub use verdict::{Assessment, Decision};

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The intent.
    pub intent: &'a Intent,
    /// What it wants to trade.
    pub instrument: &'a Instrument,
    /// Its quantity in lots.
    pub lots: i64,
    /// The reference price of the symbol.
    pub reference_price: Price,
    /// What it would hold of the shared limits.
    pub reservation: &'a Reservation,
    /// The limits in force.
    pub limits: &'a Limits,
}

impl Subject<'_> {
    /// Returns the price an exposure is valued at: the higher of limit and reference price.
    pub fn exposure_price(&self) -> Price {
        self.intent
            .price
            .map_or(self.reference_price, |limit| limit.max(self.reference_price))
    }
}

/// One rule: its name, and what it has to say of an intent.
struct Rule {
    id: &'static str,
    check: fn(&Subject<'_>, &mut Assessment),
}

/// The rules in the order that decides which lock is the answer.
const RULES: &[Rule] = &[
    Rule {
        id: order_size::ID,
        check: order_size::check,
    },
    Rule {
        id: max_notional::ID,
        check: max_notional::check,
    },
    Rule {
        id: max_daily_notional::ID,
        check: max_daily_notional::check,
    },
    Rule {
        id: stop_loss::ID,
        check: stop_loss::check,
    },
];

/// Returns what the rules say of an intent, none left out.
pub fn assess(subject: &Subject<'_>) -> Assessment {
    let mut assessment = Assessment::new(subject.limits.alerts.percent);
    for rule in RULES {
        (rule.check)(subject, &mut assessment);
    }
    assessment
}

/// Returns the names of the rules, in the order that decides which lock is the answer.
pub fn rule_ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.id)
}

/// Returns each rule's place in the order.
fn precedence() -> BTreeMap<&'static str, usize> {
    RULES.iter().enumerate().map(|(place, rule)| (rule.id, place)).collect()
}

#[cfg(test)]
#[path = "risk/rules_tests.rs"]
mod tests;
