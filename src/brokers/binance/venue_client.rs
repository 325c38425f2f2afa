//! What every call to the venue shares: the key, the clock, the budget of requests and the connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request};
use rustls::ClientConfig;

use crate::brokers::binance::credentials::ApiCredentials;
use crate::brokers::binance::messages::error_body::VenueError;
use crate::brokers::binance::parameters::Parameters;
use crate::brokers::binance::request_budget::RequestBudget;
use crate::brokers::binance::settings::{BinanceSettings, MAX_RECV_WINDOW_MS, TimeLimits};
use crate::brokers::binance::transport::address::{AddressError, ServiceKind, VenueAddress};
use crate::brokers::binance::transport::connection_pool::ConnectionPool;
use crate::brokers::binance::transport::http_connection::HttpReply;
use crate::brokers::binance::transport::venue_stream::VenueConnector;
use crate::brokers::binance::venue_clock::VenueClock;
use crate::brokers::binance::verdicts::{Consequence, Verdicts, verdicts_of};
use crate::brokers::port::LimitLedger;
use crate::domain::time::Timestamp;

/// The header of the API key (`rest-api.md`, "Request security").
const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-mbx-apikey");
const CLIENT_NAME: HeaderValue = HeaderValue::from_static(concat!("order-router/", env!("CARGO_PKG_VERSION")));

/// The endpoints that this adapter calls.
pub mod endpoint {
    /// Place, cancel or query one order.
    pub const ORDER: &str = "/api/v3/order";
    /// Cancel one order and place another.
    pub const CANCEL_REPLACE: &str = "/api/v3/order/cancelReplace";
    /// Reduce the quantity of an order, which keeps its place.
    pub const AMEND: &str = "/api/v3/order/amend/keepPriority";
    /// The open orders.
    pub const OPEN_ORDERS: &str = "/api/v3/openOrders";
    /// The orders of a symbol, also those that have ended.
    pub const ALL_ORDERS: &str = "/api/v3/allOrders";
    /// The account's trades.
    pub const TRADES: &str = "/api/v3/myTrades";
    /// The account.
    pub const ACCOUNT: &str = "/api/v3/account";
    /// What the key may do.
    pub const KEY_PERMISSIONS: &str = "/sapi/v1/account/apiRestrictions";
    /// Symbols and limits.
    pub const EXCHANGE_INFO: &str = "/api/v3/exchangeInfo";
    /// The time.
    pub const TIME: &str = "/api/v3/time";
}

/// What all calls share.
pub struct VenueClient<L> {
    /// Connections for placements and cancels.
    pub trading: ConnectionPool,
    /// Connections for everything else: a slow read never holds up an order.
    pub reading: ConnectionPool,
    /// The venue's clock.
    pub clock: VenueClock,
    /// The budget of requests.
    pub budget: RequestBudget<L>,
    /// The time limits.
    pub time_limits: TimeLimits,
    credentials: ApiCredentials,
    /// Whether the key may be used for orders: it is checked first, and the venue may refuse it later. Until then only reads
    /// and cancels are sent.
    is_key_accepted: AtomicBool,
    /// Whether the journal's live orders belong to another environment of the venue than this one.
    is_environment_refused: AtomicBool,
}

impl<L: LimitLedger> VenueClient<L> {
    /// Returns a client without open connections. Its clock is not measured yet.
    ///
    /// # Errors
    /// When the address of the REST API cannot be used.
    pub fn new(
        settings: &BinanceSettings,
        credentials: ApiCredentials,
        ledger: Arc<L>,
        tls: &Arc<ClientConfig>,
    ) -> Result<Self, AddressError> {
        let address = VenueAddress::parse(&settings.urls.rest, ServiceKind::Http)?;
        let connector = VenueConnector::new(address, tls, settings.time_limits.connect);
        Ok(Self {
            trading: ConnectionPool::new(connector.clone()),
            reading: ConnectionPool::new(connector),
            clock: VenueClock::default(),
            budget: RequestBudget::new(ledger),
            time_limits: settings.time_limits,
            credentials,
            is_key_accepted: AtomicBool::new(false),
            is_environment_refused: AtomicBool::new(false),
        })
    }

    /// Returns the credentials.
    pub fn credentials(&self) -> &ApiCredentials {
        &self.credentials
    }

