//! The shipped NATS configuration: a worker, the sidecar and an algorithm have the permissions they need, and no more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::process::Output;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy};
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::config::nats::Secret;
use order_router::config::risk::RiskSettings;
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
pub async fn shipped() -> NatsServer {
    shipped_with("").await
}

/// As [`shipped`], with one more user, a block of the list.
pub async fn shipped_with(user: &str) -> NatsServer {
    let config = std::fs::read_to_string(repository().join("deploy/nats.conf")).unwrap();
    let mut accounts = config[config.find("\naccounts {").unwrap()..].to_owned();
    for user in [
        "worker", "topology", "sidecar", "alpha", "client", "market", "archive", "operator",
    ] {
        let variable = format!("$DEPLOY_NATS_{}_PASSWORD", user.to_uppercase());
        assert!(accounts.contains(&variable));
        accounts = accounts.replace(&variable, &format!("{user}-test"));
    }
    let accounts = accounts.replacen("users: [", &format!("users: [\n{user}\n"), 1);
    NatsServer::start_with(NatsOptions {
        extra_config: accounts,
        ..NatsOptions::default()
    })
    .await
}

pub async fn command(nats: &NatsServer, user: &str, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
    command
        .args(["--nats-url", &nats.url()])
        .args(args)
        .env("ORDER_ROUTER_NATS_USER", user)
        .env("ORDER_ROUTER_NATS_PASSWORD", format!("{user}-test"))
        .kill_on_drop(true);
    tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap()
}

/// An algorithm arms and disarms its dead man's switch.
async fn heartbeats_are_for_algorithms(nats: &NatsServer) {
    let beat = ["heartbeat", "--account", "alpha"];
    for (more, expected) in [
        (
            vec!["--fires-after-ms", "60000"],
            "alpha: armed for 60000 ms, fires at ",
        ),
        (vec!["--disarm", "--reason", "done"], "alpha: disarmed"),
    ] {
        let output = command(nats, "client", &[&beat[..], &more[..]].concat()).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.starts_with(expected), "{output:?}");
    }
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
        let started = Instant::now();
        let refused = command(nats, "client", change).await;
        let said = [refused.stdout, refused.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            !refused.status.success() && said.contains("may not publish to router."),
            "{change:?}: {said}"
        );
        // The usual timeout of a request is 5 s.
        assert!(started.elapsed() < Duration::from_secs(4), "{change:?}");
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

/// The archive's user archives; a worker's and the sidecar's cannot purge the journal, and no one else's can write to the
/// archive.
async fn archiving_has_a_user_of_its_own(nats: &NatsServer) {
    let archive = "journal archive --json --actor a --reason r --before 1s";
    let words: Vec<&str> = archive.split(' ').collect();
    // Younger entries stay.
    let archived = poll::eventually(SOON, "some entries are archived", async || {
        let output = command(nats, "archive", &words).await;
        assert!(output.status.success(), "{output:?}");
        let archived: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (archived["archived"]["entries"] != 0).then_some(archived)
    })
    .await;
    assert_eq!(
        archived["dropped"]["entries"], archived["archived"]["entries"],
        "{archived}"
    );
    for (user, subject) in [
        ("worker", "$JS.API.STREAM.PURGE.ORDER_REPORTS"),
        ("sidecar", "$JS.API.STREAM.PURGE.ORDER_REPORTS"),
        ("worker", subjects::ARCHIVE_SEGMENTS),
        ("sidecar", subjects::ARCHIVE_SEGMENTS),
        ("client", subjects::ARCHIVE_SEGMENTS),
        ("sidecar", "orders.snapshots.part.0"),
        ("client", "orders.snapshots.manifest.0"),
        ("worker", "$JS.API.STREAM.PURGE.ORDER_SNAPSHOTS"),
        ("archive", "$JS.API.STREAM.PURGE.ORDER_ARCHIVE"),
        ("archive", "$JS.API.STREAM.DELETE.ORDER_REPORTS"),
        ("archive", "orders.reports.binance.default"),
    ] {
        let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), format!("{user}-test"));
        let bus = options.connect(nats.url()).await.unwrap();
        bus.publish(subject, "x".into()).await.unwrap();
        bus.flush().await.unwrap();
        poll::until(SOON, "the server refuses the message", async || {
            nats.log_text()
                .lines()
                .any(|line| line.contains("Violation") && line.contains(user) && line.contains(subject))
        })
        .await;
    }
}

/// Connects as one of the shipped users.
pub async fn raw_connection(nats: &NatsServer, user: &str) -> async_nats::Client {
    async_nats::ConnectOptions::with_user_and_password(user.to_owned(), format!("{user}-test"))
        .request_timeout(Some(Duration::from_millis(500)))
        .connect(nats.url())
        .await
        .unwrap()
}

