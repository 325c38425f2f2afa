//! The fixture of the venue's tests: `order-router venue` as a process, and clients of its REST API and its streams.
//!
//! The clients sign by themselves: they share no code with the venue.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use reqwest::header::HeaderMap;
use ring::hmac;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::rest_fixture::client;
use crate::support::process::RouterProcess;

/// The time limit of every wait, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// The venue's own key.
pub const KEY: &str = "venue-key";
pub const SECRET: &str = "venue-secret";

/// The parameters of a resting buy of 0.01 BTC, far below the price.
pub const LOW_BUY: &[(&str, &str)] = &[
    ("symbol", "BTCUSDT"),
    ("side", "BUY"),
    ("type", "LIMIT"),
    ("timeInForce", "GTC"),
    ("quantity", "0.01"),
    ("price", "20000"),
];

/// A venue in a process of its own.
pub struct TestVenue {
    pub process: RouterProcess,
    pub http: String,
    pub ws: String,
    client: reqwest::Client,
    data: tempfile::TempDir,
    args: Vec<String>,
}

/// An answer of the REST API.
#[derive(Debug)]
pub struct RestAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl RestAnswer {
    /// Returns the status and the error's code.
    pub fn error(&self) -> (u16, i64) {
        (self.status, self.body["code"].as_i64().unwrap_or_default())
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

pub fn sign_hmac(secret: &str, payload: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, payload.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn query_of(params: &[(&str, &str)]) -> String {
    let pairs = params.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

impl TestVenue {
    /// Starts a venue with a new data directory.
    pub async fn start(args: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (process, http, ws) = launch(&args, data.path()).await;
        Self {
            process,
            http,
            ws,
            client: client(),
            data,
            args,
        }
    }

    /// Kills the process and starts another one on the same data, possibly at another address.
    pub async fn kill_and_restart(&mut self) {
        self.process.kill9();
        let (process, http, ws) = launch(&self.args, self.data.path()).await;
        (self.process, self.http, self.ws) = (process, http, ws);
        self.client = client();
    }

    pub fn data_directory(&self) -> &std::path::Path {
        self.data.path()
    }

    /// Sends a request as it is; an error if no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        key: Option<&str>,
        body: Option<String>,
    ) -> reqwest::Result<RestAnswer> {
        let mut request = self.client.request(method, format!("{}{path_and_query}", self.http));
        if let Some(key) = key {
            request = request.header("X-MBX-APIKEY", key);
        }
        if let Some(body) = body {
            let form = "application/x-www-form-urlencoded";
            request = request.header("Content-Type", form).body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(RestAnswer {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        })
    }

    pub async fn get(&self, path: &str) -> RestAnswer {
        self.send(Method::GET, path, None, None).await.unwrap()
    }

    /// Sends a signed request of the default key; an error if no answer comes.
    pub async fn try_signed(&self, method: Method, path: &str, params: &[(&str, &str)]) -> reqwest::Result<RestAnswer> {
        self.signed_as(KEY, SECRET, method, path, params).await
    }

    pub async fn signed_as(
        &self,
        key: &str,
        secret: &str,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
    ) -> reqwest::Result<RestAnswer> {
        let timestamp = now_ms().to_string();
        let mut all = params.to_vec();
        all.push(("timestamp", &timestamp));
        let payload = query_of(&all);
        let signature = sign_hmac(secret, &payload);
        let target = format!("{path}?{payload}&signature={signature}");
        self.send(method, &target, Some(key), None).await
    }

    pub async fn signed(&self, method: Method, path: &str, params: &[(&str, &str)]) -> RestAnswer {
        self.try_signed(method, path, params).await.unwrap()
    }

    /// Places an order with these parameters in place of those of [`LOW_BUY`]; an empty value takes one out.
    pub async fn place(&self, changes: &[(&str, &str)]) -> RestAnswer {
        self.signed(Method::POST, "/api/v3/order", &changed(changes)).await
    }

    pub async fn query(&self, order_id: i64) -> RestAnswer {
        let id = order_id.to_string();
        let params = [("symbol", "BTCUSDT"), ("orderId", id.as_str())];
        self.signed(Method::GET, "/api/v3/order", &params).await
    }

    pub async fn cancel(&self, order_id: i64) -> RestAnswer {
        let id = order_id.to_string();
        let params = [("symbol", "BTCUSDT"), ("orderId", id.as_str())];
        self.signed(Method::DELETE, "/api/v3/order", &params).await
    }

    pub async fn control(&self, path: &str, body: Value) -> RestAnswer {
        self.send(Method::POST, path, None, Some(body.to_string()))
            .await
            .unwrap()
    }

    /// Puts faults in force, and checks that they are.
    pub async fn faults(&self, faults: Value) {
        let answer = self.control("/control/faults", json!({"faults": faults})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Returns how often a fault struck.
    pub async fn injected(&self, fault: &str) -> u64 {
        let faults = self.get("/control/faults").await.ok();
        faults["injected"][fault].as_u64().unwrap()
    }

    pub async fn executions(&self) -> Vec<Value> {
        let executions = self.get("/control/executions").await.ok();
        executions["executions"].as_array().unwrap().clone()
    }

    /// Opens a connection to the WebSocket API.
    pub async fn ws_api(&self) -> Stream {
        Stream::open(&format!("{}/ws-api/v3", self.ws)).await
    }

    /// Opens a connection to the WebSocket API that receives the events of the default key's account.
    pub async fn user_stream(&self) -> Stream {
        let mut stream = self.ws_api().await;
        let answer = stream.signed("userDataStream.subscribe.signature", json!({})).await;
        assert_eq!(answer["status"], 200, "{answer}");
        stream
    }
}

/// Returns the parameters of [`LOW_BUY`] with changes.
pub fn changed<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut params: Vec<(&str, &str)> = LOW_BUY.to_vec();
    params.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    params.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    params
}

async fn launch(args: &[String], data: &std::path::Path) -> (RouterProcess, String, String) {
    let mut words = vec!["venue", "--addr", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    words.extend(args.iter().map(String::as_str));
    let mut process = RouterProcess::start(&words, []);
    let line = process.wait_ready(SOON).await;
    let part = |name: &str| {
        let found = line.split(' ').find_map(|part| part.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{name} in {line}")).to_owned()
    };
    let (http, ws) = (part("http="), part("ws="));
    (process, http, ws)
}

/// A WebSocket connection.
pub struct Stream {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// The events that came before an answer.
    pub events: Vec<Value>,
    pub pings: usize,
}

impl Stream {
    pub async fn open(url: &str) -> Self {
        let (socket, _) = timeout(SOON, tokio_tungstenite::connect_async(url))
            .await
            .unwrap()
            .unwrap();
        Self {
            socket,
            next_id: 1,
            events: Vec::new(),
            pings: 0,
        }
    }

    /// Returns the next message; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let received = timeout(SOON, self.socket.next()).await.expect("a message in time");
            match received {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_))) => self.pings += 1,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    /// Calls a method and returns its answer; events that come first are kept.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).await.expect("an answer")
    }

    pub async fn try_call(&mut self, method: &str, params: Value) -> Option<Value> {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({"id": id, "method": method, "params": params});
        self.send_text(&request.to_string()).await;
        loop {
            let message = self.next().await?;
            if message.get("id").is_some() {
                assert_eq!(message["id"], id);
                return Some(message);
            }
            self.events.push(message);
        }
    }

    /// Calls a method with the signature of the default key.
    pub async fn signed(&mut self, method: &str, params: Value) -> Value {
        self.call(method, signed_params(params)).await
    }

    /// Returns the next event, an execution or not.
    pub async fn event(&mut self) -> Value {
        if self.events.is_empty() {
            let message = self.next().await.expect("an event");
            assert!(message.get("event").is_some(), "{message}");
            self.events.push(message);
        }
        self.events.remove(0)
    }

    /// Returns the next execution report.
    pub async fn execution(&mut self) -> Value {
        loop {
            let event = self.event().await;
            if event["event"]["e"] == "executionReport" {
                return event["event"].clone();
            }
        }
    }
}

/// Returns parameters with key, time and HMAC signature.
pub fn signed_params(params: Value) -> Value {
    signed_params_by(params, KEY, |payload| sign_hmac(SECRET, payload))
}

/// Returns parameters with key, time and a signature.
pub fn signed_params_by(params: Value, key: &str, sign: impl Fn(&str) -> String) -> Value {
    let mut sorted: BTreeMap<String, Value> = serde_json::from_value(params).unwrap();
    sorted.insert("apiKey".into(), key.into());
    sorted.insert("timestamp".into(), now_ms().into());
    let pairs = sorted.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    let signature = sign(&pairs.collect::<Vec<_>>().join("&"));
    sorted.insert("signature".into(), signature.into());
    json!(sorted)
}
