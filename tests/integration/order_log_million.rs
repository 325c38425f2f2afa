//! A million orders in the order log: the speed of its rebuild from the journal, and the duration of each filter, alone
//! and combined with each other one, total included.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results, and a panic fails it"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_nats::jetstream;
use indicatif::{ProgressBar, ProgressStyle};
use order_router::bus::subjects;
use order_router::bus::topology;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use order_router::domain::time::{Timestamp, TradingDate};
use order_router::sidecar::Sidecar;
use order_router::wire::report::{ExecutionReport, ReportedFill};
use order_router::wire::settlement::{ReportSettlement, SettlementDeltas};
use serde_json::Value;
use tokio::time::Instant;

use crate::rest_fixture::client;
use crate::rig::Rig;

/// How many published messages may await their acknowledgement.
const PENDING_MAX: usize = 2_000;
/// The 99th percentile allowed for a filter that matches few orders, and for one that matches more.
const FEW: (u64, Duration) = (10_000, Duration::from_millis(50));
const MANY: Duration = Duration::from_millis(250);
/// How often each filter is queried.
const ROUNDS: usize = 100;
/// The slowest rebuild, in entries of the journal a second.
const SLOWEST_REBUILD: u128 = 20_000;

/// The fields in which orders differ.
#[derive(Debug, Clone)]
struct Facts {
    number: u64,
    account: String,
    broker: &'static str,
    symbol: &'static str,
    status: OrderStatus,
    submitted_at: Timestamp,
    tags: Vec<String>,
}

fn begin() -> Timestamp {
    Timestamp::parse("2026-03-02T09:00:00Z").unwrap()
}

impl Facts {
    /// Returns order `number` of `of`.
    fn new(number: u64, of: u64) -> Self {
        let (broker, symbol) = match number % 4 {
            0 => ("binance", "ETHUSDT"),
            1 => ("ibkr", "AAPL"),
            _ => ("binance", "BTCUSDT"),
        };
        let status = match number % 100 {
            0 => OrderStatus::Rejected,
            1 => OrderStatus::Cancelled,
            _ => OrderStatus::Filled,
        };
        let few = of.div_ceil(100);
        Self {
            number,
            account: if number.is_multiple_of(2) {
                "main".to_owned()
            } else {
                format!("fund-{}", number / 2 % 50)
            },
            broker,
            symbol,
            status,
            submitted_at: begin().saturating_add(Duration::from_millis(number * 50)),
            tags: vec![
                "Desk".to_owned(),
                format!("strategy:S{}", number / few.max(1)),
                format!("run-{}", number / 2),
            ],
        }
    }

    fn id(&self) -> String {
        format!("order-{}", self.number)
    }

    /// Returns the order's report as a worker journals it.
    fn report(&self) -> ExecutionReport {
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        let filled = self.status == OrderStatus::Filled;
        let fill = ReportedFill {
            exec_id: format!("{}-1", self.number),
            quantity: decimal("0.01"),
            price: decimal("30000"),
            timestamp: self.submitted_at.saturating_add(Duration::from_millis(2)),
            fee: Decimal::ZERO,
            fee_currency: "USDT".to_owned(),
        };
        let deltas = SettlementDeltas {
            long: Decimal::from(i64::from(filled)),
            position: Decimal::from(i64::from(filled)),
            cash_flow: -300_000_000 * i64::from(filled),
            daily_notional: 300_000_000,
            ..SettlementDeltas::default()
        };
        let settlement = ReportSettlement {
            id: Some(uuid::Uuid::from_u128(u128::from(self.number) + 1)),
            builds_on: None,
            epoch: 1,
            content: "0".repeat(64),
            deltas,
            total: deltas,
            earlier_days: Vec::new(),
            lot_size: decimal("0.00001"),
            base_rate: Decimal::from(1),
            base_asset: Some("BTC".to_owned()),
            mark: decimal("30000"),
            reserved_quantity: Decimal::ZERO,
            price_loss: 0,
            open_price_loss: 0,
            reduce_only: false,
            booked_on: TradingDate::parse("2026-03-02").unwrap(),
            notional: 300_000_000,
            daily_notional: 300_000_000,
            open_loss: 0,
            is_open: false,
            trading_date: TradingDate::parse("2026-03-02").unwrap(),
            filled_cost: decimal("300"),
            earlier_exec_ids: Vec::new(),
            legs: None,
            due: None,
            figures: order_router::domain::metadata::Metadata::new(),
        };
        ExecutionReport {
            order_id: format!("BN-{:032x}", self.number),
            broker_order_id: Some(format!("paper-{}", self.number)),
            client_order_id: self.id(),
            account_id: self.account.clone(),
            status: self.status,
            broker: self.broker.to_owned(),
            venue: format!("{}.x", self.broker),
            symbol: self.symbol.to_owned(),
            side: if self.number.is_multiple_of(3) {
                Side::Sell
            } else {
                Side::Buy
            },
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::Gtc,
            price: Some(decimal("30000")),
            quantity: decimal("0.01"),
            filled_quantity: if filled { decimal("0.01") } else { Decimal::ZERO },
            leaves_quantity: Decimal::ZERO,
            avg_price: filled.then(|| decimal("30000")),
            submitted_at: self.submitted_at,
            updated_at: self.submitted_at.saturating_add(Duration::from_millis(3)),
            fills: if filled { vec![fill] } else { Vec::new() },
            fills_total: u32::from(filled),
            tags: self.tags.clone(),
            mode: Mode::Paper,
            version: 1,
            reason: None,
            replace: None,
            settlement: Some(Box::new(settlement)),
        }
    }
}

