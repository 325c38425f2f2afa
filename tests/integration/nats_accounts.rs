//! The shipped NATS configuration fences an algorithm into its account: by password, and by an NKey of `key nats`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::Duration;

use futures_util::StreamExt;
use order_router::bus::subjects;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::OrderStatus;
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;

use crate::deployed_permissions::{command, raw_connection, shipped_with, user_settings};
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::process::repository;
use crate::support::servers::NatsServer;

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

/// Creates the user of an account with `order-router key nats`; returns what it prints.
fn create_user(name: &str, seed_file: &std::path::Path) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_order-router"))
        .args(["key", "nats", "--json", "--account", name, "--seed-file"])
        .arg(seed_file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command as the algorithm of `beta`, by its NKey.
async fn as_beta(nats: &NatsServer, seed_file: &std::path::Path, args: &[&str]) -> Output {
    let nkey = format!("nats.nkey_file={}", seed_file.display());
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
    command
        .args(["--nats-url", &nats.url(), "--set", &nkey])
        .args(["--set", "nats.inbox_prefix=_INBOX.beta"])
        .args(args)
        .kill_on_drop(true);
    tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap()
}

fn order_file(id: &str, account: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), intent(id, &[("account_id", &format!("{account:?}"))])).unwrap();
    file
}

fn assert_filled(output: &Output) -> ExecutionReport {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = ExecutionReport::decode(output.stdout.trim_ascii()).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(report.status, OrderStatus::Filled, "{said}");
    report
}

