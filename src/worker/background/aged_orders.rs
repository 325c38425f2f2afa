//! Orders whose outcome stays unknown: after a while an alert, later a lock of the account, whose position is not known
//! either.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::brokers::InquirySettings;
use crate::domain::control::{Lock, LockScope};
use crate::domain::id::OrderId;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::time::Timestamp;
use crate::repeated_log::log_at_intervals;
use crate::wire::risk_signal::RiskSignal;
use crate::worker::control::loss_locks::{LockRule, set_and_publish};
use crate::worker::router::Router;

/// The rule's id.
const ID: &str = "unknown_order";
const LOCK_RULE: LockRule = LockRule {
    id: ID,
    code: ReasonCode::RiskLocked,
};
/// The most orders that are remembered as signalled. Beyond it all are forgotten, and signalled once more.
const MAX_REMEMBERED: usize = 10_000;

/// What has been raised for orders of unknown outcome, by this worker: each alert and each lock once, so that an operator who
/// lifts a lock is not overruled.
#[derive(Debug, Default)]
pub(super) struct AgedOrders(Mutex<BTreeSet<(OrderId, Stage)>>);

/// What an order's age asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Alert,
    Lock,
}

impl AgedOrders {
    /// Raises what the order's age asks for, the alert before the lock.
    pub(super) async fn raise(&self, router: &Router, order: &Order) {
        let age = Timestamp::now().saturating_duration_since(order.updated_at);
        for stage in stages_at(&router.inquiry_settings, age) {
            if !self.is_new(&order.order_id, stage) {
                continue;
            }
            match stage {
                Stage::Alert => publish_alert(router, order, age),
                Stage::Lock => {
                    if let Err(fault) = set_and_publish(router, account_lock(order, age), LOCK_RULE, None).await {
                        log_at_intervals!(warn, order_id = %order.order_id, %fault, "an account with an unknown order is not locked yet; retrying");
                        self.forget(&order.order_id, stage);
                    }
                }
            }
        }
    }

    fn is_new(&self, order_id: &OrderId, stage: Stage) -> bool {
        let mut raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if raised.len() >= MAX_REMEMBERED {
            raised.clear();
        }
        raised.insert((order_id.clone(), stage))
    }

    fn forget(&self, order_id: &OrderId, stage: Stage) {
        let mut raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        raised.remove(&(order_id.clone(), stage));
    }
}

fn stages_at(settings: &InquirySettings, age: Duration) -> impl Iterator<Item = Stage> {
    let due = [
        (Stage::Alert, settings.alert_after_s),
        (Stage::Lock, settings.lock_after_s),
    ];
    due.into_iter()
        .filter(move |(_, after_s)| age >= Duration::from_secs(*after_s))
        .map(|(stage, _)| stage)
}

fn describe(order: &Order, age: Duration) -> String {
    format!(
        "the outcome of the order {} has been unknown for {} s; the venue is asked again until it says",
        order.order_id,
        age.as_secs()
    )
}

fn publish_alert(router: &Router, order: &Order, age: Duration) {
    let signal = RuleSignal {
        rule_id: ID,
        level: SignalLevel::Alert,
        code: ReasonCode::RiskLocked,
        message: describe(order, age),
        metadata: Metadata::new().with("value", order.leaves_quantity()),
    };
    let document = RiskSignal::of(&signal, order.into());
    let document = document.named(&format!("{ID}:{}:{}", order.order_id, order.version));
    router.signals.publish_document(ID, document);
}

fn account_lock(order: &Order, age: Duration) -> Lock {
    let scope = LockScope::Account(order.account_id.clone());
    Lock {
        lock_id: Lock::compose_id(order.mode, &scope, ID),
        scope,
        mode: order.mode,
        rule_id: ID.into(),
        message: describe(order, age),
        metadata: Metadata::new()
            .with("order_id", order.order_id.as_str())
            .with("symbol", order.symbol.as_str()),
        locked_at: Timestamp::now(),
        trading_date: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alert_comes_before_the_lock() {
        let settings = InquirySettings {
            alert_after_s: 60,
            lock_after_s: 300,
            ..InquirySettings::default()
        };
        let at = |seconds| stages_at(&settings, Duration::from_secs(seconds)).collect::<Vec<_>>();
        assert_eq!(at(59), []);
        assert_eq!(at(60), [Stage::Alert]);
        assert_eq!(at(300), [Stage::Alert, Stage::Lock]);
    }
}
