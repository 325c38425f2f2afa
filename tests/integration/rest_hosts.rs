//! The names under which a sidecar without keys serves.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use serde_json::Value;

use crate::rest_fixture::Rest;

async fn get_state(rest: &Rest, host: &str, origin: Option<&str>) -> (u16, String) {
    let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
    let request = format!("GET /state HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\r\n");
    let response = rest.raw(request.as_bytes()).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let detail = serde_json::from_str::<Value>(body).map_or(String::new(), |body| {
        body["detail"].as_str().unwrap_or_default().to_owned()
    });
    (head[9..12].parse().unwrap(), detail)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_host_is_named_and_allowed_hosts_are_served() {
    let rest = Rest::start_with(|settings| settings.http.allowed_hosts = vec!["desk.local".to_owned()]).await;
    for (host, origin) in [
        ("localhost", None),
        ("desk.local", None),
        ("desk.local:8100", Some("http://desk.local:8100")),
        ("127.0.0.1:8100", Some("http://localhost:3000")),
    ] {
        let (status, detail) = get_state(&rest, host, origin).await;
        assert_eq!(status, 200, "{host} {origin:?}: {detail}");
    }
    for (host, origin, named) in [
        ("evil.example", None, "http.allowed_hosts"),
        (
            "evil.example:8100",
            Some("http://evil.example:8100"),
            "http.allowed_hosts",
        ),
        ("desk.local", Some("http://evil.example"), "http.cors_origins"),
    ] {
        let (status, detail) = get_state(&rest, host, origin).await;
        assert_eq!(status, 403, "{host} {origin:?}");
        assert!(detail.contains(named), "{host} {origin:?}: {detail}");
        assert_eq!(
            detail.contains(host) && detail.contains("Host"),
            named == "http.allowed_hosts"
        );
    }
    // Without the setting, the name is refused.
    let rest = Rest::start().await;
    assert_eq!(get_state(&rest, "desk.local", None).await.0, 403);
}