/// Returns the subjects that the shipped configuration allows a user to publish or subscribe to.
fn shipped_subjects(user: &str, verb: &str) -> BTreeSet<String> {
    let config = std::fs::read_to_string(repository().join("deploy/nats.conf")).unwrap();
    let block = config.split(&format!("user: {user}\n")).nth(1).unwrap();
    let list = block.split(&format!("{verb}: {{")).nth(1).unwrap();
    let list = list.split("allow: [").nth(1).unwrap().split(']').next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn shipped_algorithm_has_the_subjects_that_the_command_prints() {
    let alpha = account("alpha");
    let publishes: BTreeSet<String> = subjects::account_user_publishes(&alpha).into_iter().collect();
    let subscriptions: BTreeSet<String> = subjects::account_user_subscriptions(&alpha).into_iter().collect();
    assert_eq!(shipped_subjects("alpha", "publish"), publishes);
    assert_eq!(shipped_subjects("alpha", "subscribe"), subscriptions);
    // Each request of a desk is one that the algorithm may send for its account.
    let desk = shipped_subjects("client", "publish");
    assert!(desk.contains("orders.submit.>"), "{desk:?}");
    for request in desk.iter().filter(|subject| subject.starts_with("orders.")) {
        // The subject of a heartbeat names no broker.
        let own = match request.strip_suffix(".*") {
            Some(without_account) => format!("{without_account}.alpha"),
            None => request.replace('>', "*.alpha"),
        };
        assert!(publishes.contains(&own), "{own}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn algorithm_trades_for_its_account_alone() {
    let directory = tempfile::tempdir().unwrap();
    let seed_file = directory.path().join("beta.nk");
    let beta = create_user("beta", &seed_file);
    let again = Command::new(env!("CARGO_BIN_EXE_order-router"))
        .args(["key", "nats", "--account", "beta", "--seed-file"])
        .arg(&seed_file)
        .output()
        .unwrap();
    assert!(!again.status.success(), "a seed is never overwritten");
    let (nats, mut rig) = tokio::join!(shipped_with(beta["block"].as_str().unwrap()), Rig::start());
    rig.settings.nats.url = nats.url();
    let worker = Worker::start(&user_settings(&rig, "worker")).await.unwrap();

    // Both submit for their own account, through both doors.
    for (number, door) in [None, Some("--durable")].into_iter().enumerate() {
        let (alpha, beta) = (
            order_file(&format!("a{number}"), "alpha"),
            order_file(&format!("b{number}"), "beta"),
        );
        let args = |file: &tempfile::NamedTempFile| -> Vec<String> {
            let path = file.path().to_str().unwrap();
            let words = ["submit", "--json", "--timeout-ms", "20000", "--file", path];
            words.into_iter().chain(door).map(str::to_owned).collect()
        };
        let (of_alpha, of_beta) = (args(&alpha), args(&beta));
        let prefixed: Vec<&str> = ["--set", "nats.inbox_prefix=_INBOX.alpha"]
            .into_iter()
            .chain(of_alpha.iter().map(String::as_str))
            .collect();
        assert_filled(&command(&nats, "alpha", &prefixed).await);
        let plain: Vec<&str> = of_beta.iter().map(String::as_str).collect();
        assert_filled(&as_beta(&nats, &seed_file, &plain).await);
    }
    // What `check` says of each.
    let own = as_beta(&nats, &seed_file, &["check", "--role", "client", "--account", "beta"]).await;
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stdout));
    let other = as_beta(&nats, &seed_file, &["check", "--role", "client", "--account", "alpha"]).await;
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(
        !other.status.success() && said.contains("may not publish to orders.submit.binance.alpha"),
        "{said}"
    );
    let seed = std::fs::read_to_string(&seed_file).unwrap();
    for output in [&own, &other] {
        let said = [&output.stdout[..], &output.stderr].concat();
        assert!(
            !String::from_utf8_lossy(&said).contains(seed.trim()),
            "the seed is never shown"
        );
    }

    reading_another_account_is_refused(&nats, &seed_file).await;
    writing_for_another_account_is_refused(&nats).await;
    worker.drain(SOON).await;
}

async fn wait_for_violation(nats: &NatsServer, subject: &str) {
    poll::until(SOON, format!("the server refuses {subject}"), async || {
        nats.log_text().lines().any(|line| {
            line.contains("Violation") && line.contains("alpha") && line.contains(&format!("\"{subject}\""))
        })
    })
    .await;
}

/// Subscribes as alpha wherever beta's replies, reports and alerts pass, while beta trades.
async fn reading_another_account_is_refused(nats: &NatsServer, seed_file: &std::path::Path) {
    let alpha = raw_connection(nats, "alpha").await;
    let mut heard = Vec::new();
    for subject in [
        "_INBOX.>",
        "_INBOX.*.*",
        "_INBOX.beta.>",
        "orders.replies.>",
        "orders.replies.beta.>",
        "orders.reports.>",
        "orders.reports.*.*",
        "orders.reports.*.beta",
        "orders.events.>",
        "orders.events.*.beta",
        "orders.submit.>",
        "orders.intents.*.beta",
        "risk.alerts.*.beta",
        "router.fence.beta.>",
        "router.>",
        ">",
    ] {
        heard.push(alpha.subscribe(subject).await.unwrap());
        alpha.flush().await.unwrap();
        wait_for_violation(nats, subject).await;
    }
    // Its own subjects work, and show when everything earlier would have arrived.
    let mut own = alpha.subscribe("orders.reports.*.alpha").await.unwrap();
    alpha.flush().await.unwrap();
    let secret = order_file("secret", "beta");
    let path = secret.path().to_str().unwrap().to_owned();
    let secret = assert_filled(&as_beta(nats, seed_file, &["submit", "--json", "--file", &path]).await);
    let mine = order_file("mine", "alpha");
    let path = mine.path().to_str().unwrap().to_owned();
    let prefix = [
        "--set",
        "nats.inbox_prefix=_INBOX.alpha",
        "submit",
        "--json",
        "--file",
        &path,
    ];
    assert_filled(&command(nats, "alpha", &prefix).await);
    let report = tokio::time::timeout(SOON, own.next()).await.unwrap().unwrap();
    let report = ExecutionReport::decode(&report.payload).unwrap();
    assert_eq!(report.account_id.as_str(), "alpha");
    for subscription in &mut heard {
        let next = tokio::time::timeout(Duration::ZERO, subscription.next()).await;
        assert!(!matches!(next, Ok(Some(_))), "{next:?}");
    }
    // The other's order id, on its own subject.
    let alpha = fenced_connection(nats).await;
    let body = format!(r#"{{"order_id":"{}"}}"#, secret.order_id);
    for verb in ["get", "cancel"] {
        let subject = format!("orders.{verb}.binance.alpha");
        let reply = alpha.request(subject, body.clone().into()).await.unwrap();
        let said = String::from_utf8_lossy(&reply.payload).into_owned();
        assert!(said.contains("unknown_order"), "{verb}: {said}");
    }
}

/// Connects as alpha with an inbox of its own.
async fn fenced_connection(nats: &NatsServer) -> async_nats::Client {
    let options = async_nats::ConnectOptions::with_user_and_password("alpha".into(), "alpha-test".into());
    let options = options.custom_inbox_prefix("_INBOX.alpha");
    options.connect(nats.url()).await.unwrap()
}

/// Publishes as alpha wherever it could act for beta or read the journal.
async fn writing_for_another_account_is_refused(nats: &NatsServer) {
    let alpha = raw_connection(nats, "alpha").await;
    let body = intent("stolen", &[("account_id", "\"beta\"")]);
    for subject in [
        "orders.submit.binance.beta",
        "orders.intents.binance.beta",
        "orders.get.binance.beta",
        "orders.get.binance._",
        "orders.cancel.binance.beta",
        "orders.cancel.binance._",
        "orders.cancel_all.binance.beta",
        "orders.note.binance.alpha",
        "orders.reports.binance.alpha",
        "orders.events.state._",
        "orders.replies.beta.x",
        "_INBOX.beta.x",
        "router.fence.beta.x",
        "router.state.set",
        "router.limits.set",
        "market.quotes.binance.spot.BTCUSDT",
        "$JS.API.STREAM.INFO.ORDER_REPORTS",
        "$JS.API.STREAM.MSG.GET.ORDER_REPORTS",
        "$JS.API.DIRECT.GET.ORDER_REPORTS.orders.reports.binance.beta",
        "$JS.API.CONSUMER.CREATE.ORDER_REPORTS.c.orders.reports.*.beta",
        "$JS.API.CONSUMER.MSG.NEXT.ORDER_INTENTS.workers-binance",
        "$SRV.INFO.order-router",
    ] {
        alpha.publish(subject, body.clone().into()).await.unwrap();
        alpha.flush().await.unwrap();
        wait_for_violation(nats, subject).await;
    }
    // On its own subject, the body cannot name the other account.
    let (broker, own) = (BrokerId::new("binance").unwrap(), account("alpha"));
    let alpha = fenced_connection(nats).await;
    let reply = alpha
        .request(subjects::submit(&broker, &own), body.into())
        .await
        .unwrap();
    assert!(
        String::from_utf8_lossy(&reply.payload).contains("account_mismatch"),
        "{reply:?}"
    );
}
