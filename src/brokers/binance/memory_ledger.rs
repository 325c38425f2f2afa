//! The counts of request limits in memory: exact for one process that is alone at its address and its account.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::brokers::port::{LimitLedger, LimitLedgerError};
use crate::domain::request_limit::{LimitCharge, LimitDecision, LimitKind, window_end, window_index};
use crate::domain::time::Timestamp;

/// The counts of one process.
#[derive(Debug, Default)]
pub struct MemoryLedger(Mutex<Counts>);

/// One entry for each limit that the venue has: their number is bounded where they are read.
#[derive(Debug, Default)]
struct Counts {
    windows: BTreeMap<(LimitKind, Duration), WindowCount>,
    closed_until: BTreeMap<LimitKind, Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct WindowCount {
    index: i64,
    used: u32,
}

impl MemoryLedger {
    fn with_counts<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    fn used(&self, kind: LimitKind, window: Duration, at: Timestamp) -> u32 {
        let count = self.windows.get(&(kind, window));
        count
            .filter(|count| count.index == window_index(window, at))
            .map_or(0, |count| count.used)
    }

    fn set(&mut self, kind: LimitKind, window: Duration, used: u32, at: Timestamp) {
        let index = window_index(window, at);
        let count = self
            .windows
            .entry((kind, window))
            .or_insert(WindowCount { index, used: 0 });
        // A reply about an earlier window is late, and its window is over.
        if index >= count.index {
            *count = WindowCount { index, used };
        }
    }

    fn decide(&self, charges: &[LimitCharge], at: Timestamp) -> LimitDecision {
        for charge in charges {
            if let Some(until) = self.closed_until.get(&charge.kind).filter(|until| at < **until) {
                return LimitDecision::Closed(charge.kind, *until);
            }
        }
        for charge in charges {
            let used = self.used(charge.kind, charge.window, at);
            if used.saturating_add(charge.amount) > charge.cap {
                return LimitDecision::Exhausted(charge.kind, window_end(charge.window, at));
            }
        }
        LimitDecision::Charged
    }
}

impl LimitLedger for MemoryLedger {
    async fn charge(&self, charges: &[LimitCharge], at: Timestamp) -> Result<LimitDecision, LimitLedgerError> {
        Ok(self.with_counts(|counts| {
            let decision = counts.decide(charges, at);
            if decision == LimitDecision::Charged {
                for charge in charges {
                    let used = counts.used(charge.kind, charge.window, at);
                    counts.set(charge.kind, charge.window, used.saturating_add(charge.amount), at);
                }
            }
            decision
        }))
    }

    async fn raise(&self, kind: LimitKind, window: Duration, used: u32, at: Timestamp) {
        self.with_counts(|counts| {
            if used > counts.used(kind, window, at) {
                counts.set(kind, window, used, at);
            }
        });
    }

    async fn close_until(&self, kind: LimitKind, until: Timestamp) {
        self.with_counts(|counts| {
            let closed = counts.closed_until.entry(kind).or_insert(until);
            *closed = (*closed).max(until);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_SECONDS: Duration = Duration::from_secs(10);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_milliseconds(1_767_225_600_000 + seconds * 1_000)
    }

    fn orders(amount: u32, cap: u32) -> LimitCharge {
        LimitCharge {
            kind: LimitKind::Orders,
            window: TEN_SECONDS,
            amount,
            cap,
        }
    }

    #[tokio::test]
    async fn a_window_counts_up_to_its_cap_and_the_next_begins_at_zero() {
        let ledger = MemoryLedger::default();
        for _ in 0..3 {
            assert_eq!(ledger.charge(&[orders(1, 3)], at(9)).await, Ok(LimitDecision::Charged));
        }
        let exhausted = LimitDecision::Exhausted(LimitKind::Orders, at(10));
        assert_eq!(ledger.charge(&[orders(1, 3)], at(9)).await, Ok(exhausted));
        assert_eq!(ledger.charge(&[orders(3, 3)], at(10)).await, Ok(LimitDecision::Charged));
    }

    #[tokio::test]
    async fn a_request_counts_in_all_its_windows_or_in_none() {
        let ledger = MemoryLedger::default();
        let weight = LimitCharge {
            kind: LimitKind::RequestWeight,
            window: Duration::from_secs(60),
            amount: 4,
            cap: 10,
        };
        for (charges, expected) in [
            (vec![weight, orders(1, 1)], LimitDecision::Charged),
            (
                vec![weight, orders(1, 1)],
                LimitDecision::Exhausted(LimitKind::Orders, at(10)),
            ),
            (vec![weight], LimitDecision::Charged),
            (vec![weight], LimitDecision::Exhausted(LimitKind::RequestWeight, at(60))),
        ] {
            assert_eq!(ledger.charge(&charges, at(1)).await, Ok(expected));
        }
    }

    #[tokio::test]
    async fn the_venues_count_raises_ours_and_never_lowers_it() {
        let ledger = MemoryLedger::default();
        ledger.raise(LimitKind::Orders, TEN_SECONDS, 9, at(0)).await;
        ledger.raise(LimitKind::Orders, TEN_SECONDS, 2, at(0)).await;
        assert_eq!(ledger.charge(&[orders(1, 10)], at(1)).await, Ok(LimitDecision::Charged));
        let full = LimitDecision::Exhausted(LimitKind::Orders, at(10));
        assert_eq!(ledger.charge(&[orders(1, 10)], at(1)).await, Ok(full));
        // A late reply about the window before does not end the count of this one.
        assert_eq!(
            ledger.charge(&[orders(10, 10)], at(11)).await,
            Ok(LimitDecision::Charged)
        );
        ledger.raise(LimitKind::Orders, TEN_SECONDS, 10, at(9)).await;
        assert!(matches!(
            ledger.charge(&[orders(1, 10)], at(11)).await,
            Ok(LimitDecision::Exhausted(..))
        ));
    }

    #[tokio::test]
    async fn a_closed_kind_refuses_until_its_time() {
        let ledger = MemoryLedger::default();
        ledger.close_until(LimitKind::RequestWeight, at(30)).await;
        ledger.close_until(LimitKind::RequestWeight, at(20)).await;
        let weight = LimitCharge {
            kind: LimitKind::RequestWeight,
            ..orders(1, 100)
        };
        let closed = LimitDecision::Closed(LimitKind::RequestWeight, at(30));
        assert_eq!(ledger.charge(&[weight], at(29)).await, Ok(closed));
        assert_eq!(
            ledger.charge(&[orders(1, 100)], at(29)).await,
            Ok(LimitDecision::Charged)
        );
        assert_eq!(ledger.charge(&[weight], at(30)).await, Ok(LimitDecision::Charged));
    }
}
