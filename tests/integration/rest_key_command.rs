//! An API key from generation to use, with the real commands; logs and errors never show the key.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::path::Path;

use serde_json::Value;

use crate::rest_fixture::{RestResponse, SOON, client};
use crate::rig::Rig;
use crate::support::poll;
use crate::support::process::RouterProcess;

/// Runs a command to its end and returns its exit code, its output and its log.
async fn run(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
    command.args(args).kill_on_drop(true);
    for name in ["ORDER_ROUTER_API_KEY", "ORDER_ROUTER_CONFIG"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    let ended = tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

async fn new_key(args: &[&str]) -> (String, String) {
    let args = [&["key", "new", "--id", "desk", "--customer", "Fund 7"], args].concat();
    let (code, stdout, stderr) = run(&args, &[]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let (key, block) = stdout.split_once("\n\n").unwrap();
    (key.to_owned(), block.to_owned())
}

async fn get(port: &str, path: &str, key: &str) -> RestResponse {
    let request = client()
        .get(format!("http://127.0.0.1:{port}{path}"))
        .header("Authorization", format!("Bearer {key}"));
    RestResponse::read(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_key_is_configured_and_accepted() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let (key, block) = new_key(&["--can", "read,route_orders", "--account", "fund-7"]).await;
    let (unknown, _) = new_key(&["--can", "read", "--account", "*"]).await;
    assert!(key.starts_with("ork_") && key.len() == 68 && key != unknown, "{key}");
    assert!(block.starts_with("[[keys]]\n") && !block.contains(&key[4..]), "{block}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("router.toml");
    std::fs::write(&file, format!("[nats]\nurl = \"{}\"\n\n{block}", rig.nats.url())).unwrap();
    let file = Path::new(&file).to_str().unwrap();
    // A non-loopback address requires a key. The log level is the most verbose.
    let environment = [
        ("ORDER_ROUTER_HTTP_ADDR", "0.0.0.0:0"),
        ("ORDER_ROUTER_DATA_DIR", rig.settings.data_dir.0.to_str().unwrap()),
    ];
    let args = ["sidecar", "--config", file, "--log", "trace,async_nats=trace"];
    let mut sidecar = RouterProcess::start(&args, environment);
    let ready = sidecar.wait_ready(SOON).await;
    let port = ready.rsplit(':').next().unwrap();

    poll::until(SOON, "the alerts are served", async || {
        get(port, "/risk/alerts", &key).await.status == 200
    })
    .await;
    for (path, presented, status) in [
        ("/state", key.as_str(), 200),
        ("/state", &unknown, 401),
        ("/state", &format!("{key}0"), 401),
        (&format!("/state?key={key}"), &key, 400),
        ("/orders/BN-1", &key, 404),
        ("/orders/BN-1?account_id=other", &key, 403),
        ("/orders/BN-1?account_id=fund-7", &key, 404),
    ] {
        assert_eq!(get(port, path, presented).await.status, status, "{path}");
    }
    let address = format!("127.0.0.1:{port}");
    let alerts = ["alerts", "--http-addr", &address, "--json", "--log", "trace"];
    let with_key = [("ORDER_ROUTER_API_KEY", key.as_str())];
    let (code, stdout, stderr) = run(&alerts, &with_key).await;
    assert_eq!((code, stdout.trim()), (Some(0), "[]"), "{stderr}");
    let mut output = stderr;
    for (extra, environment, expected) in [
        (vec![], vec![], 1),
        (vec!["--api-key", unknown.as_str()], vec![], 1),
        // A key without its last digit is invalid.
        (vec!["--api-key", &key[..67]], vec![], 2),
        (vec!["--help"], with_key.to_vec(), 0),
        (vec!["--limit", "x"], with_key.to_vec(), 2),
    ] {
        let (code, stdout, stderr) = run(&[&alerts[..], &extra].concat(), &environment).await;
        assert_eq!(code, Some(expected), "{extra:?}: {stdout} {stderr}");
        output.push_str(&stdout);
        output.push_str(&stderr);
    }
    assert!(output.contains("unauthenticated"), "{output}");

    sidecar.terminate(SOON).await;
    let log = sidecar.stderr_text();
    assert!(
        log.contains("key=\"desk\"") && log.contains("no valid API key"),
        "{log}"
    );
    let hash = block.split("sha256 = \"").nth(1).unwrap().split('"').next().unwrap();
    for secret in [&key[4..67], &unknown[4..67], hash] {
        assert!(!log.contains(secret) && !output.contains(secret));
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_with_invalid_settings_is_not_generated() {
    let base = ["key", "new", "--customer", "c", "--can", "read"];
    let (code, stdout, stderr) = run(&[&base[..], &["--id", "a b", "--account", "x.y"]].concat(), &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("\"a b\"") && stderr.contains("\"x.y\""), "{stderr}");
    let args = [&base[..], &["--id", "a", "--account", "*", "--burst", "7", "--json"]].concat();
    let (code, stdout, _) = run(&args, &[]).await;
    let generated: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, Some(0));
    assert!(generated["key"].as_str().unwrap().starts_with("ork_"));
    assert_eq!(
        (
            &generated["settings"]["burst"],
            &generated["settings"]["capabilities"][0]
        ),
        (&7.into(), &"can.read".into())
    );
    assert!(generated["toml"].as_str().unwrap().starts_with("[[keys]]"));
    // A file that holds the key where its hash belongs does not show it in the error.
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = generated["key"].as_str().unwrap();
    let hash = generated["settings"]["sha256"].as_str().unwrap();
    let wrong = generated["toml"].as_str().unwrap().replace(hash, key);
    std::fs::write(file.path(), wrong).unwrap();
    let (code, _, stderr) = run(&["sidecar", "--config", file.path().to_str().unwrap()], &[]).await;
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("sha256 of the key \"a\"") && !stderr.contains(&key[4..]),
        "{stderr}"
    );
}
