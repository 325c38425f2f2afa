//! The fixture of the order log tests: real servers, a worker and a sidecar in this process, and a client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::sidecar::Sidecar;
use order_router::worker::Worker;
use serde_json::{Value, json};

use crate::rest_fixture::{RestResponse, client};
use crate::rig::{Rig, SOON};

/// A complete router.
pub struct Router {
    pub rig: Rig,
    worker: Worker,
    pub sidecar: Sidecar,
}

impl Router {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(set: impl FnOnce(&mut Rig)) -> Self {
        let mut rig = Rig::start().await;
        rig.settings.http.addr.set_port(0);
        set(&mut rig);
        let worker = rig.worker().await;
        let sidecar = Sidecar::start(&rig.settings).await.unwrap();
        Self { rig, worker, sidecar }
    }

    /// Starts another sidecar on the same bus, with its own order log.
    pub async fn another_sidecar(&self, data: &tempfile::TempDir) -> Sidecar {
        let mut settings = self.rig.settings.clone();
        settings.data_dir.0 = data.path().to_owned();
        Sidecar::start(&settings).await.unwrap()
    }

    /// Stops the worker and keeps the servers and the sidecar.
    pub async fn without_worker(self) -> (Rig, Sidecar) {
        self.worker.drain(SOON).await;
        (self.rig, self.sidecar)
    }

    pub async fn get(&self, path: &str) -> RestResponse {
        get(&self.sidecar, path).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> RestResponse {
        let url = format!("http://{}{path}", self.sidecar.address());
        let request = client().post(url).header("Content-Type", "application/json");
        RestResponse::read(request.body(body.to_string()).send().await.unwrap()).await
    }

    /// Submits an order and returns the response.
    pub async fn submit(&self, order: &Value) -> RestResponse {
        self.post("/orders", order).await
    }

    /// Returns the items and the total of a page.
    #[track_caller]
    pub fn page(response: &RestResponse) -> (Vec<Value>, u64) {
        assert_eq!(response.status, 200, "{response:?}");
        let page = response.json();
        let items = page["items"].as_array().unwrap().clone();
        (items, page["metadata"]["total"].as_u64().unwrap())
    }

    pub async fn list(&self, path: &str) -> (Vec<Value>, u64) {
        Self::page(&self.get(path).await)
    }
}

pub async fn get(sidecar: &Sidecar, path: &str) -> RestResponse {
    let url = format!("http://{}{path}", sidecar.address());
    RestResponse::read(client().get(url).send().await.unwrap()).await
}

/// Returns an order for 0.01 BTCUSDT, with some fields overridden.
pub fn order(client_order_id: &str, overrides: &Value) -> Value {
    let mut order = json!({"broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "buy",
        "quantity": "0.01", "order_type": "limit", "price": "30000", "client_order_id": client_order_id});
    for (name, value) in overrides.as_object().unwrap() {
        order[name] = value.clone();
    }
    order
}

/// Returns one text field of every item.
pub fn texts(items: &[Value], field: &str) -> Vec<String> {
    items
        .iter()
        .map(|item| item[field].as_str().unwrap().to_owned())
        .collect()
}
