//! Following a stream: each next_entry once and in order, filtered or complete, through restarts and losses of the stream.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use bytes::Bytes;
use order_router::bus::connection::Bus;
use order_router::bus::stream_follower::{FollowEvent, StartPosition, StreamExtent, StreamFollower};
use order_router::bus::{subjects, topology};
use order_router::domain::id::AccountId;
use tokio::time::{Instant, timeout};

use crate::bus_fixture::{SOON, broker, doors, settings, start};
use crate::journal_behind::{restore, snapshot};
use crate::support::poll::until;
use crate::support::servers::NatsServer;

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

/// Publishes numbered reports of an account and waits until the stream holds `last` entries.
async fn publish(bus: &Bus, name: &str, numbers: std::ops::RangeInclusive<u32>, last: u64) {
    for number in numbers {
        let body = Bytes::from(number.to_string());
        bus.publish(subjects::report(&broker(), &account(name)), body)
            .await
            .unwrap();
    }
    until(SOON, format!("the stream ends at {last}"), async || {
        let mut feed = StreamFollower::new(bus.clone(), subjects::STREAM_REPORTS, StartPosition::New);
        next(&mut feed).await;
        feed.last_sequence() == last
    })
    .await;
}

/// Returns the next event, skipping errors.
async fn next(feed: &mut StreamFollower) -> FollowEvent {
    let event = async {
        loop {
            if let Ok(followed) = feed.next().await {
                return followed;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, event).await.unwrap()
}

async fn next_start(feed: &mut StreamFollower) -> StreamExtent {
    match next(feed).await {
        FollowEvent::Started(extent) => extent,
        other => panic!("{other:?}"),
    }
}

async fn next_entry(feed: &mut StreamFollower) -> (u64, String) {
    match next(feed).await {
        FollowEvent::Entry(next_entry) => (
            next_entry.sequence,
            String::from_utf8(next_entry.body.to_vec()).unwrap(),
        ),
        other => panic!("{other:?}"),
    }
}

async fn expect_caught_up(feed: &mut StreamFollower) {
    assert_eq!(next(feed).await, FollowEvent::CaughtUp);
}

/// Replaces the journal's stream with an empty one.
async fn recreate(server: &NatsServer, bus: &Bus) {
    let client = async_nats::connect(server.url()).await.unwrap();
    async_nats::jetstream::new(client)
        .delete_stream(subjects::STREAM_REPORTS)
        .await
        .unwrap();
    topology::apply(bus, &settings(server), &doors(), &[broker()])
        .await
        .unwrap();
}

#[tokio::test]
async fn each_start_returns_its_entries_and_then_new_ones() {
    let (_server, bus) = start().await;
    let from = |start| StreamFollower::new(bus.clone(), subjects::STREAM_REPORTS, start).with_batch_size(3);
    let mut early = from(StartPosition::New);
    assert_eq!(next_start(&mut early).await.next_sequence, 1);
    publish(&bus, "a", 1..=20, 20).await;
    for (start, first) in [
        (StartPosition::Last(5), 16),
        (StartPosition::Last(99), 1),
        (StartPosition::From(0), 1),
        (StartPosition::From(7), 7),
        (StartPosition::From(21), 21),
        (StartPosition::New, 21),
        // The position belongs to a longer stream: this one is delivered from its start.
        (StartPosition::From(22), 1),
    ] {
        let mut feed = from(start);
        let extent = next_start(&mut feed).await;
        let found = (extent.first_sequence, extent.last_sequence, extent.next_sequence);
        assert_eq!(found, (1, 20, first), "{start:?}");
        for number in first..=20 {
            assert_eq!(next_entry(&mut feed).await, (number, number.to_string()), "{start:?}");
        }
        expect_caught_up(&mut feed).await;
        assert_eq!(feed.last_sequence(), 20);
    }
    // An next_entry published between the first read and the consumer's creation is delivered as well.
    for number in 1..=20 {
        assert_eq!(next_entry(&mut early).await.0, number);
    }
    expect_caught_up(&mut early).await;
    publish(&bus, "a", 21..=30, 30).await;
    for number in 21..=30 {
        assert_eq!(next_entry(&mut early).await, (number, number.to_string()));
    }
}

#[tokio::test]
async fn filter_returns_only_its_entries_and_catches_up_below_the_end() {
    let (_server, bus) = start().await;
    let filtered = |names: &[&str], start| {
        let filters = names
            .iter()
            .map(|name| subjects::account_reports_wildcard(&account(name)))
            .collect();
        StreamFollower::new(bus.clone(), subjects::STREAM_REPORTS, start).with_filters(filters)
    };
    publish(&bus, "a", 1..=2, 2).await;
    publish(&bus, "b", 3..=4, 4).await;
    publish(&bus, "c", 5..=6, 6).await;
    for (names, sequences) in [
        (vec!["a"], vec![1, 2]),
        (vec!["a", "b"], vec![1, 2, 3, 4]),
        (vec!["c"], vec![5, 6]),
        (vec!["d"], vec![]),
        (vec!["d", "e"], vec![]),
    ] {
        let mut feed = filtered(&names, StartPosition::From(1));
        next_start(&mut feed).await;
        for sequence in sequences {
            assert_eq!(next_entry(&mut feed).await.0, sequence, "{names:?}");
        }
        expect_caught_up(&mut feed).await;
    }
    let mut feed = filtered(&["b", "d"], StartPosition::New);
    next_start(&mut feed).await;
    expect_caught_up(&mut feed).await;
    publish(&bus, "a", 7..=7, 7).await;
    publish(&bus, "d", 8..=8, 8).await;
    assert_eq!(next_entry(&mut feed).await, (8, "8".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_restart_loses_and_doubles_no_entry() {
    let (mut server, bus) = start().await;
    publish(&bus, "a", 1..=1_000, 1_000).await;
    let mut feed =
        StreamFollower::new(bus.clone(), subjects::STREAM_REPORTS, StartPosition::From(1)).with_batch_size(16);
    next_start(&mut feed).await;
    for number in 1..=500 {
        assert_eq!(next_entry(&mut feed).await.0, number);
    }
    server.kill9();
    server.restart().await;
    assert!(bus.wait_until_connected(SOON).await);
    for number in 501..=1_000 {
        assert_eq!(next_entry(&mut feed).await.0, number);
    }
    expect_caught_up(&mut feed).await;
    // This time the stream is idle.
    server.kill9();
    server.restart().await;
    assert!(bus.wait_until_connected(SOON).await);
    publish(&bus, "a", 1_001..=1_010, 1_010).await;
    for number in 1_001..=1_010 {
        assert_eq!(next_entry(&mut feed).await.0, number);
    }
}

#[tokio::test]
async fn another_stream_restarts_the_follower() {
    let (server, bus) = start().await;
    publish(&bus, "a", 1..=5, 5).await;
    let mut feeds = Vec::new();
    for (start, delivered) in [
        (StartPosition::From(1), 5),
        (StartPosition::New, 0),
        (StartPosition::Last(2), 2),
    ] {
        let mut feed = StreamFollower::new(bus.clone(), subjects::STREAM_REPORTS, start);
        let created = next_start(&mut feed).await.created_at;
        for _ in 0..delivered {
            next_entry(&mut feed).await;
        }
        expect_caught_up(&mut feed).await;
        feeds.push((feed, created));
    }
    recreate(&server, &bus).await;
    publish(&bus, "b", 1..=3, 3).await;
    // Every next_entry is new, except for a follower of the last ones only.
    for ((mut feed, created), first) in feeds.into_iter().zip([1, 1, 2]) {
        let extent = next_start(&mut feed).await;
        assert_ne!(extent.created_at, created);
        assert_eq!((extent.last_sequence, extent.next_sequence), (3, first));
        for sequence in first..=3 {
            assert_eq!(next_entry(&mut feed).await.0, sequence);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_stream_restarts_at_the_followers_position() {
    let (mut server, bus) = start().await;
    publish(&bus, "a", 1..=5, 5).await;
    let kept = snapshot(&mut server).await;
    assert!(bus.wait_until_connected(SOON).await);
    publish(&bus, "a", 6..=9, 9).await;
    let mut feeds = Vec::new();
    for (begin, again, first) in [
        (StartPosition::From(1), None, 1),
        (StartPosition::From(1), Some(StartPosition::New), 6),
        (StartPosition::New, None, 6),
        (StartPosition::Last(2), None, 4),
    ] {
        let mut feed = StreamFollower::new(bus.clone(), subjects::STREAM_REPORTS, begin);
        next_start(&mut feed).await;
        while matches!(next(&mut feed).await, FollowEvent::Entry(_)) {}
        if let Some(start) = again {
            feed.set_restart_position(start);
        }
        feeds.push((feed, first));
    }
    restore(&mut server, &kept).await;
    assert!(bus.wait_until_connected(SOON).await);
    for (mut feed, first) in feeds {
        let extent = next_start(&mut feed).await;
        assert_eq!((extent.last_sequence, extent.next_sequence), (5, first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_read_rate() {
    const ENTRIES: u32 = 100_000;
    let (_server, bus) = start().await;
    publish(&bus, "a", 1..=ENTRIES, u64::from(ENTRIES)).await;
    let mut feed = StreamFollower::new(bus, subjects::STREAM_REPORTS, StartPosition::From(1));
    next_start(&mut feed).await;
    let next_start = Instant::now();
    for number in 1..=ENTRIES {
        assert_eq!(next_entry(&mut feed).await.0, u64::from(number));
    }
    let elapsed = next_start.elapsed();
    println!("{ENTRIES} entries in {elapsed:?}");
    // A small part of what an idle machine reaches: a follower that waits for each batch's expiry takes longer.
    assert!(elapsed.as_secs() < 20, "{elapsed:?}");
}
