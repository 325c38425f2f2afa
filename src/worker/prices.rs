//! Reference prices: what an order is valued at, and what positions are marked at.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::router::Instruments;
use crate::bus::quotes::{Published, Quotes};
use crate::bus::subjects;
use crate::domain::id::VenueId;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Symbol;
use crate::domain::quantity::Price;
use crate::domain::quote::MAX_AHEAD;
use crate::domain::terms::Mode;
use crate::domain::time::Timestamp;
use crate::store::{Store, StoreError};
use crate::wire::quote::decode_quote;

/// How often the newest quotes are kept for workers to come.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How often refused quotes are told of at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The newest price of each instrument of the settings, and of no other. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Prices(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    max_age: Duration,
    by_subject: HashMap<String, Arc<Slot>>,
    by_instrument: HashMap<(VenueId, Symbol), Arc<Slot>>,
    refused: AtomicU64,
    told_at: Mutex<Option<Instant>>,
}

type Slot = RwLock<Option<Newest>>;

/// What is known of an instrument's price.
#[derive(Debug, Clone, Copy)]
struct Newest {
    price: Price,
    timestamp: Timestamp,
    /// From when on its age counts: its timestamp, or its arrival where that was earlier.
    counts_from: Timestamp,
}

impl Prices {
    /// Returns prices that know nothing yet; a quote older than `max_age` is no reference.
    pub fn new(instruments: &Instruments, max_age: Duration) -> Self {
        let mut shared = Shared {
            max_age,
            ..Shared::default()
        };
        for instrument in instruments.all() {
            let slot = Arc::new(Slot::default());
            let subject = subjects::quotes(instrument.venue.as_str(), instrument.symbol.as_str());
            shared.by_subject.insert(subject, slot.clone());
            let key = (instrument.venue.clone(), instrument.symbol.clone());
            shared.by_instrument.insert(key, slot);
        }
        Self(Arc::new(shared))
    }

    /// Returns the price an order of an instrument is valued at now; `None` where the market's is missing or too old.
    /// Until the first quote arrives, the price of the settings stands in, but never in live.
    pub fn reference(&self, instrument: &Instrument, mode: Mode) -> Option<Price> {
        self.reference_at(instrument, mode, Timestamp::now())
    }

    fn reference_at(&self, instrument: &Instrument, mode: Mode, now: Timestamp) -> Option<Price> {
        match self.newest(instrument) {
            Some(newest) => (now.since(newest.counts_from) <= self.0.max_age).then_some(newest.price),
            None => stand_in(instrument, mode),
        }
    }

    /// Returns the price a position in an instrument is marked at: the newest that is known, whatever its age. Until the
    /// first quote arrives, the price of the settings stands in, but never in live.
    pub fn mark(&self, instrument: &Instrument, mode: Mode) -> Option<Price> {
        match self.newest(instrument) {
            Some(newest) => Some(newest.price),
            None => stand_in(instrument, mode),
        }
    }

    /// Returns how many quotes were refused.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Returns the newest quote of each instrument that has had one, by its subject.
    fn newest_of_all(&self) -> Vec<(String, String)> {
        let quote = |(subject, slot): (&String, &Arc<Slot>)| {
            let newest = (*slot.read().unwrap_or_else(PoisonError::into_inner))?;
            let (price, timestamp) = (newest.price, newest.timestamp);
            Some((
                subject.clone(),
                format!(r#"{{"last":{price},"timestamp":"{timestamp}"}}"#),
            ))
        };
        self.0.by_subject.iter().filter_map(quote).collect()
    }

    fn newest(&self, instrument: &Instrument) -> Option<Newest> {
        let key = (instrument.venue.clone(), instrument.symbol.clone());
        let slot = self.0.by_instrument.get(&key)?;
        *slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a message, or counts it as refused. One about an instrument nobody trades here is passed over.
    fn take(&self, message: &Published, now: Timestamp) {
        let Some(slot) = self.0.by_subject.get(&message.subject) else {
            return;
        };
        if let Err(why) = note(slot, &message.body, now) {
            let refused = self.0.refused.fetch_add(1, Ordering::Relaxed) + 1;
            let mut told_at = self.0.told_at.lock().unwrap_or_else(PoisonError::into_inner);
            if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                *told_at = Some(Instant::now());
                let subject = &message.subject;
                tracing::warn!(subject, refused, "a quote is refused: {why}");
            }
        }
    }
}

fn note(slot: &Slot, body: &[u8], now: Timestamp) -> Result<(), String> {
    let quote = decode_quote(body).map_err(|fault| fault.detail)?;
    if quote.timestamp > now.after(MAX_AHEAD) {
        return Err(format!(
            "its timestamp {} lies more than {MAX_AHEAD:?} ahead of this machine's clock",
            quote.timestamp
        ));
    }
    let mut newest = slot.write().unwrap_or_else(PoisonError::into_inner);
    if newest.is_some_and(|newest| newest.timestamp > quote.timestamp) {
        // Overtaken on its way: nothing is wrong with it.
        return Ok(());
    }
    *newest = Some(Newest {
        price: quote.price,
        timestamp: quote.timestamp,
        counts_from: quote.timestamp.min(now),
    });
    Ok(())
}

fn stand_in(instrument: &Instrument, mode: Mode) -> Option<Price> {
    (mode != Mode::Live).then_some(instrument.reference_price)
}

/// Takes over what other workers have kept of the market: a worker that has just started must not mark positions by the
/// prices of the settings where the market's are known.
///
/// # Errors
/// When the shared state does not answer.
pub async fn take_kept(prices: &Prices, store: &Store) -> Result<(), StoreError> {
    let subjects: Vec<String> = prices.0.by_subject.keys().cloned().collect();
    let kept = store.kept_quotes(&subjects).await?;
    for (subject, body) in subjects.into_iter().zip(kept) {
        if let Some(body) = body {
            prices.take(&Published { subject, body }, Timestamp::now());
        }
    }
    Ok(())
}

/// Takes note of quotes and keeps the newest for workers to come, until it is stopped.
pub async fn run(prices: Prices, mut quotes: Quotes, store: Store, stop: CancellationToken) {
    let mut keep = tokio::time::interval(KEEP_EVERY);
    keep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            _ = keep.tick() => {
                // What is not kept now is kept in a moment: nobody waits for it.
                if let Err(error) = store.keep_quotes(&prices.newest_of_all()).await {
                    tracing::debug!(%error, "the newest quotes are kept later");
                }
                continue;
            }
            message = quotes.next() => message,
        };
        let Some(message) = message else {
            tracing::error!("the subscription to quotes has ended: reference prices go stale");
            return;
        };
        prices.take(&message, Timestamp::now());
    }
}

#[cfg(test)]
#[path = "prices_tests.rs"]
mod tests;
