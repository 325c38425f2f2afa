//! The durable door: each intent is acknowledged, redelivered or dead-lettered, depending on its outcome.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream::Stream};
use futures_util::StreamExt;
use order_router::bus::connection::Bus;
use order_router::bus::durable_door::DurableDoor;
use order_router::bus::router_client::RouterClient;
use order_router::config::doors::DoorSettings;
use order_router::fault::{AckType, FaultCode};
use serde_json::Value;

use crate::bus_fixture::{SOON, ScriptedHandler, account, bare, broker, doors, start};
use crate::support::poll::{eventually, until};
use crate::support::servers::NatsServer;

struct Fixture {
    server: NatsServer,
    bus: Bus,
    client: async_nats::Client,
    jetstream: jetstream::Context,
    handler: Arc<ScriptedHandler>,
    door: DurableDoor,
}

async fn open(doors: DoorSettings) -> Fixture {
    let (server, bus) = start().await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let handler = Arc::new(ScriptedHandler::default());
    let door = DurableDoor::start(bare(&server).await, doors, broker(), Arc::clone(&handler));
    let jetstream = jetstream::new(client.clone());
    Fixture {
        server,
        bus,
        client,
        jetstream,
        handler,
        door,
    }
}

impl Fixture {
    async fn publish(&self, body: &str) {
        let caller = RouterClient::new(self.bus.clone());
        caller
            .publish_intent(&broker(), &account(), body.to_owned().into(), None, None)
            .await
            .unwrap();
    }

