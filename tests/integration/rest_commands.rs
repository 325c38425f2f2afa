//! `order-router orders`, `executions`, `positions`, `alerts` and `state`: tables, filters, `--json` and `--watch`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::io::{BufRead, BufReader, pipe};
use std::process::Stdio;

use order_router::bus::subjects;
use order_router::config::api_keys::{ApiKey, Capability, KeySettings};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::rest_router::{Router, order, texts};
use crate::rig::SOON;
use crate::support::poll;
use crate::support::process::RouterProcess;
use crate::support::proxy::Proxy;

/// How many polls must return the same response before it counts as stable.
const STABLE_POLLS: usize = 3;

/// The exit code and the output of a command.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command to its end.
pub async fn run(args: &str, address: &str, environment: &[(&str, &str)]) -> CommandOutput {
    let args: Vec<&str> = args.split(' ').chain(["--http-addr", address]).collect();
    let mut process = RouterProcess::start(&args, environment.iter().copied());
    let ended = process.process().wait(SOON).await;
    // The threads that read the output end with it.
    poll::until(SOON, "all the output", async || process.is_read()).await;
    CommandOutput {
        code: ended.code(),
        stdout: process.stdout_text(),
        stderr: process.stderr_text(),
    }
}

/// Starts a command that runs until it receives a signal.
fn watch(args: &str, address_args: [&str; 2]) -> RouterProcess {
    let args: Vec<&str> = args.split(' ').chain(address_args).collect();
    RouterProcess::start(&args, [])
}

async fn assert_exits_cleanly(process: &mut RouterProcess, signal: &str) {
    process.process().signal(signal);
    let ended = process.process().wait(SOON).await;
    assert_eq!(ended.code(), Some(0), "{}", process.stderr_text());
}

/// Submits an order and returns its number in the order log.
async fn submit(router: &Router, order: &Value) -> u64 {
    let response = router.submit(order).await;
    assert!([201, 400].contains(&response.status), "{response:?}");
    let id = order["client_order_id"].as_str().unwrap();
    let (items, _) = router.list(&format!("/orders/log?client_order_id={id}")).await;
    items[0]["id"].as_u64().unwrap()
}

/// Starts a router with a filled order at each broker, of two accounts, and a denied order.
async fn router_with_orders() -> (Router, [u64; 3]) {
    let router = Router::start_with(|rig| rig.settings.brokers.paper_ibkr.first_fill_percent = 100).await;
    let share = json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": "2", "price": "180",
        "account_id": "fund-7", "tags": ["strategy:mean", "Desk 7"]});
    let numbers = [
        submit(&router, &order("coin", &json!({}))).await,
        submit(&router, &order("share", &share)).await,
        submit(&router, &order("large", &json!({"quantity": "5", "tags": ["mean"]}))).await,
    ];
    (router, numbers)
}