type Takes = Box<dyn Fn(&Facts) -> bool>;

/// Returns each documented filter with a value that matches few orders, and one that matches many, if both exist.
fn filters(of: u64) -> Vec<(&'static str, String, Takes)> {
    let at = |number: u64| begin().saturating_add(Duration::from_millis(number * 50));
    let few = of.div_ceil(100);
    vec![
        (
            "account_id",
            "fund-7".to_owned(),
            Box::new(|facts: &Facts| facts.account == "fund-7"),
        ),
        (
            "account_id",
            "main".to_owned(),
            Box::new(|facts: &Facts| facts.account == "main"),
        ),
        (
            "symbol",
            "AAPL".to_owned(),
            Box::new(|facts: &Facts| facts.symbol == "AAPL"),
        ),
        (
            "symbol",
            "btc/usdt".to_owned(),
            Box::new(|facts: &Facts| facts.symbol == "BTCUSDT"),
        ),
        (
            "start",
            at(of - few).to_string(),
            Box::new(move |facts: &Facts| facts.submitted_at >= at(of - few)),
        ),
        ("start", at(0).to_string(), Box::new(|_: &Facts| true)),
        (
            "end",
            at(few).to_string(),
            Box::new(move |facts: &Facts| facts.submitted_at <= at(few)),
        ),
        ("end", at(of).to_string(), Box::new(|_: &Facts| true)),
        ("tag", "desk".to_owned(), Box::new(|_: &Facts| true)),
        (
            "tag",
            "RUN-17".to_owned(),
            Box::new(|facts: &Facts| facts.number / 2 == 17),
        ),
        (
            "strategy",
            "s3".to_owned(),
            Box::new(move |facts: &Facts| facts.number / few.max(1) == 3),
        ),
        (
            "broker",
            "ibkr".to_owned(),
            Box::new(|facts: &Facts| facts.broker == "ibkr"),
        ),
        (
            "broker",
            "binance".to_owned(),
            Box::new(|facts: &Facts| facts.broker == "binance"),
        ),
        (
            "status",
            "rejected".to_owned(),
            Box::new(|facts: &Facts| facts.status == OrderStatus::Rejected),
        ),
        (
            "status",
            "filled".to_owned(),
            Box::new(|facts: &Facts| facts.status == OrderStatus::Filled),
        ),
        (
            "client_order_id",
            "order-4711".to_owned(),
            Box::new(|facts: &Facts| facts.number == 4_711),
        ),
    ]
}

/// Appends the orders to the journal.
async fn journal(rig: &Rig, of: u64) -> Duration {
    let brokers = ["binance", "ibkr"].map(|name| BrokerId::new(name).unwrap());
    topology::apply(&rig.bus().await, &rig.settings.nats, &rig.settings.doors, &brokers)
        .await
        .unwrap();
    let stream = jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap());
    let bar = bar(of, "journaling");
    let (begun, mut pending) = (Instant::now(), VecDeque::new());
    for number in 0..of {
        let facts = Facts::new(number, of);
        let (broker, account) = (
            BrokerId::new(facts.broker).unwrap(),
            AccountId::new(&facts.account).unwrap(),
        );
        let body = facts.report().encode().into();
        pending.push_back(stream.publish(subjects::report(&broker, &account), body).await.unwrap());
        if pending.len() >= PENDING_MAX {
            pending.pop_front().unwrap().await.unwrap();
        }
        if number.is_multiple_of(1_000) {
            bar.set_position(number);
        }
    }
    for acknowledged in pending {
        acknowledged.await.unwrap();
    }
    bar.finish_and_clear();
    begun.elapsed()
}

