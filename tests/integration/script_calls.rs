//! How long one call keeps Redis: calls that would take long are continued in further ones, and what is large is read and
//! written in parts. Also what such parts must not do: appear in an emptied store, or be lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::config::instruments::MAX_INSTRUMENTS;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::VenueId;
use order_router::domain::mark_prices::MarkPrices;
use order_router::domain::order::Order;
use order_router::domain::order_terms::Mode;
use order_router::domain::quantity::Price;
use order_router::domain::symbol::Symbol;
use order_router::domain::time::TradingDate;
use order_router::store::orders::mark_journaled::MarkJournaledOutcome;
use order_router::store::orders::reserve::{ReserveAction, ReserveOutcome};
use order_router::store::sums::day::{DayRoll, DayRollOutcome};
use order_router::store::sums::ledgers::LedgerOwner;
use order_router::store::{Store, StoreError};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::conformance_store::ready_store;
use crate::rig::Rig;
use crate::store_scripts::{acquire_rebuild, event, filled, key, mark, order, reserve, watermark};

/// How long a document is that takes a script hundreds of microseconds to store.
const LARGE_DOCUMENT_BYTES: usize = 4 * 1_024 * 1_024;

/// Returns how many script calls Redis has run.
async fn script_calls(redis: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(redis).await.unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Denies an order, with a document.
async fn deny(store: &Store, order: &Order, document: Vec<u8>) {
    let denial = ReserveAction::RecordDecision {
        document,
        max_denials_per_hour: None,
    };
    assert_eq!(reserve(store, order, denial).await, ReserveOutcome::DenialRecorded);
}

/// Calls the script of claims once: Redis' first call of a script takes longer.
async fn warm_up(rig: &Rig, store: &Store) {
    reserve(store, &order(rig, 10), ReserveAction::Lookup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_a_long_call_has_left_are_answered_by_the_next() {
    let mut rig = Rig::start().await;
    rig.settings.redis.batch_max = 64;
    let store = ready_store(&rig).await;
    warm_up(&rig, &store).await;
    let mut redis = rig.redis.connection().await;
    let before = script_calls(&mut redis).await;
    let orders: Vec<_> = (0..8).map(|_| order(&rig, 10)).collect();
    let denials = orders
        .iter()
        .map(|order| deny(&store, order, vec![b' '; LARGE_DOCUMENT_BYTES]));
    futures_util::future::join_all(denials).await;
    let calls = script_calls(&mut redis).await - before;
    // The first call takes up nearly all of them: without an end of its own there would be two.
    assert!((3..=8).contains(&calls), "{calls}");
    for order in &orders {
        let length: usize = redis::cmd("HSTRLEN")
            .arg(format!("{{or}}:order:{}", key(order).name()))
            .arg("doc")
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(length, LARGE_DOCUMENT_BYTES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_that_a_long_call_has_left_are_replayed_by_the_next() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    warm_up(&rig, &store).await;
    let mut redis = rig.redis.connection().await;
    let mut events = Vec::new();
    for sequence in 1..=8 {
        let claim = order(&rig, 10);
        let update = filled(&claim, 5);
        let moved = claim.reservation_deltas().checked_add(&update.deltas).unwrap();
        let mut replay = event(&update, moved, sequence);
        let mut document = replay.document.to_vec();
        document.resize(LARGE_DOCUMENT_BYTES, b' ');
        replay.document = document.into();
        events.push(replay);
    }
    let before = script_calls(&mut redis).await;
    let replayed = store.replay_orders_with_conflicts(None, &events, None).await;
    assert_eq!(replayed, Ok((8, Vec::new())));
    let calls = script_calls(&mut redis).await - before;
    assert!((2..=4).contains(&calls), "{calls}");
    // A second time nothing changes, and a conflict has its index among all events.
    let namesake = Order {
        client_order_id: events[2].order.client_order_id.clone(),
        ..order(&rig, 10)
    };
    let mut again = events.clone();
    again[6] = event(&filled(&namesake, 5), events[6].deltas, 2);
    let replayed = store.replay_orders_with_conflicts(None, &again, None).await;
    assert_eq!(replayed, Ok((0, vec![6])));
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_of_as_many_holdings_as_there_may_be_instruments_is_read() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let mut redis = rig.redis.connection().await;
    let owner = LedgerOwner::Total(Mode::Paper);
    assert_eq!(store.read_ledger(owner.clone()).await.unwrap().holdings, []);
    let ledger = "{or}:totals:paper";
    redis
        .hset::<_, _, _, ()>(ledger, "sums", "20000 5 0 7 0 0 5000 0")
        .await
        .unwrap();
    for start in (0..MAX_INSTRUMENTS).step_by(500) {
        let holdings: Vec<(String, String)> = (start..start + 500)
            .map(|n| (format!("binance.spot:S{n}USDT"), format!("0 0 {n} 0 20000 -3 1 0")))
            .collect();
        redis.hset_multiple::<_, _, _, ()>(ledger, &holdings).await.unwrap();
    }
    let read = store.read_ledger(owner.clone()).await.unwrap();
    assert_eq!((read.day, read.notional, read.fill_result), (20_000, 5, 7));
    assert!(read.read_at_ms > 0);
    let mut positions: Vec<i128> = read.holdings.iter().map(|holding| holding.position).collect();
    positions.sort_unstable();
    assert_eq!(positions, (0..MAX_INSTRUMENTS as i128).collect::<Vec<_>>());
    // A Redis that was emptied is not taken for one that holds nothing, with and without the scripts of its epoch.
    rig.redis.flushall().await;
    let emptied = store.read_ledger(owner.clone()).await;
    assert!(matches!(emptied, Err(StoreError::Stale(_))), "{emptied:?}");
    let again = store.read_ledger(owner.clone()).await;
    assert!(matches!(again, Err(StoreError::Stale(_))), "{again:?}");
    let store = ready_store(&rig).await;
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
    let without_scripts = store.read_ledger(owner).await;
    assert!(
        matches!(without_scripts, Err(StoreError::Stale(_))),
        "{without_scripts:?}"
    );
}

/// Returns marks of this many instruments.
fn marks_of(instruments: usize) -> MarkPrices {
    let venue = VenueId::new("binance.spot").unwrap();
    let mark = |n: usize| {
        let price = Price::new(Decimal::from(n as i64)).unwrap();
        ((venue.clone(), Symbol::parse(&format!("S{n}USDT")).unwrap()), price)
    };
    (1..=instruments).map(mark).collect()
}

fn roll(date: TradingDate, marks: &MarkPrices) -> DayRoll {
    DayRoll {
        trading_date: date,
        marks: vec![(Mode::Paper, marks.clone())],
    }
}

async fn day_in_force(redis: &mut MultiplexedConnection) -> Option<TradingDate> {
    let date: Option<String> = redis.hget("{or}:state", "trading_date").await.unwrap();
    date.and_then(|date| TradingDate::parse(&date))
}

#[tokio::test(flavor = "multi_thread")]
async fn day_begins_with_the_marks_of_as_many_instruments_as_there_may_be() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let mut redis = rig.redis.connection().await;
    let date = TradingDate::parse("2100-01-02").unwrap();
    assert_eq!(store.read_day_marks(Mode::Paper, date).await, Ok(None));
    let marks = marks_of(MAX_INSTRUMENTS);
    let before = day_in_force(&mut redis).await;
    // A full Redis, which takes no new order, begins the day all the same.
    let limit = |bytes| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).clone();
    limit(1).exec_async(&mut redis).await.unwrap();
    let rolled = store.roll_day(before, &roll(date, &marks)).await;
    assert_eq!(rolled, Ok(DayRollOutcome::Rolled));
    limit(0).exec_async(&mut redis).await.unwrap();
    assert_eq!(store.read_day_marks(Mode::Paper, date).await, Ok(Some(marks.clone())));
    let key = format!("{{or}}:day_marks:paper:{date}");
    assert_eq!(redis.pttl::<_, i64>(&key).await.unwrap(), -1);

    // Another worker is later, or knows another day before: its marks do not count, and are dropped.
    let late = store.roll_day(before, &roll(date, &marks_of(1))).await;
    assert_eq!(late, Ok(DayRollOutcome::AlreadyRolled(date)));
    let later = TradingDate::parse("2100-01-03").unwrap();
    let lost = store.roll_day(before, &roll(later, &marks_of(1))).await;
    assert_eq!(lost, Ok(DayRollOutcome::Superseded(Some(date))));
    assert_eq!(store.read_day_marks(Mode::Paper, date).await, Ok(Some(marks)));
    let written: Vec<String> = redis.keys("{or}:day_marks:*:*:*").await.unwrap();
    assert_eq!(written, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_begins_a_day_writes_nothing_into_an_emptied_store() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let mut redis = rig.redis.connection().await;
    let before = day_in_force(&mut redis).await;
    rig.redis.flushall().await;
    let date = TradingDate::parse("2100-01-02").unwrap();
    let rolled = store.roll_day(before, &roll(date, &marks_of(3))).await;
    assert!(matches!(rolled, Err(StoreError::Stale(_))), "{rolled:?}");
    // Any key would make it look as if it held orders, and no worker would rebuild it by itself.
    assert_eq!(rig.store_keys().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_begins_before_an_event_that_is_known_to_be_lost_whatever_was_marked_before() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (known, lost) = (order(&rig, 10), order(&rig, 10));
    for order in [&known, &lost] {
        deny(&store, order, b"{}".to_vec()).await;
    }
    assert_eq!(
        store.mark_journaled(mark(&known, 1, 10)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    let mut redis = rig.redis.connection().await;
    redis
        .del::<_, ()>(format!("{{or}}:order:{}", key(&lost).name()))
        .await
        .unwrap();
    assert_eq!(
        store.mark_journaled(mark(&lost, 1, 5)).await,
        Ok(MarkJournaledOutcome::NeedsReplay)
    );
    assert_eq!(watermark(&store).await, 10);
    assert_eq!(acquire_rebuild(&store).await.journal_sequence, 4);
}
