//! The rules, one per file, and their order. Each rule evaluates an intent by itself, adds caps for the store to compare,
//! or evaluates what the store has read.

use crate::domain::rule_signal::RuleSignal;
use crate::risk::cap::CapReadings;
use crate::risk::evaluation::{DecisionLimits, Evaluation};
use crate::risk::rule_input::RuleInput;

pub(in crate::risk) mod duplicate_order;
pub(in crate::risk) mod exposure_cap;
mod intent_age;
mod live_order_size;
pub mod max_daily_loss;
pub(in crate::risk) mod max_daily_notional;
pub(in crate::risk) mod max_notional;
pub(in crate::risk) mod max_open_orders;
mod order_rate;
mod order_size;
pub(in crate::risk) mod position_limit;
mod price_collar;
pub(in crate::risk) mod stop_loss;
mod trading_state;
pub mod unpriced_fee;

/// A rule: its id, and its check.
struct RiskRule {
    id: &'static str,
    check: RuleCheck,
}

/// When a rule is evaluated.
enum RuleCheck {
    /// Before the shared sums are read: the rule adds signals and caps.
    Intent(fn(&RuleInput<'_>, &mut Evaluation)),
    /// After the store has read counts and duplicates.
    Readings(fn(&DecisionLimits, &CapReadings) -> Option<RuleSignal>),
}

/// The rules in their order: of several locks, the one of the first rule is the outcome.
const RULES: &[RiskRule] = &[
    RiskRule {
        id: trading_state::ID,
        check: RuleCheck::Intent(trading_state::check),
    },
    RiskRule {
        id: intent_age::ID,
        check: RuleCheck::Intent(intent_age::check),
    },
    RiskRule {
        id: order_size::ID,
        check: RuleCheck::Intent(order_size::check),
    },
    RiskRule {
        id: live_order_size::ID,
        check: RuleCheck::Intent(live_order_size::check),
    },
    RiskRule {
        id: max_notional::ID,
        check: RuleCheck::Intent(max_notional::check),
    },
    RiskRule {
        id: position_limit::ID,
        check: RuleCheck::Intent(position_limit::check),
    },
    RiskRule {
        id: price_collar::ID,
        check: RuleCheck::Intent(price_collar::check),
    },
    RiskRule {
        id: max_daily_notional::ID,
        check: RuleCheck::Intent(max_daily_notional::check),
    },
    RiskRule {
        id: max_daily_loss::ID,
        check: RuleCheck::Intent(max_daily_loss::check),
    },
    RiskRule {
        id: stop_loss::ID,
        check: RuleCheck::Intent(stop_loss::check),
    },
    RiskRule {
        id: unpriced_fee::ID,
        check: RuleCheck::Readings(unpriced_fee::check),
    },
    RiskRule {
        id: order_rate::ID,
        check: RuleCheck::Readings(order_rate::check),
    },
    RiskRule {
        id: max_open_orders::ID,
        check: RuleCheck::Intent(max_open_orders::check),
    },
    RiskRule {
        id: duplicate_order::ID,
        check: RuleCheck::Readings(duplicate_order::check),
    },
];

/// Evaluates an intent against every rule. A lock of one rule does not skip the others.
pub fn evaluate(input: &RuleInput<'_>) -> Evaluation {
    let mut evaluation = Evaluation::new(input.limits);
    for rule in RULES {
        if let RuleCheck::Intent(check) = rule.check {
            check(input, &mut evaluation);
        }
    }
    evaluation
}

/// Returns the signals of the rules that evaluate counts and duplicates.
pub(in crate::risk) fn check_readings<'a>(
    limits: &'a DecisionLimits,
    readings: &'a CapReadings,
) -> impl Iterator<Item = RuleSignal> + 'a {
    RULES.iter().filter_map(move |rule| match rule.check {
        RuleCheck::Intent(_) => None,
        RuleCheck::Readings(check) => check(limits, readings),
    })
}

/// Returns the ids of the rules in their order.
pub fn rule_ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.id)
}

/// Returns a rule's place in the order, counted from 0.
pub(in crate::risk) fn rule_precedence(rule_id: &str) -> usize {
    RULES.iter().position(|rule| rule.id == rule_id).unwrap_or(usize::MAX)
}