    /// Returns a signed request. The signature covers exactly the query that is sent, with this timestamp (the venue's time)
    /// and this window, in milliseconds.
    ///
    /// # Errors
    /// When the parts form no request.
    pub fn signed_request(
        &self,
        method: Method,
        path: &str,
        parameters: Parameters,
        timestamp: Timestamp,
        recv_window_ms: u64,
    ) -> Result<Request<String>, hyper::http::Error> {
        let parameters = parameters
            .with("recvWindow", recv_window_ms.min(MAX_RECV_WINDOW_MS))
            .with("timestamp", timestamp.as_milliseconds());
        let query = self.credentials.signer().sign_query(&parameters);
        let mut request = self.request(method, path, &query)?;
        request
            .headers_mut()
            .insert(API_KEY_HEADER, self.credentials.api_key_header());
        Ok(request)
    }

    /// Returns a request without a signature.
    ///
    /// # Errors
    /// When the parts form no request.
    pub fn public_request(&self, path: &str, parameters: &Parameters) -> Result<Request<String>, hyper::http::Error> {
        self.request(Method::GET, path, &parameters.to_query())
    }

    /// Reads the counts of the limits from a reply, does what it asks for beyond its call, and returns what it proves, with
    /// its error, if it has one.
    pub async fn read_verdicts(&self, reply: &HttpReply) -> (Verdicts, Option<VenueError>) {
        let now = self.clock.now_or_local();
        let sent_at = now.saturating_sub(reply.elapsed);
        self.budget.read_headers(&reply.headers, (sent_at, now)).await;
        let error = VenueError::read(&reply.body).filter(|_| reply.status != 200);
        let verdicts = verdicts_of(reply.status, error.as_ref());
        self.apply(verdicts.consequence, &reply.headers).await;
        (verdicts, error)
    }

    /// As [`VenueClient::read_verdicts`], for the reply to an order or a cancel: with a description of the reply.
    pub async fn read_described_verdicts(&self, reply: &HttpReply) -> (Verdicts, String) {
        let (verdicts, error) = self.read_verdicts(reply).await;
        let shown = error.map_or_else(|| "without an error code".to_owned(), |error| error.shown());
        (verdicts, format!("the venue replied {}: {shown}", reply.status))
    }

    /// Does what a reply asks for beyond its call.
    pub async fn apply(&self, consequence: Consequence, headers: &HeaderMap) {
        let now = self.clock.now_or_local();
        match consequence {
            Consequence::None => {}
            Consequence::SynchronizeClock => self.clock.reject_offset(),
            Consequence::StopRequests => self.budget.stop_requests(headers, now).await,
            Consequence::StopOrders => self.budget.stop_orders(now).await,
            Consequence::LockCredentials => self.refuse_key(),
        }
    }

    /// Records that the venue refuses the key: no order is sent until it accepts it again.
    pub fn refuse_key(&self) {
        if self.is_key_accepted.swap(false, Ordering::Relaxed) {
            tracing::error!("the venue refuses the API key, its permissions or its signature; no order is sent");
        }
    }

    /// Records that the venue accepts the key for trading.
    pub fn accept_key(&self) {
        if !self.is_key_accepted.swap(true, Ordering::Relaxed) {
            tracing::info!("the venue accepts the API key for trading");
        }
    }

    /// Records whether the journal's live orders belong to another environment: no order is sent to this one meanwhile.
    pub fn set_environment_refused(&self, is_refused: bool) {
        self.is_environment_refused.store(is_refused, Ordering::Relaxed);
    }

    /// Reports whether the journal's live orders belong to another environment.
    pub fn is_environment_refused(&self) -> bool {
        self.is_environment_refused.load(Ordering::Relaxed)
    }

    /// Reports whether the venue accepts the key for trading.
    pub fn is_key_accepted(&self) -> bool {
        self.is_key_accepted.load(Ordering::Relaxed)
    }

    fn request(&self, method: Method, path: &str, query: &str) -> Result<Request<String>, hyper::http::Error> {
        let address = self.trading.connector().address();
        let separator = if query.is_empty() { "" } else { "?" };
        Request::builder()
            .method(method)
            .uri(format!("{}{path}{separator}{query}", address.base_path))
            .header(HOST, address.authority.as_str())
            .header(USER_AGENT, CLIENT_NAME)
            .body(String::new())
    }
}
