//! All workers enforce the same limits: those of the journal's newest event.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::config::brokers::RestFill;
use order_router::config::limits::LimitSettings;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::wire::limits::{LimitsChangeRequest, LimitsEvent, PackedLimits};
use order_router::worker::{Worker, WorkerError};

use futures_util::future::join_all;
use redis::AsyncCommands;

use crate::rig::{Client, Rig, SOON, ibkr, intent, race};
use crate::support::poll;
use crate::support::process::RouterProcess;

pub async fn in_force(client: &Client) -> LimitsEvent {
    serde_json::from_slice(&client.call(subjects::LIMITS_GET, "").await.unwrap()).unwrap()
}

/// Puts the limits of settings in force.
pub async fn apply(client: &Client, settings: &Settings) -> Result<LimitsEvent, RequestError> {
    let base_hash = in_force(client).await.hash;
    apply_over(client, settings, base_hash).await
}

async fn apply_over(client: &Client, settings: &Settings, base_hash: String) -> Result<LimitsEvent, RequestError> {
    let request = LimitsChangeRequest {
        packed: PackedLimits::pack(&LimitSettings::of(settings).to_json().unwrap()).unwrap(),
        base_hash,
        actor: "ann".to_owned(),
        reason: "a test".to_owned(),
    };
    let body = serde_json::to_string(&request).unwrap();
    let reply = client
        .caller
        .request(subjects::LIMITS_SET, body.into(), Timestamp::now().saturating_add(SOON))
        .await?;
    Ok(serde_json::from_slice(&reply.body).unwrap())
}

fn smaller_orders(settings: &Settings) -> Settings {
    let mut smaller = settings.clone();
    smaller.instruments.0[0].max_order_size = "0.0005".to_owned();
    smaller
}

async fn refusal_at_start(settings: &Settings) -> String {
    let error = Worker::start(settings).await.unwrap_err();
    assert!(matches!(error, WorkerError::Limits(_)), "{error}");
    error.to_string()
}

