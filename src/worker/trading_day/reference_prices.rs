//! Reference prices value orders; mark prices value positions. Both come from the quotes on the bus.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::quote_subscription::{QuoteMessage, QuoteSubscription};
use crate::bus::subjects;
use crate::domain::id::VenueId;
use crate::domain::instrument::Instrument;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::quote::MAX_QUOTE_CLOCK_SKEW;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::repeated_log::log_at_intervals;
use crate::store::{Store, StoreError};
use crate::wire::market_quote::decode_quote;
use crate::worker::control::limits::EnforcedLimits;
use crate::worker::instruments::Instruments;

/// How often the newest quotes are saved for workers that start later.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The newest price of each instrument of the limits in force, and of no other. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ReferencePrices(Arc<ReferencePricesInner>);

#[derive(Debug, Default)]
struct ReferencePricesInner {
    table: RwLock<Arc<PriceTable>>,
    refused_count: AtomicU64,
}

#[derive(Debug, Default)]
struct PriceTable {
    by_subject: HashMap<String, Arc<PriceSlot>>,
    by_instrument: HashMap<(VenueId, Symbol), Arc<PriceSlot>>,
}

type PriceSlot = RwLock<Option<LatestQuote>>;

/// An instrument's newest quote.
#[derive(Debug, Clone, Copy)]
struct LatestQuote {
    price: Price,
    timestamp: Timestamp,
    /// The start of its age: its timestamp, or its arrival if that was earlier.
    age_counts_from: Timestamp,
}

impl ReferencePrices {
    /// Returns a table without quotes.
    pub fn new(instruments: &Instruments) -> Self {
        let prices = Self::default();
        prices.follow(instruments);
        prices
    }

