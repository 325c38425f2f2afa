//! The metrics of workers and the sidecar, over HTTP, on real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use order_router::config::brokers::RestFill;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::store::limits::MAX_OPEN_SETS;
use order_router::worker::{Worker, WorkerError};
use redis::AsyncCommands;

use crate::exposition::Scrape;
use crate::external_venue::{Venue, additional_brokers};
use crate::rest_fixture::{Rest, client};
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;
use crate::support::ports::PortLease;
use crate::support::process::RouterProcess;

const INTENTS: &str = "order_router_intents_total";
const REPORTS: &str = "order_router_reports_total";
const REQUESTS: &str = "order_router_requests_total";
const OPEN: &str = "order_router_open_orders";
const STAGE_COUNT: &str = "order_router_stage_duration_seconds_count";
const CONNECTED: &str = "order_router_nats_connected";
const USED: &str = "order_router_limit_used_ratio";

/// A router that exports metrics.
async fn rig() -> (Rig, Client) {
    let mut rig = Rig::start().await;
    rig.settings.metrics.addr = Some(([127, 0, 0, 1], 0).into());
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig.settings.risk.daily_notional_limit = "100000".to_owned();
    let client = rig.caller().await;
    (rig, client)
}

fn metrics_address(worker: &Worker) -> SocketAddr {
    worker.metrics_address().unwrap()
}

async fn health(address: SocketAddr, path: &str) -> u16 {
    let response = client().get(format!("http://{address}{path}")).send().await;
    response.unwrap().status().as_u16()
}

