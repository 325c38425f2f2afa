//! Invalid HTTP: each request returns a problem document and reaches no worker, and the sidecar continues.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use order_router::bus::request::Endpoint;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::rest_fixture::{Rest, SOON, read_all};
use crate::rig::intent;
use crate::support::poll;

fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn post(body: &[u8]) -> Vec<u8> {
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    request("POST /orders", &headers, body)
}

/// Returns the status and the problem code of a raw response.
#[track_caller]
fn problem(response: &str) -> (u16, String) {
    let (head, body) = response
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no response: {response:?}"));
    assert!(head.contains("content-type: application/problem+json"), "{response}");
    assert!(head.contains("x-request-id: "), "{response}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {response}"));
    let status: u16 = response[9..12].parse().unwrap();
    assert_eq!(problem["status"], status);
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_refused_by_the_sidecar() {
    let rest = Rest::start().await;
    let good = intent("a1", &[]);
    let nested = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let nested_field = intent("a1", &[("tags", &nested)]);
    let nested_objects = r#"{"a":"#.repeat(10_000);
    let doubled = good.replacen('{', r#"{"price":1,"#, 1);
    let padded = format!("{good}{}", " ".repeat(1_048_577 - good.len()));
    let many: String = (0..100).map(|n| format!(r#""f{n}":1,"#)).collect();
    let many = good.replacen('{', &format!("{{{many}"), 1);
    let unsized_body = |body: &str| {
        let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        request("POST /orders", headers, chunk.as_bytes())
    };
    let rows: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("empty", post(b""), 400, "malformed"),
        ("blank", post(b" \n"), 400, "malformed"),
        ("cut off", post(&good.as_bytes()[..40]), 400, "malformed"),
        ("not UTF-8", post(b"{\"broker\":\"\xff\"}"), 400, "malformed"),
        ("an array", post(b"[]"), 400, "malformed"),
        ("two values", post(b"{}{}"), 400, "malformed"),
        ("nested arrays", post(nested.as_bytes()), 400, "malformed"),
        ("nested objects", post(nested_objects.as_bytes()), 400, "malformed"),
        ("a nested field", post(nested_field.as_bytes()), 400, "invalid_field"),
        ("many fields", post(many.as_bytes()), 400, "malformed"),
        ("doubled key", post(doubled.as_bytes()), 400, "invalid_field"),
        (
            "unknown field",
            post(intent("a", &[("stop_price", "1")]).as_bytes()),
            400,
            "unknown_field",
        ),
        (
            "wrong type",
            post(intent("a", &[("side", "7")]).as_bytes()),
            400,
            "invalid_field",
        ),
        (
            "NaN",
            post(intent("a", &[("quantity", "NaN")]).as_bytes()),
            400,
            "malformed",
        ),
        (
            "1e400",
            post(intent("a", &[("quantity", "1e400")]).as_bytes()),
            400,
            "invalid_field",
        ),
        (
            "negative",
            post(intent("a", &[("quantity", "-1")]).as_bytes()),
            400,
            "invalid_field",
        ),
        (
            "the account that means none",
            post(intent("a", &[("account_id", "\"_\"")]).as_bytes()),
            400,
            "invalid_field",
        ),
        ("too large", post(padded.as_bytes()), 413, "payload_too_large"),
        (
            "too large, unannounced",
            unsized_body(&padded),
            413,
            "payload_too_large",
        ),
        (
            "no content type",
            request("POST /orders", "Content-Length: 2\r\n", b"{}"),
            415,
            "unsupported_media_type",
        ),
        (
            "another content type",
            request(
                "POST /orders",
                "Content-Type: text/plain\r\nContent-Length: 2\r\n",
                b"{}",
            ),
            415,
            "unsupported_media_type",
        ),
        (
            "compressed",
            request(
                "POST /orders",
                "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n",
                b"{}",
            ),
            415,
            "unsupported_media_type",
        ),
        (
            "fewer bytes than announced",
            request(
                "POST /orders",
                "Content-Type: application/json\r\nContent-Length: 999\r\n",
                good.as_bytes(),
            ),
            400,
            "malformed",
        ),
    ];
    for (what, bytes, status, code) in rows {
        let response = rest.raw(&bytes).await;
        assert_eq!(problem(&response), (status, code.to_owned()), "{what}: {response}");
    }
    let marked = rest.raw(&post(format!("\u{feff}{good}").as_bytes())).await;
    assert_eq!(problem(&marked), (400, "malformed".to_owned()));
    assert!(marked.contains("byte order mark"), "{marked}");
    assert!(rest.actor.calls(Endpoint::Submit).is_empty());
    let response = rest.raw(&unsized_body(&good)).await;
    assert!(response.starts_with("HTTP/1.1 201 "), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_body_times_out() {
    let rest = Rest::start_with(|settings| settings.http.request_timeout_ms = 300).await;
    let mut stream = TcpStream::connect(rest.address()).await.unwrap();
    let headers = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    stream.write_all(&request("POST /orders", headers, b"{")).await.unwrap();
    let response = read_all(&mut stream).await;
    assert_eq!(problem(&response), (400, "malformed".to_owned()));
    assert!(rest.actor.calls(Endpoint::Submit).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_body_is_refused_before_its_end() {
    let rest = Rest::start().await;
    let mut stream = TcpStream::connect(rest.address()).await.unwrap();
    let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    stream.write_all(&request("POST /orders", headers, b"")).await.unwrap();
    let piece = [b"200000\r\n", vec![b' '; 0x20_0000].as_slice(), b"\r\n"].concat();
    // The end of the body is never sent.
    stream.write_all(&piece).await.unwrap();
    let response = read_all(&mut stream).await;
    assert_eq!(problem(&response), (413, "payload_too_large".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_return_404_and_405() {
    let rest = Rest::start().await;
    for (method, path, status, allow) in [
        ("GET", "/console", 404, ""),
        ("POST", "/", 405, "GET,HEAD"),
        ("GET", "/orders/", 404, ""),
        ("GET", "/nothing/here", 404, ""),
        ("POST", "/orders/BN-1/remarks", 404, ""),
        ("OPTIONS", "/nothing", 404, ""),
        ("GET", "/orders", 405, "POST"),
        ("DELETE", "/orders/BN-1", 405, "GET,HEAD"),
        ("POST", "/state", 405, "GET,HEAD,PUT"),
        ("PATCH", "/health", 405, "GET,HEAD"),
        ("OPTIONS", "/orders", 204, "POST"),
        ("OPTIONS", "/state", 204, "GET,HEAD,PUT"),
        ("POST", "/orders?dry_run=true", 400, ""),
        ("GET", "/state?x=1", 400, ""),
    ] {
        let response = rest.send(method, path, "{}", &[]).await;
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
        let mut allowed: Vec<&str> = response.header("allow").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
        match status {
            204 => assert_eq!(response.text, ""),
            404 => assert_eq!(response.code(), "not_found"),
            405 => assert_eq!(response.code(), "method_not_allowed"),
            _ => assert_eq!(response.code(), "unknown_field"),
        }
    }
    for (path, status) in [("/health", 200), ("/state", 200), ("/nothing", 404), ("/orders", 405)] {
        let response = rest.send("HEAD", path, "", &[]).await;
        assert_eq!((response.status, response.text.as_str()), (status, ""), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_carries_its_request_id() {
    let rest = Rest::start().await;
    for path in ["/health/live", "/state", "/nothing", "/orders"] {
        let response = rest.send("GET", path, "", &[("X-Request-Id", "abc-1")]).await;
        assert_eq!(response.header("x-request-id"), "abc-1", "{path}");
        let response = rest.send("GET", path, "", &[("X-Request-Id", "a b")]).await;
        assert_eq!(response.header("x-request-id").len(), 32, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_refused() {
    let rest = Rest::start().await;
    let foreign = [("Origin", "https://example.com")];
    let response = rest.send("POST", "/orders", &intent("a1", &[]), &foreign).await;
    assert_eq!((response.status, response.code().as_str()), (403, "not_entitled"));
    assert!(rest.actor.calls(Endpoint::Submit).is_empty());
    let own = [("Origin", "http://localhost:3000")];
    let response = rest.send("POST", "/orders", &intent("a1", &[]), &own).await;
    assert_eq!(response.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_return_queue_full_at_once() {
    let rest = Rest::start_with(|settings| settings.http.max_in_flight = 2).await;
    let orders = futures_util::future::join_all((0..2).map(|_| async { rest.submit(&intent("wait", &[])).await }));
    let beyond = async {
        poll::until(SOON, "both requests are in flight", async || rest.actor.waiting() == 2).await;
        for path in ["/state", "/health", "/orders/BN-1"] {
            let response = rest.get(path).await;
            assert_eq!(
                (response.status, response.code().as_str()),
                (503, "queue_full"),
                "{path}"
            );
        }
        assert_eq!(rest.get("/health/live").await.status, 200);
        rest.actor.gate.add_permits(2);
    };
    let (responses, ()) = tokio::join!(orders, beyond);
    assert!(responses.iter().all(|response| response.status == 201), "{responses:?}");
    assert_eq!(rest.get("/state").await.status, 200);
}
