//! The budget of requests: what the venue's limits leave, with a share that only cancels may use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::HeaderMap;

use crate::brokers::binance::messages::exchange_info::RateLimit;
use crate::brokers::port::LimitLedger;
use crate::domain::request_limit::{LimitCharge, LimitDecision, LimitKind, window_end, window_index};
use crate::domain::time::Timestamp;

/// The share of a limit that reads leave to orders, in per cent: a long reconciliation must not keep orders from being sent.
const ORDER_SHARE_PERCENT: u32 = 40;
/// The share of each limit that only cancels may use, in per cent.
const CANCEL_SHARE_PERCENT: u32 = 10;
/// The most limits that are kept; the venue has four.
const MAX_LIMITS: usize = 16;
/// How long requests stop where the venue asks for it without a time: its shortest ban.
const DEFAULT_STOP: Duration = Duration::from_secs(120);
/// How far the estimate of the venue's clock may be off where a reply's counts are assigned to a window.
const CLOCK_MARGIN: Duration = Duration::from_millis(500);
/// The longest time that requests stop: the venue's longest ban.
const MAX_STOP: Duration = Duration::from_secs(3 * 86_400);
/// The limits until the venue's own are read: those of its documentation's example (`rest-api.md`, `rateLimits`).
const DEFAULT_LIMITS: [WindowLimit; 2] = [
    WindowLimit {
        kind: LimitKind::RequestWeight,
        window: Duration::from_secs(60),
        limit: 6_000,
    },
    WindowLimit {
        kind: LimitKind::Orders,
        window: Duration::from_secs(10),
        limit: 50,
    },
];

/// One limit of the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WindowLimit {
    kind: LimitKind,
    window: Duration,
    limit: u32,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPurpose {
    /// It places an order.
    Order,
    /// It cancels an order, or decides whether one is cancelled: it may use the reserved share.
    Cancel,
    /// It reads.
    Read,
    /// It reads the limits themselves. Until they are known, no assumed limit stops it: other workers may have counted far
    /// beyond an assumption. It counts as a read afterwards.
    Limits,
}

/// The weights of requests (`rest-api.md`, each endpoint).
pub mod weight {
    /// A placement or a cancel. Since 2026-04-02 only failed ones count; which it will be is not known before.
    pub const ORDER: u32 = 1;
    /// A cancel-and-replace, an amendment, or the placement of a leg.
    pub const REPLACE: u32 = 4;
    /// A query of one order.
    pub const QUERY_ORDER: u32 = 4;
    /// The open orders of one symbol.
    pub const OPEN_ORDERS: u32 = 6;
    /// The trades of one order.
    pub const ORDER_TRADES: u32 = 5;
    /// The trades of a symbol.
    pub const SYMBOL_TRADES: u32 = 20;
    /// A page of all orders of a symbol.
    pub const ALL_ORDERS: u32 = 20;
    /// The account.
    pub const ACCOUNT: u32 = 20;
    /// What the key may do.
    pub const KEY_PERMISSIONS: u32 = 1;
    /// The symbols and limits.
    pub const EXCHANGE_INFO: u32 = 20;
    /// The time.
    pub const TIME: u32 = 1;
    /// A signed subscription to the user data stream.
    pub const SUBSCRIBE: u32 = 2;
}

/// The budget of one account at one address.
pub struct RequestBudget<L> {
    ledger: Arc<L>,
    limits: RwLock<Arc<[WindowLimit]>>,
    /// Whether the limits are the venue's own.
    are_limits_read: AtomicBool,
}

impl<L: LimitLedger> RequestBudget<L> {
    /// Returns the budget over the shared counts.
    pub fn new(ledger: Arc<L>) -> Self {
        Self {
            ledger,
            limits: RwLock::new(Arc::from(DEFAULT_LIMITS)),
            are_limits_read: AtomicBool::new(false),
        }
    }

    /// Replaces the limits by the venue's own. Entries that cannot be read are left out; with no entry of a kind, the
    /// limits of that kind stay.
    pub fn set_limits(&self, listed: &[RateLimit]) {
        let mut limits: Vec<WindowLimit> = listed.iter().filter_map(read_limit).take(MAX_LIMITS).collect();
        for known in self.limits().iter() {
            if !limits.iter().any(|limit| limit.kind == known.kind) {
                limits.push(*known);
            }
        }
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits.into();
        self.are_limits_read.store(true, Ordering::Relaxed);
    }

