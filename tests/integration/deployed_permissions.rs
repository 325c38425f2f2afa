//! The shipped NATS configuration: a worker, the sidecar and an algorithm have the permissions they need, and no more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::process::Output;

use order_router::bus::subjects;
use order_router::config::nats::Secret;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::{Mode, OrderStatus, TradingState};
use order_router::domain::time::Timestamp;
use order_router::sidecar::Sidecar;
use order_router::wire::note::NoteEvent;
use order_router::wire::report::ExecutionReport;
use order_router::wire::state::RouterState;
use order_router::worker::Worker;

use crate::rest_events::Listener;
use crate::rest_fixture::client;
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::process::repository;
use crate::support::servers::{NatsOptions, NatsServer};

/// Starts a server with the accounts of `deploy/nats.conf`.
async fn shipped() -> NatsServer {
    let config = std::fs::read_to_string(repository().join("deploy/nats.conf")).unwrap();
    let mut accounts = config[config.find("\naccounts {").unwrap()..].to_owned();
    for user in ["worker", "sidecar", "client", "market", "operator"] {
        let variable = format!("$ORDER_ROUTER_NATS_{}_PASSWORD", user.to_uppercase());
        assert!(accounts.contains(&variable));
        accounts = accounts.replace(&variable, &format!("{user}-test"));
    }
    NatsServer::start_with(NatsOptions {
        extra_config: accounts,
        ..NatsOptions::default()
    })
    .await
}

async fn command(nats: &NatsServer, user: &str, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
    command
        .args(["--nats-url", &nats.url()])
        .args(args)
        .env("ORDER_ROUTER_NATS_USER", user)
        .env("ORDER_ROUTER_NATS_PASSWORD", format!("{user}-test"))
        .kill_on_drop(true);
    tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap()
}

