//! Limits that no burst, fee, changed lot or dust gets past: a loss of the router's own fills counts in the step that
//! books them, quantities count in one unit whatever the lot, and a reduction never crosses zero.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use futures_util::{StreamExt, stream};
use order_router::bus::router_client::RequestError;
use order_router::config::brokers::RestFill;
use order_router::domain::decimal::Decimal;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::fault::FaultCode;
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;

use crate::limit_breaches::{lock_ids, signals};
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;

/// How many orders the algorithm of a burst has in flight.
const IN_FLIGHT: usize = 256;

/// Returns the profit of all accounts on the day, in millionths.
async fn day_profit(worker: &Worker) -> i64 {
    let (_, _, total) = worker.router().trading_day.refresh().await.unwrap();
    total.day.profit.units()
}

/// Sends orders, many at a time, and returns the reports and the codes of the refusals.
async fn burst(client: &Client, bodies: Vec<String>) -> (Vec<ExecutionReport>, Vec<FaultCode>) {
    let replies = stream::iter(bodies)
        .map(|body| async move { client.submit(&body).await })
        .buffer_unordered(IN_FLIGHT)
        .collect::<Vec<_>>()
        .await;
    let (mut reports, mut refusals) = (Vec::new(), Vec::new());
    for reply in replies {
        match reply {
            Ok(reply) => reports.push(ExecutionReport::decode(&reply.body).unwrap()),
            Err(RequestError::Fault(fault)) => refusals.push(fault.code),
            Err(error) => panic!("{error}"),
        }
    }
    (reports, refusals)
}