    /// Counts a request before it is sent. `at` is the venue's time.
    ///
    /// # Errors
    /// Why it must not be sent now.
    pub async fn acquire(&self, purpose: RequestPurpose, weight: u32, at: Timestamp) -> Result<(), String> {
        let limits = self.limits();
        let charges: Vec<LimitCharge> = limits
            .iter()
            .filter_map(|limit| limit.charge_for(purpose, weight))
            .collect();
        match self.ledger.charge(&charges, at).await {
            Ok(LimitDecision::Charged) => Ok(()),
            Ok(LimitDecision::Exhausted(..))
                if purpose == RequestPurpose::Limits && !self.are_limits_read.load(Ordering::Relaxed) =>
            {
                Ok(())
            }
            Ok(LimitDecision::Exhausted(kind, until)) => Err(format!(
                "the venue's limit of {} is reached until {until}",
                kind_name(kind)
            )),
            Ok(LimitDecision::Closed(kind, until)) => {
                Err(format!("the venue takes no {} until {until}", kind_name(kind)))
            }
            // A cancel reduces risk: it is sent without a count rather than not at all.
            Err(_) if purpose == RequestPurpose::Cancel => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes over the counts that a reply's headers report (`X-MBX-USED-WEIGHT-1M`, `X-MBX-ORDER-COUNT-10S` and others). The
    /// venue counted between the two moments, those of the request and of the reply, by its clock. Where a window began in
    /// between, the count may be that of the window before, and is not taken over: the next reply has it.
    pub async fn read_headers(&self, headers: &HeaderMap, (sent_at, received_at): (Timestamp, Timestamp)) {
        for limit in self.limits().iter() {
            let prefix = match limit.kind {
                LimitKind::RequestWeight => "x-mbx-used-weight-",
                LimitKind::Orders => "x-mbx-order-count-",
                LimitKind::RawRequests => continue,
            };
            let header = headers.get(format!("{prefix}{}", interval_suffix(limit.window)));
            let used = header.and_then(|value| value.to_str().ok()?.parse().ok());
            if let Some(used) = used
                && limit.is_one_window(sent_at, received_at)
            {
                self.ledger.raise(limit.kind, limit.window, used, received_at).await;
            }
        }
    }

    /// Stops all requests for the time of the header `Retry-After`, in seconds, or for the shortest ban without one.
    pub async fn stop_requests(&self, headers: &HeaderMap, at: Timestamp) {
        let seconds = headers
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let stop = seconds.map_or(DEFAULT_STOP, Duration::from_secs).min(MAX_STOP);
        self.stop_requests_until(at.saturating_add(stop), at).await;
    }

    /// Stops all requests until a moment, at most for the longest ban.
    pub async fn stop_requests_until(&self, until: Timestamp, at: Timestamp) {
        let until = until.min(at.saturating_add(MAX_STOP));
        tracing::warn!(%until, "the venue asks for no requests");
        self.ledger.close_until(LimitKind::RequestWeight, until).await;
    }

    /// Stops orders until the shortest window of orders is over: the reply to too many orders has no time.
    pub async fn stop_orders(&self, at: Timestamp) {
        let limits = self.limits();
        let windows = limits.iter().filter(|limit| limit.kind == LimitKind::Orders);
        let shortest = windows.map(|limit| limit.window).min().unwrap_or(DEFAULT_STOP);
        let until = window_end(shortest, at);
        tracing::warn!(%until, "the venue takes no more orders");
        self.ledger.close_until(LimitKind::Orders, until).await;
    }

    fn limits(&self) -> Arc<[WindowLimit]> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WindowLimit {
    /// Reports whether a request and its reply lie in one window, whichever way the estimate of the venue's clock is off.
    fn is_one_window(&self, sent_at: Timestamp, received_at: Timestamp) -> bool {
        // A window of a second is not narrowed to nothing.
        let margin = CLOCK_MARGIN.min(self.window / 20);
        let (from, to) = (sent_at.saturating_sub(margin), received_at.saturating_add(margin));
        window_index(self.window, from) == window_index(self.window, to)
    }

    fn charge_for(&self, purpose: RequestPurpose, weight: u32) -> Option<LimitCharge> {
        let amount = match self.kind {
            LimitKind::RequestWeight => weight,
            LimitKind::RawRequests => 1,
            LimitKind::Orders if purpose == RequestPurpose::Order => 1,
            LimitKind::Orders => return None,
        };
        let reserved_percent = match purpose {
            _ if self.kind == LimitKind::Orders => 0,
            RequestPurpose::Cancel => 0,
            RequestPurpose::Order => CANCEL_SHARE_PERCENT,
            RequestPurpose::Read | RequestPurpose::Limits => CANCEL_SHARE_PERCENT + ORDER_SHARE_PERCENT,
        };
        let reserved = self.limit / 100 * reserved_percent + self.limit % 100 * reserved_percent / 100;
        Some(LimitCharge {
            kind: self.kind,
            window: self.window,
            amount,
            cap: self.limit - reserved,
        })
    }
}

fn read_limit(listed: &RateLimit) -> Option<WindowLimit> {
    let kind = match listed.rate_limit_type.as_deref()? {
        "REQUEST_WEIGHT" => LimitKind::RequestWeight,
        "RAW_REQUESTS" => LimitKind::RawRequests,
        "ORDERS" => LimitKind::Orders,
        _ => return None,
    };
    let seconds: u64 = match listed.interval.as_deref()? {
        "SECOND" => 1,
        "MINUTE" => 60,
        "HOUR" => 3_600,
        "DAY" => 86_400,
        _ => return None,
    };
    let window = seconds
        .checked_mul(listed.interval_num?.into())
        .filter(|window| *window > 0)?;
    Some(WindowLimit {
        kind,
        window: Duration::from_secs(window),
        limit: listed.limit?,
    })
}

/// Returns the end of the header's name for a window: `1M` for a minute (`rest-api.md`, "General info on limits").
fn interval_suffix(window: Duration) -> String {
    let seconds = window.as_secs();
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let unit = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length));
    unit.map_or_else(String::new, |(length, letter)| format!("{}{letter}", seconds / length))
}

fn kind_name(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::RequestWeight => "requests (by weight)",
        LimitKind::RawRequests => "requests (by number)",
        LimitKind::Orders => "orders",
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::brokers::binance::memory_ledger::MemoryLedger;
    use crate::brokers::port::LimitLedgerError;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_milliseconds(1_767_225_600_000 + seconds * 1_000)
    }

