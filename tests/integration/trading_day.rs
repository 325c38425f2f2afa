//! The trading day over real servers: it begins once, never goes back, survives the loss of Redis, and its profit and
//! loss are exact.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use order_router::bus::journal::{JournalEntry, JournalWriter};
use order_router::bus::subjects;
use order_router::domain::id::AccountId;
use order_router::domain::money::Micros;
use order_router::domain::time::{Clock, Timestamp, TradingDate};
use order_router::fault::FaultCode;
use order_router::store::sums::day::{DayRoll, DayRollOutcome};
use order_router::wire::day::DayEvent;
use order_router::worker::Worker;
use order_router::worker::trading_day::SNAPSHOT_MAX_AGE;
use redis::AsyncCommands;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

/// A clock that is set by hand.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(text: &str) -> Self {
        let hand = Self(Arc::default());
        hand.set(text);
        hand
    }

    fn set(&self, text: &str) {
        let at = Timestamp::parse(text).unwrap();
        self.0.store(at.as_milliseconds(), Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let hand = self.0.clone();
        Arc::new(move || Timestamp::from_milliseconds(hand.load(Ordering::SeqCst)))
    }
}

async fn worker(rig: &Rig, hand: &Hand) -> Worker {
    Worker::start_with_clock(&rig.settings, hand.clock()).await.unwrap()
}

/// Returns the days of the journal, in its order.
async fn days(client: &Client) -> Vec<DayEvent> {
    let entries = client.whole_journal().await;
    let days = entries
        .iter()
        .filter(|entry| entry.subject == subjects::event("day", None));
    days.map(|entry| serde_json::from_slice(&entry.body).unwrap()).collect()
}

async fn dates(client: &Client) -> Vec<String> {
    let days = days(client).await;
    days.iter().map(|day| day.trading_date.to_string()).collect()
}

/// Returns the day, the profit over all, and that of the default account, as a worker sees them.
async fn figures(worker: &Worker) -> (String, Option<i64>, Option<i64>) {
    let figures = poll::eventually(SOON, "the figures are known", async || {
        worker.router().trading_day.load_pnl().await.ok()
    });
    let (control, figures) = figures.await;
    assert_eq!(control.trading_date, Some(figures.trading_date));
    let account = figures.account_pnl(&AccountId::new("default").unwrap());
    let units = |micros: Option<Micros>| micros.map(Micros::units);
    (figures.trading_date.to_string(), units(figures.total), units(account))
}

async fn stands(worker: &Worker, wanted: (&str, Option<i64>)) {
    let wanted = (wanted.0.to_owned(), wanted.1, wanted.1);
    let mut last = None;
    let reached = poll::eventually(SOON, "the figures are these", async || {
        let now = figures(worker).await;
        let is_reached = now == wanted;
        last = Some(now);
        is_reached.then_some(())
    });
    assert!(tokio::time::timeout(SOON, reached).await.is_ok(), "{last:?}");
}

async fn buy(client: &Client, id: &str, quantity: &str, price: &str) {
    let order = intent(id, &[("quantity", quantity), ("price", price)]);
    client.report(&order).await;
}

