//! The laws under failure: races for the last unit of a cap, many submissions of one id, a store that is emptied,
//! restarted or unreachable, a journal that is full or replaced.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use order_router::bus::router_client::RequestError;
use order_router::config::brokers::RestFill;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::fault::FaultCode;
use order_router::wire::report::ExecutionReport;
use order_router::wire::state::RouterState;

use crate::rig::{Client, Rig, SOON, ibkr, intent, race};
use crate::support::poll;
use crate::support::proxy::Proxy;

/// Returns the store's contents that a rebuild must restore: sums, days, orders and due fills, without the bookkeeping.
pub async fn rebuildable_state(rig: &Rig) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut store = rig.store().await;
    store.retain(|key, _| key != "meta" && key != "healing");
    for (key, fields) in &mut store {
        if key.starts_with("order:") {
            fields.remove("sid");
        }
        // A sum of zero is the same as no sum, and an alert may repeat after a rebuild.
        // Whether a flat holding is named, and for which day, is no sum either.
        fields.retain(|field, value| {
            !["", "0"].contains(&value.as_str()) && field != "alerts" && !field.ends_with(".day")
        });
        fields.remove("generation");
    }
    store.retain(|_, fields| !fields.is_empty());
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_notional_limit_holds_exactly_when_two_workers_race() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_notional_limit = "1500".to_owned();
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let bodies = (0..200).map(|n| intent(&format!("r{n}"), &[])).collect();
    let (reports, codes) = race(&client, bodies).await;
    assert_eq!(reports.len(), 50);
    assert!(reports.iter().all(|report| report.status == OrderStatus::Filled));
    assert_eq!(codes, vec![FaultCode::DailyNotionalExceeded; 150]);
    rig.quiet().await;
    assert_eq!(rig.sum("totals:paper", "daily_notional").await, 1_500_000_000);
    assert_eq!(client.reports().await.len(), 200);
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn symbol_notional_cap_holds_exactly_when_two_workers_race() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    // 2 BTC fit; 80 race for 0.05 each: 40 fit exactly.
    let bodies = (0..80)
        .map(|n| intent(&format!("r{n}"), &[("quantity", "0.05")]))
        .collect();
    let (reports, codes) = race(&client, bodies).await;
    assert_eq!((reports.len(), codes), (40, vec![FaultCode::RiskLocked; 40]));
    assert_eq!(
        rig.sum("sums:paper:default:binance.spot:BTCUSDT", "long").await,
        200_000
    );
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_submissions_of_one_id_create_one_order() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let (reports, codes) = race(&client, (0..60).map(|_| intent("same", &[])).collect()).await;
    assert_eq!(codes, []);
    let ids: BTreeSet<&str> = reports.iter().map(|report| report.order_id.as_str()).collect();
    assert_eq!((reports.len(), ids.len()), (60, 1));
    rig.quiet().await;
    assert_eq!(client.reports().await.len(), 1);
    assert_eq!(
        rig.sum("sums:paper:default:binance.spot:BTCUSDT", "position").await,
        100
    );
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

