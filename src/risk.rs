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

use std::collections::BTreeMap;

use crate::domain::control::Control;
use crate::domain::day::DayFigures;
use crate::domain::decimal::Decimal;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::money::{MAX_EXACT, Micros, Rounding};
use crate::domain::quantity::Price;
use crate::domain::settlement::Reservation;
use crate::domain::terms::Side;
use crate::domain::time::Timestamp;

pub mod approved;
pub mod cap;
mod duplicate_order;
pub mod intent_age;
pub mod limits;
pub mod max_daily_loss;
mod max_daily_notional;
mod max_notional;
mod max_open_orders;
mod order_rate;
mod order_size;
mod position_limit;
mod price_collar;
mod stop_loss;
mod trading_state;
pub mod verdict;

pub use approved::Approved;
pub use cap::{Cap, Measure, Observed, Sight};
pub use limits::Limits;
pub use verdict::{Admits, Assessment, Decision};

use limits::AccountLimits;

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The intent.
    pub intent: &'a Intent,
    /// What it wants to trade.
    pub instrument: &'a Instrument,
    /// Its quantity in lots.
    pub lots: i64,
    /// The reference price of the symbol; the limit price where the market's is missing or too old.
    pub reference_price: Price,
    /// Whether the reference price is the market's, and recent.
    pub has_reference: bool,
    /// What it would hold of the shared limits.
    pub reservation: &'a Reservation,
    /// The limits of the settings.
    pub limits: &'a Limits,
    /// What is in force beyond the settings.
    pub control: &'a Control,
    /// The day's profit and loss.
    pub day: &'a DayFigures,
    /// After this moment the intent is not executed.
    pub deadline: Timestamp,
    /// The present moment.
    pub now: Timestamp,
}

impl<'a> Subject<'a> {
    /// Returns the price an exposure is valued at: the higher of limit and reference price.
    pub fn exposure_price(&self) -> Price {
        self.intent
            .price
            .map_or(self.reference_price, |limit| limit.max(self.reference_price))
    }

    /// Returns what is set for the intent's account.
    fn account(&self) -> Option<&'a AccountLimits> {
        self.limits.accounts.get(&self.intent.account_id)
    }

    /// Returns what tells the caps of the two sides apart.
    fn side_part(&self) -> &'static str {
        match self.intent.side {
            Side::Buy => "long",
            Side::Sell => "short",
        }
    }

    /// Returns the account's loss of the day, by our figures or by the caller's, whichever is worse; `None` where one of
    /// them cannot be known.
    fn account_loss(&self) -> Option<Loss> {
        let ours = -self.day.of(&self.intent.account_id)?.units();
        let theirs = self.callers_loss()?;
        Some(if theirs > ours {
            Loss::ByCaller(theirs)
        } else {
            Loss::Ours(ours)
        })
    }

    /// Returns the loss the caller tells of, in millionths of the base currency, rounded up: far below zero where it
    /// tells of none, and `None` where it cannot be counted.
    fn callers_loss(&self) -> Option<i64> {
        let risk = &self.intent.risk;
        if risk.realized_pnl.is_none() && risk.unrealized_pnl.is_none() {
            return Some(-MAX_EXACT);
        }
        let realized = risk.realized_pnl.unwrap_or(Decimal::ZERO);
        let loss = realized
            .exact_add(risk.unrealized_pnl.unwrap_or(Decimal::ZERO))?
            .negated();
        match Micros::from_decimal(loss, Rounding::Up) {
            Some(loss) => Some(loss.units()),
            None if loss.is_positive() => None,
            None => Some(-MAX_EXACT),
        }
    }
}

/// A loss in millionths of the base currency, and who tells it: alerts of the two are told apart.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Ours(i64),
    ByCaller(i64),
}

impl Loss {
    fn units(self) -> i64 {
        match self {
            Self::Ours(units) | Self::ByCaller(units) => units,
        }
    }

    fn part(self, ours: &'static str, by_caller: &'static str) -> &'static str {
        match self {
            Self::Ours(_) => ours,
            Self::ByCaller(_) => by_caller,
        }
    }
}

/// One rule: its name, and what it has to say of an intent before the shared sums are seen.
struct Rule {
    id: &'static str,
    check: fn(&Subject<'_>, &mut Assessment),
}

/// A rule that speaks only when the store has answered (see [`Assessment::decide`]).
fn later(_: &Subject<'_>, _: &mut Assessment) {}

/// The rules in the order that decides which lock is the answer.
const RULES: &[Rule] = &[
    rule(trading_state::ID, trading_state::check),
    rule(intent_age::ID, intent_age::check),
    rule(order_size::ID, order_size::check),
    rule(max_notional::ID, max_notional::check),
    rule(position_limit::ID, position_limit::check),
    rule(price_collar::ID, price_collar::check),
    rule(max_daily_notional::ID, max_daily_notional::check),
    rule(max_daily_loss::ID, max_daily_loss::check),
    rule(stop_loss::ID, stop_loss::check),
    rule(order_rate::ID, later),
    rule(max_open_orders::ID, max_open_orders::check),
    rule(duplicate_order::ID, later),
];

const fn rule(id: &'static str, check: fn(&Subject<'_>, &mut Assessment)) -> Rule {
    Rule { id, check }
}

/// Returns what the rules say of an intent, none left out.
pub fn assess(subject: &Subject<'_>) -> Assessment {
    let mut assessment = Assessment::new(subject.limits);
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
