//! Whether a new order would be taken now: what the last checks of Redis and the journal found, and what became of the
//! last orders.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::reason::ReasonCode;
use crate::fault::{Fault, FaultCode};
use crate::wire::health::{ComponentHealth, ComponentStatus, WorkerHealth};
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::submission::outcome::SubmissionOutcome;

/// How many orders have to fail in a row at Redis or the journal before the worker reports that it takes none.
pub const MAX_FAILED_ORDERS: u32 = 3;
/// How long after the last failed order the worker reports that it takes none: without orders, none would show that the
/// fault has passed.
pub const FAILED_ORDERS_WINDOW: Duration = Duration::from_secs(10);
/// The age from which a check counts no more.
const MAX_CHECK_AGE: Duration = Duration::from_secs(5);

/// What the parts of a worker know about its readiness. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<ReadinessState>>);

#[derive(Debug, Default)]
struct ReadinessState {
    /// When Redis and the journal were checked, and what was found.
    checked: Option<(Instant, ComponentHealth, ComponentHealth)>,
    /// Why the store is not in use; `None` while it is.
    store_obstacle: Option<StoreObstacle>,
    /// How many orders have failed in a row, the time of the last failure and its detail.
    failed_orders: u32,
    last_failure: Option<(Instant, String)>,
    /// Which open live orders no key serves; `None` for none.
    unreachable_orders: Option<String>,
}

/// Why the store is not in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreObstacle {
    /// The store itself cannot be used.
    Store(String),
    /// The journal cannot be used: the store is not compared with it, or cannot be rebuilt from it.
    Journal(ComponentHealth),
}

impl From<&StoreRebuildError> for StoreObstacle {
    fn from(error: &StoreRebuildError) -> Self {
        let journal = |status| Self::Journal(ComponentHealth::new(status, error.to_string()));
        match error {
            StoreRebuildError::JournalBehind { .. }
            | StoreRebuildError::JournalCut { .. }
            | StoreRebuildError::JournalMissing => journal(ComponentStatus::Behind),
            StoreRebuildError::Bus(_) | StoreRebuildError::Journal(_) | StoreRebuildError::JournalIncomplete(_) => {
                journal(ComponentStatus::Failing)
            }
            StoreRebuildError::Store(_)
            | StoreRebuildError::StoreFault(_)
            | StoreRebuildError::ForeignSchema { .. }
            | StoreRebuildError::Busy => Self::Store(error.to_string()),
        }
    }
}

impl Readiness {
    /// Records the result of comparing the store with the journal.
    pub(in crate::worker) fn record_store_check(&self, error: Option<&StoreRebuildError>) {
        self.update(|state| state.store_obstacle = error.map(StoreObstacle::from));
    }

    /// Returns why the store is not in use, as last recorded.
    pub(in crate::worker) fn store_obstacle(&self) -> Option<StoreObstacle> {
        self.update(|state| state.store_obstacle.clone())
    }

    /// Records what a check of Redis and of the journal found.
    pub(in crate::worker) fn record_checks(&self, redis: ComponentHealth, journal: ComponentHealth) {
        self.update(|state| state.checked = Some((Instant::now(), redis, journal)));
    }

    /// Records what became of an order. A refusal for the caller's own reasons, such as an invalid field, says nothing.
    pub(in crate::worker) fn record_order(&self, result: &Result<SubmissionOutcome, Fault>) {
        match classify(result) {
            OrderResult::Neutral => {}
            OrderResult::Taken => self.update(|state| state.failed_orders = 0),
            OrderResult::Failed(detail) => self.update(|state| {
                state.failed_orders = state.failed_orders.saturating_add(1);
                state.last_failure = Some((Instant::now(), detail));
            }),
        }
    }

    /// Records which open live orders no key serves; `None` for none. New orders are taken all the same.
    pub(in crate::worker) fn record_unreachable_orders(&self, detail: Option<String>) {
        self.update(|state| state.unreachable_orders = detail);
    }

    /// Returns the worker's health.
    pub fn health(&self) -> WorkerHealth {
        self.update(|state| {
            let orders = orders_health(state);
            match &state.checked {
                Some((at, redis, journal)) if at.elapsed() <= MAX_CHECK_AGE => {
                    WorkerHealth::of(redis.clone(), journal.clone(), orders)
                }
                _ => {
                    let unchecked = || ComponentHealth::new(ComponentStatus::Unknown, "it was not checked lately");
                    WorkerHealth::of(unchecked(), unchecked(), orders)
                }
            }
        })
    }