async fn quote(rig: &Rig, last: &str) {
    let bus = rig.bus().await;
    let body = format!(r#"{{"last": {last}, "timestamp": "{}"}}"#, Timestamp::now());
    let subject = subjects::quote("binance.spot", "BTCUSDT");
    bus.publish(subject, body.into()).await.unwrap();
    bus.round_trip().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_roll_a_new_day_once() {
    let (rig, hand) = (Rig::start().await, Hand::at("2026-03-02T12:00:00Z"));
    let (workers, client) = (
        [
            worker(&rig, &hand).await,
            worker(&rig, &hand).await,
            worker(&rig, &hand).await,
        ],
        rig.caller().await,
    );
    assert_eq!(dates(&client).await, ["2026-03-02"]);
    let first = rig.sum("state", "generation").await;
    for day in 3..=9 {
        hand.set(&format!("2026-03-{day:02}T00:00:00Z"));
        for (date, ..) in join_all(workers.iter().map(figures)).await {
            assert_eq!(date, format!("2026-03-{day:02}"));
        }
    }
    let wanted: Vec<String> = (2..=9).map(|day| format!("2026-03-{day:02}")).collect();
    assert_eq!(dates(&client).await, wanted);
    assert_eq!(rig.sum("state", "generation").await, first + 7, "each day counts once");

    // Nobody asks for figures: the day begins all the same.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    hand.set("2026-03-10T00:00:00Z");
    poll::until(SOON, "an idle router begins the day", async || {
        dates(&client).await.len() == 9
    })
    .await;
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn day_journaled_by_a_dead_worker_is_activated() {
    let (rig, hand) = (Rig::start().await, Hand::at("2026-03-02T12:00:00Z"));
    let (worker, client) = (worker(&rig, &hand).await, rig.caller().await);
    buy(&client, "b1", "0.1", "30000").await;
    let (journal, _task) = JournalWriter::start(rig.bus().await, rig.settings.journal.clone());
    let body = r#"{"trading_date":"2026-03-03","starts":[{"mode":"paper","total":12.5,"accounts":{"default":12.5},
        "marks":[]}],"timestamp":"2026-03-03T00:00:00.000000Z"}"#;
    let entry = JournalEntry {
        message_id: "day:of-another".to_owned(),
        subject: subjects::event("day", None),
        body: body.into(),
        headers: Vec::new(),
    };
    journal.append(entry).await.unwrap();
    stands(&worker, ("2026-03-02", Some(0))).await;

    hand.set("2026-03-03T00:00:00Z");
    // The position is worth what it cost: equity is 0, and was 12.5 by the day's start.
    stands(&worker, ("2026-03-03", Some(-12_500_000))).await;
    assert_eq!(dates(&client).await, ["2026-03-02", "2026-03-03"]);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn profit_follows_the_quote_and_restarts_each_day() {
    let (mut rig, hand) = (Rig::start().await, Hand::at("2026-03-02T12:00:00Z"));
    let (one, client) = (worker(&rig, &hand).await, rig.caller().await);
    stands(&one, ("2026-03-02", Some(0))).await;
    buy(&client, "b1", "0.1", "30000").await;
    stands(&one, ("2026-03-02", Some(0))).await;
    quote(&rig, "29000").await;
    stands(&one, ("2026-03-02", Some(-100_000_000))).await;

    hand.set("2026-03-03T00:00:00Z");
    stands(&one, ("2026-03-03", Some(0))).await;
    quote(&rig, "29500").await;
    stands(&one, ("2026-03-03", Some(50_000_000))).await;
    let starts = async |rig: &Rig| {
        let of = async |date| rig.sum(&format!("day_start:paper:{date}"), "default").await;
        (of("2026-03-02").await, of("2026-03-03").await)
    };
    assert_eq!(starts(&rig).await, (0, -100_000_000));
    let days = days(&client).await;
    let journaled = &days[1].starts[0];
    assert_eq!(journaled.accounts["default"].unwrap().to_string(), "-100");
    assert_eq!(
        (journaled.marks.len(), journaled.marks[0].price.to_string()),
        (1, "29000".to_owned())
    );

    // The store of the day before is gone in a week, that of the day in force stays.
    let mut connection = rig.redis.connection().await;
    let ttl = async |connection: &mut redis::aio::MultiplexedConnection, date: &str| -> i64 {
        connection.pttl(format!("{{or}}:day_start:paper:{date}")).await.unwrap()
    };
    assert!(ttl(&mut connection, "2026-03-02").await > 0);
    assert_eq!(ttl(&mut connection, "2026-03-03").await, -1);

    // A deposit shifts the start: it is no profit.
    let _: i64 = connection
        .hincr("{or}:day_start:paper:2026-03-03", "default", 20_000_000)
        .await
        .unwrap();
    stands(&one, ("2026-03-03", Some(30_000_000))).await;
    let _: i64 = connection
        .hincr("{or}:day_start:paper:2026-03-03", "default", -20_000_000)
        .await
        .unwrap();

    // Redis restarts, then loses everything: date, start and position are what they were.
    rig.redis.restart().await;
    tokio::time::sleep(SNAPSHOT_MAX_AGE).await;
    stands(&one, ("2026-03-03", Some(50_000_000))).await;
    rig.quiet().await;
    rig.redis.flushall().await;
    tokio::time::sleep(SNAPSHOT_MAX_AGE).await;
    stands(&one, ("2026-03-03", Some(50_000_000))).await;
    assert_eq!(starts(&rig).await, (0, -100_000_000));
    assert_eq!(dates(&client).await, ["2026-03-02", "2026-03-03"]);
    one.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trading_date_never_goes_back() {
    let (mut rig, hand) = (Rig::start().await, Hand::at("2026-03-02T12:00:00Z"));
    rig.settings.risk.trading_day_time_zone = "Pacific/Kiritimati".to_owned();
    let (first, client) = (worker(&rig, &hand).await, rig.caller().await);
    assert_eq!(figures(&first).await.0, "2026-03-03");
    hand.set("2026-02-01T12:00:00Z");
    assert_eq!(figures(&first).await.0, "2026-03-03");
    first.drain(SOON).await;

    hand.set("2026-03-02T12:00:00Z");
    rig.settings.risk.trading_day_time_zone = "Pacific/Pago_Pago".to_owned();
    let second = worker(&rig, &hand).await;
    assert_eq!(
        second.router().trading_day.clock_trading_date().to_string(),
        "2026-03-02"
    );
    assert_eq!(figures(&second).await.0, "2026-03-03");
    // Neither does it after a loss of the store.
    rig.redis.flushall().await;
    tokio::time::sleep(SNAPSHOT_MAX_AGE).await;
    assert_eq!(figures(&second).await.0, "2026-03-03");
    assert_eq!(dates(&client).await, ["2026-03-03"]);
    // Nor does it for a worker that was slow, and looks what the day in force is before it begins an earlier one.
    let store = &second.router().store;
    let in_force = TradingDate::parse("2026-03-03");
    let earlier = DayRoll {
        trading_date: TradingDate::parse("2026-03-01").unwrap(),
        starts: Vec::new(),
    };
    let begun = store.roll_day(in_force, &earlier).await.unwrap();
    assert_eq!(Some(begun), in_force.map(DayRollOutcome::AlreadyRolled));
    // It goes on from there.
    hand.set("2026-03-04T11:00:00Z");
    assert_eq!(figures(&second).await.0, "2026-03-04");
    second.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_york_day_starts_by_local_time_also_across_daylight_saving() {
    let (mut rig, hand) = (Rig::start().await, Hand::at("2026-03-07T21:59:59Z"));
    rig.settings.risk.trading_day_time_zone = "America/New_York".to_owned();
    rig.settings.risk.trading_day_begins = "17:00".to_owned();
    let worker = worker(&rig, &hand).await;
    for (moment, date) in [
        ("2026-03-07T21:59:59Z", "2026-03-06"),
        ("2026-03-07T22:00:00Z", "2026-03-07"),
        ("2026-03-08T20:59:59Z", "2026-03-07"),
        ("2026-03-08T21:00:00Z", "2026-03-08"),
    ] {
        hand.set(moment);
        assert_eq!(figures(&worker).await.0, date, "{moment}");
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_pnl_is_fresh_and_of_the_active_control_or_refused() {
    let (mut rig, hand) = (Rig::start().await, Hand::at("2026-03-02T12:00:00Z"));
    let worker = worker(&rig, &hand).await;
    let router = worker.router();
    let (control, _) = router.trading_day.load_pnl().await.unwrap();

    // Another generation that this worker knows of is in its figures at once.
    let mut connection = rig.redis.connection().await;
    let _: i64 = connection.hincr("{or}:state", "generation", 1).await.unwrap();
    router.control.refresh().await.unwrap();
    let (newer, _) = router.trading_day.load_pnl().await.unwrap();
    assert_eq!(newer.generation, control.generation + 1);

    // A store that does not answer gives no figures once the last ones are too old.
    rig.redis.pause();
    tokio::time::sleep(SNAPSHOT_MAX_AGE).await;
    let fault = router.trading_day.load_pnl().await.unwrap_err();
    assert_eq!(fault.code, FaultCode::StoreUnavailable);
    rig.redis.resume();
    poll::until(SOON, "figures come again", async || {
        router.trading_day.load_pnl().await.is_ok()
    })
    .await;

    // Neither does one that has lost the day's start.
    let _: i64 = connection.del("{or}:day_start:paper:2026-03-02").await.unwrap();
    poll::until(SOON, "the start is missed", async || {
        let told = router.trading_day.load_pnl().await;
        told.is_err_and(|fault| fault.detail.contains("start of 2026-03-02"))
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notional_counts_on_the_day_it_is_routed() {
    // Counters of days that are long over are not made anew: these are today and tomorrow.
    let (today, tomorrow) = (
        Timestamp::now(),
        Timestamp::now().saturating_add(Duration::from_secs(86_400)),
    );
    let (mut rig, hand) = (Rig::start().await, Hand::at(&today.to_string()));
    rig.settings.risk.daily_notional_limit = "60".to_owned();
    let (worker, client) = (worker(&rig, &hand).await, rig.caller().await);
    let routed = async || {
        let of = async |date: TradingDate| rig.sum(&format!("day:paper:{date}"), "daily_notional").await;
        (of(today.utc_date()).await, of(tomorrow.utc_date()).await)
    };
    for id in ["a1", "a2"] {
        buy(&client, id, "0.001", "30000").await;
    }
    let full = client.fault(&intent("a3", &[])).await;
    assert_eq!(full.code, FaultCode::DailyNotionalExceeded);
    assert_eq!(routed().await, (60_000_000, 0));
    // The new day has its own room from its first moment on, and the day before keeps what it had.
    hand.set(&tomorrow.to_string());
    buy(&client, "b1", "0.001", "30000").await;
    assert_eq!(routed().await, (60_000_000, 30_000_000));
    // So it is in a store that is made anew.
    rig.quiet().await;
    rig.redis.flushall().await;
    tokio::time::sleep(SNAPSHOT_MAX_AGE).await;
    assert_eq!(figures(&worker).await.0, tomorrow.utc_date().to_string());
    assert_eq!(routed().await, (60_000_000, 30_000_000));
    worker.drain(SOON).await;
}

/// Reads the epoch and the trading date at one moment.
const EPOCH_AND_DATE: &str =
    "return {redis.call('HGET', KEYS[1], 'epoch') or '', redis.call('HGET', KEYS[2], 'trading_date') or ''}";

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_store_has_its_day_before_use() {
    let (rig, hand) = (Rig::start().await, Hand::at("2026-03-02T12:00:00Z"));
    let worker = worker(&rig, &hand).await;
    let mut connection = rig.redis.connection().await;
    for _ in 0..5 {
        rig.redis.flushall().await;
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let mut look = redis::cmd("EVAL");
            look.arg(EPOCH_AND_DATE).arg(2).arg("{or}:meta").arg("{or}:state");
            let (epoch, date): (String, String) = look.query_async(&mut connection).await.unwrap();
            if epoch.parse::<i64>().is_ok() {
                assert_eq!(date, "2026-03-02");
                break;
            }
            assert!(tokio::time::Instant::now() < end, "it is not healed: {epoch:?}");
        }
    }
    worker.drain(SOON).await;
}
