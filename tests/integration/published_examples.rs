//! A running router behaves as `subjects/examples` and `examples/` show.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use order_router::bus::router_client::RequestError;
use order_router::domain::time::Timestamp;
use serde::Deserialize;

use crate::rig::Rig;

#[derive(Debug, Deserialize)]
struct BadExample {
    file: String,
    schema: String,
    code: String,
    field: Option<String>,
    #[serde(default)]
    door: Option<String>,
}

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Returns the subject of an intent's own broker, where it can be read; they are all of the default account.
fn subject_of(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    format!(
        "orders.submit.{}.default",
        document["broker"].as_str().unwrap_or("binance")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_example_gets_the_error_of_its_name() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let index = std::fs::read(path("subjects/examples/bad/index.json")).unwrap();
    let index: Vec<BadExample> = serde_json::from_slice(&index).unwrap();
    let intents = index
        .iter()
        .filter(|bad| bad.schema == "execution-intent" && bad.door.is_none());
    for bad in intents {
        let body = std::fs::read(path("subjects/examples/bad").join(&bad.file)).unwrap();
        let deadline = Timestamp::now().saturating_add(Duration::from_secs(10));
        let result = client.caller.request(&subject_of(&body), body.into(), deadline).await;
        let Err(RequestError::Fault(fault)) = result else {
            panic!("{}: {result:?}", bad.file)
        };
        let found = (fault.code.as_str(), fault.field.as_deref());
        assert_eq!(
            found,
            (bad.code.as_str(), bad.field.as_deref()),
            "{}: {}",
            bad.file,
            fault.detail
        );
    }
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_examples_print_their_reports() {
    let python = std::env::var_os("CONTRACT_PYTHON").map_or_else(|| path(".tools/venv/bin/python"), PathBuf::from);
    if !python.exists() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "there is no .tools/venv; `make setup` creates it"
        );
        eprintln!("SKIPPED: there is no .tools/venv (`make setup` creates it) to run the Python examples with");
        return;
    }
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    for (program, begin, end) in [
        (
            "examples/submit.py",
            "BN-",
            " filled: buy 0.001 of 0.001 BTCUSDT at 30000\n",
        ),
        (
            "examples/durable.py",
            "IB-",
            " partially_filled: buy 9.5 of 10 AAPL at 180\n",
        ),
    ] {
        let mut command = Command::new(&python);
        command.arg(path(program)).env("NATS_URL", rig.nats.url());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{program}: {out}{err}");
        assert!(out.starts_with(begin) && out.ends_with(end), "{program}: {out}{err}");
    }
    worker.drain(Duration::from_secs(5)).await;
}
