//! The venue used by a client library from PyPI: `venue_client.py` with binance-connector.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::process::Stdio;

use tokio::process::Command;

use crate::support::process::repository;
use crate::venue_fixture::{SOON, TestVenue};

#[tokio::test]
async fn venue_serves_a_client_from_elsewhere() {
    let python = repository().join(".tools/venv/bin/python");
    let has_library = Command::new(&python)
        .args(["-c", "import binance.spot"])
        .stderr(Stdio::null())
        .status()
        .await
        .is_ok_and(|status| status.success());
    if !has_library {
        let must_run = std::env::var("CI").is_ok_and(|value| value == "true");
        let why = "there is no binance-connector in .tools/venv (`make setup` installs it)";
        assert!(!must_run, "{why}, and with CI=true no check is skipped");
        eprintln!("SKIPPED: {why}");
        return;
    }
    let venue = TestVenue::start(&[]).await;
    let run = Command::new(python)
        .arg(repository().join("tests/integration/venue_client.py"))
        .arg(&venue.http)
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(3 * SOON, run).await.unwrap().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
}