    async fn publish_with(&self, headers: &[(&'static str, &str)], body: impl Into<bytes::Bytes>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let sent = self
            .jetstream
            .publish_with_headers("orders.intents.binance.a1", map, body.into())
            .await;
        sent.unwrap().await.unwrap();
    }

    async fn queue_is_empty(&self) {
        until(SOON, "an empty work queue", async || {
            messages(&self.jetstream, "ORDER_INTENTS").await == 0
        })
        .await;
    }

    async fn dead_letter(&self, reason: &str) -> (HeaderMap, Value) {
        let subject = format!("orders.dead.{reason}");
        let stream: Stream<_> = self.jetstream.get_stream("ORDER_DEAD").await.unwrap();
        let letter = eventually(SOON, format!("a dead letter {reason}"), async || {
            stream.direct_get_last_for_subject(subject.clone()).await.ok()
        });
        let letter = letter.await;
        (letter.headers, serde_json::from_slice(&letter.payload).unwrap())
    }
}

async fn messages(jetstream: &jetstream::Context, stream: &str) -> u64 {
    jetstream.get_stream(stream).await.unwrap().cached_info().state.messages
}

#[tokio::test]
async fn reply_goes_to_reply_to_and_the_intent_is_acknowledged() {
    let fixture = open(doors()).await;
    let mut inbox = fixture.client.subscribe("orders.replies.a1.x").await.unwrap();
    fixture.client.flush().await.unwrap();
    fixture
        .publish_with(
            &[("Reply-To", "orders.replies.a1.x"), ("traceparent", "00-1-2-01")],
            "{}",
        )
        .await;
    let reply = tokio::time::timeout(SOON, inbox.next()).await.unwrap().unwrap();
    assert_eq!(&reply.payload[..], b"{}");
    assert_eq!(reply.headers.unwrap().get("Journal-Sequence").unwrap().as_str(), "7");
    fixture.queue_is_empty().await;
    let call = fixture.handler.calls.lock().unwrap()[0].clone();
    assert!(call.is_durable);
    assert_eq!(
        (call.broker.as_deref(), call.account.as_deref()),
        (Some("binance"), Some("a1"))
    );
    assert_eq!(call.traceparent.as_deref(), Some("00-1-2-01"));
    assert_eq!(fixture.handler.calls(), 1);
}

#[tokio::test]
async fn every_fault_has_its_acknowledgement() {
    let fixture = open(DoorSettings {
        durable_max_deliver: 3,
        ..doors()
    })
    .await;
    let mut dead = 0;
    for code in FaultCode::ALL {
        let before = fixture.handler.calls();
        fixture.publish(code.as_str()).await;
        fixture.queue_is_empty().await;
        let deliveries = fixture.handler.calls() - before;
        dead += u64::from(code.ack_type() != AckType::Ack);
        assert_eq!(
            messages(&fixture.jetstream, "ORDER_DEAD").await,
            dead,
            "{}",
            code.as_str()
        );
        match code.ack_type() {
            AckType::Ack => assert_eq!(deliveries, 1),
            AckType::Term => {
                let (headers, letter) = fixture.dead_letter(code.as_str()).await;
                assert_eq!(deliveries, 1);
                assert_eq!(letter["problem"]["code"], code.as_str());
                assert_eq!(
                    (letter["body"].as_str(), letter["body_encoding"].as_str()),
                    (Some(code.as_str()), Some("utf-8"))
                );
                assert_eq!(
                    headers.get("Dead-Subject").unwrap().as_str(),
                    "orders.intents.binance.a1"
                );
                assert_eq!(headers.get("Dead-Deliveries").unwrap().as_str(), "1");
            }
            AckType::Nak => {
                assert_eq!(deliveries, 3);
                let (_, letter) = fixture.dead_letter("max_deliver").await;
                assert_eq!(letter["body"], code.as_str());
            }
        }
    }
}

#[tokio::test]
async fn faults_are_replied_unless_the_intent_is_redelivered() {
    let fixture = open(DoorSettings {
        durable_max_deliver: 2,
        ..doors()
    })
    .await;
    let mut inbox = fixture.client.subscribe("_INBOX.mine.*").await.unwrap();
    fixture.client.flush().await.unwrap();
    fixture
        .publish_with(&[("Reply-To", "_INBOX.mine.1")], "store_unavailable")
        .await;
    fixture.queue_is_empty().await;
    fixture
        .publish_with(&[("Reply-To", "_INBOX.mine.2")], "unknown_field")
        .await;
    fixture
        .publish_with(&[("Reply-To", "_INBOX.mine.3")], "risk_locked")
        .await;
    fixture.queue_is_empty().await;
    let mut replied = Vec::new();
    for _ in 0..2 {
        replied.push(
            tokio::time::timeout(SOON, inbox.next())
                .await
                .unwrap()
                .unwrap()
                .subject
                .to_string(),
        );
    }
    replied.sort();
    assert_eq!(replied, ["_INBOX.mine.2", "_INBOX.mine.3"]);
}

#[tokio::test]
async fn forbidden_reply_to_and_invalid_deadline_are_dead_letters() {
    let fixture = open(doors()).await;
    let mut victim = fixture.client.subscribe("orders.reports.>").await.unwrap();
    fixture
        .publish_with(
            &[
                ("Reply-To", "orders.reports.binance.a1"),
                ("Nats-Msg-Id", "one"),
                ("Own", "x"),
            ],
            "{}",
        )
        .await;
    let (headers, letter) = fixture.dead_letter("invalid_field").await;
    assert_eq!(letter["problem"]["field"], "Reply-To");
    assert_eq!(letter["headers"]["Nats-Msg-Id"][0], "one");
    assert_eq!(headers.get("Own").unwrap().as_str(), "x");
    assert_eq!(headers.get("Nats-Msg-Id").unwrap().as_str(), "ORDER_INTENTS-1");
    fixture.queue_is_empty().await;
    fixture
        .publish_with(&[("Deadline", "tomorrow")], vec![0xff, 0xfe])
        .await;
    fixture.queue_is_empty().await;
    let (_, letter) = fixture.dead_letter("invalid_field").await;
    assert_eq!(letter["problem"]["field"], "Deadline");
    assert_eq!(
        (letter["body"].as_str(), letter["body_encoding"].as_str()),
        (Some("//4="), Some("base64"))
    );
    assert_eq!(fixture.handler.calls(), 0);
    assert!(futures_util::FutureExt::now_or_never(victim.next()).is_none());
}

#[tokio::test]
async fn oversized_dead_letter_keeps_its_beginning() {
    let fixture = open(doors()).await;
    let max = fixture.client.server_info().max_payload;
    fixture
        .publish_with(&[("Deadline", "tomorrow")], vec![1_u8; max - 200])
        .await;
    let (_, letter) = fixture.dead_letter("invalid_field").await;
    assert_eq!(letter["truncated_from"].as_u64(), Some((max - 200) as u64));
    assert!(letter["body"].as_str().unwrap().len() > max / 10);
    fixture.queue_is_empty().await;
}

#[tokio::test]
async fn panicked_intent_is_redelivered_until_it_is_a_dead_letter() {
    let fixture = open(DoorSettings {
        durable_max_deliver: 2,
        ..doors()
    })
    .await;
    fixture.publish("panic").await;
    fixture.dead_letter("max_deliver").await;
    fixture.queue_is_empty().await;
    assert_eq!(fixture.handler.calls(), 2);
}

#[tokio::test]
async fn progress_messages_prevent_redelivery_of_a_slow_intent() {
    let fixture = open(DoorSettings {
        durable_ack_wait_ms: 400,
        durable_progress_ms: 100,
        ..doors()
    })
    .await;
    fixture.publish("wait").await;
    until(SOON, "an intent in flight", async || fixture.handler.waiting() == 1).await;
    let begun = std::time::Instant::now();
    until(SOON, "four times the acknowledgement wait", async || {
        begun.elapsed() > Duration::from_millis(1_600)
    })
    .await;
    fixture.handler.gate.add_permits(1);
    fixture.queue_is_empty().await;
    assert_eq!(fixture.handler.calls(), 1);
}

#[tokio::test]
async fn no_more_requests_in_flight_than_the_limit() {
    let fixture = open(DoorSettings {
        durable_max_in_flight: 3,
        ..doors()
    })
    .await;
    for _ in 0..10 {
        fixture.publish("wait").await;
    }
    until(SOON, "three intents in flight", async || fixture.handler.waiting() == 3).await;
    for taken in 4..=10 {
        fixture.handler.gate.add_permits(1);
        until(SOON, "the next intent", async || fixture.handler.calls() == taken).await;
        assert!(fixture.handler.waiting() <= 3);
    }
    fixture.handler.gate.add_permits(3);
    fixture.queue_is_empty().await;
}

#[tokio::test]
async fn durable_door_survives_a_deleted_consumer_and_a_server_restart() {
    let mut fixture = open(doors()).await;
    fixture.publish("{}").await;
    fixture.queue_is_empty().await;
    let stream = fixture.jetstream.get_stream("ORDER_INTENTS").await.unwrap();
    stream.delete_consumer("workers-binance").await.unwrap();
    fixture.publish("{}").await;
    fixture.queue_is_empty().await;
    fixture.server.restart().await;
    let published = async || {
        let sent = fixture
            .jetstream
            .publish("orders.intents.binance.a1", "{}".into())
            .await;
        sent.is_ok_and(|_| true)
    };
    until(SOON, "a publication", published).await;
    until(SOON, "the third call", async || fixture.handler.calls() >= 3).await;
}

#[tokio::test]
async fn drain_returns_waiting_intents_and_finishes_started_ones() {
    let fixture = open(DoorSettings {
        durable_max_in_flight: 1,
        ..doors()
    })
    .await;
    fixture.publish("wait").await;
    fixture.publish("{}").await;
    until(SOON, "the first intent in flight", async || {
        fixture.handler.waiting() == 1
    })
    .await;
    let handler = Arc::clone(&fixture.handler);
    let drained = tokio::spawn(fixture.door.drain(SOON));
    handler.gate.add_permits(1);
    assert_eq!(drained.await.unwrap().unfinished, 0);
    assert_eq!(handler.calls(), 1);
    let next = Arc::new(ScriptedHandler::default());
    let _door = DurableDoor::start(bare(&fixture.server).await, doors(), broker(), Arc::clone(&next));
    until(Duration::from_secs(5), "the second, at another worker", async || {
        next.calls() == 1
    })
    .await;
    until(SOON, "an empty queue", async || {
        messages(&fixture.jetstream, "ORDER_INTENTS").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_under_load_neither_lose_nor_delay_intents() {
    let Fixture {
        server,
        bus,
        jetstream,
        door,
        handler,
        ..
    } = open(doors()).await;
    let publisher = tokio::spawn(async move {
        let caller = RouterClient::new(bus);
        for _ in 0..2_000 {
            caller
                .publish_intent(&broker(), &account(), "pause".into(), None, None)
                .await
                .unwrap();
        }
    });
    let mut door = Some(door);
    for _ in 0..5 {
        let before = handler.calls();
        until(SOON, "some calls", async || handler.calls() > before + 50).await;
        let next = DurableDoor::start(bare(&server).await, doors(), broker(), Arc::clone(&handler));
        assert_eq!(door.take().unwrap().drain(SOON).await.unfinished, 0);
        door = Some(next);
    }
    publisher.await.unwrap();
    // Less than the server's redelivery time.
    until(SOON, "an empty queue", async || {
        messages(&jetstream, "ORDER_INTENTS").await == 0
    })
    .await;
    assert_eq!(handler.calls(), 2_000);
}