    fn limit(kind: &str, interval: &str, number: u32, limit: u32) -> RateLimit {
        RateLimit {
            rate_limit_type: Some(kind.into()),
            interval: Some(interval.into()),
            interval_num: Some(number),
            limit: Some(limit),
        }
    }

    fn budget() -> RequestBudget<MemoryLedger> {
        let budget = RequestBudget::new(Arc::new(MemoryLedger::default()));
        budget.set_limits(&[
            limit("REQUEST_WEIGHT", "MINUTE", 1, 100),
            limit("ORDERS", "SECOND", 10, 3),
            limit("ORDERS", "DAY", 1, 5),
            limit("CONNECTIONS", "MINUTE", 5, 300),
        ]);
        budget
    }

    #[tokio::test]
    async fn reads_leave_a_share_to_orders_and_both_leave_one_to_cancels() {
        let budget = budget();
        assert_eq!(budget.acquire(RequestPurpose::Read, 50, at(0)).await, Ok(()));
        assert!(budget.acquire(RequestPurpose::Read, 1, at(0)).await.is_err());
        assert_eq!(budget.acquire(RequestPurpose::Order, 40, at(0)).await, Ok(()));
        for purpose in [RequestPurpose::Read, RequestPurpose::Order] {
            let refused = budget.acquire(purpose, 1, at(0)).await.unwrap_err();
            assert!(refused.contains("by weight"), "{refused}");
        }
        assert_eq!(budget.acquire(RequestPurpose::Cancel, 10, at(0)).await, Ok(()));
        assert!(budget.acquire(RequestPurpose::Cancel, 1, at(0)).await.is_err());
        assert_eq!(budget.acquire(RequestPurpose::Read, 1, at(60)).await, Ok(()));
    }

    #[tokio::test]
    async fn limits_are_read_where_others_have_counted_beyond_the_assumed_ones_and_the_venue_has_not_closed() {
        let ledger = Arc::new(MemoryLedger::default());
        let window = Duration::from_secs(60);
        ledger.raise(LimitKind::RequestWeight, window, 50_000, at(0)).await;
        let budget = RequestBudget::new(Arc::clone(&ledger));
        assert!(budget.acquire(RequestPurpose::Read, 1, at(0)).await.is_err());
        assert_eq!(budget.acquire(RequestPurpose::Limits, 20, at(0)).await, Ok(()));
        budget.set_limits(&[limit("REQUEST_WEIGHT", "MINUTE", 1, 60_000)]);
        assert!(budget.acquire(RequestPurpose::Limits, 20, at(0)).await.is_err());

        let budget = RequestBudget::new(Arc::clone(&ledger));
        ledger.close_until(LimitKind::RequestWeight, at(30)).await;
        let refused = budget.acquire(RequestPurpose::Limits, 20, at(1)).await.unwrap_err();
        assert!(refused.contains("takes no requests"), "{refused}");
    }

    #[tokio::test]
    async fn orders_count_in_each_window_of_orders() {
        let budget = budget();
        for second in [0, 0, 0, 10, 10] {
            assert_eq!(budget.acquire(RequestPurpose::Order, 1, at(second)).await, Ok(()));
        }
        let refused = budget.acquire(RequestPurpose::Order, 1, at(20)).await.unwrap_err();
        assert!(
            refused.contains("orders") && refused.contains("2026-01-02"),
            "{refused}"
        );
        assert_eq!(budget.acquire(RequestPurpose::Cancel, 1, at(20)).await, Ok(()));
    }

