//! Two worker processes race for every capped counter: it never exceeds its cap, and the cap is used in full.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;

use order_router::config::Settings;
use order_router::config::accounts::AccountSettings;
use order_router::config::brokers::RestFill;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::fault::FaultCode;

use crate::rig::{Client, Rig, SOON, ibkr, intent, race};

/// How many orders race.
const ORDERS: usize = 120;

/// One counter: its settings, the orders sent, how many fit, and the fault of the others.
struct Race {
    name: &'static str,
    set: fn(&mut Settings),
    body: fn(usize) -> String,
    fits: usize,
    code: FaultCode,
}

fn account(settings: &mut Settings, set: impl FnOnce(&mut AccountSettings)) {
    let mut account = AccountSettings {
        account_id: "default".to_owned(),
        daily_notional_limit: None,
        daily_loss_limit: None,
        stop_loss: None,
        max_open_orders: None,
        heartbeat_timeout_ms: None,
        max_positions: BTreeMap::new(),
    };
    set(&mut account);
    settings.accounts.0.push(account);
}

fn plain(n: usize) -> String {
    intent(&format!("r{n}"), &[])
}

fn with_loss(n: usize) -> String {
    ibkr(&format!("r{n}"), &[("estimated_loss", "\"0.1\"")])
}

const RACES: &[Race] = &[
    Race {
        name: "max_daily_notional, over all",
        set: |settings| settings.risk.daily_notional_limit = "1529.999999".to_owned(),
        body: plain,
        fits: 50,
        code: FaultCode::DailyNotionalExceeded,
    },
    Race {
        name: "max_daily_notional, of the account",
        set: |settings| {
            account(settings, |account| {
                account.daily_notional_limit = Some("1230".to_owned())
            })
        },
        body: plain,
        fits: 41,
        code: FaultCode::DailyNotionalExceeded,
    },
    Race {
        name: "max_notional, long",
        set: |settings| settings.instruments.0[0].max_notional = "1109.99".to_owned(),
        body: plain,
        fits: 36,
        code: FaultCode::RiskLocked,
    },
    Race {
        name: "max_notional, short",
        set: |settings| settings.instruments.0[0].max_notional = "1110".to_owned(),
        body: |n| intent(&format!("r{n}"), &[("side", "\"sell\"")]),
        fits: 37,
        code: FaultCode::RiskLocked,
    },
    Race {
        name: "position_limit",
        set: |settings| settings.instruments.0[0].max_position = "0.04299".to_owned(),
        body: plain,
        fits: 42,
        code: FaultCode::RiskLocked,
    },
    Race {
        name: "max_open_orders",
        set: |settings| settings.risk.max_open_orders = 17,
        body: |n| ibkr(&format!("r{n}"), &[]),
        fits: 17,
        code: FaultCode::RiskLocked,
    },
    Race {
        name: "max_daily_loss, expected losses over all",
        set: |settings| settings.risk.daily_loss_limit = "2.3".to_owned(),
        body: with_loss,
        fits: 22,
        code: FaultCode::DailyLossExceeded,
    },
    Race {
        name: "max_daily_loss, expected losses of the account",
        set: |settings| {
            account(settings, |account| {
                account.daily_loss_limit = Some("2.300001".to_owned())
            })
        },
        body: with_loss,
        fits: 23,
        code: FaultCode::DailyLossExceeded,
    },
];

