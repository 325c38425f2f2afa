//! `trading_state`: what an operator has closed, and the latches in force. `halted` stops everything; `reduce_only` and
//! latches let reductions pass, and an intent that asks for it is refused unless it is one.

use crate::domain::control::Lock;
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::TradingState;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::{Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "trading_state";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let state = input.control.trading_state;
    let figures = || Metadata::new().with("trading_state", state.as_str());
    match state {
        TradingState::Active => {}
        TradingState::ReduceOnly => {
            let message = "only orders that reduce a position are taken: the trading state is reduce_only".to_owned();
            assessment.add_opening_lock(lock_signal(ReasonCode::ReduceOnly, message, figures()));
        }
        TradingState::Halted => {
            let message = "trading is halted: nothing is taken but cancels".to_owned();
            assessment.add_lock(lock_signal(ReasonCode::TradingHalted, message, figures()));
        }
    }
    let intent = input.intent;
    let concerns = |latch: &&Lock| {
        let scope = &latch.scope;
        latch.mode == input.control.mode
            && scope.applies_to(&intent.account_id, &intent.broker, &intent.venue, &intent.symbol)
    };
    for latch in input.control.locks.iter().filter(concerns) {
        assessment.add_opening_lock(signal_from_lock(latch));
    }
    if intent.reduce_only {
        let message = "the intent is reduce_only, and the order would not only reduce the position".to_owned();
        assessment.add_opening_lock(lock_signal(ReasonCode::ReduceOnly, message, Metadata::new()));
    }
}

/// Returns the lock of a latch: with the code of the rule that closed it, where that has one of its own.
fn signal_from_lock(latch: &Lock) -> RuleSignal {
    let code = if &*latch.rule_id == crate::risk::rules::max_daily_loss::ID {
        ReasonCode::DailyLossExceeded
    } else {
        ReasonCode::ReduceOnly
    };
    let message = format!(
        "{} is closed to all but reductions until somebody lifts the latch {}: {}",
        latch.scope, latch.lock_id, latch.message
    );
    let metadata = Metadata::new()
        .with("latch_id", &*latch.lock_id)
        .with("latched_by", &*latch.rule_id)
        .with("since", latch.locked_at.to_string());
    lock_signal(code, message, metadata)
}

fn lock_signal(code: ReasonCode, message: String, metadata: Metadata) -> RuleSignal {
    RuleSignal {
        rule_id: ID,
        level: SignalLevel::Lock,
        code,
        message,
        metadata,
    }
}
