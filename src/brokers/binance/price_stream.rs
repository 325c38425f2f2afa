//! Reference prices from the streams of best bids and asks (`web-socket-streams.md`, "Individual symbol book ticker").

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::brokers::binance::messages::book_ticker::BookTicker;
use crate::brokers::binance::reports::read_symbol;
use crate::brokers::binance::retry_delay::RetryDelay;
use crate::brokers::binance::transport::venue_stream::VenueConnector;
use crate::brokers::binance::websocket::{ConnectionEnd, VenueWebSocket};
use crate::domain::quantity::Price;
use crate::domain::quote::Quote;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

/// The delays between connections.
const RECONNECT_DELAY: RetryDelay = RetryDelay::new(Duration::from_secs(1), Duration::from_secs(60));
/// How long a connection is used. The venue closes it after 24 hours; it is renewed before.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(23 * 3_600);

/// The shortest time between two prices of one symbol: a busy book changes far more often.
const PRICE_INTERVAL: Duration = Duration::from_millis(100);
/// How often the price of a quiet book is repeated.
const REPEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How long after the stream's last message, of any symbol, prices are repeated.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// How long after the last message of its own symbol a price is repeated: one stream of several may fail alone.
const LONGEST_QUIET: Duration = Duration::from_secs(60);

/// A reference price of a symbol: the midpoint of best bid and ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencePrice {
    /// The symbol.
    pub symbol: Symbol,
    /// The price, with the time of its arrival by this machine's clock: the stream has none of its own.
    pub quote: Quote,
    /// The best bid.
    pub bid: Price,
    /// The best ask.
    pub ask: Price,
}

impl ReferencePrice {
    /// Returns how old the price is.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.saturating_duration_since(self.quote.timestamp)
    }
}

/// A message of a combined stream.
#[derive(Deserialize)]
struct CombinedMessage {
    data: BookTicker,
}

/// Hands the reference prices of the symbols to `on_price` until the worker stops: each at most every [`PRICE_INTERVAL`] while
/// its book changes, and again every [`REPEAT_INTERVAL`] while it does not, since a quiet book has its last price still. While
/// the connection is away or silent there is none, and the last one ages.
pub async fn run(
    connector: VenueConnector,
    symbols: Vec<Symbol>,
    on_price: impl Fn(ReferencePrice) + Send + Sync,
    stop: CancellationToken,
) {
    let path = stream_path(&symbols);
    let mut delay = RECONNECT_DELAY;
    let follow_for_ever = async {
        loop {
            let end = follow(&connector, &path, &on_price, &mut delay).await;
            tracing::warn!(reason = ?end.err(), "the stream of prices ended; it is opened again");
            sleep(delay.next_delay()).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow_for_ever => {}
    }
}

fn stream_path(symbols: &[Symbol]) -> String {
    let names: Vec<String> = symbols
        .iter()
        .map(|symbol| format!("{}@bookTicker", symbol.as_str().to_ascii_lowercase()))
        .collect();
    format!("/stream?streams={}", names.join("/"))
}

/// Follows one connection until it ends, or is old enough to be renewed.
async fn follow(
    connector: &VenueConnector,
    path: &str,
    on_price: &impl Fn(ReferencePrice),
    delay: &mut RetryDelay,
) -> Result<(), ConnectionEnd> {
    let mut socket = VenueWebSocket::open(connector, path).await?;
    let renewal = sleep(MAX_CONNECTION_AGE);
    tokio::pin!(renewal);
    let mut prices = LatestPrices::default();
    let mut due = interval(PRICE_INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let text = tokio::select! {
            () = &mut renewal => return Ok(()),
            _ = due.tick() => {
                prices.take_due(Timestamp::now()).into_iter().for_each(on_price);
                continue;
            }
            text = socket.next_text() => text?,
        };
        // Other messages, such as a coming shutdown, need no action here: the connection ends, and a new one is opened.
        if let Some((symbol, price)) = read_message(&text, Timestamp::now()) {
            delay.reset();
            prices.record(symbol, price);
            prices.take_due(Timestamp::now()).into_iter().for_each(on_price);
        }
    }
}

/// Returns the symbol of a message and its reference price, which a book with an empty side does not have; `None` for
/// another message.
fn read_message(text: &str, now: Timestamp) -> Option<(Symbol, Option<ReferencePrice>)> {
    let CombinedMessage { data } = serde_json::from_str(text).ok()?;
    Some((read_symbol(&data.symbol).ok()?, read_price(&data, now)))
}

fn read_price(data: &BookTicker, now: Timestamp) -> Option<ReferencePrice> {
    let bid = Price::new(data.bid_price).ok()?;
    let ask = Price::new(data.ask_price).ok()?;
    Some(ReferencePrice {
        symbol: read_symbol(&data.symbol).ok()?,
        quote: Quote::from_prices([Some(bid), Some(ask), None], now).ok()?,
        bid,
        ask,
    })
}

/// The latest price of each symbol on one connection.
#[derive(Debug, Default)]
struct LatestPrices {
    by_symbol: BTreeMap<Symbol, LatestPrice>,
    last_message_at: Option<Timestamp>,
}

#[derive(Debug)]
struct LatestPrice {
    price: ReferencePrice,
    received_at: Timestamp,
    handed_over_at: Option<Timestamp>,
    has_changed: bool,
}

impl LatestPrices {
    /// Records a symbol's message. Without a price its last one is forgotten: it does not hold any more.
    fn record(&mut self, symbol: Symbol, price: Option<ReferencePrice>) {
        let known = self.by_symbol.remove(&symbol);
        let Some(price) = price else { return };
        self.last_message_at = Some(price.quote.timestamp);
        let latest = LatestPrice {
            handed_over_at: known.and_then(|known| known.handed_over_at),
            has_changed: true,
            received_at: price.quote.timestamp,
            price,
        };
        self.by_symbol.insert(symbol, latest);
    }

    /// Returns the prices that have changed, and those of quiet books that are due again, with this moment as their time.
    fn take_due(&mut self, now: Timestamp) -> Vec<ReferencePrice> {
        let is_silent = self
            .last_message_at
            .is_none_or(|at| now.saturating_duration_since(at) > LONGEST_SILENCE);
        let mut due = Vec::new();
        for latest in self.by_symbol.values_mut() {
            let age = latest.handed_over_at.map(|at| now.saturating_duration_since(at));
            let is_due = match age {
                None => true,
                Some(age) if latest.has_changed => age >= PRICE_INTERVAL,
                Some(age) => {
                    let is_quiet = now.saturating_duration_since(latest.received_at) > LONGEST_QUIET;
                    !is_silent && !is_quiet && age >= REPEAT_INTERVAL
                }
            };
            if !is_due {
                continue;
            }
            if !latest.has_changed {
                latest.price.quote.timestamp = now;
            }
            latest.has_changed = false;
            latest.handed_over_at = Some(now);
            due.push(latest.price.clone());
        }
        due
    }
}

#[cfg(test)]
#[path = "price_stream_tests.rs"]
mod tests;
