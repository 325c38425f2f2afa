//! Callers without a key that hold connections or guess keys: they keep nobody else out.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::net::SocketAddr;
use std::time::Duration;

use order_router::config::api_keys::{ApiKey, Capability, KeySettings};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::rest_fixture::{Rest, SOON, read_all};
use crate::support::poll;

/// More connections than the sidecar has places for.
const FLOOD: usize = 2_600;
/// A time in which an answer is given at once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(4);

async fn rest_with_key() -> (Rest, String) {
    let key = ApiKey::generate();
    let settings = KeySettings::new(&key, "desk", "Desk", &Capability::ALL, &["*"]);
    let rest = Rest::start_with(|all| all.keys.0 = vec![settings]).await;
    (rest, format!("Authorization: Bearer {}\r\n", key.reveal()))
}

/// Connects from a loopback address: each counts as a peer.
async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    timeout(SOON, socket.connect(to)).await.unwrap().unwrap()
}

/// Sends a request on a new connection and returns the response.
async fn request(rest: &Rest, from: [u8; 4], line: &str, headers: &str, body: &str) -> String {
    let mut stream = connect(from, rest.address()).await;
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
    stream.shutdown().await.ok();
    read_all(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_keep_out_neither_the_kill_switch_nor_the_liveness_check() {
    let (rest, key) = rest_with_key().await;
    let attacker = [127, 0, 0, 9];
    let started = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..FLOOD {
        idle.push(connect(attacker, rest.address()).await);
    }
    let flooded = Instant::now();
    // From the attacker's own address, too: it may be that of a proxy.
    for from in [[127, 0, 0, 1], attacker] {
        let halt = r#"{"trading_state":"halted","reason":"r"}"#;
        let halted = request(&rest, from, "PUT /state", &key, halt).await;
        assert!(halted.starts_with("HTTP/1.1 200"), "{from:?}: {halted}");
        let live = request(&rest, from, "GET /health/live", "", "").await;
        assert!(live.starts_with("HTTP/1.1 200"), "{from:?}: {live}");
    }
    let took = flooded.elapsed();
    assert!(took < AT_ONCE, "{took:?} after {:?}", flooded - started);
    // Without a key, the attacker gets no more.
    let health = request(&rest, attacker, "GET /health", "", "").await;
    let is_refused = health.starts_with("HTTP/1.1 503") && health.contains("queue_full");
    assert!(is_refused && health.contains("connection: close"), "{health}");
    // Another peer does.
    let health = request(&rest, [127, 0, 0, 2], "GET /health", "", "").await;
    assert!(!health.contains("queue_full"), "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_without_a_complete_head_is_closed_after_five_seconds() {
    let (rest, _) = rest_with_key().await;
    let (mut silent, mut slow) = tokio::join!(
        connect([127, 0, 0, 1], rest.address()),
        connect([127, 0, 0, 1], rest.address())
    );
    slow.write_all(b"GET /state HTTP/1.1\r\nHost: localhost\r\n")
        .await
        .unwrap();
    let started = Instant::now();
    tokio::join!(read_all(&mut silent), read_all(&mut slow));
    let took = started.elapsed();
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(12)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guessed_keys_are_limited_per_peer_and_a_valid_key_is_not() {
    let (rest, key) = rest_with_key().await;
    let status = async |from: [u8; 4], headers: &str| {
        let response = request(&rest, from, "GET /state", headers, "").await;
        response[9..12].to_owned()
    };
    let guess = || format!("Authorization: Bearer {}\r\n", ApiKey::generate().reveal());
    let mut statuses = Vec::new();
    let started = Instant::now();
    while statuses.last().is_none_or(|status| status == "401") {
        statuses.push(status([127, 0, 0, 9], &guess()).await);
        assert!(started.elapsed() < SOON, "never limited: {statuses:?}");
    }
    assert_eq!(statuses.last().unwrap(), "429", "{statuses:?}");
    assert!(statuses.len() > 100, "{statuses:?}");
    assert_eq!(status([127, 0, 0, 9], &key).await, "200");
    assert_eq!(status([127, 0, 0, 1], &guess()).await, "401");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_without_a_key_leave_places_for_those_with_one() {
    let key = ApiKey::generate();
    let settings = KeySettings::new(&key, "desk", "Desk", &Capability::ALL, &["*"]);
    let mut rest = Rest::start_with(|all| {
        all.keys.0 = vec![settings];
        all.http.max_in_flight = 4;
    })
    .await;
    let key = format!("Authorization: Bearer {}\r\n", key.reveal());
    let peer = [127, 0, 0, 1];
    // Health asks the bus, which is silent: one request in four may be without a key.
    rest.nats.pause();
    let address = rest.address();
    let mut waiting = connect(peer, address).await;
    waiting
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    poll::until(SOON, "further requests without a key are refused", async || {
        request(&rest, peer, "GET /openapi.json", "", "")
            .await
            .contains("queue_full")
    })
    .await;
    let with_key = request(&rest, peer, "GET /openapi.json", &key, "").await;
    assert!(with_key.starts_with("HTTP/1.1 200"), "{with_key}");
    let live = request(&rest, peer, "GET /health/live", "", "").await;
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");
    rest.nats.resume();
}
