//! The fixture of the sidecar's tests: a sidecar of this process, a worker that does as its request says, and a
//! client that can speak bad HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_router::bus::connection::ConnectPolicy;
use order_router::bus::request::{BusReply, BusRequest, Endpoint, RequestHandler};
use order_router::bus::request_door::RequestDoor;
use order_router::config::Settings;
use order_router::domain::id::OrderId;
use order_router::domain::order_terms::{Mode, OrderStatus};
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::fault::{Fault, FaultCode};
use order_router::sidecar::Sidecar;
use order_router::wire::intent::{MissingIdPolicy, decode_intent};
use order_router::wire::report::ExecutionReport;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::support::servers::NatsServer;

/// How long anything may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// A worker that decides by the ids it is given (a change of the state waits where its reason is `wait`): the code of a fault makes that fault, `wait` waits for the gate, `panic`
/// panics, `again` is a replay, `unknown` is unknown, `receipt` has no report yet, `garbage` is answered with no JSON,
/// `open` is still open. At `ibkr` it knows only `known`. Where all orders are to be cancelled it decides by the account.
#[derive(Debug)]
pub struct Actor {
    pub gate: Semaphore,
    pub waiting: AtomicUsize,
    pub calls: Mutex<Vec<BusRequest>>,
    /// What the state answers with, if not with the state.
    pub state_fault: Mutex<Option<FaultCode>>,
}

impl Default for Actor {
    fn default() -> Self {
        Self {
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            calls: Mutex::default(),
            state_fault: Mutex::default(),
        }
    }
}

