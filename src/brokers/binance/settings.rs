//! What the adapter is started with: the venue's addresses, the traded symbols, the key, and time limits.

use std::time::Duration;

use crate::brokers::binance::credentials::CredentialSource;
use crate::domain::symbol::Symbol;

/// The longest `recvWindow`, in milliseconds: how long after its timestamp the venue takes a request. The venue's page
/// recommends 5000 or less ("Timing security"); it bounds the time in which a lost order can still appear.
pub const MAX_RECV_WINDOW_MS: u64 = 5_000;

/// The addresses of one environment of the venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueUrls {
    /// The REST API, without `/api/v3`.
    pub rest: String,
    /// The WebSocket API, for the user data stream.
    pub websocket_api: String,
    /// The market data streams, without `/stream`.
    pub market_streams: String,
}

/// What the adapter is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinanceSettings {
    /// The addresses.
    pub urls: VenueUrls,
    /// Where the API key is.
    pub credentials: CredentialSource,
    /// The symbols to trade: the only ones whose rules, trades and prices are read.
    pub symbols: Vec<Symbol>,
    /// The time limits.
    pub time_limits: TimeLimits,
}

/// The time limits of calls to the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// To open a connection, TLS included; default 2 s.
    pub connect: Duration,
    /// For the reply to a placement or a cancel; default 4 s, less than the default time limit of a broker call. After it
    /// the outcome is unknown.
    pub order: Duration,
    /// For the reply to a read, each attempt; default 2 s.
    pub read: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            order: Duration::from_secs(4),
            read: Duration::from_secs(2),
        }
    }
}

impl VenueUrls {
    /// Returns the addresses of the production environment (`rest-api.md`, `web-socket-api.md`, `web-socket-streams.md`).
    pub fn production() -> Self {
        Self::of_texts([
            "https://api.binance.com",
            "wss://ws-api.binance.com:443/ws-api/v3",
            "wss://stream.binance.com:9443",
        ])
    }

    /// Returns the addresses of the testnet, which is wiped about once a month.
    pub fn testnet() -> Self {
        Self::of_texts([
            "https://testnet.binance.vision",
            "wss://ws-api.testnet.binance.vision/ws-api/v3",
            "wss://stream.testnet.binance.vision",
        ])
    }

    fn of_texts([rest, websocket_api, market_streams]: [&str; 3]) -> Self {
        Self {
            rest: rest.to_owned(),
            websocket_api: websocket_api.to_owned(),
            market_streams: market_streams.to_owned(),
        }
    }
}