fn bar(of: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {per_sec} eta {eta}").unwrap();
    ProgressBar::new(of).with_style(style).with_message(what)
}

/// Waits until the log is complete; returns the duration.
async fn wait_until_complete(sidecar: &Sidecar, of: u64, begun: Instant) -> Duration {
    let bar = bar(of, "projecting");
    let mut status = sidecar.order_log().watch_status();
    let is_whole = async {
        while !status.borrow_and_update().is_complete {
            bar.set_position(status.borrow().journal_sequence);
            status.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(600), is_whole).await.unwrap();
    bar.finish_and_clear();
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark of some minutes: `make bench-order-log`"]
async fn order_log_million() {
    let of: u64 = std::env::var("ORDERS")
        .ok()
        .map_or(1_000_000, |text| text.parse().unwrap());
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    let journaled = journal(&rig, of).await;
    println!("{of} orders journaled in {journaled:.1?}");
    let begun = Instant::now();
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let took = wait_until_complete(&sidecar, of, begun).await;
    let rate = u128::from(of) * 1_000 / took.as_millis().max(1);
    println!("the order log was rebuilt from the journal in {took:.1?}: {rate} entries a second");
    let file = rig.settings.data_dir.0.join("order-log/orders.sqlite");
    println!("its file has {} MB", std::fs::metadata(file).unwrap().len() / 1_000_000);
    sidecar.drain(Duration::from_secs(10)).await;
    let begun = Instant::now();
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    println!("opened again in {:.1?}", wait_until_complete(&sidecar, of, begun).await);
    assert!(rate > SLOWEST_REBUILD || of < 100_000, "{rate} entries a second");
    let facts: Vec<Facts> = (0..of).map(|number| Facts::new(number, of)).collect();
    let mut slow = Vec::new();
    for path in ["/orders/log", "/executions"] {
        slow.extend(measure(&sidecar, &facts, path).await);
    }
    assert!(slow.is_empty(), "too slow: {slow:#?}");
}

/// Queries every filter alone and combined with every other one, checks the totals, and returns the slow ones.
async fn measure(sidecar: &Sidecar, facts: &[Facts], path: &str) -> Vec<String> {
    let (filters, http) = (filters(facts.len() as u64), client());
    let (mut slow, mut worst) = (Vec::new(), BTreeMap::new());
    for (at, (name, value, takes)) in filters.iter().enumerate() {
        for (other, other_value, also) in &filters[at..] {
            let is_alone = (name, value) == (other, other_value);
            if name == other && !is_alone {
                continue;
            }
            let mut query = vec![(*name, value.as_str())];
            if !is_alone {
                query.push((*other, other_value.as_str()));
            }
            let is_listed = |one: &&Facts| path == "/orders/log" || one.status == OrderStatus::Filled;
            // An execution's timestamp is two milliseconds after that of its order.
            let is_shifted = path == "/executions" && query.iter().any(|(name, _)| *name == "end");
            let taken = facts.iter().filter(is_listed).filter(|one| takes(one) && also(one));
            let expected = taken.count() as u64;
            let url = format!("http://{}{path}", sidecar.address());
            let mut took = Vec::with_capacity(ROUNDS);
            for _ in 0..ROUNDS {
                let begun = Instant::now();
                let response = http.get(&url).query(&query).send().await.unwrap();
                let text = response.text().await.unwrap();
                took.push(begun.elapsed());
                let total = serde_json::from_str::<Value>(&text).unwrap()["metadata"]["total"].as_u64();
                let is_right =
                    total == Some(expected) || is_shifted && total.is_some_and(|total| total.abs_diff(expected) <= 1);
                assert!(is_right, "{path} {query:?}: {total:?} instead of {expected}");
            }
            took.sort();
            let p99 = took[ROUNDS * 99 / 100 - 1];
            let (kind, limit) = if expected <= FEW.0 {
                ("up to 10 000", FEW.1)
            } else {
                ("more", MANY)
            };
            let entry = worst.entry(kind).or_insert((Duration::ZERO, String::new(), 0));
            entry.2 += 1;
            if p99 > entry.0 {
                (entry.0, entry.1) = (p99, format!("{query:?}"));
            }
            if p99 > limit {
                slow.push(format!(
                    "{path} {query:?} takes {expected}: {p99:.1?} at the 99th percentile"
                ));
            }
        }
    }
    for (kind, (p99, query, count)) in worst {
        println!("{path}: {count} filters that take {kind}: the slowest {p99:.1?} at the 99th percentile ({query})");
    }
    slow
}
