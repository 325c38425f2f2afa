//! A test bench of the adapter: a scripted venue, a gate and an inbox that record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::RootCertStore;

use crate::brokers::adapter::{NotSentReason, Placement};
use crate::brokers::binance::adapter::BinanceSpot;
use crate::brokers::binance::credentials::{ApiCredentials, CredentialSource};
use crate::brokers::binance::maintenance::read_rules;
use crate::brokers::binance::memory_ledger::MemoryLedger;
use crate::brokers::binance::scripted_server::{ReceivedRequest, ScriptedServer, ServerAction, json};
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::settings::{BinanceSettings, TimeLimits, VenueUrls};
use crate::brokers::binance::transport::venue_stream::tls_with_roots;
use crate::brokers::port::{InboxError, SendGate, SubmissionReceipt, TradeReading, VenueInbox, VenueNotice};
use crate::domain::order::Order;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

/// The API key of the tests.
pub const API_KEY: &str = "test-key-0123456789";
/// The secret of the tests.
pub const SECRET: &str = "test-secret-0123456789";
/// The id of the tests' order.
pub const ORDER_ID: &str = "BN-0190f0a0b0c07d8e9fa0b1c2d3e4f506";

/// The rules of BTCUSDT.
pub const EXCHANGE_INFO: &str = r#"{"timezone":"UTC","serverTime":1,"rateLimits":[
    {"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000},
    {"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":50}],"exchangeFilters":[],"symbols":[{
    "symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","orderTypes":["LIMIT","MARKET"],"filters":[
    {"filterType":"PRICE_FILTER","minPrice":"0.01","maxPrice":"1000000.00","tickSize":"0.01"},
    {"filterType":"LOT_SIZE","minQty":"0.00001","maxQty":"9000.0","stepSize":"0.00001"}]}]}"#;

/// What the gate does.
#[derive(Debug, Clone, Default)]
pub struct GateScript {
    /// Refuses to announce.
    pub refuses_announcement: Option<NotSentReason>,
    /// Refuses to start.
    pub refuses_start: Option<NotSentReason>,
}

/// A gate that records its steps.
#[derive(Default)]
pub struct RecordingGate {
    /// What it does.
    pub script: Mutex<GateScript>,
    /// The number of announced orders.
    pub announced: Mutex<u64>,
    /// The timestamps of the started requests.
    pub started: Mutex<Vec<Timestamp>>,
    /// Runs inside the second step.
    pub at_start: Mutex<Option<Arc<ScriptedServer>>>,
}

impl SendGate for RecordingGate {
    async fn journal_submission(&self, _: &Placement) -> Result<SubmissionReceipt, NotSentReason> {
        if let Some(refusal) = self.script.lock().unwrap().refuses_announcement.clone() {
            return Err(refusal);
        }
        let mut announced = self.announced.lock().unwrap();
        *announced += 1;
        Ok(SubmissionReceipt { sequence: *announced })
    }

    async fn start_sending(
        &self,
        _: &Placement,
        _: SubmissionReceipt,
        requested_at: Timestamp,
    ) -> Result<(), NotSentReason> {
        let server = self.at_start.lock().unwrap().clone();
        if let Some(server) = server {
            server.close_idle_connections().await;
        }
        if let Some(refusal) = self.script.lock().unwrap().refuses_start.clone() {
            return Err(refusal);
        }
        self.started.lock().unwrap().push(requested_at);
        Ok(())
    }
}

/// An inbox that records.
#[derive(Default)]
pub struct RecordingInbox {
    /// What was delivered.
    pub notices: Mutex<Vec<VenueNotice>>,
    /// The orders that the router has open.
    pub open: Mutex<Vec<Order>>,
    /// How many deliveries fail from now on.
    pub failures: Mutex<usize>,
    /// Up to when the trades of each symbol are settled, by which reading.
    pub settled_trades: Mutex<BTreeMap<Symbol, (Timestamp, TradeReading)>>,
}

impl RecordingInbox {
    /// Returns what was delivered so far.
    pub fn delivered(&self) -> Vec<VenueNotice> {
        self.notices.lock().unwrap().clone()
    }
}

