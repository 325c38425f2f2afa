//! Losses that have been made close their account, or everything, until somebody lifts that: looked for with every
//! renewed view of the day, and before an order is denied for one.

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::risk::rules::max_daily_loss;
use crate::wire::risk_signal::SignalSubject;
use crate::worker::control::{locks, signals};
use crate::worker::router::Router;

/// Latches what the day's figures call for; whoever latches first tells it.
///
/// # Errors
/// When the shared state does not take a latch: an order it would stop must not pass then.
pub async fn lock_loss_breaches(router: &Router, control: &ControlState, day: &DailyPnl) -> Result<(), Fault> {
    for latch in max_daily_loss::find_breaches(day, control, &router.limits, Timestamp::now()) {
        if locks::set_rule_lock(router, latch.clone(), control.generation).await? {
            publish_lock_signal(router, &latch);
        }
    }
    Ok(())
}

fn publish_lock_signal(router: &Router, lock: &Lock) {
    let signal = RuleSignal {
        rule_id: max_daily_loss::ID,
        level: SignalLevel::Lock,
        code: ReasonCode::DailyLossExceeded,
        message: format!(
            "{}; {} is closed to all but reductions until the latch {} is lifted",
            lock.message, lock.scope, lock.lock_id
        ),
        metadata: lock.metadata.clone().with("latch_id", &*lock.lock_id),
    };
    let account_id = match &lock.scope {
        LockScope::Account(account_id) => Some(account_id),
        _ => None,
    };
    let about = SignalSubject {
        account_id,
        ..SignalSubject::default()
    };
    signals::publish_signals(router, &[signal], about);
}
