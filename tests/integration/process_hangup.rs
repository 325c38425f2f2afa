//! SIGHUP: a sidecar reads its API keys again, a worker continues, `dev` drains. And the files that processes leave.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use order_router::config::api_keys::{ApiKey, Capability, KeyList, KeySettings};
use serde::Serialize;

use crate::rest_fixture::{SOON, client};
use crate::rig::{Rig, intent};
use crate::support::poll;
use crate::support::process::RouterProcess;

/// The time limit of a drain with every server, on a busy machine.
const DRAINED: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct KeysFile<'a> {
    nats: NatsSection,
    keys: &'a KeyList,
}

#[derive(Serialize)]
struct NatsSection {
    url: String,
}

fn key(id: &str, capabilities: &[Capability]) -> (String, KeySettings) {
    let key = ApiKey::generate();
    let settings = KeySettings::new(&key, id, "Fund 7", capabilities, &["*"]);
    (format!("Bearer {}", key.reveal()), settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_reads_its_keys_again_on_sighup() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let [desk, audit, late] = ["desk", "audit", "late"].map(|id| key(id, &Capability::ALL));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("router.toml");
    let write = |keys: &[&KeySettings]| {
        let keys = &KeyList(keys.iter().map(|&key| key.clone()).collect());
        let nats = NatsSection { url: rig.nats.url() };
        std::fs::write(&file, toml::to_string(&KeysFile { nats, keys }).unwrap()).unwrap();
    };
    write(&[&desk.1, &audit.1]);
    let args = ["sidecar", "--config", file.to_str().unwrap()];
    let mut sidecar = RouterProcess::start(&args, [("ORDER_ROUTER_HTTP_ADDR", "127.0.0.1:0")]);
    let ready = sidecar.wait_ready(SOON).await;
    let base = format!("http://127.0.0.1:{}", ready.rsplit(':').next().unwrap());
    let get = async |path: &str, bearer: &str| {
        let request = client().get(format!("{base}{path}")).header("Authorization", bearer);
        request.send().await.unwrap()
    };
    let becomes = async |bearer: &str, status: u16| {
        poll::until(SOON, format!("the status becomes {status}"), async || {
            get("/state", bearer).await.status() == status
        })
        .await;
    };
    becomes(&desk.0, 200).await;
    let mut events = get("/events", &desk.0).await;
    assert_eq!(events.status(), 200);

    write(&[&audit.1, &late.1]);
    sidecar.process().signal("HUP");
    becomes(&desk.0, 401).await;
    assert_eq!(
        [
            get("/state", &audit.0).await.status(),
            get("/state", &late.0).await.status()
        ],
        [200, 200]
    );
    let ended = async { while events.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(SOON, ended).await.unwrap();

    // A file with an error changes nothing.
    std::fs::write(&file, "[[keys]]\nid = 1\n").unwrap();
    sidecar.process().signal("HUP");
    poll::until(SOON, "the error is logged", async || {
        sidecar.stderr_text().contains("the API keys are unchanged")
    })
    .await;
    assert_eq!(get("/state", &audit.0).await.status(), 200);

    // The last key opens nothing.
    write(&[]);
    sidecar.process().signal("HUP");
    becomes(&audit.0, 401).await;
    assert!(sidecar.terminate(SOON).await.success());
    let log = sidecar.stderr_text();
    for line in [
        "API key revoked key=\"desk\"",
        "API key added key=\"late\"",
        "no API key is left",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    for (bearer, settings) in [&desk, &audit, &late] {
        assert!(!log.contains(&bearer[11..]) && !log.contains(settings.sha256.reveal()));
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_continues_after_sighup_and_dev_drains() {
    let rig = Rig::start().await;
    let client = rig.caller().await;
    let mut worker = rig.worker_process(None).await;
    worker.process().signal("HUP");
    poll::until(SOON, "the signal is logged", async || {
        worker.stderr_text().contains("SIGHUP")
    })
    .await;
    client.report(&intent("after", &[])).await;
    assert!(worker.terminate(SOON).await.success());

    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let args = [
        "dev",
        "--nats-port",
        "0",
        "--http-addr",
        "127.0.0.1:0",
        "--workers",
        "2",
    ];
    let mut dev = RouterProcess::start(&args, [("ORDER_ROUTER_DATA_DIR", data.to_str().unwrap())]);
    dev.wait_ready(SOON).await;
    assert_private(&data);
    dev.process().signal("HUP");
    let status = dev.process().wait(DRAINED).await;
    assert!(
        status.success() && dev.stderr_text().contains("the worker has stopped"),
        "{}",
        dev.stderr_text()
    );
    assert_private(&data);
}

/// Checks that only the owner may read a directory and everything below it.
fn assert_private(path: &Path) {
    // A server may remove a file meanwhile.
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(
        mode & 0o077,
        0,
        "{} has the mode {mode:o}, not {expected:o}",
        path.display()
    );
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    }
}