/// Only an operator locks, lifts and halts; an algorithm gets `trading_halted`.
async fn locks_and_the_kill_switch(nats: &NatsServer) {
    let signed = ["--actor", "test", "--reason", "test"];
    let with = |words: &[&'static str]| [words, &signed].concat();
    let close = with(&["locks", "set", "--account", "other"]);
    let lift = with(&["locks", "lift", "paper.account.other.operator"]);
    let halt = with(&["state", "--halt", "--json"]);
    let resume = with(&["state", "--resume"]);
    for change in [&close, &lift, &halt] {
        assert!(!command(nats, "client", change).await.status.success(), "{change:?}");
    }
    let said = async |words: &[&str]| {
        let output = command(nats, "operator", words).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{words:?}: {err}");
        out.into_owned()
    };
    assert_eq!(said(&close).await.trim(), "locked paper.account.other.operator");
    assert!(said(&["locks"]).await.contains("paper.account.other.operator"));
    assert_eq!(said(&lift).await.trim(), "lifted paper.account.other.operator");
    assert_eq!(said(&["locks"]).await.trim(), "no locks are active");
    let halted: RouterState = serde_json::from_str(&said(&halt).await).unwrap();
    assert_eq!(
        (halted.trading_state, halted.remaining_total),
        (TradingState::Halted, Some(0))
    );
    let order = [
        "--broker",
        "ibkr",
        "--venue",
        "ibkr.paper",
        "--symbol",
        "AAPL",
        "--side",
        "buy",
        "--quantity",
        "1",
    ];
    let refused = command(nats, "client", &[&["submit", "--json"], &order[..]].concat()).await;
    assert!(
        String::from_utf8_lossy(&refused.stdout).contains("trading_halted"),
        "{refused:?}"
    );
    let resumed = said(&resume).await;
    assert!(
        resumed.contains("trading state") && resumed.contains("active"),
        "{resumed}"
    );
}

/// The sidecar adds a note through a worker, and cannot write to the journal itself.
async fn notes_are_for_the_sidecar(nats: &NatsServer) {
    let options = async_nats::ConnectOptions::with_user_and_password("sidecar".to_owned(), "sidecar-test".to_owned());
    let bus = options.connect(nats.url()).await.unwrap();
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::new("default").unwrap());
    let note = r#"{"order_id": "BN-1", "notes": "late", "actor": "test"}"#;
    let noted = tokio::time::timeout(SOON, bus.request(subjects::note(&broker, &account), note.into())).await;
    let noted = NoteEvent::decode(&noted.unwrap().unwrap().payload).unwrap();
    let subject = subjects::event(subjects::NOTE_EVENT_KIND, Some(&account));
    bus.publish(subject.clone(), noted.encode().into()).await.unwrap();
    bus.flush().await.unwrap();
    poll::until(SOON, "the server refuses the event", async || {
        nats.log_text()
            .lines()
            .any(|line| line.contains("Violation") && line.contains("sidecar") && line.contains(&subject))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_has_the_permissions_it_needs_and_no_more() {
    let (nats, mut rig) = tokio::join!(shipped(), Rig::start());
    rig.settings.nats.url = nats.url();
    let user = |name: &str| {
        let mut settings = rig.settings.clone();
        settings.nats.user = Some(name.to_owned());
        settings.nats.password = Some(Secret::new(format!("{name}-test")));
        settings.http.addr = "127.0.0.1:0".parse().unwrap();
        settings
    };
    let worker = Worker::start(&user("worker")).await.unwrap();
    let sidecar = Sidecar::start(&user("sidecar")).await.unwrap();

    // An algorithm, through both doors.
    let file = tempfile::NamedTempFile::new().unwrap();
    for (id, door) in [("a1", None), ("a2", Some("--durable"))] {
        std::fs::write(file.path(), intent(id, &[])).unwrap();
        let path = file.path().to_str().unwrap();
        let mut args = vec!["submit", "--json", "--timeout-ms", "20000", "--file", path];
        args.extend(door);
        let output = command(&nats, "client", &args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = ExecutionReport::decode(output.stdout.trim_ascii()).unwrap_or_else(|_| panic!("{id}: {said}"));
        assert_eq!(report.status, OrderStatus::Filled, "{said}");
    }
    let got = command(&nats, "client", &["get", "--broker", "binance", "--id", "a2", "--json"]).await;
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    // It cannot change limits; an operator can.
    let limit = [
        "state",
        "--daily-notional-limit",
        "5000000",
        "--actor",
        "test",
        "--reason",
        "test",
    ];
    assert!(!command(&nats, "client", &limit).await.status.success());
    let set = command(&nats, "operator", &limit).await;
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    // Neither the algorithm nor the sidecar can book positions or cash.
    let adjust: Vec<&str> = "adjust --account a --cash 5 --actor test --reason test --id d1"
        .split(' ')
        .collect();
    for name in ["client", "sidecar"] {
        let refused = command(&nats, name, &adjust).await;
        assert!(!refused.status.success(), "{name}");
    }
    let booked = command(&nats, "operator", &[&adjust[..], &["--json"]].concat()).await;
    assert!(booked.status.success(), "{}", String::from_utf8_lossy(&booked.stderr));
    let booked: serde_json::Value = serde_json::from_slice(&booked.stdout).unwrap();
    assert_eq!(
        (booked["adjustment_id"].as_str(), booked["cash"].as_i64()),
        (Some("d1"), Some(5))
    );
    notes_are_for_the_sidecar(&nats).await;
    locks_and_the_kill_switch(&nats).await;
    let checked = command(&nats, "operator", &["topology", "--check"]).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // REST, its health included.
    let http = client();
    let base = format!("http://{}", sidecar.address());
    poll::until(SOON, "the sidecar is healthy", async || {
        http.get(format!("{base}/health")).send().await.unwrap().status() == 200
    })
    .await;
    let posted = http
        .post(format!("{base}/orders"))
        .header("content-type", "application/json")
        .body(intent("a3", &[]))
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 201);
    let mut listener = Listener::resume(&sidecar, "0-0").await;
    while !listener.next().await.data.contains(r#""client_order_id":"a3""#) {}
    assert!(!nats.log_text().contains("STREAM.PURGE"));

    // Only the market data source publishes reference prices.
    let bitcoin = worker
        .router()
        .instruments
        .all()
        .find(|one| one.symbol.as_str() == "BTCUSDT");
    let bitcoin = bitcoin.unwrap();
    let mark = || {
        worker
            .router()
            .prices
            .mark_price(bitcoin, Mode::Live)
            .map(|price| price.decimal().to_string())
    };
    for (name, last) in [("client", "1"), ("market", "2")] {
        let options = async_nats::ConnectOptions::with_user_and_password(name.to_owned(), format!("{name}-test"));
        let publisher = options.connect(nats.url()).await.unwrap();
        let quote = format!(r#"{{"last": {last}, "timestamp": "{}"}}"#, Timestamp::now());
        let subject = subjects::quote("binance.spot", "BTCUSDT");
        publisher.publish(subject, quote.into()).await.unwrap();
        publisher.flush().await.unwrap();
    }
    poll::until(SOON, "the market quote is applied", async || {
        mark().as_deref() == Some("2")
    })
    .await;
    assert!(
        nats.log_text().contains("market.quotes.binance.spot.BTCUSDT"),
        "the client is refused"
    );
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
}
