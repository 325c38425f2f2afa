//! The risk engine: pure rules, their order, and the verdict. No servers are needed to ask it.
//!
//! [`assess`] runs every rule in [`RULES`]' order. A rule speaks in two ways: by a signal, where the intent alone is
//! enough to judge, or by a cap on a shared sum, which the store compares and reserves in one step for all workers.
//! [`Assessment::decide`] then puts both together: every signal is kept, and the first lock in the rules' order is the
//! answer. Only it can make an [`Approved`] order, and brokers accept nothing else.
//!
//! A **reduction** brings a position nearer to zero, whatever else fills first: a sell with short exposure + quantity
//! at most zero, a buy with long exposure + quantity at most zero. The store tells whether an order is one, in the same
//! step; what only stops openings lets it pass.

use crate::risk::rules::duplicate_order;
use crate::risk::rules::intent_age;
use crate::risk::rules::max_daily_loss;
use crate::risk::rules::max_daily_notional;
use crate::risk::rules::max_notional;
use crate::risk::rules::max_open_orders;
use crate::risk::rules::order_rate;
use crate::risk::rules::order_size;
use crate::risk::rules::position_limit;
use crate::risk::rules::price_collar;
use crate::risk::rules::stop_loss;
use crate::risk::rules::trading_state;
use std::collections::BTreeMap;

use crate::domain::control::ControlState;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::decimal::Decimal;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros, Rounding};
use crate::domain::order_terms::Side;
use crate::domain::quantity::Price;
use crate::domain::settlement::Reservation;
use crate::domain::time::Timestamp;

pub mod approved;
pub mod cap;
pub mod limits;
pub mod rules;

pub use crate::risk::approved::Approved;
pub use crate::risk::cap::{Cap, CapMeasure, CapReading, CapReadings};
pub use crate::risk::evaluation::{Admissibility, Evaluation, RiskDecision};
pub use crate::risk::limits::RiskLimits;

use crate::risk::limits::AccountLimits;

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct RuleInput<'a> {
    /// The intent.
    pub intent: &'a Intent,
    /// What it wants to trade.
    pub instrument: &'a Instrument,
    /// Its quantity in lots.
    pub quantity_lots: i64,
    /// The reference price of the symbol; the limit price where the market's is missing or too old.
    pub reference_price: Price,
    /// Whether the reference price is the market's, and recent.
    pub has_market_price: bool,
    /// What it would hold of the shared limits.
    pub reservation: &'a Reservation,
    /// The limits of the settings.
    pub limits: &'a RiskLimits,
    /// What is in force beyond the settings.
    pub control: &'a ControlState,
    /// The day's profit and loss.
    pub daily_pnl: &'a DailyPnl,
    /// After this moment the intent is not executed.
    pub deadline: Timestamp,
    /// The present moment.
    pub now: Timestamp,
}

impl<'a> RuleInput<'a> {
    /// Returns the price an exposure is valued at: the higher of limit and reference price.
    pub fn exposure_price(&self) -> Price {
        self.intent
            .price
            .map_or(self.reference_price, |limit| limit.max(self.reference_price))
    }

    /// Returns what is set for the intent's account.
    fn account_limits(&self) -> Option<&'a AccountLimits> {
        self.limits.accounts.get(&self.intent.account_id)
    }

    /// Returns what tells the caps of the two sides apart.
    fn side_label(&self) -> &'static str {
        match self.intent.side {
            Side::Buy => "long",
            Side::Sell => "short",
        }
    }

    /// Returns the account's loss of the day, by our figures or by the caller's, whichever is worse; `None` where one of
    /// them cannot be known.
    fn account_loss(&self) -> Option<AccountLoss> {
        let ours = -self.daily_pnl.account_pnl(&self.intent.account_id)?.units();
        let theirs = self.caller_reported_loss()?;
        Some(if theirs > ours {
            AccountLoss::CallerReported(theirs)
        } else {
            AccountLoss::Computed(ours)
        })
    }

    /// Returns the loss the caller tells of, in millionths of the base currency, rounded up: far below zero where it
    /// tells of none, and `None` where it cannot be counted.
    fn caller_reported_loss(&self) -> Option<i64> {
        let risk = &self.intent.risk;
        if risk.realized_pnl.is_none() && risk.unrealized_pnl.is_none() {
            return Some(-MAX_EXACT_INTEGER);
        }
        let realized = risk.realized_pnl.unwrap_or(Decimal::ZERO);
        let loss = realized
            .checked_add(risk.unrealized_pnl.unwrap_or(Decimal::ZERO))?
            .negated();
        match Micros::from_decimal(loss, Rounding::Up) {
            Some(loss) => Some(loss.units()),
            None if loss.is_positive() => None,
            None => Some(-MAX_EXACT_INTEGER),
        }
    }
}

/// A loss in millionths of the base currency, and who tells it: alerts of the two are told apart.
#[derive(Debug, Clone, Copy)]
enum AccountLoss {
    Computed(i64),
    CallerReported(i64),
}

impl AccountLoss {
    fn units(self) -> i64 {
        match self {
            Self::Computed(units) | Self::CallerReported(units) => units,
        }
    }

    fn select_label(self, computed: &'static str, caller_reported: &'static str) -> &'static str {
        match self {
            Self::Computed(_) => computed,
            Self::CallerReported(_) => caller_reported,
        }
    }
}

/// One rule: its name, and what it has to say of an intent before the shared sums are seen.
struct RiskRule {
    id: &'static str,
    check: fn(&RuleInput<'_>, &mut Evaluation),
}

/// A rule that speaks only when the store has answered (see [`Assessment::decide`]).
fn skip_before_readings(_: &RuleInput<'_>, _: &mut Evaluation) {}

/// The rules in the order that decides which lock is the answer.
const RULES: &[RiskRule] = &[
    new_rule(trading_state::ID, trading_state::check),
    new_rule(intent_age::ID, intent_age::check),
    new_rule(order_size::ID, order_size::check),
    new_rule(max_notional::ID, max_notional::check),
    new_rule(position_limit::ID, position_limit::check),
    new_rule(price_collar::ID, price_collar::check),
    new_rule(max_daily_notional::ID, max_daily_notional::check),
    new_rule(max_daily_loss::ID, max_daily_loss::check),
    new_rule(stop_loss::ID, stop_loss::check),
    new_rule(order_rate::ID, skip_before_readings),
    new_rule(max_open_orders::ID, max_open_orders::check),
    new_rule(duplicate_order::ID, skip_before_readings),
];

const fn new_rule(id: &'static str, check: fn(&RuleInput<'_>, &mut Evaluation)) -> RiskRule {
    RiskRule { id, check }
}

/// Returns what the rules say of an intent, none left out.
pub fn evaluate(input: &RuleInput<'_>) -> Evaluation {
    let mut assessment = Evaluation::new(input.limits);
    for rule in RULES {
        (rule.check)(input, &mut assessment);
    }
    assessment
}

/// Returns the names of the rules, in the order that decides which lock is the answer.
pub fn rule_ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.id)
}

/// Returns each rule's place in the order.
fn rule_precedence() -> BTreeMap<&'static str, usize> {
    RULES.iter().enumerate().map(|(place, rule)| (rule.id, place)).collect()
}

pub mod evaluation;
#[cfg(test)]
#[path = "risk/rules_tests.rs"]
mod tests;
