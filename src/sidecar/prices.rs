//! What positions are valued at: the newest quote of each instrument of the settings, and of no other.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::connection::Patience;
use crate::bus::quotes::{Published, Quotes};
use crate::bus::subjects;
use crate::config::Settings;
use crate::config::nats::NatsSettings;
use crate::domain::instrument::Instrument;
use crate::domain::quantity::Price;
use crate::domain::quote::{MAX_AHEAD, Quote};
use crate::domain::terms::Mode;
use crate::domain::time::Timestamp;
use crate::wire::quote::decode_quote;

/// How long one try to subscribe goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause before quotes that cannot be followed are tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The newest price of each instrument.
#[derive(Debug, Default)]
pub(super) struct Prices {
    by_subject: HashMap<String, Arc<Market>>,
    by_instrument: HashMap<(String, String), Arc<Market>>,
}

/// An instrument and the newest quote of it.
#[derive(Debug)]
pub(super) struct Market {
    /// The instrument as the settings have it.
    pub(super) instrument: Instrument,
    newest: RwLock<Option<Quote>>,
}

impl Prices {
    /// Returns prices that have seen no quote yet.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut prices = Self::default();
        for instrument in settings.instruments.instruments(&settings.risk) {
            let (venue, symbol) = (instrument.venue.to_string(), instrument.symbol.to_string());
            let subject = subjects::quotes(&venue, &symbol);
            let market = Arc::new(Market {
                instrument,
                newest: RwLock::default(),
            });
            prices.by_subject.insert(subject, Arc::clone(&market));
            prices.by_instrument.insert((venue, symbol), market);
        }
        prices
    }

    /// Returns an instrument with its price; `None` for one that is not in the settings.
    pub(super) fn market(&self, venue: &str, symbol: &str) -> Option<&Market> {
        let key = (venue.to_owned(), symbol.to_owned());
        self.by_instrument.get(&key).map(Arc::as_ref)
    }

    /// Takes note of a quote; what is none, is older than the newest, or about an instrument nobody trades here changes
    /// nothing.
    pub(super) fn take(&self, message: &Published, now: Timestamp) {
        let Some(market) = self.by_subject.get(&message.subject) else {
            return;
        };
        match decode_quote(&message.body) {
            Ok(quote) if quote.timestamp <= now.after(MAX_AHEAD) => {
                let mut newest = market.newest.write().unwrap_or_else(PoisonError::into_inner);
                if newest.is_none_or(|newest| newest.timestamp <= quote.timestamp) {
                    *newest = Some(quote);
                }
            }
            // The workers tell of these.
            Ok(_) => tracing::debug!(message.subject, "a quote from far ahead is refused"),
            Err(fault) => tracing::debug!(message.subject, %fault, "a quote is refused"),
        }
    }
}

impl Market {
    /// Returns the price a position is marked at: the newest that is known, whatever its age. Until the first quote
    /// arrives, the price of the settings stands in, but never in live.
    pub(super) fn mark(&self, mode: Mode) -> Option<Price> {
        let newest = *self.newest.read().unwrap_or_else(PoisonError::into_inner);
        match newest {
            Some(quote) => Some(quote.price),
            None => (mode != Mode::Live).then_some(self.instrument.reference_price),
        }
    }
}

/// Follows the quotes until it is stopped. While they cannot be followed, the newest that are known stand.
pub(super) async fn follow(prices: Arc<Prices>, settings: NatsSettings, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = follow_once(&prices, &settings) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn follow_once(prices: &Prices, settings: &NatsSettings) {
    let mut quotes = match Quotes::start(settings, Patience::Until(PATIENCE)).await {
        Ok(quotes) => quotes,
        Err(error) => {
            tracing::warn!(%error, "quotes cannot be followed; it is tried again");
            return;
        }
    };
    while let Some(message) = quotes.next().await {
        prices.take(&message, Timestamp::now());
    }
    tracing::warn!("the subscription to quotes has ended; it is made again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_quote_is_the_mark_and_the_settings_stand_in_but_never_in_live() {
        let prices = Prices::of(&Settings::default());
        let bitcoin = prices.market("binance.spot", "BTCUSDT").unwrap();
        let mark = |mode| bitcoin.mark(mode).map(|price| price.to_string());
        assert_eq!(mark(Mode::Paper).as_deref(), Some("30000"));
        assert_eq!(mark(Mode::DryRun).as_deref(), Some("30000"));
        assert_eq!(mark(Mode::Live), None);
        assert!(prices.market("binance.spot", "DOGEUSDT").is_none());
        let now = Timestamp::parse("2026-03-02T12:00:00Z").unwrap();
        for (symbol, body, marked) in [
            ("ETHUSDT", r#"{"last":1,"timestamp":"2026-03-02T12:00:00Z"}"#, None),
            ("DOGEUSDT", r#"{"last":1,"timestamp":"2026-03-02T12:00:00Z"}"#, None),
            ("BTCUSDT", "no quote", None),
            ("BTCUSDT", r#"{"last":1,"timestamp":"2026-03-02T12:00:06Z"}"#, None),
            (
                "BTCUSDT",
                r#"{"last":29000,"timestamp":"2026-03-02T11:00:00Z"}"#,
                Some("29000"),
            ),
            (
                "BTCUSDT",
                r#"{"last":1,"timestamp":"2026-03-02T10:59:59Z"}"#,
                Some("29000"),
            ),
            (
                "BTCUSDT",
                r#"{"bid":28000,"ask":28001,"timestamp":"2026-03-02T11:00:00Z"}"#,
                Some("28000.5"),
            ),
        ] {
            let message = Published {
                subject: subjects::quotes("binance.spot", symbol),
                body: body.into(),
            };
            prices.take(&message, now);
            assert_eq!(mark(Mode::Live).as_deref(), marked, "{symbol} {body}");
        }
        assert_eq!(mark(Mode::Paper).as_deref(), Some("28000.5"));
    }
}
