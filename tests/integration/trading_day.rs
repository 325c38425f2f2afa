//! The trading day over real servers: it rolls once, never moves back, survives the loss of Redis, and its profit and
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
use order_router::domain::daily_pnl::ProfitView;
use order_router::domain::id::AccountId;
use order_router::domain::time::{Clock, Timestamp, TradingDate};
use order_router::fault::FaultCode;
use order_router::store::sums::day::{DayRoll, DayRollOutcome};
use order_router::wire::day::DayEvent;
use order_router::worker::Worker;
use order_router::worker::trading_day::{VIEW_RENEWAL, VIEW_REUSE};
use redis::AsyncCommands;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

/// A clock that the test sets.
#[derive(Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub fn at(text: &str) -> Self {
        let manual_clock = Self(Arc::default());
        manual_clock.set(text);
        manual_clock
    }

    pub fn set(&self, text: &str) {
        let at = Timestamp::parse(text).unwrap();
        self.0.store(at.as_milliseconds(), Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let manual_clock = self.0.clone();
        Arc::new(move || Timestamp::from_milliseconds(manual_clock.load(Ordering::SeqCst)))
    }
}

pub async fn worker(rig: &Rig, manual_clock: &ManualClock) -> Worker {
    Worker::start_with_clock(&rig.settings, manual_clock.clock())
        .await
        .unwrap()
}

/// Returns the day rolls of the journal, in order.
async fn days(client: &Client) -> Vec<DayEvent> {
    let entries = client.whole_journal().await;
    let days = entries
        .iter()
        .filter(|entry| entry.subject == subjects::event("day", None));
    days.map(|entry| serde_json::from_slice(&entry.body).unwrap()).collect()
}

pub async fn dates(client: &Client) -> Vec<String> {
    let days = days(client).await;
    days.iter().map(|day| day.trading_date.to_string()).collect()
}

/// Returns a worker's trading day, total profit and loss, and that of the default account.
async fn read_daily_pnl(worker: &Worker) -> (String, Option<i64>, Option<i64>) {
    let pnl = poll::eventually(SOON, "the profit and loss is known", async || {
        worker
            .router()
            .trading_day
            .load_pnl(&AccountId::default_account())
            .await
            .ok()
    });
    let (control, pnl) = pnl.await;
    assert_eq!(control.trading_date, Some(pnl.trading_date));
    let units = |view: &ProfitView| view.day.unpriced.is_empty().then_some(view.day.profit.units());
    (pnl.trading_date.to_string(), units(&pnl.total), units(&pnl.account))
}

