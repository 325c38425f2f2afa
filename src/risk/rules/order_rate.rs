//! `order_rate`: new orders of one second, per account and per broker, counted by all workers together. Orders that a
//! rule stops count, too. Whoever is refused for it may try the same id again.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::limits::RateLimits;

pub(in crate::risk) const ID: &str = "order_rate";

/// Returns the lock of the first rate that has no room, from the orders of this second before this one.
pub(in crate::risk) fn evaluate(limits: RateLimits, before: Option<[i64; 2]>) -> Option<RuleSignal> {
    let Some([account, broker]) = before else {
        return Some(lock_signal(
            "the order rate could not be read".to_owned(),
            Metadata::new(),
        ));
    };
    let rates = [
        ("the account", account, limits.per_account),
        ("the broker", broker, limits.per_broker),
    ];
    let (whose, before, limit) = rates.into_iter().find(|(_, before, limit)| before >= limit)?;
    let message = format!("{whose} has had {before} orders within this second; the limit is {limit}");
    let metadata = Metadata::new()
        .with("value", before.saturating_add(1))
        .with("limit", limit);
    Some(lock_signal(message, metadata))
}

fn lock_signal(message: String, metadata: Metadata) -> RuleSignal {
    RuleSignal {
        rule_id: ID,
        level: SignalLevel::Lock,
        code: ReasonCode::RateLimited,
        message,
        metadata,
    }
}
