//! Hands events to the open streams, with the faults that strike them on the way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, broadcast};

use crate::venue::events::AccountEvent;
use crate::venue::exchange::state::Exchange;
use crate::venue::faults::injector::FaultInjector;
use crate::venue::faults::table::FaultKind;
use crate::venue::words::Side;

/// The events that a slow stream may lag behind; a slower one is closed.
pub const MAX_BACKLOG: usize = 4_096;
/// The most events that wait for a late delivery; further ones are sent at once.
const MAX_LATE_EVENTS: usize = 1_024;

/// What the user data streams receive.
#[derive(Debug, Clone)]
pub enum UserMessage {
    /// An event for the streams of an account.
    Event(Arc<AccountEvent>),
    /// The streams of this account are reset.
    Cut(Arc<str>),
}

/// The best prices of a symbol.
#[derive(Debug, Clone)]
pub struct TickerMessage {
    /// The symbol.
    pub symbol: Arc<str>,
    /// The event.
    pub ticker: Arc<Value>,
}

/// The streams; clones share them.
#[derive(Debug, Clone)]
pub struct Hub {
    users: broadcast::Sender<UserMessage>,
    tickers: broadcast::Sender<TickerMessage>,
    faults: Arc<FaultInjector>,
    late: Arc<Semaphore>,
    /// The event of each account that waits to be sent after the next one.
    held: Arc<Mutex<BTreeMap<String, Arc<AccountEvent>>>>,
    /// The last ticker of each symbol.
    last: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Hub {
    /// Returns a hub without streams.
    pub fn new(faults: Arc<FaultInjector>) -> Self {
        Self {
            users: broadcast::Sender::new(MAX_BACKLOG),
            tickers: broadcast::Sender::new(MAX_BACKLOG),
            faults,
            late: Arc::new(Semaphore::new(MAX_LATE_EVENTS)),
            held: Arc::default(),
            last: Arc::default(),
        }
    }

    /// Returns a receiver of what happens from now on.
    pub fn subscribe_user(&self) -> broadcast::Receiver<UserMessage> {
        self.users.subscribe()
    }

    /// Returns a receiver of the tickers that change from now on.
    pub fn subscribe_tickers(&self) -> broadcast::Receiver<TickerMessage> {
        self.tickers.subscribe()
    }

    /// Sends events to the streams of their accounts.
    pub fn publish(&self, events: Vec<AccountEvent>) {
        for event in events {
            self.publish_one(Arc::new(event));
        }
    }

    fn publish_one(&self, event: Arc<AccountEvent>) {
        self.faults.count_event();
        if self.faults.strikes_event(FaultKind::StreamCut).is_some() {
            self.send(UserMessage::Cut(event.account.as_str().into()));
            return;
        }
        if self.faults.strikes_event(FaultKind::EventLost).is_some() {
            return;
        }
        if let Some(strike) = self.faults.strikes_event(FaultKind::EventLate) {
            self.send_late(event, strike.duration_ms);
            return;
        }
        if let Some(strike) = self.faults.strikes_event(FaultKind::EventReordered) {
            self.hold(event, strike.duration_ms);
            return;
        }
        if self.faults.strikes_event(FaultKind::EventDuplicated).is_some() {
            self.send(UserMessage::Event(event.clone()));
        }
        let held = self.lock_held().remove(&event.account);
        self.send(UserMessage::Event(event));
        if let Some(held) = held {
            self.send(UserMessage::Event(held));
        }
    }

    fn send_late(&self, event: Arc<AccountEvent>, after_ms: i64) {
        match self.late.clone().try_acquire_owned() {
            Err(_) => self.send(UserMessage::Event(event)),
            Ok(permit) => {
                let hub = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(milliseconds(after_ms)).await;
                    hub.send(UserMessage::Event(event));
                    drop(permit);
                });
            }
        }
    }

    /// Keeps an event until the next one of its account; without a next one, it is sent after a while.
    fn hold(&self, event: Arc<AccountEvent>, at_most_ms: i64) {
        let replaced = self.lock_held().insert(event.account.clone(), event.clone());
        if let Some(replaced) = replaced {
            self.send(UserMessage::Event(replaced));
        }
        let hub = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(milliseconds(at_most_ms)).await;
            let is_held = |held: &mut BTreeMap<String, Arc<AccountEvent>>| {
                let is_same = held.get(&event.account).is_some_and(|held| Arc::ptr_eq(held, &event));
                is_same.then(|| held.remove(&event.account)).flatten()
            };
            let held = is_held(&mut hub.lock_held());
            if let Some(held) = held {
                hub.send(UserMessage::Event(held));
            }
        });
    }

    fn send(&self, message: UserMessage) {
        // Without a stream there is no receiver: the event is missed, as at the venue.
        let _ = self.users.send(message);
    }

    /// Sends the best prices of a symbol, if they have changed.
    pub fn publish_ticker(&self, exchange: &Exchange, symbol: &str) {
        let Some(ticker) = ticker(exchange, symbol) else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &Value| ["b", "B", "a", "A"].iter().all(|field| known[field] == ticker[field]);
        if last.get(symbol).is_some_and(is_same) {
            return;
        }
        last.insert(symbol.to_owned(), ticker.clone());
        let _ = self.tickers.send(TickerMessage {
            symbol: symbol.into(),
            ticker: Arc::new(ticker),
        });
    }

    fn lock_held(&self) -> MutexGuard<'_, BTreeMap<String, Arc<AccountEvent>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the event of the best prices of a symbol; an empty side has a price and a quantity of zero.
pub fn ticker(exchange: &Exchange, symbol: &str) -> Option<Value> {
    let market = exchange.market(symbol).ok()?;
    let best = |side| exchange.depth(market, side, 1).first().copied().unwrap_or_default();
    let ((bid, bid_quantity), (ask, ask_quantity)) = (best(Side::Buy), best(Side::Sell));
    Some(json!({
        "u": market.update_id,
        "s": symbol,
        "b": bid,
        "B": bid_quantity,
        "a": ask,
        "A": ask_quantity,
    }))
}

/// Returns a duration of so many milliseconds; none for a negative number.
pub fn milliseconds(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or_default())
}