#[tokio::test(flavor = "multi_thread")]
async fn list_commands_print_tables_and_the_response_as_json() {
    let (router, numbers) = router_with_orders().await;
    let address = router.sidecar.address().to_string();
    let shown = run("orders", &address, &[]).await;
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!((shown.code, lines.len()), (Some(0), 6), "{shown:?}");
    assert!(lines[0].starts_with("submitted "), "{shown:?}");
    for (line, words) in [
        (1, ["large", "rejected", "order_size_exceeded"]),
        (2, ["share", "fund-7", "filled"]),
        (3, ["coin", "30000", "filled"]),
    ] {
        assert!(words.iter().all(|word| lines[line].contains(word)), "{shown:?}");
    }
    assert_eq!(lines[5], "1–3 of 3");
    assert!(lines[3].chars().count() <= 120, "{shown:?}");

    let shown = run("executions", &address, &[]).await;
    assert!(
        shown.stdout.starts_with("executed ") && shown.stdout.ends_with("\n1–2 of 2\n"),
        "{shown:?}"
    );
    let shown = run("positions", &address, &[]).await;
    let lines: Vec<Vec<&str>> = shown
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[1][..5],
        ["default", "binance.spot", "BTCUSDT", "0.01", "30000"],
        "{shown:?}"
    );
    assert_eq!(lines[2][..4], ["fund-7", "ibkr.paper", "AAPL", "2"], "{shown:?}");
    assert_eq!(lines[4][..4], ["2", "positions", "in", "paper"], "{shown:?}");

    let shown = run("orders --limit 2", &address, &[]).await;
    let footer = format!("\n1–2 of 3; next: --after {}\n", numbers[1]);
    assert!(shown.stdout.ends_with(&footer), "{shown:?}");
    let executions = format!("executions --order-id {}", numbers[1]);
    for (args, path) in [
        ("orders", "/orders/log".to_owned()),
        (&executions, format!("/executions?order_id={}", numbers[1])),
    ] {
        let shown = run(&format!("{args} --json"), &address, &[]).await;
        assert_eq!(shown.stdout, router.get(&path).await.text + "\n");
    }
    let shown = run("positions --account fund-7 --json", &address, &[]).await.json();
    assert_eq!(
        shown["items"],
        router.get("/positions?account_id=fund-7").await.json()["items"]
    );
    for (args, expected) in [
        ("orders --account unknown", "no orders match\n"),
        ("orders --offset 4711", "offset 4 711 is beyond the last of 3 orders\n"),
        (&format!("orders --after {}", numbers[0]), "no more orders\n"),
        ("executions --symbol MSFT", "no executions match\n"),
        ("alerts --account unknown", "no alerts\n"),
    ] {
        let shown = run(args, &address, &[]).await;
        assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), expected), "{shown:?}");
    }
    let shown = run("positions --account unknown", &address, &[]).await;
    assert!(shown.stdout.starts_with("no positions at 20"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flag_sets_the_filter_of_its_name() {
    let (router, numbers) = router_with_orders().await;
    let address = router.sidecar.address().to_string();
    let (items, _) = router.list("/orders/log?client_order_id=share").await;
    let (at, updated_at) = (
        items[0]["submitted_at"].as_str().unwrap(),
        items[0]["updated_at"].as_str().unwrap(),
    );
    let all = ["large", "share", "coin"];
    for (args, expected) in [
        ("", &all[..]),
        ("--limit 1", &["large"]),
        ("--offset 2", &["coin"]),
        ("--limit 1 --offset 1", &["share"]),
        ("--account fund-7", &["share"]),
        ("--symbol btc/usdt", &["large", "coin"]),
        (&format!("--start {at}"), &["large", "share"]),
        (&format!("--end {at}"), &["share", "coin"]),
        ("--tag MEAN", &["large"]),
        ("--strategy mean", &["large", "share"]),
        ("--broker ibkr", &["share"]),
        ("--status filled", &["share", "coin"]),
        ("--status filled --broker binance", &["coin"]),
        ("--status open,rejected", &["large"]),
        ("--side buy --sort asc", &["coin", "share", "large"]),
        ("--side sell", &[]),
        (&format!("--after {}", numbers[2]), &["share", "coin"]),
        (&format!("--after {} --sort asc", numbers[0]), &["share", "large"]),
        (&format!("--updated-after {updated_at}"), &["large"]),
        (&format!("--start {}", at.trim_end_matches('Z')), &["large", "share"]),
        (&format!("--start {0} --end {0}", &at[..10]), &all),
        ("--client-order-id large", &["large"]),
    ] {
        let args = format!("orders --json {args}");
        let shown = run(args.trim(), &address, &[]).await;
        let items = shown.json()["items"].as_array().unwrap().clone();
        assert_eq!(texts(&items, "correlation_id"), expected, "{args}");
    }
    for (args, expected) in [
        ("executions --json --account fund-7 --status filled", &["share"][..]),
        ("executions --json --limit 1 --offset 1", &["coin"]),
    ] {
        let items = run(args, &address, &[]).await.json()["items"]
            .as_array()
            .unwrap()
            .clone();
        assert_eq!(texts(&items, "correlation_id"), expected, "{args}");
    }
    // Refusals of the sidecar print its problem document.
    let refused = run("orders --limit 501", &address, &[]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(
        refused.stderr.contains("invalid_field (400)") && refused.stderr.contains("limit"),
        "{refused:?}"
    );
    let refused = run("executions --limit 501 --json", &address, &[]).await;
    assert_eq!(
        (refused.code, refused.json()["field"].as_str()),
        (Some(1), Some("limit"))
    );
    let away = run("positions", "127.0.0.1:1", &[]).await;
    assert_eq!(away.code, Some(1));
    assert!(away.stderr.contains("is the sidecar running?"), "{away:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_without_access_is_refused_without_retry() {
    let (key, unknown) = (ApiKey::generate(), ApiKey::generate());
    let settings = KeySettings::new(&key, "desk", "Fund 7", &[Capability::Read], &["fund-7"]);
    let router = Router::start_with(|rig| rig.settings.keys.0 = vec![settings]).await;
    let address = router.sidecar.address().to_string();
    let (with_key, with_unknown) = (
        [("ORDER_ROUTER_API_KEY", key.reveal())],
        [("ORDER_ROUTER_API_KEY", unknown.reveal())],
    );
    for command in ["orders", "executions", "positions", "alerts"] {
        for (watch, environment, args, code) in [
            ("", &[][..], "", "unauthenticated"),
            ("", &with_unknown, "", "unauthenticated"),
            (" --watch", &with_unknown, "", "unauthenticated"),
            (" --watch --json", &with_key, " --account fund-8", "account_mismatch"),
        ] {
            let args = format!("{command}{watch}{args}");
            let refused = run(&args, &address, environment).await;
            let output = format!("{}{}", refused.stdout, refused.stderr);
            assert_eq!(refused.code, Some(1), "{args}: {refused:?}");
            assert!(
                output.contains(code) && !output.contains("retrying"),
                "{args}: {refused:?}"
            );
            assert!(
                !output.contains(key.reveal()) && !output.contains(unknown.reveal()),
                "{args}"
            );
        }
        let shown = run(command, &address, &with_key).await;
        assert_eq!((shown.code, &shown.stdout[..3]), (Some(0), "no "), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_only_changes_and_resumes_after_an_outage() {
    let (router, _) = router_with_orders().await;
    let proxy = Proxy::start(router.sidecar.address()).await;
    let address = proxy.address().to_string();
    proxy.cut();
    let address_args = ["--http-addr", address.as_str()];
    let mut lists: Vec<RouterProcess> = ["orders", "executions", "positions"]
        .map(|command| watch(&format!("{command} --watch 1 --json"), address_args))
        .into();
    lists.push(watch("positions --watch 1", address_args));
    for list in &lists {
        poll::until(SOON, "the command retries", async || {
            list.stderr_text().contains("retrying")
        })
        .await;
        assert_eq!(list.stdout_text(), "");
    }
    proxy.restore();
    let responses = |list: &RouterProcess| list.stdout_text().matches("BTCUSDT").count().min(1);
    let lines = |list: &RouterProcess| list.stdout_text().lines().count();
    for list in &lists {
        poll::until(SOON, "the first response", async || responses(list) == 1).await;
        assert!(list.stderr_text().contains("requests succeed again"));
    }
    // Further polls return the same response and print nothing.
    let polls = proxy.accepted() + STABLE_POLLS * lists.len();
    poll::until(SOON, "further polls", async || proxy.accepted() >= polls).await;
    assert_eq!(lists.iter().map(lines).collect::<Vec<_>>(), [1, 1, 1, 7]);

    submit(&router, &order("second", &json!({}))).await;
    for list in &lists[..3] {
        poll::until(SOON, "the change", async || lines(list) == 2).await;
    }
    poll::until(SOON, "the change", async || lists[3].stdout_text().contains(" 0.02 ")).await;
    let newest: Value = serde_json::from_str(lists[0].stdout_text().lines().last().unwrap()).unwrap();
    assert_eq!(newest["items"][0]["correlation_id"], "second");
    proxy.cut();
    for list in &lists {
        poll::until(SOON, "the second outage is reported", async || {
            list.stderr_text().matches("retrying").count() == 2
        })
        .await;
    }
    for (list, signal) in lists.iter_mut().zip(["INT", "TERM", "INT", "INT"]) {
        assert_exits_cleanly(list, signal).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_watched_over_the_bus() {
    let mut router = Router::start().await;
    let url = router.rig.nats.url();
    router.rig.nats.kill9();
    let mut state = watch("state --watch 1", ["--nats-url", &url]);
    poll::until(SOON, "the command retries", async || {
        state.stderr_text().contains("retrying")
    })
    .await;
    router.rig.nats.restart().await;
    poll::until(SOON, "the state", async || state.stdout_text().contains("active")).await;
    let client = router.rig.caller().await;
    let change = r#"{"trading_state":"reduce_only","actor":"mira","reason":"test"}"#;
    poll::until(SOON, "the change is accepted", async || {
        client.call(subjects::STATE_SET, change).await.is_ok()
    })
    .await;
    poll::until(SOON, "the change", async || state.stdout_text().contains("reduce_only")).await;
    let shown = state.stdout_text();
    assert_eq!(shown.matches("trading state").count(), 2, "{shown}");
    assert_exits_cleanly(&mut state, "INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_output_pipe_ends_a_command_without_an_error() {
    let router = Router::start().await;
    submit(&router, &order("coin", &json!({}))).await;
    let address = router.sidecar.address().to_string();
    let url = router.rig.nats.url();
    let start = |command: &str| {
        let (reader, writer) = pipe().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_order-router"));
        program.args(command.split(' '));
        match command.starts_with("state") {
            true => program.args(["--nats-url", &url]),
            false => program.args(["--http-addr", &address]),
        };
        program
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        (program.spawn().unwrap(), reader)
    };
    let ends = async |command: &str, process: Child| {
        let ended = timeout(SOON, process.wait_with_output()).await.expect(command).unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), stderr.as_str()), (Some(0), ""), "{command}");
    };
    for command in [
        "orders",
        "executions --json",
        "positions",
        "alerts",
        "state",
        "alerts --watch",
        "state --watch",
    ] {
        let (process, reader) = start(command);
        drop(reader);
        ends(command, process).await;
    }
    // A command with nothing to write also notices: its next poll is an hour away.
    let command = "orders --json --watch 3600";
    let (process, reader) = start(command);
    let first = spawn_blocking(|| BufReader::new(reader).lines().next().unwrap().unwrap());
    let line = timeout(SOON, first).await.expect("a line").unwrap();
    assert!(line.contains("coin"), "{line}");
    ends(command, process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_each_response_replaces_the_previous_one() {
    let router = Router::start().await;
    let address = router.sidecar.address();
    let program = env!("CARGO_BIN_EXE_order-router");
    // script(1) runs the program in a terminal and records its output.
    let directory = tempfile::tempdir().unwrap();
    let typescript = directory.path().join("typescript");
    let command = format!("exec {program} orders --watch 1 --http-addr {address}");
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--flush", "--return", "--command", &command])
        .arg(&typescript)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let mut script = script.spawn().expect("script(1), of bsdutils");
    let mut keyboard = script.stdin.take().unwrap();
    let shown = || std::fs::read_to_string(&typescript).unwrap_or_default();
    poll::until(SOON, "several polls", async || {
        shown().matches("no orders").count() >= STABLE_POLLS
    })
    .await;
    submit(&router, &order("coin", &json!({}))).await;
    poll::until(SOON, "the order", async || shown().contains("coin")).await;
    let text = shown();
    assert!(text.contains("\u{1b}[?1049h\u{1b}[?7l\u{1b}[1;1H20"), "{text:?}");
    assert!(text.contains("every 1 s until Ctrl-C\u{1b}[K\u{1b}[2;1H"), "{text:?}");
    router.sidecar.drain(SOON).await;
    poll::until(SOON, "the error above the last response", async || {
        let text = shown();
        let error = text.rfind("is the sidecar running?");
        error.is_some_and(|at| text[at..].contains("as of 20") && text[at..].contains("coin"))
    })
    .await;
    // Ctrl-C, as the keyboard sends it.
    keyboard.write_all(b"\x03").await.unwrap();
    let ended = timeout(SOON, script.wait()).await.expect("the end").unwrap();
    assert_eq!(ended.code(), Some(0));
    let text = shown();
    let end = text.rfind("\u{1b}[?7h\u{1b}[?1049l").expect("the terminal is restored");
    assert!(end > text.rfind("as of 20").unwrap(), "{text:?}");
}
