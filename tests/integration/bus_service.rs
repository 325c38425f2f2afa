//! The request door: replies and faults, its limits, its service information, and a drain that drops no request.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, RequestErrorKind};
use order_router::bus::connection::ConnectPolicy;
use order_router::bus::request::Endpoint;
use order_router::bus::request_door::RequestDoor;
use order_router::config::doors::DoorSettings;
use serde_json::Value;

use crate::bus_fixture::{SOON, ScriptedHandler, doors, settings};
use crate::support::poll::until;
use crate::support::servers::NatsServer;

const SUBMIT: &str = "orders.submit.binance.a1";

struct Fixture {
    client: Client,
    handler: Arc<ScriptedHandler>,
    service: RequestDoor,
    server: NatsServer,
}

async fn start(doors: DoorSettings) -> Fixture {
    let server = NatsServer::start().await;
    let handler = Arc::new(ScriptedHandler::default());
    let service = serve(&server, &doors, &handler).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    Fixture {
        client,
        handler,
        service,
        server,
    }
}

async fn serve(server: &NatsServer, doors: &DoorSettings, handler: &Arc<ScriptedHandler>) -> RequestDoor {
    let handler = Arc::clone(handler);
    RequestDoor::start(&settings(server), doors, ConnectPolicy::Once, "0.1.0", handler)
        .await
        .unwrap()
}

async fn request_submit(client: &Client, body: &'static str) -> Message {
    client.request(SUBMIT, body.into()).await.unwrap()
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(|value| value.as_str())
}

#[tokio::test]
async fn replies_and_faults_have_their_headers() {
    let fixture = start(doors()).await;
    let reply = request_submit(&fixture.client, "{}").await;
    assert_eq!(&reply.payload[..], b"{}");
    assert_eq!(header(&reply, "Journal-Sequence"), Some("7"));
    assert_eq!(header(&reply, "Idempotent-Replay"), None);
    assert_eq!(
        header(&request_submit(&fixture.client, "again").await, "Idempotent-Replay"),
        Some("true")
    );
    let fault = request_submit(&fixture.client, "risk_locked").await;
    assert_eq!(header(&fault, "Nats-Service-Error-Code"), Some("400"));
    assert!(header(&fault, "Nats-Service-Error").unwrap().contains("line two"));
    let problem: Value = serde_json::from_slice(&fault.payload).unwrap();
    assert_eq!(
        (problem["code"].as_str(), problem["status"].as_u64()),
        (Some("risk_locked"), Some(400))
    );
}

#[tokio::test]
async fn every_endpoint_gets_its_requests() {
    let fixture = start(doors()).await;
    for endpoint in Endpoint::ALL {
        let subject = endpoint.subject().replacen('*', "ibkr", 1).replacen('*', "a2", 1);
        fixture.client.request(subject, "{}".into()).await.unwrap();
        let call = fixture.handler.calls.lock().unwrap().last().unwrap().clone();
        assert_eq!(call.endpoint, endpoint);
        let ids = (call.broker.as_deref(), call.account.as_deref());
        let expected = match endpoint.subject().matches('*').count() {
            0 => (None, None),
            // A heartbeat is of an account, whatever its brokers.
            1 => (None, Some("ibkr")),
            _ => (Some("ibkr"), Some("a2")),
        };
        assert_eq!(ids, expected);
        assert!(!call.is_durable);
    }
}

