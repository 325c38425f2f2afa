//! Reference prices from the streams of best bids and asks (`web-socket-streams.md`, "Individual symbol book ticker").

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;
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

/// A reference price of a symbol: the midpoint of best bid and ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencePrice {
    /// The symbol.
    pub symbol: Symbol,
    /// The price, with the time of its arrival by this machine's clock: the stream has none of its own.
    pub quote: Quote,
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

/// Hands every reference price of the symbols to `on_price` until the worker stops. A price is repeated as the book changes;
/// while the connection is away there is none, and the last one ages.
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
    loop {
        let text = tokio::select! {
            () = &mut renewal => return Ok(()),
            text = socket.next_text() => text?,
        };
        // Other messages, such as a coming shutdown, need no action here: the connection ends, and a new one is opened.
        if let Some(price) = read_price(&text, Timestamp::now()) {
            delay.reset();
            on_price(price);
        }
    }
}

/// Returns the reference price in a message, or `None` where it has none: another message, or an empty side.
fn read_price(text: &str, now: Timestamp) -> Option<ReferencePrice> {
    let CombinedMessage { data } = serde_json::from_str(text).ok()?;
    let prices = [data.bid_price, data.ask_price].map(|price| Price::new(price).ok());
    let [bid, ask] = prices;
    Some(ReferencePrice {
        symbol: read_symbol(&data.symbol).ok()?,
        quote: Quote::from_prices([bid, ask, None], now).ok()?,
    })
}

#[cfg(test)]
#[path = "price_stream_tests.rs"]
mod tests;
