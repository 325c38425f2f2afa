//! `trading_state`: the operators' trading state, and the locks in force. `halted` stops every order; `reduce_only` and
//! locks let reductions pass. An intent with `reduce_only` is denied unless it is a reduction.

use crate::domain::control::Lock;
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::TradingState;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;
use crate::risk::rules::{max_daily_loss, unpriced_fee};

pub(super) const ID: &str = "trading_state";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let state = input.control.trading_state;
    let metadata = || Metadata::new().with("trading_state", state.as_str());
    match state {
        TradingState::Active => {}
        TradingState::ReduceOnly => {
            let message =
                "the trading state is reduce_only: only orders that reduce a position are accepted".to_owned();
            evaluation.add_opening_lock(RuleSignal::lock(ID, ReasonCode::ReduceOnly, message, metadata()));
        }
        TradingState::Halted => {
            let message = "trading is halted: only cancels are accepted".to_owned();
            evaluation.add_lock(RuleSignal::lock(ID, ReasonCode::TradingHalted, message, metadata()));
        }
    }
    let intent = input.intent;
    let applies = |lock: &&Lock| {
        lock.mode == input.control.mode
            && lock
                .scope
                .applies_to(&intent.account_id, &intent.broker, &intent.venue, &intent.symbol)
    };
    for lock in input.control.locks.iter().filter(applies) {
        evaluation.add_opening_lock(signal_from_lock(lock));
    }
    if intent.reduce_only {
        let message = "the intent is reduce_only, and the order would not only reduce the position".to_owned();
        evaluation.add_opening_lock(RuleSignal::lock(ID, ReasonCode::ReduceOnly, message, Metadata::new()));
    }
}

/// Returns the signal of a lock. Its code is that of the rule that set the lock, where the rule has one.
fn signal_from_lock(lock: &Lock) -> RuleSignal {
    let code = match &*lock.rule_id {
        max_daily_loss::ID => ReasonCode::DailyLossExceeded,
        unpriced_fee::ID => ReasonCode::RiskLocked,
        _ => ReasonCode::ReduceOnly,
    };
    let message = format!(
        "{} accepts only reductions until an operator lifts the lock {}: {}",
        lock.scope, lock.lock_id, lock.message
    );
    let metadata = Metadata::new()
        .with("latch_id", &*lock.lock_id)
        .with("latched_by", &*lock.rule_id)
        .with("since", lock.locked_at.to_string());
    RuleSignal::lock(ID, code, message, metadata)
}