#[tokio::test]
async fn deadline_is_forwarded_and_an_invalid_one_is_refused() {
    let fixture = start(doors()).await;
    let mut headers = HeaderMap::new();
    headers.insert("Deadline", "2026-03-01T09:00:00Z");
    headers.insert("traceparent", "00-1-2-01");
    fixture
        .client
        .request_with_headers(SUBMIT, headers.clone(), "{}".into())
        .await
        .unwrap();
    let call = fixture.handler.calls.lock().unwrap().last().unwrap().clone();
    assert_eq!(call.deadline.unwrap().to_string(), "2026-03-01T09:00:00.000000Z");
    assert_eq!(call.traceparent.as_deref(), Some("00-1-2-01"));
    headers.insert("Deadline", "soon");
    let fault = fixture
        .client
        .request_with_headers(SUBMIT, headers, "{}".into())
        .await
        .unwrap();
    let problem: Value = serde_json::from_slice(&fault.payload).unwrap();
    assert_eq!(
        (problem["code"].as_str(), problem["field"].as_str()),
        (Some("invalid_field"), Some("Deadline"))
    );
    assert_eq!(fixture.handler.calls(), 1);
}

#[tokio::test]
async fn request_with_a_forbidden_reply_subject_gets_no_reply() {
    let fixture = start(doors()).await;
    let mut victim = fixture.client.subscribe("orders.>").await.unwrap();
    for reply in [
        "orders.intents.binance.a1",
        "orders.replies.a2.x",
        "$JS.API.STREAM.DELETE.X",
    ] {
        fixture
            .client
            .publish_with_reply(SUBMIT, reply, "{}".into())
            .await
            .unwrap();
    }
    fixture.client.publish(SUBMIT, "{}".into()).await.unwrap();
    // Requests of one connection are handled in order: once this one is answered, the others have been dropped.
    let mut own = fixture.client.subscribe("orders.replies.a1.x").await.unwrap();
    fixture
        .client
        .publish_with_reply(SUBMIT, "orders.replies.a1.x", "last".into())
        .await
        .unwrap();
    let reply = tokio::time::timeout(SOON, futures_util::StreamExt::next(&mut own))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&reply.payload[..], b"last");
    assert_eq!(fixture.handler.calls(), 1);
    while let Some(Some(seen)) = futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut victim)) {
        assert!(
            seen.subject.as_str() == SUBMIT || seen.subject.as_str() == "orders.replies.a1.x",
            "{}",
            seen.subject
        );
    }
}

#[tokio::test]
async fn full_door_refuses_at_once() {
    let fixture = start(DoorSettings {
        request_max_in_flight: 2,
        ..doors()
    })
    .await;
    let held: Vec<_> = (0..2)
        .map(|_| {
            let client = fixture.client.clone();
            tokio::spawn(async move { request_submit(&client, "wait").await })
        })
        .collect();
    until(SOON, "two requests in flight", async || fixture.handler.waiting() == 2).await;
    let full = request_submit(&fixture.client, "{}").await;
    assert_eq!(header(&full, "Nats-Service-Error-Code"), Some("503"));
    assert!(String::from_utf8_lossy(&full.payload).contains("queue_full"));
    fixture.handler.gate.add_permits(2);
    for one in held {
        assert_eq!(&one.await.unwrap().payload[..], b"wait");
    }
    assert_eq!(&request_submit(&fixture.client, "{}").await.payload[..], b"{}");
}

#[tokio::test]
async fn service_replies_to_discovery_and_counts_requests() {
    let fixture = start(doors()).await;
    for body in ["{}", "{}", "risk_locked"] {
        request_submit(&fixture.client, body).await;
    }
    let question = async |subject: &str| -> Value {
        let reply = fixture.client.request(subject.to_owned(), "".into()).await.unwrap();
        serde_json::from_slice(&reply.payload).unwrap()
    };
    let ping = question("$SRV.PING").await;
    assert_eq!(ping["type"], "io.nats.micro.v1.ping_response");
    assert_eq!(
        (ping["name"].as_str(), ping["version"].as_str()),
        (Some("order-router"), Some("0.1.0"))
    );
    let id = ping["id"].as_str().unwrap().to_owned();
    let info = question("$SRV.INFO.order-router").await;
    assert_eq!(info["endpoints"].as_array().unwrap().len(), Endpoint::ALL.len());
    assert_eq!(info["endpoints"][0]["subject"], "orders.submit.*.*");
    let stats = question(&format!("$SRV.STATS.order-router.{id}")).await;
    let submit = &stats["endpoints"][0];
    assert_eq!(
        (submit["num_requests"].as_u64(), submit["num_errors"].as_u64()),
        (Some(3), Some(1))
    );
    assert_eq!(submit["last_error"], "400:risk_locked");
    assert!(submit["processing_time"].as_u64().unwrap() >= submit["average_processing_time"].as_u64().unwrap());
}

