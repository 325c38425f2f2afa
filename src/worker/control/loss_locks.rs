//! Locks for losses: a loss beyond its limit closes its account, or everything, until the lock is lifted. Evaluated on
//! every refresh of the day's profit and loss, and before an order is denied for a loss.

use crate::domain::control::Lock;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::time::{Timestamp, TradingDate};
use crate::fault::Fault;
use crate::risk::rules::max_daily_loss;
use crate::risk::rules::max_daily_loss::DayLoss;
use crate::worker::control::alert_outbox;
use crate::worker::control::cache::ControlSnapshot;
use crate::worker::control::locks;
use crate::worker::router::Router;

/// The rule of a lock, and the code of the orders that it stops.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) struct LockRule {
    pub(in crate::worker) id: &'static str,
    pub(in crate::worker) code: ReasonCode,
}

const LOCK_RULE: LockRule = LockRule {
    id: max_daily_loss::ID,
    code: ReasonCode::DailyLossExceeded,
};

/// Sets the locks of losses that have reached their limits. The worker that sets a lock publishes its signal.
///
/// # Errors
/// If the shared state does not confirm a lock: an order that it would stop must not pass.
pub async fn lock_breaches(
    router: &Router,
    control: &ControlSnapshot,
    date: TradingDate,
    losses: &[DayLoss],
) -> Result<(), Fault> {
    for lock in max_daily_loss::find_breaches(losses, date, control, &control.limits.risk, Timestamp::now()) {
        set_and_publish(router, lock, LOCK_RULE, Some(control.generation)).await?;
    }
    Ok(())
}

/// Sets the locks of losses that have reached their limits by fills: the store has refused openings since the step that
/// booked the fill, and does until these locks stand.
///
/// # Errors
/// If the shared state does not confirm a lock. It is then set when the next order meets the loss.
pub async fn lock_filled_breaches(router: &Router, losses: &[DayLoss]) -> Result<(), Fault> {
    let control = router.control.current();
    let date = router.trading_day.booking_date();
    for loss in losses {
        let lock = max_daily_loss::breach_lock(loss, date, &control, &control.limits.risk, Timestamp::now());
        set_and_publish(router, lock, LOCK_RULE, None).await?;
    }
    Ok(())
}

/// Sets a lock of a rule, and publishes the rule's signal if the lock is new.
///
/// # Errors
/// If the shared state does not confirm the lock.
pub(in crate::worker) async fn set_and_publish(
    router: &Router,
    lock: Lock,
    rule: LockRule,
    generation: Option<u64>,
) -> Result<(), Fault> {
    let signal = lock_signal(&lock, rule);
    let alert = alert_outbox::lock_alert(&lock, &signal)?;
    if locks::set_rule_lock(router, lock, generation, Some(&alert)).await? {
        alert_outbox::publish_with_lock(router, &alert, &signal).await;
    }
    Ok(())
}

fn lock_signal(lock: &Lock, rule: LockRule) -> RuleSignal {
    RuleSignal {
        rule_id: rule.id,
        level: SignalLevel::Lock,
        code: rule.code,
        message: format!(
            "{}; {} is closed to all but reductions until the lock {} is lifted",
            lock.message, lock.scope, lock.lock_id
        ),
        metadata: lock.metadata.clone().with("latch_id", &*lock.lock_id),
    }
}
