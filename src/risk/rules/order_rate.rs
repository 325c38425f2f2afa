//! `order_rate`: new orders within one second, per account and per broker, counted over all workers. Denied orders count
//! as well. A caller refused by this rule may retry the same id.

use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::cap::CapReadings;
use crate::risk::evaluation::DecisionLimits;

pub(super) const ID: &str = "order_rate";

/// Returns a lock when the account's or the broker's orders of this second, this one excluded, have reached the limit.
pub(super) fn check(limits: &DecisionLimits, readings: &CapReadings) -> Option<RuleSignal> {
    let lock = |message, metadata| RuleSignal::lock(ID, ReasonCode::RateLimited, message, metadata);
    let Some([account, broker]) = readings.order_counts else {
        return Some(lock("the order rate could not be read".to_owned(), Metadata::new()));
    };
    let rates = [
        ("the account", account, limits.rates.per_account),
        ("the broker", broker, limits.rates.per_broker),
    ];
    let (party, count, limit) = rates.into_iter().find(|(_, count, limit)| count >= limit)?;
    let message = format!("{party} has had {count} orders within this second; the limit is {limit}");
    let metadata = Metadata::new()
        .with("value", count.saturating_add(1))
        .with("limit", limit);
    Some(lock(message, metadata))
}
