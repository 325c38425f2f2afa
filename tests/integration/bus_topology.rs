//! Streams and consumers: created once, updated in their limits, and unchanged when another program created them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use order_router::bus::connection::{BusError, ConnectPolicy, connect};
use order_router::bus::topology::{self, ReconcileOutcome, ReconciledResource, TopologyError};
use order_router::config::nats::{NatsSettings, Secret};
use order_router::domain::id::BrokerId;

use crate::bus_fixture::{SOON, bare, broker, doors, settings};
use crate::support::servers::{NatsOptions, NatsServer};

fn outcomes(applied: &[ReconciledResource]) -> Vec<ReconcileOutcome> {
    applied.iter().map(|one| one.outcome).collect()
}

#[tokio::test]
async fn topology_is_created_once_and_changed_limits_are_updated() {
    let server = NatsServer::start().await;
    let (bus, settings) = (bare(&server).await, settings(&server));
    let check = topology::check(&bus, &settings, &doors(), &[broker()]).await.unwrap();
    assert_eq!(outcomes(&check), [ReconcileOutcome::Missing; 7]);
    let first = topology::apply(&bus, &settings, &doors(), &[broker()]).await.unwrap();
    assert_eq!(outcomes(&first), [ReconcileOutcome::Created; 7]);
    let second = topology::apply(&bus, &settings, &doors(), &[broker()]).await.unwrap();
    assert_eq!(outcomes(&second), [ReconcileOutcome::Unchanged; 7]);

    let larger = NatsSettings {
        reports_max_bytes: 1 << 20,
        ..settings.clone()
    };
    let mut slower = doors();
    slower.durable_ack_wait_ms *= 2;
    let check = topology::check(&bus, &larger, &slower, &[broker()]).await.unwrap();
    let third = topology::apply(&bus, &larger, &slower, &[broker()]).await.unwrap();
    use ReconcileOutcome::{Differs, Unchanged, Updated};
    assert_eq!(
        outcomes(&check),
        [Differs, Unchanged, Unchanged, Unchanged, Unchanged, Unchanged, Differs]
    );
    assert_eq!(
        outcomes(&third),
        [Updated, Unchanged, Unchanged, Unchanged, Unchanged, Unchanged, Updated]
    );
}

#[tokio::test]
async fn brokers_can_be_added_and_removed() {
    let server = NatsServer::start().await;
    let (bus, settings) = (bare(&server).await, settings(&server));
    let both = [broker(), BrokerId::new("ibkr").unwrap()];
    topology::apply(&bus, &settings, &doors(), &both[..1]).await.unwrap();
    let added = topology::apply(&bus, &settings, &doors(), &both).await.unwrap();
    assert_eq!(added[1].outcome, ReconcileOutcome::Updated);
    assert_eq!(added[7].outcome, ReconcileOutcome::Created);
    let removed = topology::apply(&bus, &settings, &doors(), &both[..1]).await.unwrap();
    assert_eq!(removed[1].outcome, ReconcileOutcome::Updated);
}

#[tokio::test]
async fn two_processes_can_apply_the_topology_at_once() {
    let server = NatsServer::start().await;
    let (one, other) = (bare(&server).await, bare(&server).await);
    let settings = settings(&server);
    for _ in 0..2 {
        let (doors, brokers) = (doors(), [broker()]);
        let (a, b) = tokio::join!(
            topology::apply(&one, &settings, &doors, &brokers),
            topology::apply(&other, &settings, &doors, &brokers),
        );
        assert_eq!(a.unwrap().len() + b.unwrap().len(), 14);
    }
}

#[tokio::test]
async fn stream_of_another_purpose_is_not_changed() {
    let wanted = Config {
        name: "ORDER_INTENTS".into(),
        subjects: vec!["orders.intents.binance.*".into()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    let cases = [
        (
            Config {
                retention: RetentionPolicy::Limits,
                ..wanted.clone()
            },
            "retention",
        ),
        (
            Config {
                discard: DiscardPolicy::Old,
                ..wanted.clone()
            },
            "the discard policy",
        ),
        (
            Config {
                subjects: vec!["orders.intents.>".into()],
                ..wanted.clone()
            },
            "the set of subjects",
        ),
    ];
    for (found, setting) in cases {
        let server = NatsServer::start().await;
        let bus = bare(&server).await;
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        jetstream.create_stream(found).await.unwrap();
        let before = jetstream
            .get_stream("ORDER_INTENTS")
            .await
            .unwrap()
            .cached_info()
            .config
            .clone();
        let error = topology::apply(&bus, &settings(&server), &doors(), &[broker()])
            .await
            .unwrap_err();
        let TopologyError::Conflict { name, what, remedy, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((name.as_str(), *what), ("ORDER_INTENTS", setting));
        assert!(!remedy.is_empty() && error.to_string().contains("is needed"), "{error}");
        let after = jetstream
            .get_stream("ORDER_INTENTS")
            .await
            .unwrap()
            .cached_info()
            .config
            .clone();
        assert_eq!(before, after);
    }
}

#[tokio::test]
async fn subjects_of_another_stream_are_not_taken_over() {
    let server = NatsServer::start().await;
    let bus = bare(&server).await;
    let other = Config {
        name: "OTHER".into(),
        subjects: vec!["orders.reports.>".into()],
        ..Config::default()
    };
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    jetstream.create_stream(other).await.unwrap();
    let error = topology::apply(&bus, &settings(&server), &doors(), &[broker()])
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("ORDER_REPORTS: subjects overlap"),
        "{error}"
    );
}

#[tokio::test]
async fn unknown_user_is_reported_at_once() {
    let extra_config = "authorization { user: worker, password: secret }".to_owned();
    let server = NatsServer::start_with(NatsOptions {
        extra_config,
        ..NatsOptions::default()
    })
    .await;
    let known = NatsSettings {
        user: Some("worker".into()),
        password: Some(Secret::new("secret")),
        ..settings(&server)
    };
    assert!(connect(&known, "test", ConnectPolicy::Once).await.is_ok());
    let unknown = NatsSettings {
        password: Some(Secret::new("guess")),
        ..known
    };
    let error = connect(&unknown, "test", ConnectPolicy::RetryFor(SOON))
        .await
        .unwrap_err();
    assert!(matches!(error, BusError::Unauthorized(_)), "{error}");
    assert!(!error.to_string().contains("guess"));
}

#[tokio::test]
async fn daemons_wait_for_their_server_and_commands_do_not() {
    let mut server = NatsServer::start().await;
    server.kill9();
    let settings = settings(&server);
    let error = connect(&settings, "test", ConnectPolicy::Once).await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable(_)), "{error}");
    let patient = tokio::spawn(async move { connect(&settings, "test", ConnectPolicy::RetryFor(SOON)).await });
    server.restart().await;
    assert!(patient.await.unwrap().is_ok());
}
