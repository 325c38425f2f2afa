//! How long an emptied Redis takes to rebuild, with and without a snapshot, beside a consumer that only reads the journal.
//!
//! `cargo bench --bench recovery -- --events 1000000` starts nats-server and redis-server, fills a journal, and starts
//! workers on an empty Redis. `docs/performance.md` has measured times.

#[path = "../floor/arguments.rs"]
mod arguments;
mod journal;
#[path = "../floor/servers.rs"]
mod servers;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use order_router::bus::connection::{Bus, ConnectPolicy, connect};
use order_router::bus::journal::JournalReader;
use order_router::bus::journal::snapshots::JournalSnapshots;
use order_router::bus::topology;
use order_router::config::Settings;
use order_router::domain::id::BrokerId;
use order_router::worker::Worker;
use tokio::time::{Instant, sleep};

/// How many events are appended after the snapshot, in percent of those before it.
const REST_PERCENT: u64 = 10;
/// The longest that a snapshot of the whole journal may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(1_800);
/// The pause between two looks for it.
const SNAPSHOT_POLL: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = arguments::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => measure(300_000).await,
        ["--events", events] => measure(events.parse().context("--events")?).await,
        _ => bail!("usage: cargo bench --bench recovery [-- --events N]"),
    }
}

async fn measure(events: u64) -> anyhow::Result<()> {
    let servers = servers::Servers::start(false).await?;
    let mut settings = Settings::default();
    settings.nats.url.clone_from(&servers.addresses.nats);
    settings.redis.url.clone_from(&servers.addresses.redis);
    settings.journal.snapshot_entries = 0;
    let bus = connect(
        &settings.nats,
        "recovery",
        ConnectPolicy::RetryFor(Duration::from_secs(10)),
    )
    .await?;
    let brokers = settings.brokers.enabled.iter().map(|name| BrokerId::new(name));
    let brokers: Vec<BrokerId> = brokers.collect::<Result<_, _>>()?;
    topology::apply(&bus, &settings.nats, &settings.doors, &brokers).await?;
    let mut filler = journal::JournalFiller::new(&settings)?;
    let started = Instant::now();
    filler.append(&servers.addresses.nats, events).await?;
    println!(
        "filled a journal with {events} events in {}",
        seconds(started.elapsed())
    );

    let reading = read_all(&bus, events).await?;
    show("a consumer that only reads", events, reading, reading);
    let whole = rebuild(&settings).await?;
    show("rebuild from the whole journal", events, whole, reading);

    make_snapshot(&settings, &bus, events).await?;
    let rest = events * REST_PERCENT / 100;
    filler.append(&servers.addresses.nats, rest).await?;
    let from_snapshot = rebuild(&settings).await?;
    show(
        "rebuild from a snapshot and 10 % more",
        events + rest,
        from_snapshot,
        reading,
    );
    let reading = read_all(&bus, events + rest).await?;
    show("a consumer that only reads, again", events + rest, reading, reading);
    Ok(())
}

async fn read_all(bus: &Bus, at_least: u64) -> anyhow::Result<Duration> {
    let reader = JournalReader::new(bus.clone());
    let last = reader.read_extent().await?.last_sequence;
    let started = Instant::now();
    let entries = std::pin::pin!(reader.replay(1, last));
    let count = entries.filter(|entry| std::future::ready(entry.is_ok())).count().await;
    ensure!(count as u64 >= at_least, "the journal has {count} of {at_least} events");
    Ok(started.elapsed())
}

/// Empties Redis, and returns how long a worker takes to start.
async fn rebuild(settings: &Settings) -> anyhow::Result<Duration> {
    let client = redis::Client::open(settings.redis.url.as_str())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("slowlog-log-slower-than")
        .arg(1_000)
        .query_async::<()>(&mut connection)
        .await?;
    redis::cmd("SLOWLOG")
        .arg("RESET")
        .query_async::<()>(&mut connection)
        .await?;
    let started = Instant::now();
    let worker = Worker::start(settings).await?;
    let elapsed = started.elapsed();
    let slow: u64 = redis::cmd("SLOWLOG").arg("LEN").query_async(&mut connection).await?;
    let keys: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await?;
    println!("rebuilt {keys} keys; {slow} calls of Redis took more than 1 ms");
    worker.drain(Duration::from_secs(5)).await;
    Ok(elapsed)
}

/// Starts a worker that makes snapshots, and waits for one of every event.
async fn make_snapshot(settings: &Settings, bus: &Bus, events: u64) -> anyhow::Result<()> {
    let mut settings = settings.clone();
    settings.journal.snapshot_entries = events.max(1_000);
    let snapshots = JournalSnapshots::new(bus.clone());
    let started = Instant::now();
    let worker = Worker::start(&settings).await?;
    while snapshots.read_manifests().await?.is_empty() {
        ensure!(started.elapsed() < SNAPSHOT_TIMEOUT, "no snapshot was made");
        sleep(SNAPSHOT_POLL).await;
    }
    worker.drain(Duration::from_secs(5)).await;
    let newest = snapshots
        .read_manifests()
        .await?
        .into_iter()
        .next()
        .context("a snapshot")?
        .manifest?;
    println!(
        "made a snapshot up to sequence {} of {} parts in {}, in the background",
        newest.journal_sequence,
        newest.parts().count(),
        seconds(started.elapsed())
    );
    Ok(())
}

fn show(what: &str, events: u64, took: Duration, reading: Duration) {
    let micros = took.as_micros().max(1);
    let rate = u128::from(events) * 1_000_000 / micros;
    let share = reading.as_micros() * 100 / micros;
    println!("{what}: {}, {rate} events/s, {share} % of reading", seconds(took));
}

fn seconds(took: Duration) -> String {
    format!("{}.{:02} s", took.as_secs(), took.subsec_millis() / 10)
}
