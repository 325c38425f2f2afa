//! Market prices for valuation: the newest quote of each instrument in the settings.

use std::collections::{BTreeSet, HashMap};
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
use crate::repeated_log::log_at_intervals;
use crate::wire::market_quote::decode_quote;

/// The maximum time for one attempt to subscribe.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);
/// The delay before the next attempt to subscribe.
const RESUBSCRIBE_DELAY: Duration = Duration::from_secs(1);

/// The newest price of each instrument.
#[derive(Debug, Default)]
pub(in crate::sidecar) struct MarketPrices {
    by_subject: HashMap<String, Arc<QuotedInstrument>>,
    by_instrument: HashMap<(String, String), Arc<QuotedInstrument>>,
}

/// An instrument and its newest quote.
#[derive(Debug)]
pub(in crate::sidecar) struct QuotedInstrument {
    /// The instrument of the settings.
    pub(in crate::sidecar) instrument: Instrument,
    latest_quote: RwLock<Option<Quote>>,
}

impl MarketPrices {
    /// Returns the instruments of the settings, without quotes.
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

    /// Returns an instrument with its newest quote, or `None` for an instrument that is not in the settings.
    pub(in crate::sidecar) fn quoted_instrument(&self, venue: &str, symbol: &str) -> Option<&QuotedInstrument> {
        let key = (venue.to_owned(), symbol.to_owned());
        self.by_instrument.get(&key).map(Arc::as_ref)
    }

    /// Returns the brokers of the instruments, sorted.
    pub(in crate::sidecar) fn brokers(&self) -> BTreeSet<&str> {
        let markets = self.by_instrument.values();
        markets.map(|market| market.instrument.broker.as_str()).collect()
    }

    /// Records a quote. Ignores a message that is not a quote, an older quote, and an instrument that is not in the settings.
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
            // At debug level: the workers warn about these.
            Ok(_) => tracing::debug!(message.subject, "quote ignored: its timestamp is too far in the future"),
            Err(fault) => tracing::debug!(message.subject, %fault, "quote ignored: it is invalid"),
        }
    }
}

impl QuotedInstrument {
    /// Returns the mark price: the newest quote, of any age. Until the first quote arrives, it is the reference price of the
    /// settings, but never in live mode.
    pub(in crate::sidecar) fn mark_price(&self, mode: Mode) -> Option<Price> {
        let newest = *self.latest_quote.read().unwrap_or_else(PoisonError::into_inner);
        match newest {
            Some(quote) => Some(quote.price),
            None => (mode != Mode::Live).then_some(self.instrument.reference_price),
        }
    }
}

/// Follows the quotes until `shutdown`. Without a subscription, the newest known quotes remain valid.
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
            log_at_intervals!(warn, %error, "subscribing to quotes failed; retrying");
            return;
        }
    };
    while let Some(message) = quotes.next().await {
        prices.record_quote(&message, Timestamp::now());
    }
    log_at_intervals!(warn, "the subscription to quotes ended; resubscribing");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_the_newest_quote_or_the_reference_price_except_in_live() {
        let prices = MarketPrices::from_settings(&Settings::default());
        let bitcoin = prices.quoted_instrument("binance.spot", "BTCUSDT").unwrap();
        let mark = |mode| bitcoin.mark_price(mode).map(|price| price.to_string());
        assert_eq!(mark(Mode::Paper).as_deref(), Some("30000"));
        assert_eq!(mark(Mode::DryRun).as_deref(), Some("30000"));
        assert_eq!(mark(Mode::Live), None);
        assert!(prices.quoted_instrument("binance.spot", "DOGEUSDT").is_none());
        let now = Timestamp::parse("2026-03-02T12:00:00Z").unwrap();
        for (symbol, body, expected) in [
            ("ETHUSDT", r#"{"last":1,"timestamp":"2026-03-02T12:00:00Z"}"#, None),
            ("DOGEUSDT", r#"{"last":1,"timestamp":"2026-03-02T12:00:00Z"}"#, None),
            ("BTCUSDT", "not a quote", None),
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
            assert_eq!(mark(Mode::Live).as_deref(), expected, "{symbol} {body}");
        }
        assert_eq!(mark(Mode::Paper).as_deref(), Some("28000.5"));
    }
}
