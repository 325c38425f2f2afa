//! The time limit of a submission: its response arrives before a client with a timeout of 5 s gives up.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::rest_fixture::{Rest, read_all};
use crate::rig::intent;

/// The timeout of common clients. A client that gives up before the response and submits again without an id doubles its
/// order.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a submission whose body ends after a pause, or never. Returns the response's status and how long it took from the
/// request's first byte on.
async fn submit_slowly(rest: &Rest, id: &str, pause: Option<Duration>) -> (u16, Duration) {
    let body = intent(id, &[]);
    let (first, last) = body.split_at(body.len() / 2);
    let started = Instant::now();
    let mut stream = TcpStream::connect(rest.address()).await.unwrap();
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
        stream.write_all(last.as_bytes()).await.unwrap();
    }
    let response = read_all(&mut stream).await;
    (response[9..12].parse().unwrap(), started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_submission_is_answered_before_its_client_gives_up() {
    let mut rest = Rest::start().await;
    assert_eq!(rest.settings.http.request_timeout(), Duration::from_millis(4_500));
    let (no_pause, long_pause) = (Some(Duration::ZERO), Some(Duration::from_secs(3)));
    // The worker does not reply; it does not reply after a slow body; the body does not end.
    let (silent, slow, endless) = tokio::join!(
        submit_slowly(&rest, "wait", no_pause),
        submit_slowly(&rest, "wait", long_pause),
        submit_slowly(&rest, "a1", None),
    );
    for ((status, elapsed), expected) in [(silent, 202), (slow, 202), (endless, 400)] {
        assert_eq!(status, expected);
        assert!(elapsed < CLIENT_TIMEOUT, "{status} after {elapsed:?}");
    }
    // NATS is silent, and still connected.
    rest.nats.pause();
    let (status, elapsed) = submit_slowly(&rest, "a2", no_pause).await;
    rest.nats.resume();
    assert!(status == 202 && elapsed < CLIENT_TIMEOUT, "{status} after {elapsed:?}");
    rest.actor.gate.add_permits(100);
}