async fn wait_for_daily_pnl(worker: &Worker, wanted: (&str, Option<i64>)) {
    let wanted = (wanted.0.to_owned(), wanted.1, wanted.1);
    let mut last = None;
    let reached = poll::eventually(SOON, "the profit and loss has the expected value", async || {
        let now = read_daily_pnl(worker).await;
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

pub async fn quote(rig: &Rig, last: &str) {
    let bus = rig.bus().await;
    let body = format!(r#"{{"last": {last}, "timestamp": "{}"}}"#, Timestamp::now());
    let subject = subjects::quote("binance.spot", "BTCUSDT");
    bus.publish(subject, body.into()).await.unwrap();
    bus.round_trip().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_roll_a_new_day_once() {
    let (rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    let (workers, client) = (
        [
            worker(&rig, &manual_clock).await,
            worker(&rig, &manual_clock).await,
            worker(&rig, &manual_clock).await,
        ],
        rig.caller().await,
    );
    assert_eq!(dates(&client).await, ["2026-03-02"]);
    let first = rig.sum("state", "generation").await;
    for day in 3..=9 {
        manual_clock.set(&format!("2026-03-{day:02}T00:00:00Z"));
        for (date, ..) in join_all(workers.iter().map(read_daily_pnl)).await {
            assert_eq!(date, format!("2026-03-{day:02}"));
        }
    }
    let wanted: Vec<String> = (2..=9).map(|day| format!("2026-03-{day:02}")).collect();
    assert_eq!(dates(&client).await, wanted);
    assert_eq!(rig.sum("state", "generation").await, first + 7, "each day counts once");

    // Without any read of the profit and loss, the day still rolls.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    manual_clock.set("2026-03-10T00:00:00Z");
    poll::until(SOON, "an idle router rolls the day", async || {
        dates(&client).await.len() == 9
    })
    .await;
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn day_journaled_by_a_dead_worker_is_activated() {
    let (rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    let (worker, client) = (worker(&rig, &manual_clock).await, rig.caller().await);
    buy(&client, "b1", "0.1", "30000").await;
    let (journal, _task) = JournalWriter::start(rig.bus().await, rig.settings.journal.clone());
    let body = r#"{"trading_date":"2026-03-03","starts":[{"mode":"paper",
        "marks":[{"venue":"binance.spot","symbol":"BTCUSDT","price":30125}]}],"timestamp":"2026-03-03T00:00:00.000000Z"}"#;
    let entry = JournalEntry {
        message_id: "day:of-another".to_owned(),
        subject: subjects::event("day", None),
        body: body.into(),
        headers: Vec::new(),
    };
    journal.append(entry).await.unwrap();
    wait_for_daily_pnl(&worker, ("2026-03-02", Some(0))).await;

    manual_clock.set("2026-03-03T00:00:00Z");
    // The position is worth its cost of 30000, and the day starts at 30125.
    wait_for_daily_pnl(&worker, ("2026-03-03", Some(-12_500_000))).await;
    assert_eq!(dates(&client).await, ["2026-03-02", "2026-03-03"]);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn profit_follows_the_quote_and_restarts_each_day() {
    let (mut rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    let (one, client) = (worker(&rig, &manual_clock).await, rig.caller().await);
    wait_for_daily_pnl(&one, ("2026-03-02", Some(0))).await;
    buy(&client, "b1", "0.1", "30000").await;
    wait_for_daily_pnl(&one, ("2026-03-02", Some(0))).await;
    quote(&rig, "29000").await;
    wait_for_daily_pnl(&one, ("2026-03-02", Some(-100_000_000))).await;

    manual_clock.set("2026-03-03T00:00:00Z");
    wait_for_daily_pnl(&one, ("2026-03-03", Some(0))).await;
    quote(&rig, "29500").await;
    wait_for_daily_pnl(&one, ("2026-03-03", Some(50_000_000))).await;
    let start_mark = async |rig: &Rig, date: &str| {
        let marks = &rig.store().await[&format!("day_marks:paper:{date}")];
        marks["binance.spot:BTCUSDT"].clone()
    };
    assert_eq!(start_mark(&rig, "2026-03-03").await, "29000");
    let days = days(&client).await;
    let journaled = &days[1].starts[0].marks;
    let bitcoin = journaled.iter().find(|mark| mark.symbol == "BTCUSDT").unwrap();
    assert_eq!(bitcoin.price.to_string(), "29000");

    // The marks of the previous day expire in a week, those of the current day do not.
    let mut connection = rig.redis.connection().await;
    let ttl = async |connection: &mut redis::aio::MultiplexedConnection, date: &str| -> i64 {
        connection.pttl(format!("{{or}}:day_marks:paper:{date}")).await.unwrap()
    };
    assert!(ttl(&mut connection, "2026-03-02").await > 0);
    assert_eq!(ttl(&mut connection, "2026-03-03").await, -1);

    // Redis restarts, then loses everything: date, day start and position are unchanged.
    rig.redis.restart().await;
    tokio::time::sleep(VIEW_REUSE).await;
    wait_for_daily_pnl(&one, ("2026-03-03", Some(50_000_000))).await;
    rig.quiet().await;
    rig.redis.flushall().await;
    tokio::time::sleep(VIEW_REUSE).await;
    wait_for_daily_pnl(&one, ("2026-03-03", Some(50_000_000))).await;
    assert_eq!(start_mark(&rig, "2026-03-03").await, "29000");
    assert_eq!(dates(&client).await, ["2026-03-02", "2026-03-03"]);
    one.drain(SOON).await;
}

/// How often a measurement is repeated that a pause of this machine has spoiled.
const MAX_MEASUREMENTS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn view_that_is_used_near_its_end_is_read_again_before_the_next_order() {
    let (rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    let one = worker(&rig, &manual_clock).await;
    let account = AccountId::new("acc-1").unwrap();
    let measured_at = async || {
        one.router()
            .trading_day
            .load_pnl(&account)
            .await
            .unwrap()
            .1
            .measured_at_ms
    };
    for _ in 0..MAX_MEASUREMENTS {
        tokio::time::sleep(VIEW_REUSE).await;
        let started_at = tokio::time::Instant::now();
        let first = measured_at().await;
        tokio::time::sleep_until(started_at + VIEW_RENEWAL + Duration::from_millis(20)).await;
        let used = measured_at().await;
        let is_in_time = started_at.elapsed() < VIEW_REUSE;
        tokio::time::sleep_until(started_at + VIEW_REUSE + Duration::from_millis(50)).await;
        let now_ms = Timestamp::now().as_milliseconds();
        let later = measured_at().await;
        if is_in_time && started_at.elapsed() < VIEW_RENEWAL + VIEW_REUSE {
            assert_eq!(used, first);
            // The first view has ended, and this one was read before it was asked for.
            assert!(first < later && later < now_ms, "{first} {later} {now_ms}");
            one.drain(SOON).await;
            return;
        }
    }
    panic!("this machine paused in each of {MAX_MEASUREMENTS} measurements");
}

#[tokio::test(flavor = "multi_thread")]
async fn trading_date_never_goes_back() {
    let (mut rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    rig.settings.risk.trading_day_time_zone = "Pacific/Kiritimati".to_owned();
    let (first, client) = (worker(&rig, &manual_clock).await, rig.caller().await);
    assert_eq!(read_daily_pnl(&first).await.0, "2026-03-03");
    manual_clock.set("2026-02-01T12:00:00Z");
    assert_eq!(read_daily_pnl(&first).await.0, "2026-03-03");
    first.drain(SOON).await;

    manual_clock.set("2026-03-02T12:00:00Z");
    rig.settings.risk.trading_day_time_zone = "Pacific/Pago_Pago".to_owned();
    rig.apply_limits().await;
    let second = worker(&rig, &manual_clock).await;
    assert_eq!(
        second.router().trading_day.clock_trading_date().to_string(),
        "2026-03-02"
    );
    assert_eq!(read_daily_pnl(&second).await.0, "2026-03-03");
    // It does not move back after a loss of the store.
    rig.redis.flushall().await;
    tokio::time::sleep(VIEW_REUSE).await;
    assert_eq!(read_daily_pnl(&second).await.0, "2026-03-03");
    assert_eq!(dates(&client).await, ["2026-03-03"]);
    // Nor for a slow worker that reads the current day before it rolls to an earlier one.
    let store = &second.router().store;
    let in_force = TradingDate::parse("2026-03-03");
    let earlier = DayRoll {
        trading_date: TradingDate::parse("2026-03-01").unwrap(),
        marks: Vec::new(),
    };
    let outcome = store.roll_day(in_force, &earlier).await.unwrap();
    assert_eq!(Some(outcome), in_force.map(DayRollOutcome::AlreadyRolled));
    // The next day rolls from there.
    manual_clock.set("2026-03-04T11:00:00Z");
    assert_eq!(read_daily_pnl(&second).await.0, "2026-03-04");
    second.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_york_day_starts_by_local_time_also_across_daylight_saving() {
    let (mut rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-07T21:59:59Z"));
    rig.settings.risk.trading_day_time_zone = "America/New_York".to_owned();
    rig.settings.risk.trading_day_begins = "17:00".to_owned();
    let worker = worker(&rig, &manual_clock).await;
    for (moment, date) in [
        ("2026-03-07T21:59:59Z", "2026-03-06"),
        ("2026-03-07T22:00:00Z", "2026-03-07"),
        ("2026-03-08T20:59:59Z", "2026-03-07"),
        ("2026-03-08T21:00:00Z", "2026-03-08"),
    ] {
        manual_clock.set(moment);
        assert_eq!(read_daily_pnl(&worker).await.0, date, "{moment}");
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_pnl_is_fresh_and_of_the_active_control_or_refused() {
    let (mut rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    let worker = worker(&rig, &manual_clock).await;
    let router = worker.router();
    let (control, _) = router
        .trading_day
        .load_pnl(&AccountId::default_account())
        .await
        .unwrap();

    // The profit and loss uses a newer control generation at once.
    let mut connection = rig.redis.connection().await;
    let _: i64 = connection.hincr("{or}:state", "generation", 1).await.unwrap();
    router.control.refresh().await.unwrap();
    let (newer, _) = router
        .trading_day
        .load_pnl(&AccountId::default_account())
        .await
        .unwrap();
    assert_eq!(newer.generation, control.generation + 1);

    // Without a store the profit and loss is refused once the last snapshot is too old.
    rig.redis.pause();
    tokio::time::sleep(VIEW_REUSE).await;
    let fault = router
        .trading_day
        .load_pnl(&AccountId::default_account())
        .await
        .unwrap_err();
    assert_eq!(fault.code, FaultCode::StoreUnavailable);
    rig.redis.resume();
    poll::until(SOON, "the profit and loss is available again", async || {
        router.trading_day.load_pnl(&AccountId::default_account()).await.is_ok()
    })
    .await;

    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notional_counts_on_the_day_it_is_routed() {
    let (today, tomorrow) = (
        Timestamp::now(),
        Timestamp::now().saturating_add(Duration::from_secs(86_400)),
    );
    let (mut rig, manual_clock) = (Rig::start().await, ManualClock::at(&today.to_string()));
    rig.settings.risk.daily_notional_limit = "60".to_owned();
    let (worker, client) = (worker(&rig, &manual_clock).await, rig.caller().await);
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
    // The new day has its full limit from its first moment.
    manual_clock.set(&tomorrow.to_string());
    buy(&client, "b1", "0.001", "30000").await;
    assert_eq!(routed().await, (0, 30_000_000));
    // A rebuilt store has the same sums.
    rig.quiet().await;
    rig.redis.flushall().await;
    tokio::time::sleep(VIEW_REUSE).await;
    assert_eq!(read_daily_pnl(&worker).await.0, tomorrow.utc_date().to_string());
    assert_eq!(routed().await, (0, 30_000_000));
    worker.drain(SOON).await;
}

/// Reads the epoch and the trading date atomically.
const EPOCH_AND_DATE: &str =
    "return {redis.call('HGET', KEYS[1], 'epoch') or '', redis.call('HGET', KEYS[2], 'trading_date') or ''}";

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_store_has_its_day_before_use() {
    let (rig, manual_clock) = (Rig::start().await, ManualClock::at("2026-03-02T12:00:00Z"));
    let worker = worker(&rig, &manual_clock).await;
    let mut connection = rig.redis.connection().await;
    for _ in 0..5 {
        rig.redis.flushall().await;
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let mut query = redis::cmd("EVAL");
            query.arg(EPOCH_AND_DATE).arg(2).arg("{or}:meta").arg("{or}:state");
            let (epoch, date): (String, String) = query.query_async(&mut connection).await.unwrap();
            if epoch.parse::<i64>().is_ok() {
                assert_eq!(date, "2026-03-02");
                break;
            }
            assert!(tokio::time::Instant::now() < end, "the store is not rebuilt: {epoch:?}");
        }
    }
    worker.drain(SOON).await;
}
