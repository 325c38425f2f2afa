//! `trading_state`: what an operator has closed, and the latches in force. `halted` stops everything; `reduce_only` and
//! latches let reductions pass, and an intent that asks for it is refused unless it is one.

use super::{Assessment, Subject};
use crate::domain::control::Latch;
use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::signal::{Level, Signal};
use crate::domain::terms::TradingState;

pub(super) const ID: &str = "trading_state";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let state = subject.control.trading_state;
    let figures = || Metadata::new().with("trading_state", state.as_str());
    match state {
        TradingState::Active => {}
        TradingState::ReduceOnly => {
            let message = "only orders that reduce a position are taken: the trading state is reduce_only".to_owned();
            assessment.lock_openings(lock(ReasonCode::ReduceOnly, message, figures()));
        }
        TradingState::Halted => {
            let message = "trading is halted: nothing is taken but cancels".to_owned();
            assessment.lock(lock(ReasonCode::TradingHalted, message, figures()));
        }
    }
    let intent = subject.intent;
    let concerns = |latch: &&Latch| {
        let scope = &latch.scope;
        latch.mode == subject.control.mode
            && scope.concerns(&intent.account_id, &intent.broker, &intent.venue, &intent.symbol)
    };
    for latch in subject.control.latches.iter().filter(concerns) {
        assessment.lock_openings(latched(latch));
    }
    if intent.reduce_only {
        let message = "the intent is reduce_only, and the order would not only reduce the position".to_owned();
        assessment.lock_openings(lock(ReasonCode::ReduceOnly, message, Metadata::new()));
    }
}

/// Returns the lock of a latch: with the code of the rule that closed it, where that has one of its own.
fn latched(latch: &Latch) -> Signal {
    let code = if &*latch.rule_id == super::max_daily_loss::ID {
        ReasonCode::DailyLossExceeded
    } else {
        ReasonCode::ReduceOnly
    };
    let message = format!(
        "{} is closed to all but reductions until somebody lifts the latch {}: {}",
        latch.scope, latch.latch_id, latch.message
    );
    let metadata = Metadata::new()
        .with("latch_id", &*latch.latch_id)
        .with("latched_by", &*latch.rule_id)
        .with("since", latch.since.to_string());
    lock(code, message, metadata)
}

fn lock(code: ReasonCode, message: String, metadata: Metadata) -> Signal {
    Signal {
        rule_id: ID,
        level: Level::Lock,
        code,
        message,
        metadata,
    }
}