    /// Keeps the prices of these instruments, and of no others; known ones stay.
    pub fn follow(&self, instruments: &Instruments) {
        let known = self.table();
        let mut table = PriceTable::default();
        for instrument in instruments.all() {
            let key = (instrument.venue.clone(), instrument.symbol.clone());
            let slot = known.by_instrument.get(&key).cloned().unwrap_or_default();
            let subject = subjects::quote(instrument.venue.as_str(), instrument.symbol.as_str());
            table.by_subject.insert(subject, slot.clone());
            table.by_instrument.insert(key, slot);
        }
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    fn table(&self) -> Arc<PriceTable> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the price that an order in an instrument is valued at now; `None` if the newest quote is missing or older
    /// than `max_age`. Until the first quote arrives, the price of the settings replaces it, but never in live.
    pub fn reference_price(&self, instrument: &Instrument, mode: Mode, max_age: Duration) -> Option<Price> {
        self.reference_price_at(instrument, mode, max_age, Timestamp::now())
    }

    fn reference_price_at(
        &self,
        instrument: &Instrument,
        mode: Mode,
        max_age: Duration,
        now: Timestamp,
    ) -> Option<Price> {
        match self.latest_quote(instrument) {
            Some(newest) => (now.saturating_duration_since(newest.age_counts_from) <= max_age).then_some(newest.price),
            None => settings_price(instrument, mode),
        }
    }

    /// Returns the price that a position in an instrument is marked at: the newest quote's, whatever its age. Until the
    /// first quote arrives, the price of the settings replaces it, but never in live.
    pub fn mark_price(&self, instrument: &Instrument, mode: Mode) -> Option<Price> {
        match self.latest_quote(instrument) {
            Some(newest) => Some(newest.price),
            None => settings_price(instrument, mode),
        }
    }

    /// Returns how many quotes were refused.
    pub fn refused_count(&self) -> u64 {
        self.0.refused_count.load(Ordering::Relaxed)
    }

    /// Returns the newest quote of each instrument that has one, as subject and JSON.
    fn latest_quotes(&self) -> Vec<(String, String)> {
        let quote = |(subject, slot): (&String, &Arc<PriceSlot>)| {
            let newest = (*slot.read().unwrap_or_else(PoisonError::into_inner))?;
            let (price, timestamp) = (newest.price, newest.timestamp);
            Some((
                subject.clone(),
                format!(r#"{{"last":{price},"timestamp":"{timestamp}"}}"#),
            ))
        };
        self.table().by_subject.iter().filter_map(quote).collect()
    }

    fn latest_quote(&self, instrument: &Instrument) -> Option<LatestQuote> {
        let key = (instrument.venue.clone(), instrument.symbol.clone());
        let table = self.table();
        let slot = table.by_instrument.get(&key)?;
        *slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a quote, or counts it as refused. A quote of an instrument that is not among them is ignored.
    fn record_quote(&self, message: &QuoteMessage, now: Timestamp) {
        let table = self.table();
        let Some(slot) = table.by_subject.get(&message.subject) else {
            return;
        };
        if let Err(why) = update_slot(slot, &message.body, now) {
            let refused = self.0.refused_count.fetch_add(1, Ordering::Relaxed) + 1;
            let subject = &message.subject;
            log_at_intervals!(warn, subject, refused, "a quote was refused: {why}");
        }
    }
}

fn update_slot(slot: &PriceSlot, body: &[u8], now: Timestamp) -> Result<(), String> {
    let quote = decode_quote(body).map_err(|fault| fault.detail)?;
    if quote.timestamp > now.saturating_add(MAX_QUOTE_CLOCK_SKEW) {
        return Err(format!(
            "its timestamp {} is more than {MAX_QUOTE_CLOCK_SKEW:?} ahead of this machine's clock",
            quote.timestamp
        ));
    }
    let mut newest = slot.write().unwrap_or_else(PoisonError::into_inner);
    if newest.is_some_and(|newest| newest.timestamp > quote.timestamp) {
        // A later quote arrived first: this one is valid and has no effect.
        return Ok(());
    }
    *newest = Some(LatestQuote {
        price: quote.price,
        timestamp: quote.timestamp,
        age_counts_from: quote.timestamp.min(now),
    });
    Ok(())
}

fn settings_price(instrument: &Instrument, mode: Mode) -> Option<Price> {
    (mode != Mode::Live).then_some(instrument.reference_price)
}

/// Loads the quotes that other workers have saved: a worker that has just started must not mark positions at the prices
/// of the settings if the market's are known.
///
/// # Errors
/// If the shared state does not reply.
pub async fn load_saved_quotes(prices: &ReferencePrices, store: &Store) -> Result<(), StoreError> {
    let subjects: Vec<String> = prices.table().by_subject.keys().cloned().collect();
    let saved = store.read_cached_quotes(&subjects).await?;
    for (subject, body) in subjects.into_iter().zip(saved) {
        if let Some(body) = body {
            prices.record_quote(&QuoteMessage { subject, body }, Timestamp::now());
        }
    }
    Ok(())
}

/// Records quotes and saves the newest for workers that start later, until the worker stops.
///
/// A change of the limits in force may bring other instruments.
pub async fn run(
    prices: ReferencePrices,
    mut quotes: QuoteSubscription,
    store: Store,
    mut limits: watch::Receiver<Arc<EnforcedLimits>>,
    stop: CancellationToken,
) {
    let mut save = tokio::time::interval(SAVE_INTERVAL);
    save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            _ = save.tick() => {
                // What is not saved now is saved at the next tick.
                if let Err(error) = store.cache_quotes(&prices.latest_quotes()).await {
                    tracing::debug!(%error, "the newest quotes could not be saved; retrying");
                }
                continue;
            }
            Ok(()) = limits.changed() => {
                let limits = limits.borrow_and_update().clone();
                prices.follow(&limits.instruments);
                continue;
            }
            message = quotes.next() => message,
        };
        let Some(message) = message else {
            tracing::error!(
                "the subscription to quotes has ended: reference prices will be too old. Restart the worker"
            );
            return;
        };
        prices.record_quote(&message, Timestamp::now());
    }
}

#[cfg(test)]
#[path = "reference_prices_tests.rs"]
mod tests;
