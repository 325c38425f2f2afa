//! The caller's side: its results without a worker, without a reply and without a bus.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use order_router::bus::connection::ConnectPolicy;
use order_router::bus::request_door::RequestDoor;
use order_router::bus::router_client::{RequestError, RouterClient};
use order_router::bus::subjects;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::time::Timestamp;
use order_router::fault::{Fault, FaultCode};

use crate::bus_fixture::{SOON, ScriptedHandler, account, bare, broker, doors, settings, start};
use crate::support::poll::until;
use crate::support::servers::NatsServer;

fn later() -> Timestamp {
    Timestamp::now().saturating_add(SOON)
}

fn code(result: Result<impl std::fmt::Debug, RequestError>) -> FaultCode {
    match result {
        Err(RequestError::Fault(Fault { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn replies_and_faults_arrive_whole() {
    let (server, bus) = start().await;
    let (handler, caller) = (Arc::new(ScriptedHandler::default()), RouterClient::new(bus));
    let _service = RequestDoor::start(
        &settings(&server),
        &doors(),
        ConnectPolicy::Once,
        "0.1.0",
        Arc::clone(&handler),
    )
    .await
    .unwrap();
    let subject = subjects::submit(&broker(), &account());
    let deadline = later();
    let reply = caller.request(&subject, "again".into(), deadline).await.unwrap();
    assert_eq!(
        (&reply.body[..], reply.journal_sequence, reply.is_replay),
        (&b"again"[..], Some(7), true)
    );
    let call = handler.calls.lock().unwrap()[0].clone();
    assert_eq!(call.deadline, Some(deadline));
    assert_eq!(call.traceparent.unwrap().len(), 55);
    for expected in FaultCode::ALL {
        let result = caller.request(&subject, expected.as_str().into(), later()).await;
        assert_eq!(code(result), *expected);
    }
    let soon = Timestamp::now().saturating_add(Duration::from_millis(50));
    let silent = caller.request(&subject, "wait".into(), soon).await;
    assert_eq!(silent.unwrap_err(), RequestError::Timeout);
    let past = caller.request(&subject, "{}".into(), Timestamp::now()).await;
    assert_eq!(code(past), FaultCode::IntentExpired);
}

#[tokio::test]
async fn no_worker_and_no_bus_are_reported_at_once() {
    let mut server = NatsServer::start().await;
    let caller = RouterClient::new(bare(&server).await);
    let subject = subjects::submit(&broker(), &account());
    assert_eq!(
        code(caller.request(&subject, "{}".into(), later()).await),
        FaultCode::NoWorker
    );
    let large = vec![b' '; 2 << 20];
    assert_eq!(
        code(caller.request(&subject, large.into(), later()).await),
        FaultCode::PayloadTooLarge
    );
    server.kill9();
    until(SOON, "the end of the connection", async || !caller.bus().is_connected()).await;
    assert_eq!(
        code(caller.request(&subject, "{}".into(), later()).await),
        FaultCode::BusUnavailable
    );
}

#[tokio::test]
async fn intents_are_stored_for_configured_brokers_only() {
    let (server, bus) = start().await;
    let caller = RouterClient::new(bus);
    let sequence = caller
        .publish_intent(&broker(), &account(), "{}".into(), Some(later()), None)
        .await
        .unwrap();
    assert_eq!(sequence, 1);
    let other = BrokerId::new("elsewhere").unwrap();
    let result = caller.publish_intent(&other, &account(), "{}".into(), None, None).await;
    assert_eq!(code(result), FaultCode::UnknownBroker);
    let result = caller
        .publish_intent(&broker(), &account(), "{}".into(), None, Some("orders.reports.x.y"))
        .await;
    assert_eq!(code(result), FaultCode::InvalidField);
    drop(server);
}

#[tokio::test]
async fn followers_receive_the_events_of_their_account() {
    let (_server, bus) = start().await;
    let caller = RouterClient::new(bus.clone());
    let other = AccountId::new("a2").unwrap();
    let mut own = caller.subscribe_reports(Some(&account())).await.unwrap();
    let mut all = caller.subscribe_reports(None).await.unwrap();
    let mut alerts = caller.subscribe_alerts(Some(&account())).await.unwrap();
    for account in [&other, &account()] {
        bus.publish(subjects::report(&broker(), account), "r".into())
            .await
            .unwrap();
        bus.publish(subjects::alert("lock", Some(account)), "l".into())
            .await
            .unwrap();
    }
    let next = |stream: Option<order_router::bus::router_client::SubscriptionMessage>| stream.unwrap().subject;
    assert_eq!(next(own.next().await), "orders.reports.binance.a1");
    assert_eq!(next(all.next().await), "orders.reports.binance.a2");
    assert_eq!(next(all.next().await), "orders.reports.binance.a1");
    assert_eq!(next(alerts.next().await), "risk.alerts.lock.a1");
}
