//! The orders that this process has sent: none is sent a second time, whatever asks for it.
//!
//! The gate's lease is the guard for all workers and restarts. This one costs nothing and holds even if an order gets past
//! the gate twice: the venue itself accepts the same client order id again once the first order is filled
//! (`rest-api.md`, "New order").

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::domain::id::OrderId;

/// The most orders that are remembered; the oldest is forgotten first.
const MAX_REMEMBERED: usize = 65_536;

/// The last orders that this process has sent.
#[derive(Debug, Default)]
pub struct SentOrders(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    ids: HashSet<OrderId>,
    by_age: VecDeque<OrderId>,
}

impl SentOrders {
    /// Reports whether an order was sent, or may have been.
    pub fn contains(&self, order_id: &OrderId) -> bool {
        self.with(|remembered| remembered.ids.contains(order_id))
    }

    /// Remembers an order immediately before its first byte. Reports whether it is new: another one must not be sent.
    pub fn insert(&self, order_id: &OrderId) -> bool {
        self.with(|remembered| {
            let is_new = remembered.ids.insert(order_id.clone());
            if is_new {
                remembered.by_age.push_back(order_id.clone());
            }
            if remembered.by_age.len() > MAX_REMEMBERED
                && let Some(oldest) = remembered.by_age.pop_front()
            {
                remembered.ids.remove(&oldest);
            }
            is_new
        })
    }

    /// Forgets an order that certainly had no effect: it may be sent again.
    pub fn remove(&self, order_id: &OrderId) {
        self.with(|remembered| {
            if remembered.ids.remove(order_id)
                && let Some(at) = remembered.by_age.iter().rposition(|id| id == order_id)
            {
                remembered.by_age.remove(at);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Remembered) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> OrderId {
        OrderId::new(&format!("BN-{number}")).unwrap()
    }

    #[test]
    fn an_order_is_new_once_until_it_is_removed() {
        let sent = SentOrders::default();
        assert!(sent.insert(&id(1)) && !sent.insert(&id(1)) && sent.contains(&id(1)));
        sent.remove(&id(1));
        assert!(!sent.contains(&id(1)) && sent.insert(&id(1)));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let sent = SentOrders::default();
        for number in 0..=MAX_REMEMBERED {
            sent.insert(&id(number));
        }
        assert!(!sent.contains(&id(0)) && sent.contains(&id(1)) && sent.contains(&id(MAX_REMEMBERED)));
    }
}
