//! The kill switch without a worker: the halt is kept on the journal and holds before the first order.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::process::Output;

use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::control::OperatorOverrides;
use order_router::domain::money::Micros;
use order_router::domain::order_terms::{OrderStatus, TradingState};
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::store::control::operator_state::{OperatorStateChange, OperatorStateOutcome};
use order_router::wire::state::{RouterState, StateEvent};
use order_router::worker::control::operator_state_journal::activate_journaled_change;

use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;

async fn halt(rig: &Rig, extra: &[&str]) -> Output {
    halt_with(rig, extra, []).await
}

/// Halts by the command line, with further arguments and environment variables.
pub async fn halt_with<const N: usize>(rig: &Rig, extra: &[&str], variables: [(&str, &str); N]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
    command
        .args(["state", "--halt", "--actor", "ann", "--reason", "prices look wrong"])
        .args(["--nats-url", &rig.nats.url()])
        .args(extra)
        .envs(variables)
        .kill_on_drop(true);
    tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap()
}

async fn state(client: &Client) -> RouterState {
    serde_json::from_slice(&client.call(subjects::STATE_GET, "{}").await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_without_a_worker_holds_from_the_next_worker_on() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let client = rig.caller().await;
    let worker = rig.worker().await;
    let open = client.report(&ibkr("open", &[])).await;
    let limit = r#"{"daily_notional_limit":900000,"actor":"t","reason":"t"}"#;
    client.call(subjects::STATE_SET, limit).await.unwrap();
    worker.drain(SOON).await;

    let halted = halt(&rig, &[]).await;
    let said = String::from_utf8_lossy(&halted.stdout).into_owned();
    assert!(
        halted.status.success() && said.contains("no worker is running"),
        "{halted:?}"
    );
    assert!(said.contains("as version 2"), "{said}");
    // More than a halt is not kept.
    let more = halt(&rig, &["--daily-loss-limit", "5"]).await;
    assert!(!more.status.success());

    let worker = rig.worker().await;
    assert_eq!(client.fault(&intent("first", &[])).await.code, FaultCode::TradingHalted);
    let active = state(&client).await;
    assert_eq!((active.trading_state, active.version), (TradingState::Halted, 2));
    assert_eq!(active.daily_notional_limit.to_string(), "900000");
    poll::until(SOON, "the open order is cancelled", async || {
        let reports = client.reports().await;
        reports
            .iter()
            .any(|report| report.order_id == open.order_id && report.status == OrderStatus::Cancelled)
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_before_the_first_worker_is_kept_where_there_is_a_journal() {
    let rig = Rig::start().await;
    let nowhere = halt(&rig, &[]).await;
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(
        !nowhere.status.success() && said.contains("could not be journaled"),
        "{said}"
    );
    rig.apply_topology().await;
    let halted = halt(&rig, &["--json"]).await;
    let event: StateEvent = serde_json::from_slice(&halted.stdout).unwrap();
    assert_eq!((event.version, event.trading_state), (1, Some(TradingState::Halted)));
    assert_eq!(
        (event.actor.as_str(), event.reason.as_str()),
        ("ann", "prices look wrong")
    );
    let worker = rig.worker().await;
    let client = rig.caller().await;
    assert_eq!(client.fault(&intent("first", &[])).await.code, FaultCode::TradingHalted);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn halt_holds_beside_a_change_that_its_worker_did_not_journal() {
    let rig = Rig::start().await;
    let client = rig.caller().await;
    let mut victim = rig.worker_process(Some("change_active")).await;
    let limit = r#"{"daily_notional_limit":900000,"actor":"bob","reason":"t"}"#;
    client.call(subjects::STATE_SET, limit).await.ok();
    victim.process().wait(SOON).await;
    let halted = halt(&rig, &["--timeout-ms", "1000"]).await;
    assert!(halted.status.success(), "{halted:?}");
    let worker = rig.worker().await;
    assert_eq!(client.fault(&intent("first", &[])).await.code, FaultCode::TradingHalted);
    let active = state(&client).await;
    assert_eq!(active.trading_state, TradingState::Halted);
    assert_eq!(active.daily_notional_limit.to_string(), "900000");
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journaled_halt_and_an_unjournaled_change_of_its_version_both_hold() {
    let rig = Rig::start().await;
    let client = rig.caller().await;
    let worker = rig.worker().await;
    let router = worker.router();
    let event = |version: u64| StateEvent {
        version,
        mode: None,
        trading_state: None,
        daily_notional_limit: None,
        daily_loss_limit: None,
        actor: "ann".to_owned(),
        reason: "test".to_owned(),
        timestamp: Timestamp::now(),
        earlier: Vec::new(),
    };
    let halt = OperatorOverrides {
        trading_state: Some(TradingState::Halted),
        ..OperatorOverrides::default()
    };
    let limit = OperatorOverrides {
        daily_notional_limit: Micros::new(900_000_000_000),
        ..OperatorOverrides::default()
    };
    let mut version = 1;
    // The worker may apply the journaled event first: then the next version is tried.
    loop {
        let subject = subjects::event(subjects::STATE_EVENT_KIND, None);
        let body = serde_json::to_vec(&event(version).with_operator_values(halt)).unwrap();
        client.raw.request(subject, body.into()).await.unwrap();
        let change = OperatorStateChange {
            base_version: version - 1,
            version,
            values: limit,
            document: serde_json::to_vec(&event(version).with_operator_values(limit))
                .unwrap()
                .into(),
            is_journaled: false,
        };
        match router.store.set_operator_state(&change).await.unwrap() {
            OperatorStateOutcome::Changed(_) => break,
            OperatorStateOutcome::Superseded(_) => version += 1,
        }
    }
    activate_journaled_change(router).await.unwrap();
    let active = router.store.read_operator_state().await.unwrap();
    assert_eq!(active.values.trading_state, Some(TradingState::Halted));
    assert_eq!(active.values.daily_notional_limit, limit.daily_notional_limit);
    assert!(active.journaled_version > version);
    worker.drain(SOON).await;
}
