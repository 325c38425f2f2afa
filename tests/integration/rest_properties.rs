//! REST against its own OpenAPI document: `rest_properties.py` runs schemathesis with valid and invalid requests against a
//! sidecar with a worker, NATS and Redis.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use order_router::bus::subjects;
use order_router::fault::FaultCode;
use order_router::sidecar::Sidecar;
use tokio::process::Command;

use crate::rest_fixture::client;
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;

/// The time limit of the whole run on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Creates the orders and locks that the examples of the document name, and one record of each kind.
async fn create_sample_data(client: &Client) {
    client.report(&intent("mean-reversion-000001", &[])).await;
    client
        .report(&ibkr("open", &[("tags", r#"["strategy:rebalance"]"#)]))
        .await;
    let denied = client.fault(&intent("denied", &[("quantity", "1000")])).await;
    assert_eq!(denied.code, FaultCode::OrderSizeExceeded);
    for scope in [
        r#"{"kind":"account","account_id":"fund-7"}"#,
        r#"{"kind":"symbol","venue":"binance.spot","symbol":"ETHUSDT"}"#,
    ] {
        let body = format!(r#"{{"scope":{scope},"actor":"test","reason":"something to lift"}}"#);
        client.call(subjects::LOCKS_SET, &body).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_conforms_to_its_openapi_document() {
    let python = path(".tools/venv/bin/python");
    if !path(".tools/venv/bin/schemathesis").exists() {
        let must_run = std::env::var("CI").is_ok_and(|value| value == "true");
        let why = "there is no schemathesis in .tools/venv (`make setup` installs it)";
        assert!(!must_run, "{why}, and with CI=true no check is skipped");
        eprintln!("SKIPPED: {why}");
        return;
    }
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    // A timeout on a busy machine is not a finding.
    rig.settings.http.request_timeout_ms = 15_000;
    rig.settings.redis.response_timeout_ms = 5_000;
    let worker = rig.worker().await;
    create_sample_data(&rig.caller().await).await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let url = format!("http://{}", sidecar.address());
    let http = client();
    poll::until(SOON, "the sidecar serves the alerts", async || {
        let response = http.get(format!("{url}/risk/alerts")).send().await;
        response.is_ok_and(|response| response.status().is_success())
    })
    .await;
    let started = Instant::now();
    let run = Command::new(python)
        .arg(path("tests/integration/rest_properties.py"))
        .arg(&url)
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, run)
        .await
        .expect("schemathesis in time")
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    eprintln!("schemathesis took {:?}", started.elapsed());
    sidecar.drain(LIMIT).await;
    worker.drain(LIMIT).await;
}