#[tokio::test]
async fn panic_ends_its_own_request_only() {
    let fixture = start(DoorSettings {
        request_max_in_flight: 1,
        ..doors()
    })
    .await;
    fixture
        .client
        .publish_with_reply(SUBMIT, "_INBOX.unused", "panic".into())
        .await
        .unwrap();
    until(SOON, "the next reply", async || {
        &request_submit(&fixture.client, "{}").await.payload[..] == b"{}"
    })
    .await;
}

#[tokio::test]
async fn service_survives_a_server_restart() {
    let mut fixture = start(doors()).await;
    fixture.server.restart().await;
    until(SOON, "a reply", async || {
        fixture.client.request(SUBMIT, "{}".into()).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drain_under_load_replies_to_every_request() {
    let Fixture {
        handler,
        service,
        server,
        ..
    } = start(doors()).await;
    let (stop, answered, unserved) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut callers = Vec::new();
    for caller in 0..64 {
        let options = async_nats::ConnectOptions::new().request_timeout(Some(Duration::from_secs(10)));
        let client = if caller % 8 == 0 {
            Some(options.connect(server.url()).await.unwrap())
        } else {
            None
        };
        callers.push(client);
    }
    let clients: Vec<Client> = callers.iter().flatten().cloned().collect();
    let load: Vec<_> = (0..64)
        .map(|caller| {
            let client = clients[caller % clients.len()].clone();
            let (stop, answered, unserved) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&unserved));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    match client
                        .request(SUBMIT, if caller % 2 == 0 { "{}" } else { "pause" }.into())
                        .await
                    {
                        Ok(_) => answered.fetch_add(1, Ordering::SeqCst),
                        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                            unserved.fetch_add(1, Ordering::SeqCst)
                        }
                        Err(error) => panic!("a request was dropped: {error}"),
                    };
                }
            })
        })
        .collect();
    // Workers start and drain one after the other, with and without another one beside them.
    let mut service = Some(service);
    for round in 0..6 {
        let before = answered.load(Ordering::SeqCst);
        until(SOON, "load", async || answered.load(Ordering::SeqCst) > before + 300).await;
        let next = if round % 2 == 0 {
            Some(serve(&server, &doors(), &handler).await)
        } else {
            None
        };
        let drained = service.take().unwrap().drain(SOON).await;
        assert_eq!(drained.unfinished, 0);
        if next.is_none() {
            let before = unserved.load(Ordering::SeqCst);
            until(SOON, "no worker is subscribed", async || {
                unserved.load(Ordering::SeqCst) > before + 64
            })
            .await;
        }
        service = Some(match next {
            Some(next) => next,
            None => serve(&server, &doors(), &handler).await,
        });
    }
    stop.store(true, Ordering::SeqCst);
    for caller in load {
        caller.await.unwrap();
    }
    assert_eq!(handler.calls(), answered.load(Ordering::SeqCst));
}

#[tokio::test]
async fn drain_waits_for_requests_in_flight_within_its_grace_period() {
    let fixture = start(doors()).await;
    let held = {
        let client = fixture.client.clone();
        tokio::spawn(async move { request_submit(&client, "wait").await })
    };
    until(SOON, "a request in flight", async || fixture.handler.waiting() == 1).await;
    let drained = fixture.service.drain(Duration::from_millis(50)).await;
    assert_eq!(drained.unfinished, 1);
    held.abort();
}
