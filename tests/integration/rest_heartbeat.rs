//! Heartbeats over REST: for the accounts of the key alone, and signed by it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::request::Endpoint;
use order_router::config::api_keys::Capability;
use serde_json::{Value, json};

use crate::rest_keys::{TestKey, rest_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_of_the_paths_account_and_signed_by_its_key() {
    let (key, reader) = (TestKey::new(), TestKey::new());
    let rest = rest_with(vec![
        key.settings("algo", &[Capability::RouteOrders], &["fund-7"]),
        reader.settings("reader", &[Capability::Read], &["*"]),
    ])
    .await;
    let path = "/accounts/fund-7/heartbeat";
    let beat = r#"{"timeout_ms":5000}"#;
    for (path, body, status) in [
        (path, beat, 200),
        (path, r#"{"timeout_ms":0,"reason":"done"}"#, 200),
        (path, r#"{"timeout_ms":0}"#, 400),
        (path, r#"{"timeout_ms":999}"#, 400),
        (path, r#"{"timeout_ms":5000,"actor":"me"}"#, 400),
        (path, r#"{"timeout_ms":5000,"account_id":"fund-7"}"#, 400),
        (path, "", 400),
        ("/accounts/a.b/heartbeat", beat, 400),
        ("/accounts/fund-8/heartbeat", beat, 403),
        ("/accounts/fund-7/heartbeat?timeout_ms=1", beat, 400),
    ] {
        let response = rest.send("POST", path, body, &key.header()).await;
        assert_eq!(response.status, status, "{path} {body}: {response:?}");
        if status >= 400 {
            response.code();
        }
    }
    let refused = rest.send("POST", path, beat, &reader.header()).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "not_entitled"));
    let calls = rest.actor.calls(Endpoint::Heartbeat);
    assert_eq!(calls.len(), 2);
    for (call, timeout_ms) in calls.iter().zip([5_000, 0]) {
        let sent: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(call.account.as_deref(), Some("fund-7"));
        assert_eq!(sent["timeout_ms"], json!(timeout_ms));
        assert!(sent["actor"].as_str().unwrap().contains("algo"), "{sent}");
    }
}