    fn update<T>(&self, change: impl FnOnce(&mut ReadinessState) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn orders_health(state: &ReadinessState) -> ComponentHealth {
    match &state.last_failure {
        Some((at, detail)) if state.failed_orders >= MAX_FAILED_ORDERS && at.elapsed() <= FAILED_ORDERS_WINDOW => {
            let detail = format!("the last {} orders failed, the last one: {detail}", state.failed_orders);
            ComponentHealth::new(ComponentStatus::Failing, detail)
        }
        _ => ComponentHealth {
            detail: state.unreachable_orders.clone(),
            ..ComponentHealth::ok()
        },
    }
}

/// What an order says about Redis and the journal.
enum OrderResult {
    /// They took it.
    Taken,
    /// One of them did not take it.
    Failed(String),
    /// Nothing.
    Neutral,
}

fn classify(result: &Result<SubmissionOutcome, Fault>) -> OrderResult {
    match result {
        Ok(outcome) => match &outcome.report.reason {
            Some(reason) if outcome.is_receipt() && reason.code == ReasonCode::NotJournaled => {
                OrderResult::Failed(reason.message.clone())
            }
            _ if outcome.is_receipt() || outcome.is_replay => OrderResult::Neutral,
            _ => OrderResult::Taken,
        },
        Err(fault) => match fault.code {
            FaultCode::StoreUnavailable | FaultCode::PersistenceFailed | FaultCode::BusUnavailable => {
                OrderResult::Failed(fault.detail.clone())
            }
            _ if fault.journal_sequence.is_some() => OrderResult::Taken,
            _ => OrderResult::Neutral,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(readiness: &Readiness, code: FaultCode) {
        readiness.record_order(&Err(Fault::new(code, "a reason")));
    }

    fn checked() -> Readiness {
        let readiness = Readiness::default();
        assert!(!readiness.health().accepts_orders, "nothing is checked yet");
        readiness.record_checks(ComponentHealth::ok(), ComponentHealth::ok());
        readiness
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_count_until_an_order_is_taken_or_time_has_passed() {
        let readiness = checked();
        for _ in 1..MAX_FAILED_ORDERS {
            fail(&readiness, FaultCode::StoreUnavailable);
            fail(&readiness, FaultCode::InvalidField);
        }
        assert!(readiness.health().accepts_orders);
        fail(&readiness, FaultCode::PersistenceFailed);
        let health = readiness.health();
        assert_eq!(health.orders.status, ComponentStatus::Failing);
        assert!(!health.accepts_orders && health.obstacle().unwrap().contains("a reason"));
        // A journaled denial was taken by both.
        let denial = Fault {
            journal_sequence: Some(7),
            ..Fault::new(FaultCode::OrderSizeExceeded, "too large")
        };
        readiness.record_order(&Err(denial));
        assert!(readiness.health().accepts_orders);
        for _ in 0..MAX_FAILED_ORDERS {
            fail(&readiness, FaultCode::BusUnavailable);
        }
        assert!(!readiness.health().accepts_orders);
        tokio::time::advance(FAILED_ORDERS_WINDOW + Duration::from_millis(1)).await;
        readiness.record_checks(ComponentHealth::ok(), ComponentHealth::ok());
        assert!(readiness.health().accepts_orders);
    }

    #[tokio::test(start_paused = true)]
    async fn old_check_counts_no_more() {
        let readiness = checked();
        assert!(readiness.health().accepts_orders);
        tokio::time::advance(MAX_CHECK_AGE + Duration::from_millis(1)).await;
        assert_eq!(readiness.health().redis.status, ComponentStatus::Unknown);
    }

    #[test]
    fn fault_of_redis_in_a_rebuild_is_no_failure_of_the_journal() {
        let refused = |code| StoreObstacle::from(&StoreRebuildError::from(Fault::new(code, "MISCONF")));
        assert_eq!(
            refused(FaultCode::StoreUnavailable),
            StoreObstacle::Store("MISCONF".to_owned())
        );
        assert!(matches!(
            refused(FaultCode::BusUnavailable),
            StoreObstacle::Journal(health) if health.status == ComponentStatus::Failing
        ));
    }
}
