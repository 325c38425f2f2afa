//! Event streams that are silent, many, slow, or at their end.

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

use crate::rest_events::{Event, Events, Listener, ask};
use crate::rest_fixture::{HttpResponse, SOON};
use crate::support::poll;

/// How many bytes an event of the flood has.
const EVENT_BYTES: usize = 32 * 1024;
/// How many events the flood has: far more than the buffers between two ends of a connection hold.
const FLOOD: u64 = 2_000;

/// Returns the journal's sequence in an event's id.
fn place_of(event: &Event) -> u64 {
    event.id.split('-').next().unwrap().parse().unwrap()
}

/// Opens a stream and takes no more of it than the beginning of its head.
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

/// Returns how far the server has delivered to each consumer of the journal.
async fn delivered(events: &Events) -> Vec<u64> {
    let context = jetstream::new(async_nats::connect(events.nats.url()).await.unwrap());
    let stream = context.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let consumers: Vec<_> = stream.consumers().try_collect().await.unwrap();
    consumers.iter().map(|info| info.delivered.stream_sequence).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_reads_nothing_is_dropped_and_delays_no_other() {
    let events = Events::start_with(|settings| {
        settings.http.max_event_streams = 2;
        settings.http.write_timeout_ms = 3_000;
    })
    .await;
    let mut slow = idle_reader(&events).await;
    let mut quick = events.listen("").await;
    flood(&events).await;
    for sequence in 1..=FLOOD {
        assert_eq!(place_of(&quick.next().await), sequence);
    }
    // What the slow one has not taken was not even asked for.
    let delivered = delivered(&events).await;
    // The order log is the third.
    assert_eq!(delivered.len(), 3, "{delivered:?}");
    assert!(delivered.contains(&FLOOD), "{delivered:?}");
    assert!(delivered.iter().any(|&sequence| sequence < FLOOD / 2), "{delivered:?}");
    // Its place comes back, so it is gone; and it sees that itself.
    poll::until(SOON, "the place is free again", async || {
        ask(&events.sidecar, "", &[]).await.status() == 200
    })
    .await;
    let mut taken = Vec::new();
    let ended = timeout(SOON, slow.read_to_end(&mut taken)).await.unwrap();
    let whole = FLOOD as usize * EVENT_BYTES;
    assert!(
        taken.len() < whole / 2,
        "{ended:?} after {} of {whole} bytes",
        taken.len()
    );
    events.report("a", 1).await;
    assert_eq!(quick.next().await.name, "report");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_client_gets_every_event() {
    let events = Events::start_with(|settings| settings.http.write_timeout_ms = 3_000).await;
    let mut slow = idle_reader(&events).await;
    flood(&events).await;
    // It takes a little at a time, for longer than it may take nothing, and then the rest.
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
async fn event_streams_are_bounded_and_free_their_place() {
    let events = Events::start_with(|settings| {
        settings.http.max_event_streams = 2;
        settings.http.max_in_flight = 1;
        settings.http.events_heartbeat_ms = 100;
    })
    .await;
    let first = events.listen("").await;
    let mut second = events.listen("").await;
    let received = HttpResponse::of(ask(&events.sidecar, "", &[]).await).await;
    assert_eq!((received.status, received.code().as_str()), (503, "queue_full"));
    // They take no place of a request's.
    let live = crate::rest_fixture::client().get(format!("http://{}/risk/alerts", events.sidecar.address()));
    assert_eq!(live.send().await.unwrap().status(), 200);
    drop(first);
    poll::until(SOON, "the place of a client that has gone is free", async || {
        ask(&events.sidecar, "", &[]).await.status() == 200
    })
    .await;
    // A heartbeat marks silence, and is no event.
    for _ in 0..3 {
        assert_eq!(second.block().await.unwrap(), ": heartbeat");
    }
    events.report("a", 5).await;
    assert_eq!(second.next().await.number(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_survives_a_bus_outage() {
    let mut events = Events::start_with(|settings| settings.http.events_heartbeat_ms = 200).await;
    let mut listener = events.listen("").await;
    events.report("a", 1).await;
    assert_eq!(listener.next().await.number(), 1);
    events.nats.kill9();
    // Meanwhile it is silent, and not ended.
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
    let mut silent = events.listen("").await;
    let mut received = events.listen("").await;
    let blocked = idle_reader(&events).await;
    flood(&events).await;
    assert_eq!(place_of(&received.next().await), 1);
    let begun = Instant::now();
    let draining = tokio::spawn(events.sidecar.drain(SOON));
    // Both end like answers that are complete, and not like connections that broke.
    for listener in [&mut silent, &mut received] {
        while listener.block().await.is_some() {}
    }
    timeout(SOON, draining).await.unwrap().unwrap();
    assert!(begun.elapsed() < SOON / 2, "{:?}", begun.elapsed());
    drop(blocked);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_resumes_at_another_sidecar() {
    let mut events = Events::start().await;
    let mut listener = events.listen("").await;
    flood(&events).await;
    for sequence in 1..=10 {
        assert_eq!(place_of(&listener.next().await), sequence);
    }
    let other = order_router::sidecar::Sidecar::start(&events.settings).await.unwrap();
    std::mem::replace(&mut events.sidecar, other).drain(SOON).await;
    while listener.block().await.is_some() {}
    let seen: u64 = listener.last_id.split('-').next().unwrap().parse().unwrap();
    let mut resumed = Listener::resume(&events.sidecar, &listener.last_id).await;
    for sequence in seen + 1..=FLOOD {
        assert_eq!(place_of(&resumed.next().await), sequence);
    }
}