pub async fn command(rig: &Rig, settings: &Settings, args: &[&str]) -> Output {
    let file = tempfile::NamedTempFile::new_in(&rig.settings.data_dir.0).unwrap();
    std::fs::write(file.path(), toml::to_string(settings).unwrap()).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
    command
        .args(["--config", file.path().to_str().unwrap()])
        .args(args)
        .kill_on_drop(true);
    tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap()
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_with_other_limits_does_not_start_and_names_each() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let first = in_force(&client).await;
    assert_eq!((first.version, first.actor.as_str()), (1, "order-router worker"));
    let mut other = smaller_orders(&rig.settings);
    other.risk.daily_loss_limit = "40000".to_owned();
    let refusal = refusal_at_start(&other).await;
    for part in [
        "risk.daily_loss_limit: in force 50000, in the settings 40000",
        "instruments.binance.spot:BTCUSDT.max_order_size: in force 0.75, in the settings 0.0005",
        "order-router limits apply",
    ] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    // What is no limit may differ, and how a number is written makes no difference.
    let mut same = rig.settings.clone();
    same.risk.daily_loss_limit = "50000.0".to_owned();
    same.redis.lease_ms = 2_000;
    same.instruments.0.reverse();
    let second = Worker::start(&same).await.unwrap();
    assert_eq!(client.report(&intent("a", &[])).await.status, OrderStatus::Filled);

    // The change holds on the workers that run, and their files are refused from now on.
    let changed = apply(&client, &other).await.unwrap();
    assert_eq!(
        (changed.version, changed.change_count, changed.changes.len()),
        (2, 2, 2)
    );
    let (reports, codes) = race(&client, (0..64).map(|n| intent(&format!("b{n}"), &[])).collect()).await;
    assert_eq!((reports.len(), codes), (0, vec![FaultCode::OrderSizeExceeded; 64]));
    refusal_at_start(&rig.settings).await;
    let third = Worker::start(&other).await.unwrap();
    for worker in [worker, second, third] {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_first_workers_with_different_limits_never_both_start() {
    let rig = Rig::start().await;
    let other = smaller_orders(&rig.settings);
    let (one, two) = tokio::join!(Worker::start(&rig.settings), Worker::start(&other));
    let started = match (one, two) {
        (Ok(worker), Err(WorkerError::Limits(_))) | (Err(WorkerError::Limits(_)), Ok(worker)) => worker,
        other => panic!("{other:?}"),
    };
    let client = rig.caller().await;
    let journal = client.whole_journal().await;
    let subject = subjects::event(subjects::LIMITS_EVENT_KIND, None);
    assert_eq!(journal.iter().filter(|entry| entry.subject == subject).count(), 1);
    started.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_passes_under_the_old_limits_once_a_change_is_answered() {
    const LANES: usize = 256;
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    let mut tighter = rig.settings.clone();
    tighter.risk.max_open_orders = 1;
    let is_answered = AtomicBool::new(false);
    let sent = join_all((0..LANES).map(|lane| {
        let (client, is_answered) = (&client, &is_answered);
        async move {
            let (mut passed, mut n) = (0, 0);
            loop {
                // The last order of each lane is sent after the answer.
                let is_last = is_answered.load(Ordering::Acquire);
                passed += usize::from(client.submit(&ibkr(&format!("r{lane}-{n}"), &[])).await.is_ok());
                n += 1;
                if is_last {
                    return (passed, n);
                }
            }
        }
    }));
    let change = async {
        poll::until(SOON, "some orders have passed", async || open_orders(&rig).await > 8).await;
        apply(&client, &tighter).await.unwrap();
        let open = open_orders(&rig).await;
        is_answered.store(true, Ordering::Release);
        open
    };
    let (sent, open_at_the_answer) = tokio::join!(sent, change);
    rig.quiet().await;
    assert_eq!(open_orders(&rig).await, open_at_the_answer);
    let passed: usize = sent.iter().map(|(passed, _)| passed).sum();
    assert_eq!(passed, usize::try_from(open_at_the_answer).unwrap());
    let orders: usize = sent.iter().map(|(_, orders)| orders).sum();
    assert!(passed < orders, "the change came too late to show anything");
    for worker in workers {
        worker.drain(SOON).await;
    }
}

async fn open_orders(rig: &Rig) -> i64 {
    rig.sum("sums:paper:default:ibkr.paper:AAPL", "open_orders").await
}

#[tokio::test(flavor = "multi_thread")]
async fn instruments_rates_and_calendar_change_on_running_workers() {
    let rig = Rig::start().await;
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    let sap = |id: &str| ibkr(id, &[("symbol", "\"SAP\""), ("price", "100")]);
    assert_eq!(client.fault(&sap("s0")).await.code, FaultCode::UnsupportedPair);
    let mut more = rig.settings.clone();
    more.risk.rates.insert("EUR".to_owned(), "1.5".to_owned());
    more.risk.trading_day_begins = "00:01".to_owned();
    let mut instrument = more.instruments.0[2].clone();
    (instrument.symbol, instrument.quote) = ("SAP".to_owned(), "EUR".to_owned());
    instrument.reference_price = "100".to_owned();
    more.instruments.0.push(instrument);
    apply(&client, &more).await.unwrap();
    let (reports, codes) = race(&client, (0..32).map(|n| sap(&format!("s{n}"))).collect()).await;
    assert_eq!((reports.len(), codes), (32, Vec::new()));
    rig.quiet_outbox().await;
    // 32 orders of 10 at 100 EUR.
    let sums = &rig.store().await["account:paper:default"];
    assert_eq!(
        sums["daily_notional"],
        (32_i64 * 10 * 100 * 1_500_000).to_string(),
        "{sums:?}"
    );
    for worker in workers {
        let limits = worker.router().limits();
        assert_eq!(limits.settings, LimitSettings::of(&more));
        // A quote of the new instrument is a price on every worker.
        let body = r#"{"last": 101, "timestamp": "2026-03-02T12:00:00Z"}"#;
        let bus = rig.bus().await;
        bus.publish(subjects::quote("ibkr.paper", "SAP"), body.into())
            .await
            .unwrap();
        let instrument = limits
            .instruments
            .all()
            .find(|one| one.symbol.as_str() == "SAP")
            .unwrap();
        poll::until(SOON, "the quote is applied", async || {
            let mark = worker
                .router()
                .prices
                .mark_price(instrument, order_router::domain::order_terms::Mode::Live);
            mark.is_some()
        })
        .await;
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_survive_the_loss_of_redis() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let changed = apply(&client, &smaller_orders(&rig.settings)).await.unwrap();
    rig.redis.flushall().await;
    poll::until(SOON, "the store is rebuilt", async || {
        match client.submit(&intent("after", &[])).await {
            Err(RequestError::Fault(fault)) => fault.code == FaultCode::OrderSizeExceeded,
            _ => false,
        }
    })
    .await;
    assert_eq!(in_force(&client).await, changed);
    let mut connection = rig.redis.connection().await;
    let hash: String = connection.hget("{or}:meta", "limits_hash").await.unwrap();
    assert_eq!(hash, changed.hash);
    refusal_at_start(&rig.settings).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn change_of_a_worker_that_died_takes_effect_all_the_same() {
    for stop_at in ["limits_journaled", "limits_enforced"] {
        let rig = Rig::start().await;
        let survivor = rig.worker().await;
        let client = rig.caller().await;
        let smaller = smaller_orders(&rig.settings);
        // The request may reach the other worker, which completes it.
        let mut victim = rig.starting_worker_process(Some(stop_at));
        victim.wait_ready(SOON).await;
        let mut limits = smaller.clone();
        let mut version = 1;
        while victim.process().ended().is_none() {
            version += 1;
            limits.risk.price_collar_percent = 20 + version;
            let _ = apply(&client, &limits).await;
        }
        let code = async |n: usize| match client.submit(&intent(&format!("o{stop_at}{n}"), &[])).await {
            Err(RequestError::Fault(fault)) => fault.code,
            other => panic!("{other:?}"),
        };
        poll::until(SOON, "the change is in force", async || {
            let newest = in_force(&client).await;
            newest.packed.limits.unwrap().risk["price_collar_percent"] == 20 + version
                && survivor.router().limits().risk.price_collar_percent == 20 + version
        })
        .await;
        assert_eq!(code(1).await, FaultCode::OrderSizeExceeded);
        survivor.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn change_that_cannot_hold_is_refused_by_name() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let refused = async |settings: &Settings, base: Option<&str>| {
        let base = match base {
            Some(base) => base.to_owned(),
            None => in_force(&client).await.hash,
        };
        match apply_over(&client, settings, base).await {
            Err(RequestError::Fault(fault)) => (fault.code, fault.field.unwrap_or_default(), fault.detail),
            other => panic!("{other:?}"),
        }
    };
    let mut invalid = rig.settings.clone();
    invalid.risk.alert_percent = 0;
    let (code, field, detail) = refused(&invalid, None).await;
    assert_eq!((code, field.as_str()), (FaultCode::InvalidField, "limits"));
    assert!(detail.contains("risk.alert_percent"), "{detail}");
    let mut euro = rig.settings.clone();
    euro.risk.base_currency = "EUR".to_owned();
    euro.risk.rates.insert("USD".to_owned(), "0.9".to_owned());
    let (_, _, detail) = refused(&euro, None).await;
    assert!(detail.contains("risk.base_currency"), "{detail}");
    let (_, field, detail) = refused(&smaller_orders(&rig.settings), Some("another")).await;
    assert!(field == "base_hash" && detail.contains("version 1"), "{field} {detail}");
    assert_eq!(in_force(&client).await.version, 1);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_instruments_are_in_force_like_four() {
    let mut rig = Rig::start().await;
    let template = rig.settings.instruments.0[2].clone();
    for n in 0..4_996 {
        let mut instrument = template.clone();
        instrument.symbol = format!("S{n}");
        instrument.max_position = format!("{}", 1_000 + n);
        rig.settings.instruments.0.push(instrument);
    }
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let last = ibkr("last", &[("symbol", "\"S4995\"")]);
    assert_eq!(client.report(&last).await.status, OrderStatus::PartiallyFilled);
    let changed = apply(&client, &smaller_orders(&rig.settings)).await.unwrap();
    assert!(changed.packed.limits.is_none() && changed.packed.limits_gzip.is_some());
    assert_eq!(
        client.fault(&intent("large", &[])).await.code,
        FaultCode::OrderSizeExceeded
    );
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_show_compare_and_apply_with_a_worker_and_without() {
    let rig = Rig::start().await;
    let audit = ["--actor", "ann", "--reason", "a smaller book"];
    let apply_command = [&["limits", "apply"][..], &audit].concat();
    let client = rig.caller().await;
    let worker = rig.worker().await;
    let smaller = smaller_orders(&rig.settings);
    let shown = command(&rig, &smaller, &["limits", "show"]).await;
    let said = text(&shown);
    assert!(shown.status.success(), "{said}");
    assert!(said.contains("max_order_size: 0.75 to 0.0005"), "{said}");
    // What it prints is a settings file with the limits in force.
    let read: Settings = toml::from_str(&String::from_utf8_lossy(&shown.stdout)).unwrap();
    assert_eq!(LimitSettings::of(&read), LimitSettings::of(&rig.settings));
    let checked = command(&rig, &smaller, &["check", "--role", "worker"]).await;
    assert!(
        !checked.status.success() && text(&checked).contains("max_order_size"),
        "{}",
        text(&checked)
    );

    let applied = command(&rig, &smaller, &apply_command).await;
    assert!(
        applied.status.success() && text(&applied).contains("in force for all workers"),
        "{}",
        text(&applied)
    );
    assert_eq!(
        client.fault(&intent("one", &[])).await.code,
        FaultCode::OrderSizeExceeded
    );
    let again = command(&rig, &smaller, &apply_command).await;
    assert!(
        again.status.success() && text(&again).contains("in force already"),
        "{}",
        text(&again)
    );
    let checked = command(&rig, &smaller, &["check", "--role", "worker"]).await;
    assert!(text(&checked).contains("ok       limits"), "{}", text(&checked));
    worker.drain(SOON).await;

    // Without a worker the change is on the journal, and the next worker starts with it.
    let applied = command(&rig, &rig.settings, &apply_command).await;
    assert!(
        applied.status.success() && text(&applied).contains("on the journal"),
        "{}",
        text(&applied)
    );
    refusal_at_start(&smaller).await;
    let worker = rig.worker().await;
    assert_eq!(client.report(&intent("two", &[])).await.status, OrderStatus::Filled);
    let event = in_force(&client).await;
    assert_eq!((event.version, event.actor.as_str()), (3, "ann"));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_enforces_the_settings_of_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let (data, file) = (directory.path().join("data"), directory.path().join("router.toml"));
    let data = data.to_str().unwrap();
    for limit in ["40000", "30000"] {
        std::fs::write(&file, format!("[risk]\ndaily_loss_limit = \"{limit}\"\n")).unwrap();
        let args = [
            "dev",
            "--config",
            file.to_str().unwrap(),
            "--nats-port",
            "0",
            "--http-addr",
            "127.0.0.1:0",
        ];
        let args = [&args[..], &["--workers", "2"]].concat();
        let mut dev = RouterProcess::start(&args, [("ORDER_ROUTER_DATA_DIR", data)]);
        let ready = dev.wait_ready(SOON).await;
        let nats = ready.split("nats=").nth(1).unwrap().split(' ').next().unwrap();
        let shown = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"))
            .args(["state", "--json", "--nats-url", nats])
            .output();
        let state: serde_json::Value = serde_json::from_slice(&shown.await.unwrap().stdout).unwrap();
        assert_eq!(state["daily_loss_limit"].to_string(), limit, "{state}");
        assert!(dev.terminate(SOON).await.success());
    }
}
