//! `stop_loss`: the account stops at a loss. The caller's own figures count; its own limit counts where it is tighter.

use super::{Assessment, Subject};
use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::signal::{Level, Signal};

pub(super) const ID: &str = "stop_loss";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let risk = &subject.intent.risk;
    if risk.realized_pnl.is_none() && risk.unrealized_pnl.is_none() {
        return;
    }
    let ours = subject.limits.account_stop_loss.decimal();
    let limit = risk.stop_loss.map_or(ours, |theirs| theirs.min(ours));
    let realized = risk.realized_pnl.unwrap_or(Decimal::ZERO);
    let unrealized = risk.unrealized_pnl.unwrap_or(Decimal::ZERO);
    let pnl = realized.exact_add(unrealized);
    let level = match pnl.and_then(|pnl| level(pnl.negated(), limit, assessment.alert_percent())) {
        Some(Verdict::Quiet) => return,
        Some(Verdict::Says(level)) => level,
        // A sum that cannot be held is no reason to skip the check.
        None => Level::Lock,
    };
    let loss = pnl.unwrap_or(Decimal::ZERO).negated();
    let message = match level {
        Level::Lock => format!("the account's loss of {loss} has reached its stop-loss of {limit}"),
        Level::Alert => format!("the account's loss of {loss} is close to its stop-loss of {limit}"),
    };
    let metadata = Metadata::new()
        .with("value", loss)
        .with("limit", limit)
        .with("realized_pnl", realized)
        .with("unrealized_pnl", unrealized);
    assessment.signal(Signal {
        rule_id: ID,
        level,
        code: ReasonCode::RiskLocked,
        message,
        metadata,
    });
}

enum Verdict {
    Quiet,
    Says(Level),
}

fn level(loss: Decimal, limit: Decimal, alert_percent: i64) -> Option<Verdict> {
    if loss >= limit {
        return Some(Verdict::Says(Level::Lock));
    }
    let near = loss.exact_mul(Decimal::from(100))? >= limit.exact_mul(Decimal::from(alert_percent))?;
    Some(if near {
        Verdict::Says(Level::Alert)
    } else {
        Verdict::Quiet
    })
}
