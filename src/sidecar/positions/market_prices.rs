//! What positions are valued at: the newest quote of each instrument of the settings, and of no other.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::connection::ConnectPolicy;
use crate::bus::quote_subscription::{QuoteMessage, QuoteSubscription};
use crate::bus::subjects;
use crate::config::Settings;
use crate::config::nats::NatsSettings;
use crate::domain::instrument::Instrument;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::quote::{MAX_QUOTE_CLOCK_SKEW, Quote};
use crate::domain::time::Timestamp;
use crate::wire::market_quote::decode_quote;

/// How long one try to subscribe goes on.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before quotes that cannot be followed are tried again.
const RESUBSCRIBE_DELAY: Duration = Duration::from_secs(1);

/// The newest price of each instrument.
#[derive(Debug, Default)]
pub(in crate::sidecar) struct MarketPrices {
    by_subject: HashMap<String, Arc<QuotedInstrument>>,
    by_instrument: HashMap<(String, String), Arc<QuotedInstrument>>,
}

/// An instrument and the newest quote of it.
#[derive(Debug)]
pub(in crate::sidecar) struct QuotedInstrument {
    /// The instrument as the settings have it.
    pub(in crate::sidecar) instrument: Instrument,
    latest_quote: RwLock<Option<Quote>>,
}

impl MarketPrices {
    /// Returns prices that have seen no quote yet.
    pub(in crate::sidecar) fn from_settings(settings: &Settings) -> Self {
        let mut prices = Self::default();
        for instrument in settings.instruments.to_instruments(&settings.risk) {
            let (venue, symbol) = (instrument.venue.to_string(), instrument.symbol.to_string());
            let subject = subjects::quote(&venue, &symbol);
            let market = Arc::new(QuotedInstrument {
                instrument,
                latest_quote: RwLock::default(),
            });
            prices.by_subject.insert(subject, Arc::clone(&market));
            prices.by_instrument.insert((venue, symbol), market);
        }
        prices
    }

    /// Returns an instrument with its price; `None` for one that is not in the settings.
    pub(in crate::sidecar) fn quoted_instrument(&self, venue: &str, symbol: &str) -> Option<&QuotedInstrument> {
        let key = (venue.to_owned(), symbol.to_owned());
        self.by_instrument.get(&key).map(Arc::as_ref)
    }

    /// Takes note of a quote; what is none, is older than the newest, or about an instrument nobody trades here changes
    /// nothing.
    pub(in crate::sidecar) fn record_quote(&self, message: &QuoteMessage, now: Timestamp) {
        let Some(market) = self.by_subject.get(&message.subject) else {
            return;
        };
        match decode_quote(&message.body) {
            Ok(quote) if quote.timestamp <= now.saturating_add(MAX_QUOTE_CLOCK_SKEW) => {
                let mut newest = market.latest_quote.write().unwrap_or_else(PoisonError::into_inner);
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

impl QuotedInstrument {
    /// Returns the price a position is marked at: the newest that is known, whatever its age. Until the first quote
    /// arrives, the price of the settings stands in, but never in live.
    pub(in crate::sidecar) fn mark_price(&self, mode: Mode) -> Option<Price> {
        let newest = *self.latest_quote.read().unwrap_or_else(PoisonError::into_inner);
        match newest {
            Some(quote) => Some(quote.price),
            None => (mode != Mode::Live).then_some(self.instrument.reference_price),
        }
    }
}

/// Follows the quotes until it is stopped. While they cannot be followed, the newest that are known stand.
pub(in crate::sidecar) async fn follow_quotes(
    prices: Arc<MarketPrices>,
    settings: NatsSettings,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = follow_quotes_once(&prices, &settings) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RESUBSCRIBE_DELAY) => {}
        }
    }
}

async fn follow_quotes_once(prices: &MarketPrices, settings: &NatsSettings) {
    let mut quotes = match QuoteSubscription::open(settings, ConnectPolicy::RetryFor(SUBSCRIBE_TIMEOUT)).await {
        Ok(quotes) => quotes,
        Err(error) => {
            tracing::warn!(%error, "quotes cannot be followed; it is tried again");
            return;
        }
    };
    while let Some(message) = quotes.next().await {
        prices.record_quote(&message, Timestamp::now());
    }
    tracing::warn!("the subscription to quotes has ended; it is made again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_quote_is_the_mark_and_the_settings_stand_in_but_never_in_live() {
        let prices = MarketPrices::from_settings(&Settings::default());
        let bitcoin = prices.quoted_instrument("binance.spot", "BTCUSDT").unwrap();
        let mark = |mode| bitcoin.mark_price(mode).map(|price| price.to_string());
        assert_eq!(mark(Mode::Paper).as_deref(), Some("30000"));
        assert_eq!(mark(Mode::DryRun).as_deref(), Some("30000"));
        assert_eq!(mark(Mode::Live), None);
        assert!(prices.quoted_instrument("binance.spot", "DOGEUSDT").is_none());
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
            let message = QuoteMessage {
                subject: subjects::quote("binance.spot", symbol),
                body: body.into(),
            };
            prices.record_quote(&message, now);
            assert_eq!(mark(Mode::Live).as_deref(), marked, "{symbol} {body}");
        }
        assert_eq!(mark(Mode::Paper).as_deref(), Some("28000.5"));
    }
}