fn counts<const N: usize, const L: usize>(rows: [([&'static str; L], u64); N]) -> BTreeMap<Vec<&'static str>, u64> {
    rows.map(|(labels, count)| (labels.to_vec(), count)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_counted_by_broker_status_and_reason_on_both_doors() {
    let (rig, client) = rig().await;
    let worker = rig.worker().await;
    client.report(&intent("filled-1", &[])).await;
    client.report(&intent("filled-2", &[])).await;
    client.report(&intent("filled-1", &[])).await;
    let denied = intent("denied", &[("quantity", "0.76")]);
    assert_eq!(client.fault(&denied).await.code, FaultCode::OrderSizeExceeded);
    assert_eq!(client.fault(&denied).await.code, FaultCode::OrderSizeExceeded);
    let conflict = intent("filled-1", &[("quantity", "0.002")]);
    assert_eq!(client.fault(&conflict).await.code, FaultCode::ClientOrderIdConflict);
    let stranger = intent("stranger", &[("symbol", "\"DOGEUSDT\"")]);
    assert_eq!(client.fault(&stranger).await.code, FaultCode::UnsupportedPair);
    assert_eq!(
        client.fault(&intent("x", &[("stop_price", "1")])).await.code,
        FaultCode::UnknownField
    );
    for broker in ["kraken", "bitfinex"] {
        let elsewhere = intent("elsewhere", &[("broker", &format!("{broker:?}"))]);
        assert_eq!(client.fault(&elsewhere).await.code, FaultCode::UnknownBroker);
    }
    let open = client.report(&ibkr("open", &[])).await;
    assert_eq!(open.status, OrderStatus::PartiallyFilled);
    let left = client.report(&ibkr("cancelled", &[])).await;
    let name = format!("{{\"order_id\":{:?}}}", left.order_id);
    client.order("cancel", "ibkr", &name).await.unwrap();
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::default_account());
    let durable = intent("durable", &[]).into_bytes().into();
    let kept = client.caller.publish_intent(&broker, &account, durable, None, None);
    kept.await.unwrap();

    let address = metrics_address(&worker);
    let label = [("broker", "ibkr")];
    let taken = ["binance", "durable", "filled", "none"];
    let labels: Vec<(&str, &str)> = ["broker", "door", "outcome", "code"].into_iter().zip(taken).collect();
    Scrape::wait_for(address, INTENTS, &labels, Some("1")).await;
    let scrape = Scrape::wait_for(address, OPEN, &label, Some("1")).await;
    assert_eq!(
        scrape.counts(INTENTS),
        counts([
            (["binance", "request", "filled", "none"], 2),
            (["binance", "request", "replayed", "none"], 1),
            (["binance", "request", "denied", "order_size_exceeded"], 1),
            (["binance", "request", "replayed", "order_size_exceeded"], 1),
            (["binance", "request", "refused", "client_order_id_conflict"], 1),
            (["binance", "request", "refused", "unsupported_pair"], 1),
            (["binance", "request", "refused", "unknown_field"], 1),
            (["other", "request", "refused", "unknown_broker"], 2),
            (["ibkr", "request", "partially_filled", "none"], 2),
            (["binance", "durable", "filled", "none"], 1),
        ])
    );
    assert_eq!(
        scrape.counts(REPORTS),
        counts([
            (["binance", "filled", "none"], 3),
            (["binance", "rejected", "order_size_exceeded"], 1),
            (["ibkr", "partially_filled", "none"], 2),
            (["ibkr", "cancelled", "cancel_requested"], 1),
        ])
    );
    assert_eq!(scrape.counts(REQUESTS)[&vec!["cancel", "ok"]], 1);
    assert_eq!(scrape.counts(REQUESTS)[&vec!["submit", "ok"]], 6);
    assert_eq!(scrape.counts(REQUESTS)[&vec!["submit", "order_size_exceeded"]], 2);
    assert_eq!(
        scrape.counts("order_router_risk_signals_total"),
        counts([(["order_size", "lock"], 1)])
    );
    // Twelve intents arrive at the request door and one at the durable door; one of the twelve is malformed.
    // No order is handed to a broker: the claim of a paper order is its placement.
    for (stage, count) in [("queue", "12"), ("reserve", "12"), ("broker", "0"), ("total", "13")] {
        assert_eq!(scrape.get(STAGE_COUNT, &[("stage", stage)]), Some(count), "{stage}");
    }
    assert_eq!(scrape.get("order_router_durable_wait_seconds_count", &[]), Some("1"));
    // Five placements, a denial, a cancel.
    assert_eq!(scrape.get(STAGE_COUNT, &[("stage", "journal")]), Some("7"));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gauges_cover_orders_queues_journal_and_limits() {
    let (rig, client) = rig().await;
    let worker = rig.worker().await;
    let address = metrics_address(&worker);
    for id in ["a1", "a2"] {
        client
            .report(&intent(id, &[("quantity", "0.1"), ("price", "30000")]))
            .await;
    }
    rig.quiet().await;
    let scrape = Scrape::wait_for(address, USED, &[("limit", "daily_notional")], Some("0.06")).await;
    assert_eq!(scrape.get(OPEN, &[("broker", "binance")]), Some("0"));
    assert_eq!(
        scrape.get("order_router_unknown_orders", &[("broker", "binance")]),
        Some("0")
    );
    for (name, value) in [
        ("order_router_outbox_oldest_age_seconds", "0.0"),
        ("order_router_redis_up", "1"),
        ("order_router_store_ready", "1"),
        ("order_router_journal_has_room", "1"),
        ("order_router_journal_behind", "0"),
        ("order_router_locks", "0"),
    ] {
        assert_eq!(scrape.get(name, &[]), Some(value), "{name}");
    }
    assert_eq!(scrape.get(CONNECTED, &[("part", "worker")]), Some("1"));
    assert_eq!(
        scrape.get("order_router_trading_state", &[("state", "active")]),
        Some("1")
    );
    assert_eq!(
        scrape.get("order_router_trading_state", &[("state", "halted")]),
        Some("0")
    );
    assert_eq!(scrape.get("order_router_mode", &[("mode", "paper")]), Some("1"));
    let settings = &rig.settings;
    for (queue, capacity) in [
        ("journal", settings.journal.queue_max),
        ("alerts", settings.journal.queue_max),
        ("reserve", settings.redis.queue_max),
        ("settle", settings.redis.queue_max),
        ("journaled", settings.redis.queue_max),
    ] {
        let labels = [("queue", queue)];
        let capacity = capacity.to_string();
        assert_eq!(scrape.get("order_router_queue_capacity", &labels), Some(&*capacity));
        assert_eq!(scrape.get("order_router_queue_length", &labels), Some("0"));
    }
    let labels = [("broker", "ibkr"), ("mode", "paper"), ("queue", "cancels")];
    let capacity = settings.brokers.task.cancel_queue_max.to_string();
    assert_eq!(
        scrape.get("order_router_broker_queue_capacity", &labels),
        Some(&*capacity)
    );
    // The day roll and two reports.
    let last = client.reader.read_extent().await.unwrap().last_sequence.to_string();
    Scrape::wait_for(address, "order_router_journal_last_sequence", &[], Some(&last)).await;
    Scrape::wait_for(address, "order_router_journal_marked_sequence", &[], Some(&last)).await;
    Scrape::wait_for(address, "order_router_journal_acknowledged_sequence", &[], Some(&last)).await;
    Scrape::wait_for(address, "order_router_outbox_orders", &[], Some("0")).await;
    Scrape::wait_for(address, "order_router_claimed_orders", &[], Some("0")).await;
    // Bought at 30000 and now worth 29000: a loss of 200 of 50000.
    let subject = "market.quotes.binance.spot.BTCUSDT";
    let labels = [("limit", "daily_loss")];
    poll::until(SOON, "the loss is exported", async || {
        let quote = format!(r#"{{"last": 29000, "timestamp": "{}"}}"#, Timestamp::now());
        client.raw.publish(subject, quote.into()).await.unwrap();
        Scrape::fetch(address).await.get(USED, &labels) == Some("0.004")
    })
    .await;
    let scrape = Scrape::fetch(address).await;
    assert_eq!(
        scrape.get(USED, &[("limit", "daily_loss_of_an_account")]),
        Some("0.004")
    );
    // With more open sets than one read counts, this gauge is omitted, and no other.
    let sets: Vec<String> = (0..=MAX_OPEN_SETS)
        .map(|n| format!("{{or}}:open:binance:a{n}"))
        .collect();
    let mut redis = rig.redis.connection().await;
    let _: i64 = redis.sadd("{or}:open_sets", sets).await.unwrap();
    let scrape = Scrape::wait_for(address, OPEN, &[("broker", "binance")], None).await;
    assert_eq!(scrape.get("order_router_outbox_orders", &[]), Some("0"));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_order_and_venue_rejection_are_counted() {
    let (mut rig, client) = rig().await;
    rig.settings.brokers.inquiry.first_pause_ms = 50;
    rig.settings.brokers.inquiry.longest_pause_ms = 200;
    let venue = Venue::new();
    let worker = Worker::start_with_brokers(&rig.settings, additional_brokers(&venue))
        .await
        .unwrap();
    let address = metrics_address(&worker);
    venue.set(|behaviour| behaviour.rejects = true);
    assert_eq!(client.report(&intent("r1", &[])).await.status, OrderStatus::Rejected);
    venue.set(|behaviour| {
        behaviour.rejects = false;
        behaviour.drops_replies = true;
        behaviour.ignores_inquiries = true;
    });
    assert_eq!(client.report(&intent("u1", &[])).await.status, OrderStatus::Unknown);
    let unknown = "order_router_unknown_orders";
    let scrape = Scrape::wait_for(address, unknown, &[("broker", "binance")], Some("1")).await;
    assert_eq!(
        scrape.counts(INTENTS),
        counts([
            (["binance", "request", "rejected", "broker_rejected"], 1),
            (["binance", "request", "unknown", "outcome_unknown"], 1),
        ])
    );
    venue.set(|behaviour| behaviour.ignores_inquiries = false);
    let filled = [("broker", "binance"), ("status", "filled"), ("reason", "none")];
    Scrape::wait_for(address, REPORTS, &filled, Some("1")).await;
    Scrape::wait_for(address, unknown, &[("broker", "binance")], Some("0")).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_gauges_are_absent_and_the_worker_reports_not_ready() {
    let (mut rig, client) = rig().await;
    let worker = rig.worker().await;
    let address = metrics_address(&worker);
    client.report(&ibkr("a1", &[])).await;
    Scrape::wait_for(address, OPEN, &[("broker", "ibkr")], Some("1")).await;
    let health_is = async |wanted: u16| {
        poll::until(SOON, format!("/health is {wanted}"), async || {
            health(address, "/health").await == wanted
        })
        .await;
    };
    health_is(200).await;
    rig.redis.kill9();
    let scrape = Scrape::wait_for(address, "order_router_redis_up", &[], Some("0")).await;
    for name in [
        OPEN,
        "order_router_outbox_orders",
        "order_router_unknown_orders",
        "order_router_journal_marked_sequence",
    ] {
        assert!(!scrape.has(name), "{name}");
    }
    assert_eq!(scrape.get(USED, &[("limit", "daily_notional")]), None);
    rig.redis.restart().await;
    let scrape = Scrape::wait_for(address, OPEN, &[("broker", "ibkr")], Some("1")).await;
    assert_eq!(scrape.get("order_router_redis_up", &[]), Some("1"));
    rig.nats.kill9();
    let scrape = Scrape::wait_for(address, CONNECTED, &[("part", "worker")], Some("0")).await;
    assert!(scrape.has("order_router_stage_duration_seconds"));
    Scrape::wait_for(address, "order_router_journal_last_sequence", &[], None).await;
    health_is(503).await;
    assert_eq!(health(address, "/health/live").await, 200);
    rig.nats.restart().await;
    health_is(200).await;
    let scrape = Scrape::wait_for(
        address,
        "order_router_durable_intents",
        &[("broker", "ibkr")],
        Some("0"),
    )
    .await;
    assert!(scrape.has("order_router_journal_last_sequence"));
    worker.drain(SOON).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_count_separately_and_a_taken_address_is_named() {
    let (rig, client) = rig().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    for n in 0..20 {
        client.report(&intent(&format!("a{n}"), &[])).await;
    }
    let (first, second) = tokio::join!(
        Scrape::fetch(metrics_address(&one)),
        Scrape::fetch(metrics_address(&two))
    );
    let of = |scrape: &Scrape| scrape.counts(INTENTS).values().sum::<u64>();
    assert_eq!(of(&first) + of(&second), 20);
    let mut settings = rig.settings.clone();
    settings.metrics.addr = one.metrics_address().map(Into::into);
    let refused = Worker::start(&settings).await.unwrap_err();
    assert!(matches!(refused, WorkerError::Metrics { .. }));
    assert!(refused.to_string().contains("metrics.addr"), "{refused}");
    settings.metrics.addr = None;
    let silent = Worker::start(&settings).await.unwrap();
    assert_eq!(silent.metrics_address(), None);
    tokio::join!(one.drain(SOON), two.drain(SOON), silent.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_counts_requests_by_path_pattern() {
    let mut rest = Rest::start().await;
    rest.submit(&intent("a1", &[])).await;
    rest.submit(&intent("again", &[])).await;
    rest.submit("{").await;
    for id in ["BN-1", "BN-2", "BN-3"] {
        rest.get(&format!("/orders/{id}")).await;
    }
    rest.get("/no/such/path").await;
    rest.get("/another%0A\"one").await;
    rest.send("BREW", "/orders", "", &[]).await;
    let scrape = Scrape::fetch(rest.address()).await;
    let mut counted = scrape.counts("order_router_http_requests_total");
    // The replies of this test's worker do not matter here.
    counted.retain(|labels, _| labels[1] != "/orders/{order_id}");
    assert_eq!(
        counted,
        counts([
            (["POST", "/orders", "201"], 1),
            (["POST", "/orders", "200"], 1),
            (["POST", "/orders", "400"], 1),
            (["GET", "none", "404"], 2),
            (["other", "/orders", "405"], 1),
        ])
    );
    let labels = [("method", "GET"), ("route", "/orders/{order_id}")];
    let took = scrape.get("order_router_http_request_duration_seconds_count", &labels);
    assert_eq!(took, Some("3"));
    assert_eq!(scrape.get("order_router_http_requests_in_flight", &[]), Some("1"));
    assert_eq!(scrape.get(CONNECTED, &[("part", "sidecar")]), Some("1"));
    assert!(!scrape.has(INTENTS) && !scrape.has("order_router_redis_up"));
    rest.nats.kill9();
    Scrape::wait_for(rest.address(), CONNECTED, &[("part", "sidecar")], Some("0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_served_at_the_request_limit() {
    let rest = Rest::start_with(|settings| settings.http.max_in_flight = 1).await;
    let body = intent("wait", &[]);
    let (waiting, scrape) = tokio::join!(rest.submit(&body), async {
        poll::until(SOON, "a request waits", async || rest.actor.waiting() == 1).await;
        assert_eq!(rest.get("/brokers").await.code(), "queue_full");
        let scrape = Scrape::fetch(rest.address()).await;
        rest.actor.gate.add_permits(1);
        scrape
    });
    assert_eq!(waiting.status, 201);
    assert_eq!(scrape.get("order_router_http_requests_in_flight", &[]), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_sidecar_of_one_process_expose_the_same_metrics() {
    let rig = Rig::start().await;
    let port = PortLease::take();
    let metrics = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let (nats, redis, metrics_text) = (rig.nats.url(), rig.redis.url(), metrics.to_string());
    let environment = [
        ("ORDER_ROUTER_NATS_URL", &*nats),
        ("ORDER_ROUTER_REDIS_URL", &*redis),
        ("ORDER_ROUTER_HTTP_ADDR", "127.0.0.1:0"),
        ("ORDER_ROUTER_METRICS_ADDR", &*metrics_text),
    ];
    let mut router = RouterProcess::start(&["run"], environment);
    let ready = router.wait_ready(SOON).await;
    let http: SocketAddr = ready.strip_prefix("ready http=http://").unwrap().parse().unwrap();
    let posted = client()
        .post(format!("http://{http}/orders"))
        .header("Content-Type", "application/json")
        .body(intent("a1", &[]));
    assert_eq!(posted.send().await.unwrap().status(), 201);
    for address in [http, metrics] {
        let scrape = Scrape::fetch(address).await;
        let filled = ["binance", "request", "filled", "none"];
        assert_eq!(scrape.counts(INTENTS), counts([(filled, 1)]));
        let posted = vec!["POST", "/orders", "201"];
        assert_eq!(scrape.counts("order_router_http_requests_total")[&posted], 1);
    }
    let ended = router.terminate(Duration::from_secs(40)).await;
    assert!(ended.success(), "{}", router.stderr_text());
}
