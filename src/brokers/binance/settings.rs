//! What the adapter is started with: the venue's addresses, the traded symbols, the key, and time limits.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};

use crate::brokers::binance::credentials::CredentialSource;
use crate::brokers::binance::transport::address::{ServiceKind, VenueAddress};
use crate::brokers::binance::transport::venue_stream::{TlsSetupError, system_tls, tls_with_roots};
use crate::config::binance_live::BinanceLiveSettings;
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
    /// What the venue does with an order that would trade with another one of the same account, in its own word.
    pub self_trade_prevention: String,
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

impl BinanceSettings {
    /// Returns what one key of the settings is used with.
    pub fn of_live(live: &BinanceLiveSettings, credentials: CredentialSource, symbols: &[Symbol]) -> Self {
        Self {
            urls: VenueUrls::of_live(live),
            credentials,
            symbols: symbols.to_vec(),
            self_trade_prevention: live.self_trade_prevention.clone(),
            time_limits: TimeLimits {
                connect: Duration::from_millis(live.connect_timeout_ms),
                order: Duration::from_millis(live.order_timeout_ms),
                read: Duration::from_millis(live.read_timeout_ms),
            },
        }
    }
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
    /// Returns the addresses of the settings: those of the environment, except where the settings name others.
    pub fn of_live(live: &BinanceLiveSettings) -> Self {
        let of_environment = if live.environment == "production" {
            Self::production()
        } else {
            Self::testnet()
        };
        let or = |own: &String, other: String| if own.is_empty() { other } else { own.clone() };
        Self {
            rest: or(&live.rest_url, of_environment.rest),
            websocket_api: or(&live.websocket_api_url, of_environment.websocket_api),
            market_streams: or(&live.market_streams_url, of_environment.market_streams),
        }
    }

    /// Returns the name of the environment: `production`, `testnet`, `local` for a venue on this machine, or else the address
    /// of the REST API.
    pub fn environment(&self) -> String {
        let rest = self.rest.trim_end_matches('/');
        let is_local = VenueAddress::parse(rest, ServiceKind::Http).is_ok_and(|address| address.is_loopback());
        match rest {
            rest if rest == Self::production().rest => "production".to_owned(),
            rest if rest == Self::testnet().rest => "testnet".to_owned(),
            _ if is_local => "local".to_owned(),
            other => other.to_owned(),
        }
    }

    /// Returns the TLS settings for these addresses. Without an encrypted one no certificates are needed: a machine that has
    /// none can rehearse with a local exchange.
    ///
    /// # Errors
    /// When the system has no root certificates, and an address is encrypted.
    pub fn tls(&self) -> Result<Arc<ClientConfig>, TlsSetupError> {
        let urls = [&self.rest, &self.websocket_api, &self.market_streams];
        if urls
            .iter()
            .any(|url| url.starts_with("https:") || url.starts_with("wss:"))
        {
            return system_tls();
        }
        tls_with_roots(RootCertStore::empty())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_known_by_the_address_of_the_rest_api() {
        for (environment, rest_url, expected) in [
            ("production", "", "production"),
            ("testnet", "", "testnet"),
            // The address decides.
            ("testnet", "https://api.binance.com/", "production"),
            ("production", "http://127.0.0.1:8200", "local"),
            ("testnet", "http://localhost:8201", "local"),
            ("testnet", "https://venue.example", "https://venue.example"),
        ] {
            let live = BinanceLiveSettings {
                environment: environment.to_owned(),
                rest_url: rest_url.to_owned(),
                ..BinanceLiveSettings::default()
            };
            assert_eq!(
                VenueUrls::of_live(&live).environment(),
                expected,
                "{environment} {rest_url}"
            );
        }
    }
}