async fn run(race_for: &Race) {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    (race_for.set)(&mut rig.settings);
    let directory = tempfile::tempdir().unwrap();
    let files = ["one.toml", "two.toml"].map(|name| directory.path().join(name));
    let (mut one, mut two) = tokio::join!(rig.worker_process_of(&files[0]), rig.worker_process_of(&files[1]));
    let client = rig.caller().await;
    let (reports, codes) = race(&client, (0..ORDERS).map(race_for.body).collect()).await;
    assert_eq!(reports.len(), race_for.fits, "{}", race_for.name);
    let is_taken = |status| matches!(status, OrderStatus::Filled | OrderStatus::PartiallyFilled);
    assert!(
        reports.iter().all(|report| is_taken(report.status)),
        "{}",
        race_for.name
    );
    assert_eq!(codes, vec![race_for.code; ORDERS - race_for.fits], "{}", race_for.name);
    rig.quiet().await;
    for worker in [&mut one, &mut two] {
        assert!(worker.terminate(SOON).await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cap_is_used_in_full_and_never_exceeded_when_two_workers_race() {
    for race_for in RACES {
        run(race_for).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_rate_counts_across_workers_and_leaves_the_id_free() {
    let mut rig = Rig::start().await;
    rig.settings.risk.orders_per_second_and_account = 7;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let begun = redis_second(&rig).await;
    let (reports, codes) = race(&client, (0..ORDERS).map(plain).collect()).await;
    let seconds = usize::try_from(redis_second(&rig).await - begun + 1).unwrap();
    assert!(
        (7..=7 * seconds).contains(&reports.len()),
        "{} in {seconds} s",
        reports.len()
    );
    assert_eq!(codes, vec![FaultCode::RateLimited; ORDERS - reports.len()]);
    // A refused order may be retried under its id, and a denied order counts like any other.
    crate::support::poll::until(SOON, "every order is accepted eventually", async || {
        let (reports, _) = race(&client, (0..ORDERS).map(plain).collect()).await;
        reports.len() == ORDERS
    })
    .await;
    assert_eq!(count_reports(&client).await, ORDERS);
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

async fn count_reports(client: &Client) -> usize {
    client.reports().await.len()
}

/// Returns the current second of Redis' clock.
async fn redis_second(rig: &Rig) -> i64 {
    let (second, _): (i64, i64) = redis::cmd("TIME")
        .query_async(&mut rig.redis.connection().await)
        .await
        .unwrap();
    second
}

#[tokio::test(flavor = "multi_thread")]
async fn base_asset_fees_reduce_the_position_and_money_fees_are_a_loss() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_fees.rate = "0.00101".to_owned();
    rig.settings.brokers.paper_fees.paid_in = "received".to_owned();
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let bought = client.report(&intent("bought", &[("quantity", "0.1")])).await;
    assert_eq!(
        (bought.fills[0].fee.to_string(), bought.fills[0].fee_currency.as_str()),
        ("0.000101".to_owned(), "BTC")
    );
    // 0.099899 remains, of which 0.09989 are whole lots: one more would open a short position.
    let reducing = |id: &str, quantity: &str| {
        let over = [("side", "\"sell\""), ("quantity", quantity), ("reduce_only", "true")];
        intent(id, &over)
    };
    assert_eq!(
        client.fault(&reducing("more", "0.0999")).await.code,
        FaultCode::ReduceOnly
    );
    // The aapl at ibkr names no base asset: its fee is paid in money.
    let apple = client.report(&ibkr("apple", &[("time_in_force", "\"IOC\"")])).await;
    assert_eq!(
        (apple.fills[0].fee.to_string(), apple.fills[0].fee_currency.as_str()),
        ("1.7271".to_owned(), "USD")
    );
    rig.quiet().await;
    // In units of 1e-8: 0.1 bought, less the fee.
    let held = &rig.store().await["account:paper:default"]["binance.spot:BTCUSDT.position"];
    assert_eq!(held, "9989900");
    assert_eq!(rig.sum("sums:paper:default:ibkr.paper:AAPL", "fees").await, 1_727_100);
    // 0.000101 BTC at 30 000 and 1.7271 USD.
    crate::support::poll::until(SOON, "the fees are a loss", async || {
        let (_, _, total) = worker.router().trading_day.refresh().await.unwrap();
        total.day.profit.units() == -3_030_000 - 1_727_100
    })
    .await;
    assert_eq!(
        client.report(&reducing("all", "0.09989")).await.status,
        OrderStatus::Filled
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_beyond_its_rate_uses_none_of_the_brokers_rate() {
    let mut rig = Rig::start().await;
    rig.settings.risk.orders_per_second_and_account = 2;
    rig.settings.risk.orders_per_second_and_broker = 20;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let greedy = |n: usize| intent(&format!("g{n}"), &[("account_id", "\"greedy\"")]);
    race(&client, (0..60).map(greedy).collect()).await;
    assert_eq!(client.report(&plain(0)).await.status, OrderStatus::Filled);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routed_order_can_be_cancelled_in_dry_run_mode() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&ibkr("open", &[])).await;
    let rehearsal = r#"{"mode":"dry_run","actor":"test","reason":"a rehearsal"}"#;
    client.call("router.state.set", rehearsal).await.unwrap();
    let report = client.report(&intent("dry", &[])).await;
    let reason = report.reason.as_ref().map(|reason| reason.code);
    assert_eq!(
        (report.status, reason),
        (OrderStatus::Cancelled, Some(ReasonCode::DryRun))
    );
    let open = r#"{"client_order_id":"open"}"#;
    assert_eq!(
        client.order("get", "ibkr", open).await.unwrap().status,
        OrderStatus::PartiallyFilled
    );
    assert_eq!(
        client.order("cancel", "ibkr", open).await.unwrap().status,
        OrderStatus::Cancelled
    );
    worker.drain(SOON).await;
}
