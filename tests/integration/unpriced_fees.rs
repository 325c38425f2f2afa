//! A fee in a currency without a rate closes its account to openings, from the step that books the fill until an adjustment
//! prices it: on every worker, by a lock that operators see, through restarts and the loss of Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::domain::order_terms::OrderStatus;
use order_router::fault::{Fault, FaultCode};
use order_router::wire::lock::{LockDocument, LockList};
use serde_json::{Value, json};

use crate::external_venue::{KillableWorker, Venue};
use crate::limit_breaches::{lock_ids, signals};
use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

const LOCK: &str = "paper.account.a.unpriced_fee";
const SUMS: &str = "sums:paper:a:binance.spot:BTCUSDT";

fn of(account: &str, id: &str, over: &[(&str, &str)]) -> String {
    let account = format!("{account:?}");
    let mut all = vec![("account_id", account.as_str())];
    all.extend_from_slice(over);
    intent(id, &all)
}

/// The price of a fee of `a`.
fn priced(id: &str, over: Value) -> Value {
    let mut body = json!({"adjustment_id": id, "account_id": "a", "venue": "binance.spot", "symbol": "BTCUSDT",
        "fee": "0.002", "fee_currency": "XYZ", "price": "612.5", "actor": "mira", "reason": "fee"});
    body.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    body
}

async fn adjust(client: &Client, body: &Value) -> Result<Value, Fault> {
    match client.call(subjects::ADJUST, &body.to_string()).await {
        Ok(body) => Ok(serde_json::from_slice(&body).unwrap()),
        Err(RequestError::Fault(fault)) => Err(fault),
        Err(error) => panic!("{error}"),
    }
}

async fn wait_for_lock(client: &Client) -> LockDocument {
    poll::eventually(SOON, "the account is locked", async || {
        let body = client.call(subjects::LOCKS_LIST, "{}").await.ok()?;
        let list: LockList = serde_json::from_slice(&body).unwrap();
        list.items.into_iter().find(|lock| lock.latch_id == LOCK)
    })
    .await
}

