//! The settings of the command line, as a user meets them: unknown variables, host names.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use order_router::wire::problem::Problem;

use crate::halt_without_worker::halt_with;
use crate::rest_fixture::Rest;
use crate::rig::{Rig, SOON};
use crate::support::poll;
use crate::support::process::RouterProcess;

#[tokio::test(flavor = "multi_thread")]
async fn variable_that_names_no_setting_does_not_stop_a_halt() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let variables = [
        ("ORDER_ROUTER_NATS_OPERATOR_PASSWORD", "hunter2"),
        ("ORDER_ROUTER_URL", "http://old"),
        ("ORDER_ROUTER_TIMEOUT", "5"),
    ];
    let halted = halt_with(&rig, &[], variables).await;
    let said = String::from_utf8_lossy(&halted.stderr).into_owned();
    assert!(halted.status.success(), "{said}");
    for (name, value) in variables {
        assert!(said.contains(&format!("{name} names no setting")), "{said}");
        assert!(value.len() < 2 || !said.contains("hunter2"), "{said}");
    }
    assert!(
        said.contains("the nearest name is ORDER_ROUTER_NATS_PASSWORD"),
        "{said}"
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_listens_on_a_host_name_and_commands_reach_it_by_name() {
    let rest = Rest::start_with(|settings| settings.http.addr = "localhost:0".parse().unwrap()).await;
    let port = rest.address().port();
    assert!(rest.address().ip().is_loopback());
    let setting = format!("http.addr=localhost:{port}");
    let address = format!("localhost:{port}");
    for args in [
        &["alerts", "--json", "--set", &setting][..],
        &["alerts", "--json", "--http-addr", &address],
        &["alerts", "--json", "--url", &format!("http://{address}")],
    ] {
        let mut command = RouterProcess::start(args, Vec::new());
        command.process().wait(SOON).await;
        poll::until(SOON, "the output is read", async || command.is_read()).await;
        // There are no streams, so the sidecar answers with a problem.
        let answer: Problem = serde_json::from_str(&command.stdout_text())
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", command.stderr_text()));
        assert_eq!(answer.status, 503, "{args:?}: {answer:?}");
    }
}
