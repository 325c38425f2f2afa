//! The shared fixture of the bus tests: a server with the topology, and a scripted handler.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use order_router::bus::connection::{Bus, ConnectPolicy, connect};
use order_router::bus::request::{BusReply, BusRequest, RequestHandler};
use order_router::bus::topology;
use order_router::config::doors::DoorSettings;
use order_router::config::nats::NatsSettings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::fault::{Fault, FaultCode};
use tokio::sync::Semaphore;

use crate::support::servers::NatsServer;

/// How long anything may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

pub fn broker() -> BrokerId {
    BrokerId::new("binance").unwrap()
}

pub fn account() -> AccountId {
    AccountId::new("a1").unwrap()
}

pub fn settings(server: &NatsServer) -> NatsSettings {
    NatsSettings {
        url: server.url(),
        ..NatsSettings::default()
    }
}

pub fn doors() -> DoorSettings {
    DoorSettings {
        nak_delay_ms: 20,
        ..DoorSettings::default()
    }
}

/// Returns a connection to a server, without a topology.
pub async fn bare(server: &NatsServer) -> Bus {
    connect(&settings(server), "test", ConnectPolicy::RetryFor(SOON))
        .await
        .unwrap()
}

/// Returns a new server with the topology and a connection to it.
pub async fn start() -> (NatsServer, Bus) {
    let server = NatsServer::start().await;
    let bus = bare(&server).await;
    topology::apply(&bus, &settings(&server), &doors(), &[broker()])
        .await
        .unwrap();
    (server, bus)
}

/// Replies with the request's body. A body that is a fault code returns that fault, `panic` panics, and `wait` waits
/// until the gate opens.
#[derive(Debug)]
pub struct ScriptedHandler {
    pub gate: Semaphore,
    pub waiting: AtomicUsize,
    pub calls: Mutex<Vec<BusRequest>>,
}

impl Default for ScriptedHandler {
    fn default() -> Self {
        Self {
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            calls: Mutex::default(),
        }
    }
}

impl ScriptedHandler {
    pub fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl RequestHandler for ScriptedHandler {
    async fn handle(&self, call: BusRequest) -> Result<BusReply, Fault> {
        self.calls.lock().unwrap().push(call.clone());
        let text = String::from_utf8_lossy(&call.body).into_owned();
        match text.as_str() {
            "panic" => panic!("requested by the test"),
            "wait" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.gate.acquire().await.unwrap().forget();
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            "pause" => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => {}
        }
        match FaultCode::parse(&text) {
            Some(code) => Err(Fault::new(code, "line one\r\nline two")),
            None => Ok(BusReply {
                body: call.body.to_vec(),
                journal_sequence: Some(7),
                is_replay: text == "again",
            }),
        }
    }
}
