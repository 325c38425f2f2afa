//! The limits that a venue sets on requests and orders: what it counts, for whom, and in which windows of time.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::content_hash::ContentHasher;
use crate::domain::time::Timestamp;

/// A kind of limit that a venue counts in fixed windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitKind {
    /// The weight of requests, per address.
    RequestWeight,
    /// The number of requests, per address.
    RawRequests,
    /// The number of orders, per account.
    Orders,
}

/// What a request adds to the count of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitCharge {
    /// The kind of limit.
    pub kind: LimitKind,
    /// The length of the window. Windows begin at multiples of it since 1970-01-01T00:00:00Z, by the venue's clock.
    pub window: Duration,
    /// What the request adds.
    pub amount: u32,
    /// The most that the window may count with it.
    pub cap: u32,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitDecision {
    /// It is counted, and may be sent.
    Charged,
    /// The window of this kind has no room for it before this moment. Nothing is counted.
    Exhausted(LimitKind, Timestamp),
    /// The venue has asked for no request of this kind before this moment. Nothing is counted.
    Closed(LimitKind, Timestamp),
}

/// For whom a venue counts. All senders with the same scope share one count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitScopes {
    address: Arc<str>,
    account: Arc<str>,
}

/// The length of a scope's name: 64 bits in hex.
const SCOPE_LENGTH: usize = 16;

impl LimitScopes {
    /// Returns the scopes of an account at a venue. `venue` is the base address of its API; all processes count as senders
    /// from one internet address, which is never too little. `account_key` is the public part of the account's key, of which
    /// only a hash is kept.
    pub fn new(venue: &str, account_key: &str) -> Self {
        let name = |parts: &[&str]| {
            let mut hasher = ContentHasher::default();
            parts.iter().for_each(|part| hasher.add(part));
            hasher.finish().0.chars().take(SCOPE_LENGTH).collect::<String>().into()
        };
        Self {
            address: name(&[venue]),
            account: name(&[venue, account_key]),
        }
    }

    /// Returns the name of the scope that a kind of limit is counted for: hexadecimal digits.
    pub fn of(&self, kind: LimitKind) -> &str {
        match kind {
            LimitKind::RequestWeight | LimitKind::RawRequests => &self.address,
            LimitKind::Orders => &self.account,
        }
    }
}

impl LimitKind {
    /// Returns the kind's name in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestWeight => "request_weight",
            Self::RawRequests => "raw_requests",
            Self::Orders => "orders",
        }
    }
}

/// Returns the number of the window at `at`, counted since 1970.
pub fn window_index(window: Duration, at: Timestamp) -> i64 {
    at.as_microseconds().div_euclid(window_micros(window))
}

/// Returns when the window at `at` ends.
pub fn window_end(window: Duration, at: Timestamp) -> Timestamp {
    let next = window_index(window, at).saturating_add(1);
    Timestamp::from_microseconds(next.saturating_mul(window_micros(window)))
}

fn window_micros(window: Duration) -> i64 {
    i64::try_from(window.as_micros()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_multiples_of_their_length() {
        let ten_seconds = Duration::from_secs(10);
        for (at_ms, index, end_ms) in [(0, 0, 10_000), (9_999, 0, 10_000), (10_000, 1, 20_000), (-1, -1, 0)] {
            let at = Timestamp::from_milliseconds(at_ms);
            assert_eq!(window_index(ten_seconds, at), index);
            assert_eq!(window_end(ten_seconds, at), Timestamp::from_milliseconds(end_ms));
        }
        assert_eq!(window_end(Duration::MAX, Timestamp::MAX), Timestamp::MAX);
        assert_eq!(window_end(Duration::ZERO, Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn weights_count_for_an_address_and_orders_for_an_account() {
        let (mine, other) = (
            LimitScopes::new("https://venue", "key-1"),
            LimitScopes::new("https://venue", "key-2"),
        );
        assert_eq!(mine.of(LimitKind::RequestWeight), other.of(LimitKind::RequestWeight));
        assert_eq!(mine.of(LimitKind::RawRequests), mine.of(LimitKind::RequestWeight));
        assert_ne!(mine.of(LimitKind::Orders), other.of(LimitKind::Orders));
        let testnet = LimitScopes::new("https://testnet", "key-1");
        assert_ne!(mine.of(LimitKind::RequestWeight), testnet.of(LimitKind::RequestWeight));
        assert_ne!(mine.of(LimitKind::Orders), testnet.of(LimitKind::Orders));
        assert_eq!(mine.of(LimitKind::Orders).len(), SCOPE_LENGTH);
        assert!(!format!("{mine:?}").contains("key-1"));
    }
}
