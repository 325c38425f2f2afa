//! Locks for losses: a loss beyond its limit closes its account, or everything, until the lock is lifted. Evaluated on
//! every refresh of the day's profit and loss, and before an order is denied for a loss.

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::risk::rules::max_daily_loss;
use crate::wire::risk_signal::SignalSubject;
use crate::worker::control::locks;
use crate::worker::router::Router;

/// Sets the locks that the day's profit and loss requires. The worker that sets a lock publishes its signal.
///
/// # Errors
/// If the shared state does not confirm a lock: an order that it would stop must not pass.
pub async fn lock_loss_breaches(router: &Router, control: &ControlState, day: &DailyPnl) -> Result<(), Fault> {
    for lock in max_daily_loss::find_breaches(day, control, &router.limits, Timestamp::now()) {
        if locks::set_rule_lock(router, lock.clone(), control.generation).await? {
            publish_lock_signal(router, &lock);
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
            "{}; {} is closed to all but reductions until the lock {} is lifted",
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
    router.signals.publish(&[signal], about);
}