    #[tokio::test]
    async fn headers_raise_the_counts_and_stop_requests() {
        let budget = budget();
        let mut headers = HeaderMap::new();
        headers.insert("x-mbx-used-weight-1m", HeaderValue::from_static("49"));
        headers.insert("x-mbx-order-count-10s", HeaderValue::from_static("3"));
        budget.read_headers(&headers, (at(1), at(1))).await;
        assert!(budget.acquire(RequestPurpose::Order, 1, at(1)).await.is_err());
        assert_eq!(budget.acquire(RequestPurpose::Read, 1, at(1)).await, Ok(()));
        assert!(budget.acquire(RequestPurpose::Read, 1, at(1)).await.is_err());

        headers.insert("retry-after", HeaderValue::from_static("30"));
        budget.stop_requests(&headers, at(60)).await;
        for purpose in [RequestPurpose::Read, RequestPurpose::Order, RequestPurpose::Cancel] {
            assert!(budget.acquire(purpose, 1, at(89)).await.is_err(), "{purpose:?}");
        }
        assert_eq!(budget.acquire(RequestPurpose::Read, 1, at(90)).await, Ok(()));
    }

    #[tokio::test]
    async fn counts_of_a_window_that_has_ended_raise_no_other() {
        let mut headers = HeaderMap::new();
        headers.insert("x-mbx-used-weight-1m", HeaderValue::from_static("100"));
        headers.insert("x-mbx-order-count-10s", HeaderValue::from_static("3"));
        headers.insert("x-mbx-order-count-1d", HeaderValue::from_static("5"));
        // One second around midnight: the venue may have counted before it or after it.
        for (sent_at, received_at) in [(at(-1), at(0)), (at(0), at(0)), (at(-1), at(1))] {
            let budget = budget();
            budget.read_headers(&headers, (sent_at, received_at)).await;
            for second in [-1, 0, 1] {
                let acquired = budget.acquire(RequestPurpose::Order, 1, at(second)).await;
                assert_eq!(acquired, Ok(()), "{sent_at} {received_at} {second}");
            }
        }
        // Within a minute and a day; over the end of ten seconds.
        let budget = budget();
        headers.insert("x-mbx-used-weight-1m", HeaderValue::from_static("2"));
        headers.insert("x-mbx-order-count-1d", HeaderValue::from_static("4"));
        budget.read_headers(&headers, (at(9), at(10))).await;
        assert_eq!(budget.acquire(RequestPurpose::Order, 1, at(11)).await, Ok(()));
        assert!(budget.acquire(RequestPurpose::Order, 1, at(11)).await.is_err());
    }

    #[tokio::test]
    async fn a_ban_without_a_time_lasts_as_the_shortest_and_never_beyond_the_longest() {
        let budget = budget();
        budget.stop_requests(&HeaderMap::new(), at(0)).await;
        assert!(budget.acquire(RequestPurpose::Cancel, 1, at(119)).await.is_err());
        assert_eq!(budget.acquire(RequestPurpose::Cancel, 1, at(120)).await, Ok(()));
        budget.stop_requests_until(Timestamp::MAX, at(200)).await;
        assert_eq!(
            budget.acquire(RequestPurpose::Cancel, 1, at(200 + 3 * 86_400)).await,
            Ok(())
        );
    }

    #[tokio::test]
    async fn too_many_orders_stop_orders_and_not_cancels() {
        let budget = budget();
        budget.stop_orders(at(3)).await;
        assert!(budget.acquire(RequestPurpose::Order, 1, at(9)).await.is_err());
        assert_eq!(budget.acquire(RequestPurpose::Cancel, 1, at(9)).await, Ok(()));
        assert_eq!(budget.acquire(RequestPurpose::Order, 1, at(10)).await, Ok(()));
    }

    /// Counts that cannot be reached.
    struct NoLedger;

    impl LimitLedger for NoLedger {
        async fn charge(&self, _: &[LimitCharge], _: Timestamp) -> Result<LimitDecision, LimitLedgerError> {
            Err(LimitLedgerError("away".into()))
        }

        async fn raise(&self, _: LimitKind, _: Duration, _: u32, _: Timestamp) {}

        async fn close_until(&self, _: LimitKind, _: Timestamp) {}
    }

    #[tokio::test]
    async fn without_the_counts_only_cancels_are_sent() {
        let budget = RequestBudget::new(Arc::new(NoLedger));
        assert!(budget.acquire(RequestPurpose::Order, 1, at(0)).await.is_err());
        assert!(budget.acquire(RequestPurpose::Read, 1, at(0)).await.is_err());
        assert_eq!(budget.acquire(RequestPurpose::Cancel, 1, at(0)).await, Ok(()));
    }
}