/// Asserts that an opening of `a` is denied by one of these rules.
async fn assert_closed(client: &Client, id: &str, rules: &[&str]) {
    let fault = client.fault(&of("a", id, &[])).await;
    assert_eq!(fault.code, FaultCode::RiskLocked, "{id}: {fault:?}");
    assert!(
        fault.rule_id.as_deref().is_some_and(|rule| rules.contains(&rule)),
        "{id}: {fault:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn account_opens_nothing_from_the_fill_whose_fee_has_no_price_until_it_is_priced() {
    let rig = Rig::start().await;
    let (client, venue) = (rig.caller().await, Venue::new());
    let (one, two) = tokio::join!(
        KillableWorker::start(&rig.settings, &venue),
        KillableWorker::start(&rig.settings, &venue)
    );
    venue.set(|behaviour| behaviour.fee = Some(("0.002", "XYZ")));
    assert_eq!(client.report(&of("a", "in", &[])).await.status, OrderStatus::Filled);
    // From the next order on, on both workers; for this account alone.
    let either = &["unpriced_fee", "trading_state"];
    for n in 0..8 {
        assert_closed(&client, &format!("open-{n}"), either).await;
    }
    venue.set(|behaviour| behaviour.fee = None);
    assert_eq!(client.report(&of("b", "other", &[])).await.status, OrderStatus::Filled);
    let part = [("quantity", "0.0005"), ("side", "\"sell\"")];
    assert_eq!(client.report(&of("a", "part", &part)).await.status, OrderStatus::Filled);

    // The lock and the alert name the fee.
    let lock = wait_for_lock(&client).await;
    assert_eq!(
        (lock.rule_id.as_str(), lock.actor.as_str()),
        ("unpriced_fee", "order-router")
    );
    assert_eq!(lock.metadata.text("fee_currency"), Some("XYZ"));
    assert!(lock.message.contains("0.002 XYZ"), "{lock:?}");
    poll::until(SOON, "alert and lock are published", async || {
        let found = signals(&client).await;
        ["alert unpriced_fee a", "lock unpriced_fee a"]
            .iter()
            .all(|signal| found.iter().any(|one| one == signal))
    })
    .await;

    // A lift without a price opens nothing, and the lock comes again without any order.
    client.lift(LOCK).await.unwrap();
    assert_closed(&client, "lifted", either).await;
    client.lift(LOCK).await.unwrap();
    wait_for_lock(&client).await;

    // A restart and the loss of Redis keep both: the lock, and the fee behind it.
    rig.quiet().await;
    one.kill();
    two.kill();
    rig.redis.flushall().await;
    let (one, two) = tokio::join!(
        KillableWorker::start(&rig.settings, &venue),
        KillableWorker::start(&rig.settings, &venue)
    );
    assert_eq!(lock_ids(&client).await, [LOCK]);
    client.lift(LOCK).await.unwrap();
    assert_closed(&client, "rebuilt", either).await;
    wait_for_lock(&client).await;

    // No price, no rate: refused by name. More fills than there are: refused.
    let fault = adjust(&client, &priced("p1", json!({"price": null})))
        .await
        .unwrap_err();
    assert_eq!(
        (fault.code, fault.field.as_deref()),
        (FaultCode::InvalidField, Some("price"))
    );
    assert!(fault.detail.contains("XYZ"), "{fault:?}");
    let fault = adjust(&client, &priced("p1", json!({"fee_fills": 2})))
        .await
        .unwrap_err();
    assert_eq!(
        (fault.code, fault.field.as_deref()),
        (FaultCode::InvalidField, Some("fee_fills"))
    );
    assert_closed(&client, "refused", either).await;

    // Its price is a loss of the day, and then the lock can be lifted for good.
    let event = adjust(&client, &priced("p1", json!({}))).await.unwrap();
    assert_eq!(event["fee"]["price"], json!(612.5));
    assert_eq!(event["deltas"]["unpriced_fees"], json!(-1));
    assert_eq!(rig.sum(SUMS, "fees").await, 1_225_000);
    assert_eq!(rig.sum("account:paper:a", "unpriced_fees").await, 0);
    assert_closed(&client, "locked", &["trading_state"]).await;
    client.lift(LOCK).await.unwrap();
    assert_eq!(client.report(&of("a", "again", &[])).await.status, OrderStatus::Filled);
    assert_eq!(lock_ids(&client).await, Vec::<String>::new());

    // The journal restores the price, too.
    rig.quiet().await;
    let before = rig.store().await["account:paper:a"].clone();
    one.kill();
    two.kill();
    rig.redis.flushall().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    assert_eq!(rig.store().await["account:paper:a"], before);
    assert_eq!(
        client.report(&of("a", "restored", &[])).await.status,
        OrderStatus::Filled
    );
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_rate_prices_a_fee_and_a_flat_account_stays_closed() {
    let mut rig = Rig::start().await;
    let (client, venue) = (rig.caller().await, Venue::new());
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    venue.set(|behaviour| behaviour.fee = Some(("0.002", "XYZ")));
    client.report(&of("a", "in", &[])).await;
    client.report(&of("a", "out", &[("side", "\"sell\"")])).await;
    wait_for_lock(&client).await;
    // The account is flat: its ledger is kept, because a fee waits for its price.
    rig.quiet().await;
    let holding = rig.store().await["holding_accounts:paper"].clone();
    assert!(holding.contains_key("{or}:account:paper:a"), "{holding:?}");
    worker.kill();
    // With a rate, both fees are priced without a stated price.
    rig.settings.risk.rates.insert("XYZ".to_owned(), "2.5".to_owned());
    rig.apply_limits().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    assert_closed(&client, "flat", &["unpriced_fee", "trading_state"]).await;
    let both = json!({"price": null, "fee": "0.004", "fee_fills": 2});
    let event = adjust(&client, &priced("p1", both)).await.unwrap();
    assert_eq!(
        (&event["fee"]["price"], &event["fee"]["fills"]),
        (&json!(2.5), &json!(2))
    );
    assert_eq!(rig.sum(SUMS, "fees").await, 10_000);
    assert!(!rig.store_keys().await.iter().any(|key| key == "holding_accounts:paper"));
    client.lift(LOCK).await.unwrap();
    // From now on a fee in this currency has a price.
    assert_eq!(client.report(&of("a", "again", &[])).await.status, OrderStatus::Filled);
    assert_eq!(client.report(&of("a", "more", &[])).await.status, OrderStatus::Filled);
    assert_eq!(rig.sum(SUMS, "fees").await, 20_000);
    worker.kill();
}
