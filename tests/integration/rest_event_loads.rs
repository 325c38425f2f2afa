//! Event streams under load: idle, numerous, slow, or ending.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::TryStreamExt;
use order_router::bus::subjects;
use order_router::domain::id::AccountId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::rest_events::{Event, Events, Listener, request_events};
use crate::rest_fixture::{RestResponse, SOON};
use crate::support::poll;

/// The size of each event of the flood.
const EVENT_BYTES: usize = 32 * 1024;
/// The number of events of the flood: far more than the socket buffers of a connection hold.
const FLOOD: u64 = 2_000;

/// Returns the journal sequence in an event's id.
fn journal_sequence(event: &Event) -> u64 {
    event.id.split('-').next().unwrap().parse().unwrap()
}

/// Opens a stream and reads only the status line.
async fn idle_reader(events: &Events) -> TcpStream {
    let mut stream = TcpStream::connect(events.sidecar.address()).await.unwrap();
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 15];
    timeout(SOON, stream.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stream
}

async fn flood(events: &Events) {
    let body = Bytes::from(format!("{{\"note\":\"{}\"}}", "x".repeat(EVENT_BYTES)));
    let subject = subjects::event("note", Some(&AccountId::new("a").unwrap()));
    for _ in 0..FLOOD {
        events.bus.publish(subject.clone(), body.clone()).await.unwrap();
    }
}

/// Returns the last stream sequence delivered to each consumer of the journal.
async fn delivered_sequences(events: &Events) -> Vec<u64> {
    let context = jetstream::new(async_nats::connect(events.nats.url()).await.unwrap());
    let stream = context.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let consumers: Vec<_> = stream.consumers().try_collect().await.unwrap();
    consumers.iter().map(|info| info.delivered.stream_sequence).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_client_is_dropped_without_delaying_others() {
    let events = Events::start_with(|settings| {
        settings.http.max_event_streams = 2;
        settings.http.write_timeout_ms = 3_000;
    })
    .await;
    let mut slow = idle_reader(&events).await;
    let mut fast = events.listen("").await;
    flood(&events).await;
    for sequence in 1..=FLOOD {
        assert_eq!(journal_sequence(&fast.next().await), sequence);
    }
    // Events that the slow client has not read are not fetched either.
    let delivered = delivered_sequences(&events).await;
    // The third consumer is the order log.
    assert_eq!(delivered.len(), 3, "{delivered:?}");
    assert!(delivered.contains(&FLOOD), "{delivered:?}");
    assert!(delivered.iter().any(|&sequence| sequence < FLOOD / 2), "{delivered:?}");
    // The sidecar drops the slow client, which frees its slot; the client sees its connection end.
    poll::until(SOON, "the slot is free again", async || {
        request_events(&events.sidecar, "", &[]).await.status() == 200
    })
    .await;
    let mut received = Vec::new();
    let ended = timeout(SOON, slow.read_to_end(&mut received)).await.unwrap();
    let whole = FLOOD as usize * EVENT_BYTES;
    assert!(
        received.len() < whole / 2,
        "{ended:?} after {} of {whole} bytes",
        received.len()
    );
    events.report("a", 1).await;
    assert_eq!(fast.next().await.name, "report");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_client_receives_every_event() {
    let events = Events::start_with(|settings| settings.http.write_timeout_ms = 3_000).await;
    let mut slow = idle_reader(&events).await;
    flood(&events).await;
    // It reads a little at a time for longer than the write timeout, then the rest.
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..10 {
        ticks.tick().await;
        timeout(SOON, slow.read_exact(&mut buffer)).await.unwrap().unwrap();
    }
    let last = format!("id: {FLOOD}-0-");
    let mut text = String::new();
    while !text.contains(&last) {
        let read = timeout(SOON, slow.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "the stream ends before {last}");
        let kept = text.len().saturating_sub(last.len());
        text = text.split_off(kept);
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_are_limited_and_a_closed_stream_frees_its_slot() {
    let events = Events::start_with(|settings| {
        settings.http.max_event_streams = 2;
        settings.http.max_in_flight = 1;
        settings.http.events_heartbeat_ms = 100;
    })
    .await;
    let first = events.listen("").await;
    let mut second = events.listen("").await;
    let response = RestResponse::read(request_events(&events.sidecar, "", &[]).await).await;
    assert_eq!((response.status, response.code().as_str()), (503, "queue_full"));
    // Streams do not count as requests in flight.
    let live = crate::rest_fixture::client().get(format!("http://{}/risk/alerts", events.sidecar.address()));
    assert_eq!(live.send().await.unwrap().status(), 200);
    drop(first);
    poll::until(SOON, "the slot of the closed stream is free", async || {
        request_events(&events.sidecar, "", &[]).await.status() == 200
    })
    .await;
    // A heartbeat is not an event.
    for _ in 0..3 {
        assert_eq!(second.block().await.unwrap(), ": heartbeat");
    }
    events.report("a", 5).await;
    assert_eq!(second.next().await.number(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_survives_a_bus_restart() {
    let mut events = Events::start_with(|settings| settings.http.events_heartbeat_ms = 200).await;
    let mut listener = events.listen("").await;
    events.report("a", 1).await;
    assert_eq!(listener.next().await.number(), 1);
    events.nats.kill9();
    // Meanwhile the stream stays open and sends heartbeats.
    assert_eq!(listener.block().await.unwrap(), ": heartbeat");
    events.nats.restart().await;
    for number in 2..=50 {
        events.report("a", number).await;
    }
    for number in 2..=50 {
        assert_eq!(listener.next().await.number(), number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_event_streams_at_once() {
    let events = Events::start().await;
    let mut idle = events.listen("").await;
    let mut active = events.listen("").await;
    let blocked = idle_reader(&events).await;
    flood(&events).await;
    assert_eq!(journal_sequence(&active.next().await), 1);
    let started = Instant::now();
    let draining = tokio::spawn(events.sidecar.drain(SOON));
    // Both streams end as complete responses, not as broken connections.
    for listener in [&mut idle, &mut active] {
        while listener.block().await.is_some() {}
    }
    timeout(SOON, draining).await.unwrap().unwrap();
    assert!(started.elapsed() < SOON / 2, "{:?}", started.elapsed());
    drop(blocked);
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_event_stream_resumes_at_another_sidecar() {
    let mut events = Events::start().await;
    let mut listener = events.listen("").await;
    flood(&events).await;
    for sequence in 1..=10 {
        assert_eq!(journal_sequence(&listener.next().await), sequence);
    }
    let other = order_router::sidecar::Sidecar::start(&events.settings).await.unwrap();
    std::mem::replace(&mut events.sidecar, other).drain(SOON).await;
    while listener.block().await.is_some() {}
    let last_sequence: u64 = listener.last_id.split('-').next().unwrap().parse().unwrap();
    let mut resumed = Listener::resume(&events.sidecar, &listener.last_id).await;
    for sequence in last_sequence + 1..=FLOOD {
        assert_eq!(journal_sequence(&resumed.next().await), sequence);
    }
}