impl VenueInbox for RecordingInbox {
    async fn deliver(&self, notice: VenueNotice) -> Result<(), InboxError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(InboxError::Unavailable("the journal is away".into()));
        }
        self.notices.lock().unwrap().push(notice);
        Ok(())
    }

    async fn open_orders(&self, max: usize) -> Result<Vec<Order>, InboxError> {
        let open = self.open.lock().unwrap();
        Ok(open.iter().take(max).cloned().collect())
    }

    async fn settled_trades(&self, symbol: &Symbol) -> Option<Timestamp> {
        self.settled_trades.lock().unwrap().get(symbol).map(|(until, _)| *until)
    }

    async fn record_settled_trades(&self, symbol: &Symbol, until: Timestamp, reading: TradeReading) -> bool {
        self.settled_trades
            .lock()
            .unwrap()
            .insert(symbol.clone(), (until, reading));
        true
    }
}

/// The session of the tests.
pub type TestSession = VenueSession<MemoryLedger, RecordingInbox>;

/// The adapter with everything around it.
pub struct TestBench {
    /// The venue.
    pub server: Arc<ScriptedServer>,
    /// The session.
    pub session: Arc<TestSession>,
    /// The adapter.
    pub adapter: BinanceSpot<MemoryLedger, RecordingInbox, RecordingGate>,
    /// The gate.
    pub gate: Arc<RecordingGate>,
    /// The inbox.
    pub inbox: Arc<RecordingInbox>,
}

impl TestBench {
    /// Starts an adapter that is ready to trade at a venue with this script. The exchange information is scripted already.
    pub async fn start(script: impl Fn(&ReceivedRequest) -> ServerAction + Send + Sync + 'static) -> Self {
        let server = ScriptedServer::start(move |request| match request.path.as_str() {
            "/api/v3/exchangeInfo" => json(200, EXCHANGE_INFO),
            _ => script(request),
        });
        let bench = Self::at(Arc::new(server.await), "ws://127.0.0.1:9/ws-api/v3");
        bench.session.client.synchronize_clock().await.unwrap();
        read_rules(&bench.session).await.unwrap();
        bench
    }

    /// Returns an adapter at a venue, without clock and rules.
    pub fn at(server: Arc<ScriptedServer>, websocket_api: &str) -> Self {
        let inbox = Arc::new(RecordingInbox::default());
        let session = Arc::new(new_session(server.port, websocket_api, &inbox));
        let gate = Arc::new(RecordingGate::default());
        Self {
            adapter: BinanceSpot::new(Arc::clone(&session), Arc::clone(&gate)).unwrap(),
            server,
            session,
            gate,
            inbox,
        }
    }
}

/// Returns a session at 127.0.0.1.
pub fn new_session(port: u16, websocket_api: &str, inbox: &Arc<RecordingInbox>) -> TestSession {
    let settings = BinanceSettings {
        urls: VenueUrls {
            rest: format!("http://127.0.0.1:{port}"),
            websocket_api: websocket_api.to_owned(),
            market_streams: websocket_api.to_owned(),
        },
        credentials: CredentialSource::Environment {
            key_variable: "KEY".into(),
            secret_variable: "SECRET".into(),
        },
        symbols: vec![Symbol::parse("BTCUSDT").unwrap()],
        self_trade_prevention: "EXPIRE_MAKER".to_owned(),
        time_limits: TimeLimits {
            connect: Duration::from_secs(5),
            order: Duration::from_millis(700),
            read: Duration::from_millis(700),
        },
    };
    let variable = |name: &str| Some(if name == "KEY" { API_KEY } else { SECRET }.to_owned());
    let credentials = ApiCredentials::load(&settings.credentials, variable).unwrap();
    let tls = tls_with_roots(RootCertStore::empty()).unwrap();
    let ledger = Arc::new(MemoryLedger::default());
    let session = VenueSession::new(&settings, credentials, ledger, Arc::clone(inbox), &tls).unwrap();
    session.client.accept_key();
    session.reports.begin_connection();
    session.reports.complete_reconciliation(session.reports.connection());
    session
}