/// Returns the position of the default account, in units of 1e-8.
async fn position(rig: &Rig, holding: &str) -> i64 {
    let store = rig.store().await;
    let position = store
        .get("account:paper:default")
        .and_then(|ledger| ledger.get(&format!("{holding}.position")));
    position.map_or(0, |units| units.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn burst_of_losing_orders_never_passes_the_daily_loss_limit() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_loss_limit = "500".to_owned();
    rig.settings.risk.account_stop_loss = "1000000".to_owned();
    rig.settings.risk.orders_per_second_and_account = 1_000_000;
    rig.settings.risk.orders_per_second_and_broker = 1_000_000;
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    // Each order loses 3 against the mark of 30 000.
    let losing = |n: usize| intent(&format!("l{n}"), &[("price", "33000"), ("quantity", "0.001")]);
    let (reports, refusals) = burst(&client, (0..600).map(losing).collect()).await;
    let loss = -day_profit(&workers[0]).await;
    // 166 orders lose 498: the next one would reach the limit.
    assert_eq!(loss, 498_000_000, "{} reports", reports.len());
    assert_eq!(reports.len(), 166);
    assert!(
        refusals.iter().all(|code| *code == FaultCode::DailyLossExceeded),
        "{refusals:?}"
    );
    poll::until(SOON, "the alert at 80 % is published", async || {
        signals(&client)
            .await
            .iter()
            .any(|signal| signal.starts_with("alert max_daily_loss"))
    })
    .await;
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fill_that_reaches_the_limit_locks_in_the_step_that_books_it() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_loss_limit = "10".to_owned();
    rig.settings.risk.account_stop_loss = "1000000".to_owned();
    // 0.1 of 30 000 pay a fee of 3: no order reserves it, and each fill loses it.
    rig.settings.brokers.paper_fees.rate = "0.001".to_owned();
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    for n in 0..4 {
        let report = client.report(&intent(&format!("f{n}"), &[("quantity", "0.1")])).await;
        assert_eq!(report.status, OrderStatus::Filled, "{n}");
    }
    // The fourth fill has brought the loss to 12: the order after it is denied, whichever worker takes it.
    for n in 0..8 {
        let fault = client
            .fault(&intent(&format!("after{n}"), &[("quantity", "0.1")]))
            .await;
        assert_eq!(fault.code, FaultCode::DailyLossExceeded, "{n}");
    }
    poll::until(SOON, "both scopes are locked", async || {
        let locks = lock_ids(&client).await;
        ["paper.account.default.max_daily_loss", "paper.all.max_daily_loss"]
            .iter()
            .all(|id| locks.iter().any(|lock| lock == id))
    })
    .await;
    // The alert at 80 % came before the lock.
    let published = signals(&client).await;
    let first = |start: &str| published.iter().position(|signal| signal.starts_with(start));
    let (alert, lock) = (first("alert max_daily_loss"), first("lock max_daily_loss"));
    assert!(alert.is_some() && alert < lock, "{published:?}");
    let reducing = [("side", "\"sell\""), ("quantity", "0.1"), ("reduce_only", "true")];
    assert_eq!(
        client.report(&intent("out", &reducing)).await.status,
        OrderStatus::Filled
    );
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_lot_rescales_nothing() {
    let mut rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client
        .report(&ibkr("held", &[("quantity", "9.5"), ("time_in_force", "\"IOC\"")]))
        .await;
    rig.quiet().await;
    let held = position(&rig, "ibkr.paper:AAPL").await;
    assert!(held > 0);
    worker.drain(SOON).await;
    for (lot, beyond) in [("1", "10"), ("0.001", "9.504")] {
        let apple = rig
            .settings
            .instruments
            .0
            .iter_mut()
            .find(|one| one.symbol.as_str() == "AAPL")
            .unwrap();
        apple.lot_size = lot.to_owned();
        rig.apply_limits().await;
        let worker = rig.worker().await;
        assert_eq!(position(&rig, "ibkr.paper:AAPL").await, held);
        assert_eq!(day_profit(&worker).await, 0, "lot {lot}");
        let over = [("side", "\"sell\""), ("reduce_only", "true"), ("quantity", beyond)];
        let fault = client.fault(&ibkr(&format!("over-{lot}"), &over)).await;
        assert_eq!(fault.code, FaultCode::ReduceOnly, "lot {lot}");
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_are_paid_in_what_is_received_and_no_reduction_crosses_zero() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_fees.rate = "0.001".to_owned();
    rig.settings.brokers.paper_fees.paid_in = "received".to_owned();
    for instrument in &mut rig.settings.instruments.0 {
        instrument.can_short = false;
    }
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let bought = client.report(&intent("in", &[("quantity", "0.5")])).await;
    assert_eq!(bought.fills[0].fee_currency, "BTC");
    let sell = |id: &str, quantity: &str, reduce: &str| {
        intent(
            id,
            &[("side", "\"sell\""), ("quantity", quantity), ("reduce_only", reduce)],
        )
    };
    // 0.4995 are held: one lot more would open a short position.
    assert_eq!(
        client.fault(&sell("more", "0.49951", "false")).await.code,
        FaultCode::RiskLocked
    );
    assert_eq!(
        client.fault(&sell("more_reducing", "0.49951", "true")).await.code,
        FaultCode::ReduceOnly
    );
    let sold = client.report(&sell("out", "0.4995", "true")).await;
    assert_eq!(
        (sold.status, sold.fills[0].fee_currency.as_str()),
        (OrderStatus::Filled, "USDT")
    );
    rig.quiet().await;
    assert_eq!(position(&rig, "binance.spot:BTCUSDT").await, 0);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fill_of_a_reduce_only_order_is_capped_by_the_position_at_that_moment() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::After(std::time::Duration::from_secs(2));
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client
        .report(&ibkr("in", &[("quantity", "100"), ("time_in_force", "\"IOC\"")]))
        .await;
    let sell = |id: &str, quantity: &str, reduce: &str| {
        ibkr(
            id,
            &[("side", "\"sell\""), ("quantity", quantity), ("reduce_only", reduce)],
        )
    };
    let held = Decimal::from_parts(position(&rig, "ibkr.paper:AAPL").await.into(), 8).unwrap();
    let resting = client.report(&sell("resting", &held.to_string(), "true")).await;
    assert_eq!(resting.status, OrderStatus::PartiallyFilled);
    // Another order takes what the rest would have reduced.
    let left = resting.leaves_quantity.to_string();
    let other = [
        ("side", "\"sell\""),
        ("quantity", left.as_str()),
        ("time_in_force", "\"IOC\""),
    ];
    client.report(&ibkr("other", &other)).await;
    let name = r#"{"client_order_id":"resting"}"#;
    let ended = poll::eventually(SOON, "the rest is cancelled", async || {
        let report: ExecutionReport = client.order("get", "ibkr", name).await.ok()?;
        report.status.is_terminal().then_some(report)
    })
    .await;
    assert_eq!(ended.status, OrderStatus::Cancelled);
    assert_eq!(ended.reason.map(|reason| reason.code), Some(ReasonCode::ReduceOnly));
    assert!(position(&rig, "ibkr.paper:AAPL").await >= 0);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dust_without_a_price_closes_its_own_account_only() {
    let mut rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let of = |account: &str, id: &str, over: &[(&str, &str)]| {
        let account = format!("{account:?}");
        let mut all = vec![("account_id", account.as_str())];
        all.extend_from_slice(over);
        intent(id, &all)
    };
    assert_eq!(client.report(&of("a", "in", &[])).await.status, OrderStatus::Filled);
    let dust = r#"{"account_id":"a","venue":"ibkr.paper","symbol":"AAPL","quantity":"0.00000001","price":"180",
        "actor":"mira","reason":"dust"}"#;
    client.call("router.adjust", dust).await.unwrap();
    worker.drain(SOON).await;
    // The instrument leaves the settings, and nothing prices what is held of it.
    rig.settings
        .instruments
        .0
        .retain(|instrument| instrument.symbol != "AAPL");
    rig.apply_limits().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    for n in 0..4 {
        let fault = client.fault(&of("a", &format!("open-{n}"), &[])).await;
        assert_eq!(fault.code, FaultCode::ReferencePriceMissing, "{fault:?}");
        assert!(fault.detail.contains("AAPL at ibkr.paper"), "{fault:?}");
        let other = client.report(&of("b", &format!("other-{n}"), &[])).await;
        assert_eq!(other.status, OrderStatus::Filled);
    }
    let out = client.report(&of("a", "out", &[("side", "\"sell\"")])).await;
    assert_eq!(out.status, OrderStatus::Filled);
    // Nothing is locked: with a price, the account opens again.
    assert_eq!(lock_ids(&client).await, Vec::<String>::new());
    tokio::join!(one.drain(SOON), two.drain(SOON));
}
