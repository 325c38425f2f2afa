//! REST against its own OpenAPI document: `rest_properties.py` has schemathesis send what the document allows and what it
//! forbids, to a sidecar with a worker, NATS and Redis behind it.

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

/// How long all of it may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Creates what the document's examples name, and one entry of each kind.
async fn begin(client: &Client) {
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
async fn schemathesis_finds_nothing() {
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
    // A machine that is busy with other tests is no finding.
    rig.settings.http.request_timeout_ms = 15_000;
    rig.settings.redis.response_timeout_ms = 5_000;
    let worker = rig.worker().await;
    begin(&rig.caller().await).await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let url = format!("http://{}", sidecar.address());
    let http = client();
    poll::until(SOON, "the sidecar lists the alerts", async || {
        let response = http.get(format!("{url}/risk/alerts")).send().await;
        response.is_ok_and(|response| response.status().is_success())
    })
    .await;
    let begun = Instant::now();
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
    eprintln!("schemathesis took {:?}", begun.elapsed());
    sidecar.drain(LIMIT).await;
    worker.drain(LIMIT).await;
}