/// Submits orders of every outcome: filled, denied, cancelled, and partially filled and open.
async fn submit_every_outcome(client: &Client) {
    let bodies = (0..20).map(|n| intent(&format!("b{n}"), &[])).collect();
    assert_eq!(race(client, bodies).await.0.len(), 20);
    client.fault(&intent("denied", &[("quantity", "0.76")])).await;
    client.report(&ibkr("open", &[])).await;
    client.report(&ibkr("gone", &[("side", "\"sell\"")])).await;
    client
        .order("cancel", "ibkr", r#"{"client_order_id":"gone"}"#)
        .await
        .unwrap();
    let change = r#"{"daily_notional_limit":777777,"actor":"test","reason":"a limit to remember"}"#;
    client.call("router.state.set", change).await.unwrap();
}

async fn assert_restored(rig: &Rig, client: &Client, before: &BTreeMap<String, BTreeMap<String, String>>) {
    poll::until(SOON, "the router accepts orders again", async || {
        client
            .order("get", "ibkr", r#"{"client_order_id":"open"}"#)
            .await
            .is_ok()
    })
    .await;
    rig.quiet().await;
    let after = rebuildable_state(rig).await;
    for (key, fields) in before {
        assert_eq!(after.get(key), Some(fields), "{key}");
    }
    assert_eq!(after.len(), before.len());
    assert_eq!(
        client.fault(&intent("denied", &[("quantity", "0.76")])).await.code,
        FaultCode::OrderSizeExceeded
    );
    assert!(client.submit(&intent("b7", &[])).await.unwrap().is_replay);
    let cancelled = client
        .order("cancel", "ibkr", r#"{"client_order_id":"open"}"#)
        .await
        .unwrap();
    assert_eq!(cancelled.status, OrderStatus::Cancelled);
    let state: RouterState = serde_json::from_slice(&client.call("router.state.get", "").await.unwrap()).unwrap();
    assert_eq!(state.daily_notional_limit.to_string(), "777777");
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_store_is_rebuilt_from_the_journal() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    submit_every_outcome(&client).await;
    rig.quiet().await;
    let before = rebuildable_state(&rig).await;
    rig.redis.flushall().await;
    assert_restored(&rig, &client, &before).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_store_keeps_its_contents_or_is_rebuilt() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    submit_every_outcome(&client).await;
    rig.quiet().await;
    let before = rebuildable_state(&rig).await;
    rig.redis.kill9();
    rig.redis.restart().await;
    assert_restored(&rig, &client, &before).await;
    // A store that restarts empty is rebuilt.
    let before = rebuildable_state(&rig).await;
    rig.redis.kill9();
    rig.redis.restart_empty().await;
    poll::until(SOON, "the store is rebuilt", async || {
        let after = rebuildable_state(&rig).await;
        before.iter().all(|(key, fields)| after.get(key) == Some(fields))
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_continue_through_an_emptied_store_and_none_executes_twice() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let load = async {
        let until_known = async |n: usize| {
            let body = intent(
                &format!("f{n}"),
                &[("side", if n.is_multiple_of(2) { "\"buy\"" } else { "\"sell\"" })],
            );
            poll::until(SOON, format!("order {n} is answered"), async || {
                let result = client.submit(&body).await;
                result.is_ok_and(|reply| !ExecutionReport::decode(&reply.body).unwrap().is_receipt())
            })
            .await;
        };
        for chunk in 0..30 {
            join_all((0..10).map(|n| until_known(chunk * 10 + n))).await;
        }
    };
    let flush_twice = async {
        for answered in [60, 150] {
            poll::until(SOON, "some orders are journaled", async || {
                client.reader.read_extent().await.unwrap().last_sequence >= answered
            })
            .await;
            rig.redis.flushall().await;
        }
    };
    tokio::join!(load, flush_twice);
    rig.quiet().await;
    let reports = client.reports().await;
    let orders: BTreeSet<&str> = reports.iter().map(|report| report.order_id.as_str()).collect();
    let ids: BTreeSet<&str> = reports.iter().map(|report| report.client_order_id.as_str()).collect();
    assert_eq!((orders.len(), ids.len()), (300, 300));
    assert_eq!(rig.sum("sums:paper:default:binance.spot:BTCUSDT", "position").await, 0);
    assert_eq!(rig.sum("sums:paper:default:binance.spot:BTCUSDT", "long").await, 0);
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

/// Submits an order while the store is away. A lost reply may mean a fill: then the outcome is unknown, and only an order
/// that certainly was not booked is refused.
async fn assert_refused_or_unknown(client: &Client, body: &str) {
    match client.submit(body).await {
        Ok(reply) => {
            let report = ExecutionReport::decode(&reply.body).unwrap();
            assert!(report.is_receipt(), "{report:?}");
        }
        Err(RequestError::Fault(fault)) => assert_eq!(fault.code, FaultCode::StoreUnavailable, "{fault}"),
        Err(RequestError::Timeout) => panic!("no reply"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_refused_while_the_store_is_unreachable_and_accepted_afterwards() {
    let mut rig = Rig::start().await;
    let proxy = Proxy::start(rig.redis.address()).await;
    rig.settings.redis.url = proxy.url("redis");
    rig.settings.redis.response_timeout_ms = 200;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&intent("a1", &[])).await;
    proxy.cut();
    for n in 0..3 {
        assert_refused_or_unknown(&client, &intent(&format!("x{n}"), &[])).await;
    }
    proxy.restore();
    for n in 0..3 {
        let body = intent(&format!("x{n}"), &[]);
        let report = poll::eventually(SOON, "the order is accepted", async || client.submit(&body).await.ok()).await;
        assert!(!report.is_replay);
    }
    proxy.stall();
    assert_refused_or_unknown(&client, &intent("y", &[])).await;
    proxy.restore();
    poll::until(SOON, "the order is accepted or known", async || {
        client.submit(&intent("y", &[])).await.is_ok()
    })
    .await;
    rig.quiet().await;
    assert_eq!(
        rig.sum("sums:paper:default:binance.spot:BTCUSDT", "position").await,
        500
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_refuses_at_once() {
    let mut rig = Rig::start().await;
    rig.settings.redis.queue_max = 1;
    rig.settings.redis.batch_max = 1;
    rig.settings.redis.response_timeout_ms = 2_000;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    rig.redis.pause();
    let started = std::time::Instant::now();
    let bodies: Vec<String> = (0..40).map(|n| intent(&format!("q{n}"), &[])).collect();
    let mut replies = Vec::new();
    let mut waiting: futures_util::stream::FuturesUnordered<_> =
        bodies.iter().map(|body| client.submit(body)).collect();
    use futures_util::StreamExt;
    while let Some(reply) = waiting.next().await {
        if let Err(order_router::bus::router_client::RequestError::Fault(fault)) = reply {
            replies.push((fault.code, started.elapsed()));
        }
        if replies.iter().filter(|(code, _)| *code == FaultCode::QueueFull).count() >= 20 {
            break;
        }
    }
    let full: Vec<_> = replies
        .iter()
        .filter(|(code, _)| *code == FaultCode::QueueFull)
        .collect();
    assert!(full.len() >= 20, "{replies:?}");
    assert!(
        full.iter().all(|(_, after)| *after < Duration::from_millis(1_900)),
        "{replies:?}"
    );
    rig.redis.resume();
    drop(waiting);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_journal_returns_a_receipt_and_the_outbox_appends_the_report_later() {
    let mut rig = Rig::start().await;
    rig.settings.nats.reports_max_bytes = 16 * 1024;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let mut receipt = None;
    for n in 0..40 {
        let report = client.report(&intent(&format!("a{n}"), &[])).await;
        if report.is_receipt() {
            receipt = Some((n, report));
            break;
        }
    }
    let (n, receipt) = receipt.expect("the journal fills up");
    assert_eq!(
        (receipt.status, receipt.receipt_code()),
        (OrderStatus::Unknown, Some(ReasonCode::NotJournaled))
    );
    // A repeated request returns a receipt again: the report is not journaled.
    assert!(client.report(&intent(&format!("a{n}"), &[])).await.is_receipt());
    worker.drain(SOON).await;
    rig.settings.nats.reports_max_bytes = -1;
    rig.apply_topology().await;
    let worker = rig.worker().await;
    rig.quiet().await;
    let report = client.report(&intent(&format!("a{n}"), &[])).await;
    assert_eq!(
        (report.status, report.version, report.order_id),
        (OrderStatus::Filled, 1, receipt.order_id)
    );
    assert_eq!(client.reports().await.len(), n + 1);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn intake_stops_while_the_journal_has_room_for_open_orders() {
    let mut rig = Rig::start().await;
    rig.settings.nats.reports_max_bytes = 600_000;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&ibkr("open", &[])).await;
    let mut n: usize = 0;
    let side = |n: usize| if n.is_multiple_of(2) { "\"buy\"" } else { "\"sell\"" };
    while client.reader.read_extent().await.unwrap().bytes < 515_000 {
        let mut next = || {
            n += 1;
            intent(&format!("a{n}"), &[("side", side(n))])
        };
        let bodies = (0..10).map(|_| next()).collect();
        race(&client, bodies).await;
    }
    let fault = poll::eventually(SOON, "no new order is accepted", async || {
        n += 1;
        let reply = client.submit(&intent(&format!("a{n}"), &[("side", side(n))])).await;
        reply.err().map(|error| error.to_string())
    })
    .await;
    assert!(
        fault.contains("persistence_failed") && fault.contains("nearly full"),
        "{fault}"
    );
    // A known id still returns its report, and an open order can still end.
    assert!(
        client
            .submit(&intent("a1", &[("side", side(1))]))
            .await
            .unwrap()
            .is_replay
    );
    let cancelled = client
        .order("cancel", "ibkr", r#"{"client_order_id":"open"}"#)
        .await
        .unwrap();
    assert_eq!((cancelled.status, cancelled.version), (OrderStatus::Cancelled, 2));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_refuses_to_start_over_a_replaced_journal() {
    let mut rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&intent("a1", &[])).await;
    rig.quiet().await;
    worker.drain(SOON).await;
    rig.nats.kill9();
    rig.nats.restart_empty().await;
    let start = async || {
        let started = order_router::worker::Worker::start(&rig.settings).await;
        started.expect_err("the worker refuses to start").to_string()
    };
    // The worker creates no journal that would hide the loss.
    for _ in 0..2 {
        let error = start().await;
        assert!(error.contains("ORDER_REPORTS: the stream does not exist"), "{error}");
    }
    // An operator has created it.
    rig.apply_topology().await;
    let error = start().await;
    assert!(
        error.contains("the stream has been restored, cut or replaced"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn state_change_applies_to_the_next_order_of_every_worker() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let set = async |limit: &str| {
        let body = format!(r#"{{"daily_notional_limit":{limit},"actor":"ops","reason":"test"}}"#);
        let state: RouterState =
            serde_json::from_slice(&client.call("router.state.set", &body).await.unwrap()).unwrap();
        state
    };
    assert_eq!(set("60").await.version, 1);
    let bodies = |round: &str| (0..20).map(|n| intent(&format!("{round}{n}"), &[])).collect::<Vec<_>>();
    let (reports, codes) = race(&client, bodies("a")).await;
    assert_eq!((reports.len(), codes.len()), (2, 18));
    let state = set("\"120.000001\"").await;
    assert_eq!((state.version, state.notional_routed.to_string()), (2, "60".into()));
    assert_eq!(race(&client, bodies("b")).await.0.len(), 2);
    let events: Vec<_> = client
        .journal()
        .await
        .into_iter()
        .filter(|e| e.subject == "orders.events.state._")
        .collect();
    assert_eq!(events.len(), 2);
    for body in [
        "",
        "{}",
        r#"{"daily_notional_limit":0,"actor":"a","reason":"r"}"#,
        r#"{"daily_notional_limit":9007199254.740992,"actor":"a","reason":"r"}"#,
        r#"{"daily_notional_limit":5,"actor":"a"}"#,
        r#"{"daily_notional_limit":5,"actor":"a","reason":"r","mode":"live"}"#,
    ] {
        assert!(client.call("router.state.set", body).await.is_err(), "{body}");
    }
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn tightening_overrides_a_journaled_loosening_that_never_took_effect() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    // A worker journals a loosening and dies before it activates it; then an operator tightens.
    let loosening = r#"{"version":1,"daily_notional_limit":2000000000,"actor":"ops","reason":"loosen",
        "timestamp":"2026-01-01T00:00:00Z"}"#;
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    jetstream
        .publish("orders.events.state._", loosening.into())
        .await
        .unwrap()
        .await
        .unwrap();
    let tightening = r#"{"daily_notional_limit":400,"actor":"ops","reason":"tighten"}"#;
    let limit_in = |body: &[u8]| {
        serde_json::from_slice::<RouterState>(body)
            .unwrap()
            .daily_notional_limit
            .to_string()
    };
    assert_eq!(
        limit_in(&client.call("router.state.set", tightening).await.unwrap()),
        "400"
    );
    rig.redis.flushall().await;
    let after = poll::eventually(SOON, "the store is rebuilt", async || {
        client.call("router.state.get", "").await.ok()
    })
    .await;
    assert_eq!(limit_in(&after), "400");
    worker.drain(SOON).await;
}
