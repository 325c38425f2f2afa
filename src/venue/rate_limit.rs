//! The rate limits that exchange information names: weight by address, unfilled orders by account, in fixed windows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::venue::error::VenueError;
use crate::venue::settings::LimitSettings;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
/// The window of the shorter limit of orders.
const ORDER_WINDOW_MS: u64 = 10 * SECOND_MS;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// The shortest ban, in milliseconds; each further one lasts twice as long.
const FIRST_BAN_MS: u64 = 2 * MINUTE_MS;
/// The longest ban, in milliseconds.
const LONGEST_BAN_MS: u64 = 3 * DAY_MS;
/// The most addresses that are counted; a full table forgets those of past windows.
const MAX_ADDRESSES: usize = 10_000;

/// A count in a fixed window.
#[derive(Debug, Clone, Copy, Default)]
struct WindowCount {
    window: u64,
    count: u32,
}

impl WindowCount {
    fn at(&mut self, window: u64) -> &mut u32 {
        if self.window != window {
            *self = Self { window, count: 0 };
        }
        &mut self.count
    }
}

#[derive(Debug, Default)]
struct AddressUse {
    weight: WindowCount,
    refused: WindowCount,
    banned_until: u64,
    bans: u32,
}

#[derive(Debug, Default)]
struct AccountUse {
    short: WindowCount,
    day: WindowCount,
}

#[derive(Debug, Default)]
struct LimitState {
    addresses: BTreeMap<IpAddr, AddressUse>,
    accounts: BTreeMap<String, AccountUse>,
}

/// The counters of all limits. They are kept in memory: a restart begins at zero.
#[derive(Debug)]
pub struct RateLimits {
    settings: LimitSettings,
    state: Mutex<LimitState>,
}

/// The unfilled orders of an account in the running windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderCounts {
    /// In ten seconds.
    pub short: u32,
    /// In a day.
    pub day: u32,
}