impl Actor {
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn calls(&self, endpoint: Endpoint) -> Vec<BusRequest> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.endpoint == endpoint).cloned().collect()
    }

    async fn report(&self, intent: &str, id: &str) -> Result<BusReply, Fault> {
        if let Some(code) = FaultCode::parse(id) {
            return Err(Fault::new(code, "as the request wants"));
        }
        match id {
            "panic" => panic!("as the request wants"),
            "wait" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.gate.acquire().await.unwrap().forget();
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        }
        let intent = decode_intent(intent.as_bytes(), MissingIdPolicy::Assign)?;
        let prefix = if intent.broker.as_str() == "ibkr" { "IB" } else { "BN" };
        let order_id = OrderId::new(&format!("{prefix}-{}", &id[..id.len().min(30)])).ok();
        let reason = Reason::new(ReasonCode::InFlight, "in flight");
        let mut report = ExecutionReport::receipt(&intent, order_id.as_ref(), Mode::Paper, reason);
        if id != "receipt" {
            report.version = 1;
            report.status = match id {
                "unknown" => OrderStatus::Unknown,
                "open" => OrderStatus::Accepted,
                _ => OrderStatus::Filled,
            };
        }
        let body = if id == "garbage" {
            b"garbage".to_vec()
        } else {
            report.encode()
        };
        Ok(BusReply {
            body,
            journal_sequence: Some(7),
            is_replay: id == "again",
        })
    }

    async fn all_cancelled(&self, call: &BusRequest) -> Result<BusReply, Fault> {
        let account = call.account.clone().unwrap();
        let mut answer = self.report(&crate::rig::intent("c", &[]), &account).await?;
        if account != "garbage" {
            let report = String::from_utf8(answer.body).unwrap();
            answer.body = format!(r#"{{"cancelled":[{report}],"remaining":[]}}"#).into();
        }
        Ok(answer)
    }

    async fn existing(&self, call: &BusRequest) -> Result<BusReply, Fault> {
        let value: Value = serde_json::from_slice(&call.body).unwrap();
        let (name, id) = value.as_object().unwrap().iter().next().unwrap();
        let id = id.as_str().unwrap();
        let broker = call.broker.as_deref().unwrap();
        if broker == "ibkr" && !id.ends_with("known") {
            return Err(Fault::new(FaultCode::UnknownOrder, "not at ibkr"));
        }
        let bare = id.trim_start_matches("BN-").trim_start_matches("IB-");
        if bare == "known" && broker == "binance" && name == "client_order_id" {
            return Err(Fault::new(FaultCode::UnknownOrder, "not at binance"));
        }
        let account = call.account.as_deref().unwrap();
        let over = [
            ("broker", format!("{broker:?}")),
            ("account_id", format!("{account:?}")),
            ("venue", r#""x""#.to_owned()),
        ];
        let over: Vec<(&str, &str)> = over.iter().map(|(name, raw)| (*name, raw.as_str())).collect();
        self.report(&crate::rig::intent(bare, &over), bare).await
    }
}

impl RequestHandler for Actor {
    async fn handle(&self, call: BusRequest) -> Result<BusReply, Fault> {
        self.calls.lock().unwrap().push(call.clone());
        let received = |body: &str| {
            Ok(BusReply {
                body: body.into(),
                journal_sequence: None,
                is_replay: false,
            })
        };
        match call.endpoint {
            Endpoint::Submit => {
                let text = std::str::from_utf8(&call.body).unwrap();
                let intent = decode_intent(&call.body, MissingIdPolicy::Refuse)?;
                self.report(text, intent.client_order_id.as_str()).await
            }
            Endpoint::Get | Endpoint::Cancel => self.existing(&call).await,
            Endpoint::CancelAll => self.all_cancelled(&call).await,
            Endpoint::Brokers => received(r#"{"brokers":["binance","ibkr"],"details":[]}"#),
            Endpoint::StateSet if call.body.windows(6).any(|text| text == b"\"wait\"") => {
                self.gate.acquire().await.unwrap().forget();
                received(STATE)
            }
            _ => match *self.state_fault.lock().unwrap() {
                Some(code) => Err(Fault::new(code, "as the test wants")),
                None => received(STATE),
            },
        }
    }
}

pub const STATE: &str = r#"{"mode":"dry_run","trading_state":"active","daily_notional_limit":1000000.50,"notional_routed":0,"daily_loss_limit":50000,"daily_pnl":null,"trading_date":"2026-03-01","version":3}"#;

/// A bus, a worker and a sidecar.
pub struct Rest {
    pub nats: NatsServer,
    pub actor: Arc<Actor>,
    pub settings: Settings,
    pub service: Option<RequestDoor>,
    pub sidecar: Sidecar,
    pub http: reqwest::Client,
    /// Where the sidecar keeps its order log.
    _data: tempfile::TempDir,
}

impl Rest {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(set: impl FnOnce(&mut Settings)) -> Self {
        let nats = NatsServer::start().await;
        let mut settings = Settings::default();
        settings.nats.url = nats.url();
        settings.http.addr.set_port(0);
        let data = tempfile::tempdir().unwrap();
        settings.data_dir.0 = data.path().to_owned();
        set(&mut settings);
        let actor = Arc::new(Actor::default());
        let service = Self::service(&settings, &actor).await;
        let sidecar = Sidecar::start(&settings).await.unwrap();
        Self {
            nats,
            actor,
            settings,
            service: Some(service),
            sidecar,
            http: client(),
            _data: data,
        }
    }

    async fn service(settings: &Settings, actor: &Arc<Actor>) -> RequestDoor {
        let policy = ConnectPolicy::RetryFor(SOON);
        RequestDoor::start(&settings.nats, &settings.doors, policy, "0.0.1", Arc::clone(actor))
            .await
            .unwrap()
    }

    pub async fn stop_worker(&mut self) {
        self.service.take().unwrap().drain(SOON).await;
    }

    pub fn address(&self) -> SocketAddr {
        self.sidecar.address()
    }

    pub async fn get(&self, path: &str) -> HttpResponse {
        let request = self.http.get(format!("http://{}{path}", self.address()));
        HttpResponse::of(request.send().await.unwrap()).await
    }

    pub async fn send(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> HttpResponse {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("http://{}{path}", self.address()));
        if !headers.iter().any(|(name, _)| *name == "Content-Type") {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        HttpResponse::of(request.body(body.to_owned()).send().await.unwrap()).await
    }

    /// Submits an intent.
    pub async fn submit(&self, body: &str) -> HttpResponse {
        self.send("POST", "/orders", body, &[]).await
    }

    /// Sends bytes on a connection of their own, says no more, and returns what comes back until the end.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        // The server may have had enough before the end.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        read_all(&mut stream).await
    }
}

/// A client that keeps to the sidecar.
pub fn client() -> reqwest::Client {
    client_builder().timeout(SOON).build().unwrap()
}

/// A client's settings without a proxy. reqwest has no TLS provider of its own, so the process gets one first.
pub fn client_builder() -> reqwest::ClientBuilder {
    // A second installation fails and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

/// Returns what comes until the server closes.
pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    timeout(SOON, stream.read_to_end(&mut received))
        .await
        .expect("the end of an answer")
        .ok();
    String::from_utf8_lossy(&received).into_owned()
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl HttpResponse {
    pub async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the code of a problem document, after checking that it is one.
    #[track_caller]
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        for member in ["type", "title", "detail"] {
            assert!(
                problem[member].as_str().is_some_and(|text| !text.is_empty()),
                "{self:?}"
            );
        }
        let may_help = matches!(self.status, 429 | 503);
        assert_eq!(self.header("retry-after"), if may_help { "1" } else { "" }, "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}
