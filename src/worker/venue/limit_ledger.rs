//! The counts of a venue's request limits in Redis, shared by all workers of one account.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::brokers::port::{LimitLedger, LimitLedgerError};
use crate::domain::request_limit::{LimitCharge, LimitDecision, LimitKind, LimitScopes};
use crate::domain::time::Timestamp;
use crate::repeated_log::log_at_intervals;
use crate::store::{Store, StoreError};

/// The time limit of one call. A cancel waits for it and is then sent without a count.
const CALL_TIMEOUT: Duration = Duration::from_millis(250);

/// The counts of one account at a venue. Closures are also kept in this process, so that it obeys the venue while Redis is
/// away, and puts them into Redis once it is back.
pub struct SharedLimitLedger {
    store: Store,
    scopes: LimitScopes,
    /// One entry a kind.
    closures: Mutex<BTreeMap<LimitKind, Closure>>,
}

/// A time in which the venue takes no requests of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closure {
    until: Timestamp,
    /// Whether Redis has it.
    is_shared: bool,
}

impl SharedLimitLedger {
    /// Returns the counts of these scopes.
    pub fn new(store: Store, scopes: LimitScopes) -> Self {
        Self {
            store,
            scopes,
            closures: Mutex::default(),
        }
    }

    fn with_closures<T>(&self, change: impl FnOnce(&mut BTreeMap<LimitKind, Closure>) -> T) -> T {
        change(&mut self.closures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the first of these kinds that this process knows to be closed at `at`.
    fn known_closure(&self, charges: &[LimitCharge], at: Timestamp) -> Option<(LimitKind, Closure)> {
        self.with_closures(|closures| {
            closures.retain(|_, closure| at < closure.until);
            let mut known = charges.iter().map(|charge| charge.kind);
            known.find_map(|kind| Some((kind, *closures.get(&kind)?)))
        })
    }

    async fn share_closure(&self, kind: LimitKind, until: Timestamp) {
        let call = self.store.close_requests_until(&self.scopes, kind, until);
        if let Err(error) = within_time(call).await {
            log_at_intervals!(
                warn,
                kind = kind.as_str(), %until, %error,
                "the other workers do not know yet that the venue takes no requests"
            );
            return;
        }
        self.with_closures(|closures| {
            if let Some(closure) = closures.get_mut(&kind).filter(|closure| closure.until == until) {
                closure.is_shared = true;
            }
        });
    }
}

/// Waits for a call, at most for [`CALL_TIMEOUT`].
async fn within_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, LimitLedgerError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(reply) => reply.map_err(|error| LimitLedgerError(error.to_string())),
        Err(_) => Err(LimitLedgerError(format!(
            "Redis did not reply within {} ms",
            CALL_TIMEOUT.as_millis()
        ))),
    }
}

impl LimitLedger for SharedLimitLedger {
    async fn charge(&self, charges: &[LimitCharge], at: Timestamp) -> Result<LimitDecision, LimitLedgerError> {
        if let Some((kind, closure)) = self.known_closure(charges, at) {
            if !closure.is_shared {
                self.share_closure(kind, closure.until).await;
            }
            return Ok(LimitDecision::Closed(kind, closure.until));
        }
        within_time(self.store.charge_request(&self.scopes, charges, at)).await
    }

    async fn raise(&self, kind: LimitKind, window: Duration, used: u32, at: Timestamp) {
        let call = self
            .store
            .raise_counted_requests(&self.scopes, (kind, window), used, at);
        if let Err(error) = within_time(call).await {
            // The next reply of the venue has the count again.
            log_at_intervals!(warn, kind = kind.as_str(), %error, "a count of the venue was not shared");
        }
    }

    async fn close_until(&self, kind: LimitKind, until: Timestamp) {
        let is_later = self.with_closures(|closures| {
            let is_later = closures.get(&kind).is_none_or(|known| known.until < until);
            if is_later {
                closures.insert(
                    kind,
                    Closure {
                        until,
                        is_shared: false,
                    },
                );
            }
            is_later
        });
        if is_later {
            self.share_closure(kind, until).await;
        }
    }
}