impl RateLimits {
    /// Returns counters at zero.
    pub fn new(settings: LimitSettings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
        }
    }

    /// Charges a request's weight to an address.
    ///
    /// # Errors
    /// 429 beyond the limit, 418 while the address is banned.
    pub fn charge(&self, address: IpAddr, weight: u32, now: u64) -> Result<(), VenueError> {
        let mut state = self.lock();
        if state.addresses.len() >= MAX_ADDRESSES {
            let minute = now / MINUTE_MS;
            let is_current = |used: &AddressUse| used.weight.window == minute || used.banned_until > now;
            state.addresses.retain(|_, used| is_current(used));
        }
        let used = state.addresses.entry(address).or_default();
        if used.banned_until > now {
            return Err(VenueError::banned(used.banned_until));
        }
        let minute = now / MINUTE_MS;
        let count = used.weight.at(minute);
        if count.saturating_add(weight) <= self.settings.weight_per_minute {
            *count += weight;
            return Ok(());
        }
        let refused = used.refused.at(minute);
        *refused += 1;
        if *refused >= self.settings.ban_after {
            *refused = 0;
            let duration = FIRST_BAN_MS.saturating_mul(1 << used.bans.min(16)).min(LONGEST_BAN_MS);
            used.bans += 1;
            used.banned_until = now + duration;
            return Err(VenueError::banned(used.banned_until));
        }
        let limit = self.settings.weight_per_minute;
        Err(VenueError::too_much_weight(limit).with_retry_at((minute + 1) * MINUTE_MS))
    }

    /// Returns the weight of a request that costs none after all.
    pub fn refund(&self, address: IpAddr, weight: u32, now: u64) {
        if let Some(used) = self.lock().addresses.get_mut(&address) {
            let count = used.weight.at(now / MINUTE_MS);
            *count = count.saturating_sub(weight);
        }
    }

    /// Returns the weight that an address has used in this minute.
    pub fn used_weight(&self, address: IpAddr, now: u64) -> u32 {
        let mut state = self.lock();
        let used = state.addresses.get_mut(&address);
        used.map_or(0, |used| *used.weight.at(now / MINUTE_MS))
    }

    /// Bans an address until a time, in milliseconds since 1970.
    pub fn ban(&self, address: IpAddr, until: u64) {
        self.lock().addresses.entry(address).or_default().banned_until = until;
    }

    /// Lifts every ban and forgets every count.
    pub fn reset(&self) {
        *self.lock() = LimitState::default();
    }

    /// Counts a new order of an account.
    ///
    /// # Errors
    /// When the account has its maximum of unfilled orders in a window; then it is not counted.
    pub fn count_order(&self, account: &str, now: u64) -> Result<(), VenueError> {
        let mut state = self.lock();
        let used = state.accounts.entry(account.to_owned()).or_default();
        let short = *used.short.at(now / ORDER_WINDOW_MS);
        let day = *used.day.at(now / DAY_MS);
        let settings = self.settings;
        if short >= settings.orders_per_10_seconds {
            let end = (now / ORDER_WINDOW_MS + 1) * ORDER_WINDOW_MS;
            let error = VenueError::too_many_orders(settings.orders_per_10_seconds, "10 SECOND");
            return Err(error.with_retry_at(end));
        }
        if day >= settings.orders_per_day {
            let end = (now / DAY_MS + 1) * DAY_MS;
            return Err(VenueError::too_many_orders(settings.orders_per_day, "1 DAY").with_retry_at(end));
        }
        *used.short.at(now / ORDER_WINDOW_MS) += 1;
        *used.day.at(now / DAY_MS) += 1;
        Ok(())
    }

    /// Takes an order that got its first fill out of the count.
    pub fn uncount_filled(&self, account: &str, now: u64) {
        if let Some(used) = self.lock().accounts.get_mut(account) {
            let short = used.short.at(now / ORDER_WINDOW_MS);
            *short = short.saturating_sub(1);
            let day = used.day.at(now / DAY_MS);
            *day = day.saturating_sub(1);
        }
    }

    /// Returns the unfilled orders of an account.
    pub fn order_counts(&self, account: &str, now: u64) -> OrderCounts {
        let mut state = self.lock();
        let Some(used) = state.accounts.get_mut(account) else {
            return OrderCounts::default();
        };
        OrderCounts {
            short: *used.short.at(now / ORDER_WINDOW_MS),
            day: *used.day.at(now / DAY_MS),
        }
    }

    /// Returns the limits as exchange information lists them.
    pub fn describe(&self) -> Value {
        let mut limits = self.order_limits(OrderCounts::default());
        limits.insert(0, self.weight_limit(0));
        for limit in &mut limits {
            if let Some(fields) = limit.as_object_mut() {
                fields.remove("count");
            }
        }
        limits.into()
    }

    /// Returns the limits of orders with their counts.
    pub fn order_limits(&self, counts: OrderCounts) -> Vec<Value> {
        let limit = |interval: &str, number: u32, limit: u32, count: u32| {
            json!({
                "rateLimitType": "ORDERS",
                "interval": interval,
                "intervalNum": number,
                "limit": limit,
                "count": count,
            })
        };
        vec![
            limit("SECOND", 10, self.settings.orders_per_10_seconds, counts.short),
            limit("DAY", 1, self.settings.orders_per_day, counts.day),
        ]
    }

    /// Returns the limit of weight with its count.
    pub fn weight_limit(&self, count: u32) -> Value {
        json!({
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": self.settings.weight_per_minute,
            "count": count,
        })
    }

    fn lock(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> RateLimits {
        RateLimits::new(LimitSettings {
            weight_per_minute: 10,
            orders_per_10_seconds: 2,
            orders_per_day: 3,
            ban_after: 2,
        })
    }

    #[test]
    fn weight_beyond_the_limit_is_refused_then_banned() {
        let (limits, address) = (limits(), IpAddr::from([127, 0, 0, 1]));
        assert_eq!(limits.charge(address, 8, 1_000), Ok(()));
        assert_eq!(limits.used_weight(address, 1_000), 8);
        let refused = limits.charge(address, 8, 2_000).unwrap_err();
        assert_eq!(
            (refused.status, refused.code, refused.retry_at),
            (429, -1003, Some(60_000))
        );
        let banned = limits.charge(address, 8, 3_000).unwrap_err();
        assert_eq!((banned.status, banned.retry_at), (418, Some(123_000)));
        assert_eq!(limits.charge(address, 1, 61_000).unwrap_err().status, 418);
        assert_eq!(limits.charge(address, 1, 123_000), Ok(()));
    }

    #[test]
    fn unfilled_orders_are_counted_in_fixed_windows() {
        let limits = limits();
        assert_eq!(limits.count_order("a", 9_000), Ok(()));
        assert_eq!(limits.count_order("a", 9_500), Ok(()));
        let refused = limits.count_order("a", 9_900).unwrap_err();
        assert_eq!(
            (refused.status, refused.code, refused.retry_at),
            (429, -1015, Some(10_000))
        );
        limits.uncount_filled("a", 9_950);
        assert_eq!(limits.count_order("a", 9_960), Ok(()));
        assert_eq!(limits.order_counts("a", 10_000), OrderCounts { short: 0, day: 2 });
        assert_eq!(limits.count_order("a", 10_000), Ok(()));
        assert_eq!(limits.count_order("a", 20_000).unwrap_err().code, -1015);
        assert_eq!(limits.count_order("b", 20_000), Ok(()));
    }
}