/// Returns a worker's settings for the shipped server.
pub fn user_settings(rig: &Rig, name: &str) -> Settings {
    let mut settings = rig.settings.clone();
    settings.nats.user = Some(name.to_owned());
    settings.nats.password = Some(Secret::new(format!("{name}-test")));
    settings.http.addr = "127.0.0.1:0".parse().unwrap();
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_topology_cannot_empty_the_journal() {
    let (nats, mut rig) = tokio::join!(shipped(), Rig::start());
    rig.settings.nats.url = nats.url();
    let worker = Worker::start(&user_settings(&rig, "worker")).await.unwrap();
    let halt = ["state", "--halt", "--actor", "test", "--reason", "test"];
    assert!(command(&nats, "operator", &halt).await.status.success());
    let operator = async_nats::jetstream::new(raw_connection(&nats, "operator").await);
    let journal = async || {
        let mut stream = operator.get_stream(subjects::STREAM_REPORTS).await.unwrap();
        let info = stream.info().await.unwrap().clone();
        (info.config, info.state.messages, info.state.first_sequence)
    };
    let before = journal().await;
    assert!(before.1 > 0);
    let with = |change: fn(&mut StreamConfig)| {
        let mut config = before.0.clone();
        change(&mut config);
        serde_json::to_string(&config).unwrap()
    };
    let aged = with(|config| config.max_age = Duration::from_secs(1));
    let emptied = with(|config| config.max_messages_per_subject = 1);
    let old = with(|config| (config.max_messages, config.discard) = (1, DiscardPolicy::Old));
    let ways = [
        ("STREAM.UPDATE", aged.as_str()),
        ("STREAM.UPDATE", &emptied),
        ("STREAM.UPDATE", &old),
        // A request to create a stream that exists with other settings.
        ("STREAM.CREATE", &aged),
        ("STREAM.CREATE", &old),
        ("STREAM.PURGE", "{}"),
        ("STREAM.DELETE", "{}"),
        ("STREAM.MSG.DELETE", r#"{"seq":1}"#),
        ("STREAM.RESTORE", &aged),
        ("STREAM.PEER.REMOVE", r#"{"peer":"x"}"#),
    ];
    for (user, allowed) in [("worker", &ways[3..5]), ("topology", &ways[..5])] {
        let bus = raw_connection(&nats, user).await;
        for (verb, body) in &ways {
            // What the topology's user changes, an operator changes: it may update streams, and never removes entries.
            if user == "topology" && allowed.contains(&(*verb, *body)) {
                continue;
            }
            let subject = format!("$JS.API.{verb}.{}", subjects::STREAM_REPORTS);
            match bus.request(subject, (*body).to_owned().into()).await {
                Ok(reply) => {
                    let reply: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap();
                    assert!(reply["error"].is_object(), "{user} {verb}: {reply}");
                }
                Err(error) => assert!(!allowed.contains(&(*verb, *body)), "{user} {verb}: {error}"),
            }
        }
        // A message that replaces all earlier ones of the stream.
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Rollup", "all");
        let subject = subjects::event(subjects::STATE_EVENT_KIND, None);
        let rollup = bus.request_with_headers(subject, headers, "{}".into()).await;
        let is_refused = rollup.map_or(true, |reply| reply.payload.starts_with(br#"{"error""#));
        assert!(is_refused, "{user}");
    }
    assert_eq!(journal().await, before);

    // A worker never creates a journal again: with the work queue left, and with the shared state left.
    worker.drain(SOON).await;
    for stream in [subjects::STREAM_REPORTS, subjects::STREAM_INTENTS] {
        operator.delete_stream(stream).await.unwrap();
        let error = Worker::start(&user_settings(&rig, "worker"))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("order-router topology"), "{error}");
        assert!(operator.get_stream(subjects::STREAM_REPORTS).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topology_has_a_user_of_its_own_and_workers_change_no_stream() {
    let (nats, mut rig) = tokio::join!(shipped(), Rig::start());
    rig.settings.nats.url = nats.url();
    let operator = async_nats::jetstream::new(raw_connection(&nats, "operator").await);
    let limit = async || {
        let stream = operator.get_stream(subjects::STREAM_REPORTS).await.unwrap();
        stream.cached_info().config.max_bytes
    };
    for bytes in [1 << 30, 1 << 31] {
        let setting = format!("nats.reports_max_bytes={bytes}");
        let applied = command(&nats, "topology", &["--set", &setting, "topology"]).await;
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        assert_eq!(limit().await, bytes);
    }
    // A worker with other settings starts, and a broker without a queue is named.
    let mut settings = user_settings(&rig, "worker");
    settings.nats.reports_max_bytes = 1 << 29;
    let worker = Worker::start(&settings).await.unwrap();
    assert_eq!(limit().await, 1 << 31);
    worker.drain(SOON).await;
    settings.brokers.enabled.retain(|name| name == "ibkr");
    let only = command(&nats, "topology", &["--set", "brokers.enabled=binance", "topology"]).await;
    assert!(only.status.success(), "{}", String::from_utf8_lossy(&only.stderr));
    let error = Worker::start(&settings).await.unwrap_err().to_string();
    assert!(
        error.contains("orders.intents.ibkr.*") && error.contains("order-router topology"),
        "{error}"
    );
    // Without the permission, the command says so at once.
    let started = Instant::now();
    let denied = command(&nats, "worker", &["--set", "nats.request_timeout_ms=30000", "topology"]).await;
    let text = String::from_utf8_lossy(&denied.stderr).into_owned();
    assert!(
        !denied.status.success() && text.contains("may not publish to $JS.API.STREAM.UPDATE"),
        "{text}"
    );
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_is_missing_and_changes_nothing() {
    let (nats, mut rig) = tokio::join!(shipped(), Rig::start());
    rig.settings.nats.url = nats.url();
    // The limits that `check` compares: those without a file.
    rig.settings.risk = RiskSettings::default();
    let redis = format!("redis.url={}", rig.redis.url());
    let check = async |user: &str, role: &str, redis: &str| {
        let output = command(&nats, user, &["--set", redis, "check", "--role", role]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let line = |text: &str, check: &str| {
        let found = text.lines().find(|line| line.split_whitespace().nth(1) == Some(check));
        found.unwrap_or_else(|| panic!("no line of {check}: {text}")).to_owned()
    };
    // Before the topology.
    let (code, text) = check("worker", "worker", &redis).await;
    let streams = line(&text, "streams");
    assert!(
        code == Some(1) && streams.contains("missing") && streams.contains("order-router topology"),
        "{text}"
    );
    assert!(command(&nats, "topology", &["topology"]).await.status.success());
    let worker = Worker::start(&user_settings(&rig, "worker")).await.unwrap();
    let operator = async_nats::jetstream::new(raw_connection(&nats, "operator").await);
    let messages = async || {
        let mut count = 0;
        for stream in [
            subjects::STREAM_REPORTS,
            subjects::STREAM_INTENTS,
            subjects::STREAM_ALERTS,
        ] {
            count += operator.get_stream(stream).await.unwrap().cached_info().state.messages;
        }
        count
    };
    let before = messages().await;
    for role in ["worker", "topology", "sidecar", "client", "operator"] {
        let (code, text) = check(role, role, &redis).await;
        assert_eq!(code, Some(0), "{role}: {text}");
        for line in text.lines() {
            assert!(
                line.starts_with("ok ") || line.starts_with("warning  keys "),
                "{role}: {line}"
            );
        }
        assert!(line(&text, "permissions").starts_with("ok"), "{text}");
        if role == "worker" {
            assert!(line(&text, "clock").contains(" ms from Redis' clock"), "{text}");
        }
    }
    for (user, role, subject) in [
        ("client", "operator", "router.state.set"),
        ("worker", "topology", "$JS.API.STREAM.UPDATE.ORDER_REPORTS"),
        ("sidecar", "worker", "orders.events.state._"),
    ] {
        let (code, text) = check(user, role, &redis).await;
        assert!(
            code == Some(1) && line(&text, "permissions").contains(subject),
            "{user}: {text}"
        );
    }
    assert_eq!(messages().await, before, "nothing is stored");
    let (code, text) = check("worker", "worker", "redis.url=redis://127.0.0.1:1").await;
    assert!(code == Some(1) && line(&text, "redis").starts_with("failed"), "{text}");
    let (code, text) = check("worker", "worker", "redis.batch_max=0").await;
    assert!(
        code == Some(2) && line(&text, "settings").starts_with("failed"),
        "{text}"
    );
    let open = ["--set", "http.addr=0.0.0.0:8100", "check", "--role", "sidecar"];
    let open = command(&nats, "sidecar", &open).await;
    assert!(
        line(&String::from_utf8_lossy(&open.stdout), "keys").starts_with("failed"),
        "{open:?}"
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_has_the_permissions_it_needs_and_no_more() {
    let (nats, mut rig) = tokio::join!(shipped(), Rig::start());
    rig.settings.nats.url = nats.url();
    rig.settings.nats.duplicate_window_s = 1;
    let worker = Worker::start(&user_settings(&rig, "worker")).await.unwrap();
    let sidecar = Sidecar::start(&user_settings(&rig, "sidecar")).await.unwrap();

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
    heartbeats_are_for_algorithms(&nats).await;
    locks_and_the_kill_switch(&nats).await;
    let window = "nats.duplicate_window_s=1";
    // A worker does not create the archive.
    let applied = command(&nats, "topology", &["--set", window, "topology"]).await;
    let said = String::from_utf8_lossy(&applied.stdout);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let created: Vec<&str> = said.lines().filter(|line| line.ends_with("created")).collect();
    assert!(created.len() == 1 && created[0].starts_with("ORDER_ARCHIVE"), "{said}");
    let checked = command(&nats, "operator", &["--set", window, "topology", "--check"]).await;
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
    archiving_has_a_user_of_its_own(&nats).await;

    // Only the market data source publishes reference prices.
    let limits = worker.router().limits();
    let bitcoin = limits.instruments.all().find(|one| one.symbol.as_str() == "BTCUSDT");
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
