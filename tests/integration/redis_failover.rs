//! Redis with a replica and Sentinels: workers follow a failover, and what the new primary lacks is noticed by the first
//! script and rebuilt.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::{Duration, Instant};

use order_router::domain::id::{AccountId, ClientOrderId};
use order_router::domain::order_key::OrderKey;
use order_router::domain::order_terms::Mode;
use order_router::store::{Store, StoreError};
use order_router::wire::report::ExecutionReport;
use redis::FromRedisValue;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;
use crate::support::servers::{RedisServer, SENTINEL_SERVICE, SentinelServer};

const POSITION: &str = "sums:paper:default:binance.spot:BTCUSDT";
/// How long an order waits for a failover at most. A Sentinel that was not scheduled for two seconds does nothing for thirty
/// (its tilt mode).
const FAILOVER_LIMIT: Duration = Duration::from_secs(120);
/// The lots of one order.
const LOTS: i64 = 100;

async fn send<T: FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query_async(&mut server.connection().await).await.unwrap()
}

async fn has_field(server: &RedisServer, field: &str) -> bool {
    let info: String = send(server, &["INFO", "replication"]).await;
    info.lines().any(|line| line.trim() == field)
}

/// Waits until a server has everything of the primary that it follows.
async fn wait_for_replica(replica: &RedisServer) {
    poll::until(SOON, "the replica follows its primary", async || {
        has_field(replica, "role:slave").await && has_field(replica, "master_link_status:up").await
    })
    .await;
}

async fn follow(replica: &RedisServer, primary: &RedisServer) {
    let port = primary.address().port().to_string();
    send::<()>(replica, &["REPLICAOF", "127.0.0.1", &port]).await;
}

/// Cuts a replica off from its primary: no server listens on that port.
async fn cut_off(replica: &RedisServer) {
    send::<()>(replica, &["REPLICAOF", "127.0.0.1", "1"]).await;
}

async fn start_replica(rig: &Rig) -> RedisServer {
    let replica = RedisServer::start().await;
    follow(&replica, &rig.redis).await;
    wait_for_replica(&replica).await;
    replica
}

/// Starts three Sentinels, and returns once each could fail over. The settings name them.
async fn start_sentinels(rig: &mut Rig) -> Vec<SentinelServer> {
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(SentinelServer::start(rig.redis.address()).await);
    }
    for sentinel in &sentinels {
        let client = redis::Client::open(sentinel.url()).unwrap();
        poll::until(SOON, "a Sentinel knows the replica and the others", async || {
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let mut ask = redis::cmd("SENTINEL");
            let asked = ask
                .arg("MASTER")
                .arg(SENTINEL_SERVICE)
                .query_async(&mut connection)
                .await;
            let fields: std::collections::HashMap<String, String> = asked.unwrap();
            let is = |name: &str, value: &str| fields.get(name).is_some_and(|found| found == value);
            is("num-slaves", "1") && is("num-other-sentinels", "2") && is("flags", "master")
        })
        .await;
    }
    // The address of the primary comes from the Sentinels alone.
    rig.settings.redis.url = "redis://127.0.0.1:1".to_owned();
    rig.settings.redis.sentinels = sentinels.iter().map(SentinelServer::url).collect();
    SENTINEL_SERVICE.clone_into(&mut rig.settings.redis.sentinel_service);
    sentinels
}

/// Submits an order, again and again under its id, until it is filled.
async fn fill(client: &Client, id: &str) -> ExecutionReport {
    poll::eventually(FAILOVER_LIMIT, format!("{id} is filled"), async || {
        let reply = client
            .submit_within(&intent(id, &[]), Duration::from_secs(2))
            .await
            .ok()?;
        let report = ExecutionReport::decode(&reply.body).unwrap();
        (report.status.to_string() == "filled").then_some(report)
    })
    .await
}

async fn fill_all(client: &Client, ids: std::ops::Range<u32>) -> Vec<ExecutionReport> {
    let mut reports = Vec::new();
    for number in ids {
        reports.push(fill(client, &format!("f{number}")).await);
    }
    reports
}

