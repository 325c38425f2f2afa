//! Losses that have been made close their account, or everything, until somebody lifts that: looked for with every
//! renewed view of the day, and before an order is denied for one.

use super::router::Router;
use super::{locks, signals};
use crate::domain::control::{Control, Latch, LatchScope};
use crate::domain::day::DayFigures;
use crate::domain::reason::ReasonCode;
use crate::domain::signal::{Level, Signal};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::risk::max_daily_loss;
use crate::wire::signal::About;

/// Latches what the day's figures call for; whoever latches first tells it.
///
/// # Errors
/// When the shared state does not take a latch: an order it would stop must not pass then.
pub async fn latch(router: &Router, control: &Control, day: &DayFigures) -> Result<(), Fault> {
    for latch in max_daily_loss::breaches(day, control, &router.limits, Timestamp::now()) {
        if locks::latch(router, latch.clone(), control.generation).await? {
            tell(router, &latch);
        }
    }
    Ok(())
}

fn tell(router: &Router, latch: &Latch) {
    let signal = Signal {
        rule_id: max_daily_loss::ID,
        level: Level::Lock,
        code: ReasonCode::DailyLossExceeded,
        message: format!(
            "{}; {} is closed to all but reductions until the latch {} is lifted",
            latch.message, latch.scope, latch.latch_id
        ),
        metadata: latch.metadata.clone().with("latch_id", &*latch.latch_id),
    };
    let account_id = match &latch.scope {
        LatchScope::Account(account_id) => Some(account_id),
        _ => None,
    };
    let about = About {
        account_id,
        ..About::default()
    };
    signals::publish(router, &[signal], about);
}
