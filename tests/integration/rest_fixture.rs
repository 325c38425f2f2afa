//! The fixture of the sidecar's tests: a sidecar in this process, a worker scripted by its requests, and a client that can
//! send invalid HTTP.

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
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::domain::id::OrderId;
use order_router::domain::order_terms::{Mode, OrderStatus};
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::fault::{Fault, FaultCode};
use order_router::sidecar::Sidecar;
use order_router::wire::health::{ComponentHealth, WorkerHealth};
use order_router::wire::intent::{MissingIdPolicy, decode_intent};
use order_router::wire::report::ExecutionReport;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::support::servers::NatsServer;

/// The time limit of every wait, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// A worker whose reply depends on the order id; for cancel-all on the account id, and for a state change on the reason.
///
/// A fault code returns that fault, `wait` waits for the gate, `panic` panics, `again` returns a replay, `unknown` an
/// unknown order, `receipt` a receipt without a report, `garbage` a reply that is not JSON, and `open` an open order. At
/// `ibkr` only `known` exists. An order that is named by its order id alone belongs to `default`.
#[derive(Debug)]
pub struct ScriptedWorker {
    pub gate: Semaphore,
    pub waiting: AtomicUsize,
    pub calls: Mutex<Vec<BusRequest>>,
    /// The health that the worker reports.
    pub health: Mutex<WorkerHealth>,
}

impl Default for ScriptedWorker {
    fn default() -> Self {
        Self {
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            calls: Mutex::default(),
            health: Mutex::new(WorkerHealth::of(
                ComponentHealth::ok(),
                ComponentHealth::ok(),
                ComponentHealth::ok(),
            )),
        }
    }
}

impl ScriptedWorker {
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn calls(&self, endpoint: Endpoint) -> Vec<BusRequest> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.endpoint == endpoint).cloned().collect()
    }

    async fn report(&self, intent: &str, id: &str) -> Result<BusReply, Fault> {
        if let Some(code) = FaultCode::parse(id) {
            return Err(Fault::new(code, "requested by the test"));
        }
        match id {
            "panic" => panic!("requested by the test"),
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

    async fn cancel_all(&self, call: &BusRequest) -> Result<BusReply, Fault> {
        let account = call.account.clone().unwrap();
        let mut reply = self.report(&crate::rig::intent("c", &[]), &account).await?;
        if account != "garbage" {
            let report = String::from_utf8(reply.body).unwrap();
            reply.body =
                format!(r#"{{"cancelled":[{report}],"cancelled_total":1,"remaining":[],"remaining_total":0}}"#).into();
        }
        Ok(reply)
    }

    async fn existing_order(&self, call: &BusRequest) -> Result<BusReply, Fault> {
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
        let account = call
            .account
            .as_deref()
            .filter(|account| *account != subjects::NO_ACCOUNT);
        let account = account.unwrap_or("default");
        let overrides = [
            ("broker", format!("{broker:?}")),
            ("account_id", format!("{account:?}")),
            ("venue", r#""x""#.to_owned()),
        ];
        let overrides: Vec<(&str, &str)> = overrides.iter().map(|(name, raw)| (*name, raw.as_str())).collect();
        self.report(&crate::rig::intent(bare, &overrides), bare).await
    }
}

impl RequestHandler for ScriptedWorker {
    async fn handle(&self, call: BusRequest) -> Result<BusReply, Fault> {
        self.calls.lock().unwrap().push(call.clone());
        let reply = |body: &str| {
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
            Endpoint::Get | Endpoint::Cancel => self.existing_order(&call).await,
            Endpoint::CancelAll => self.cancel_all(&call).await,
            Endpoint::Brokers => reply(r#"{"brokers":["binance","ibkr"],"details":[]}"#),
            Endpoint::StateSet if call.body.windows(6).any(|text| text == b"\"wait\"") => {
                self.gate.acquire().await.unwrap().forget();
                reply(STATE)
            }
            Endpoint::Health => {
                let health = serde_json::to_string(&*self.health.lock().unwrap()).unwrap();
                reply(&health)
            }
            _ => reply(STATE),
        }
    }
}

pub const STATE: &str = r#"{"mode":"dry_run","trading_state":"active","daily_notional_limit":1000000.50,"notional_routed":0,"daily_loss_limit":50000,"daily_pnl":null,"trading_date":"2026-03-01","version":3}"#;

/// A bus, a worker and a sidecar.
pub struct Rest {
    pub nats: NatsServer,
    pub actor: Arc<ScriptedWorker>,
    pub settings: Settings,
    pub service: Option<RequestDoor>,
    pub sidecar: Sidecar,
    pub http: reqwest::Client,
    /// The directory of the sidecar's order log.
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
        let actor = Arc::new(ScriptedWorker::default());
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

    async fn service(settings: &Settings, actor: &Arc<ScriptedWorker>) -> RequestDoor {
        let connect_policy = ConnectPolicy::RetryFor(SOON);
        RequestDoor::start(
            &settings.nats,
            &settings.doors,
            connect_policy,
            "0.0.1",
            Arc::clone(actor),
        )
        .await
        .unwrap()
    }

    pub async fn stop_worker(&mut self) {
        self.service.take().unwrap().drain(SOON).await;
    }

    pub fn address(&self) -> SocketAddr {
        self.sidecar.address()
    }

    pub async fn get(&self, path: &str) -> RestResponse {
        let request = self.http.get(format!("http://{}{path}", self.address()));
        RestResponse::read(request.send().await.unwrap()).await
    }

    pub async fn send(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> RestResponse {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("http://{}{path}", self.address()));
        if !headers.iter().any(|(name, _)| *name == "Content-Type") {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        RestResponse::read(request.body(body.to_owned()).send().await.unwrap()).await
    }

    /// Submits an intent.
    pub async fn submit(&self, body: &str) -> RestResponse {
        self.send("POST", "/orders", body, &[]).await
    }

    /// Sends bytes on a new connection, closes the sending half, and returns the whole response.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        read_all(&mut stream).await
    }
}

/// Returns an HTTP client without a proxy.
pub fn client() -> reqwest::Client {
    client_builder().timeout(SOON).build().unwrap()
}

/// Returns a client builder without a proxy. reqwest has no default TLS provider, so the process installs one first.
pub fn client_builder() -> reqwest::ClientBuilder {
    // A second installation fails without effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

/// Reads until the server closes the connection.
pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    timeout(SOON, stream.read_to_end(&mut received))
        .await
        .expect("the end of the response")
        .ok();
    String::from_utf8_lossy(&received).into_owned()
}

/// An HTTP response with its whole body.
#[derive(Debug)]
pub struct RestResponse {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl RestResponse {
    pub async fn read(response: reqwest::Response) -> Self {
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

    /// Returns the code of a problem document, and checks the document.
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
        let can_retry = matches!(self.status, 429 | 503);
        assert_eq!(self.header("retry-after"), if can_retry { "1" } else { "" }, "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}