/// Checks that every order counts once: on the journal, and in the sums.
async fn assert_counted_once(rig: &Rig, client: &Client, orders: i64) {
    rig.quiet().await;
    poll::until(SOON, "every order counts", async || {
        rig.sum(POSITION, "position").await == orders * LOTS
    })
    .await;
    let mut ids: Vec<_> = client
        .reports()
        .await
        .iter()
        .map(|report| report.order_id.clone())
        .collect();
    let entries = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((i64::try_from(ids.len()).unwrap(), entries), (orders, ids.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_follows_the_sentinels_to_a_replica_that_was_behind() {
    let mut rig = Rig::start().await;
    let mut replica = start_replica(&rig).await;
    let _sentinels = start_sentinels(&mut rig).await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let mut before = fill_all(&client, 0..5).await;
    wait_for_replica(&replica).await;
    cut_off(&replica).await;
    before.extend(fill_all(&client, 5..10).await);
    rig.redis.kill9();
    let killed_at = Instant::now();
    fill(&client, "f10").await;
    println!(
        "the next order after the kill of the primary: {:?}",
        killed_at.elapsed()
    );
    std::mem::swap(&mut rig.redis, &mut replica);
    // An id that the new primary did not know is still that of its order.
    assert_eq!(fill_all(&client, 0..10).await, before);
    assert_counted_once(&rig, &client, 11).await;
    // The old primary comes back as a primary, with what it had, until the Sentinels make it the replica. That takes them
    // up to half a minute, which is not waited for.
    replica.restart().await;
    assert!(has_field(&replica, "role:master").await);
    fill(&client, "f11").await;
    follow(&replica, &rig.redis).await;
    wait_for_replica(&replica).await;
    fill(&client, "f12").await;
    assert_counted_once(&rig, &client, 13).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn primary_that_was_a_replica_of_a_server_behind_it_is_noticed_by_the_first_script() {
    let rig = Rig::start().await;
    let replica = start_replica(&rig).await;
    let client = rig.caller().await;
    let worker = rig.worker().await;
    fill_all(&client, 0..3).await;
    rig.quiet().await;
    worker.drain(SOON).await;
    cut_off(&replica).await;
    let worker = rig.worker().await;
    fill_all(&client, 3..5).await;
    rig.quiet().await;
    worker.drain(SOON).await;

    let store = Store::connect(&rig.settings.redis).await.unwrap();
    let status = store.read_status().await.unwrap();
    store.join_epoch(status.active_epoch().expect("a complete store"));
    let account = AccountId::default_account();
    let lost = OrderKey::new(Mode::Paper, &account, &ClientOrderId::new("f4").unwrap());
    assert!(store.read_order(&lost).await.unwrap().is_some());

    // The replica takes over and hands back: the server has the scripts of the epoch, and the data of before.
    send::<()>(&replica, &["REPLICAOF", "NO", "ONE"]).await;
    follow(&rig.redis, &replica).await;
    wait_for_replica(&rig.redis).await;
    send::<()>(&rig.redis, &["REPLICAOF", "NO", "ONE"]).await;
    let error = store.read_order(&lost).await.unwrap_err();
    let is_noticed = matches!(&error, StoreError::Stale(text) if text.contains("replication id"));
    assert!(is_noticed, "{error}");
    let lagging = store.read_status().await.unwrap();
    assert_eq!((lagging.epoch.clone(), lagging.active_epoch()), (status.epoch, None));
    assert!(lagging.has_scripts && lagging.journal_sequence < status.journal_sequence);

    let worker = rig.worker().await;
    fill(&client, "f5").await;
    assert_counted_once(&rig, &client, 6).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn primary_is_found_while_sentinels_are_away() {
    let mut rig = Rig::start().await;
    let replica = start_replica(&rig).await;
    let mut sentinels = start_sentinels(&mut rig).await;
    sentinels[0].kill9();
    sentinels[1].pause();
    let worker = rig.worker().await;
    let client = rig.caller().await;
    fill_all(&client, 0..2).await;
    // Without any Sentinel, the connection to the primary stays in use.
    sentinels[2].pause();
    fill_all(&client, 2..4).await;
    sentinels.iter_mut().skip(1).for_each(SentinelServer::resume);
    assert_counted_once(&rig, &client, 4).await;
    worker.drain(SOON).await;
    drop(replica);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_sentinels_that_cannot_be_used_are_named() {
    let mut rig = Rig::start().await;
    let _replica = start_replica(&rig).await;
    let _sentinels = start_sentinels(&mut rig).await;
    let mut settings = rig.settings.redis.clone();
    settings.sentinel_service = "other".to_owned();
    let error = Store::connect(&settings).await.unwrap_err().to_string();
    assert!(error.contains("names the primary of other"), "{error}");
    let mut settings = rig.settings.redis.clone();
    settings.sentinels = vec!["redis://:wrong@127.0.0.1:1".to_owned()];
    let error = Store::connect(&settings).await.unwrap_err().to_string();
    assert!(error.contains("redis.sentinels") && !error.contains("wrong"), "{error}");
}
