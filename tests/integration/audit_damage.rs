//! `order-router audit` of damaged routers: each kind of damage to the journal, to Redis and to the order log is found and
//! named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the verdict"
)]

use order_router::audit::{AuditReport, AuditScope, FindingKind, FindingLevel, audit};
use order_router::bus::journal::JournalReader;
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::subjects;
use order_router::domain::id::AccountId;
use order_router::worker::lifecycle::broker_tasks::brokers_in_store;
use redis::AsyncCommands;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::audit_fixture::{AuditedRouter, assert_clean, expect_break, of_level, scope_of};
use crate::rig::{Rig, SOON};

/// A journal as it is copied: subject and body of each entry.
type Copied = Vec<(String, Value)>;

/// Returns the journal of a router, as it is copied.
async fn copy_of(router: &AuditedRouter) -> Copied {
    let entries = router.client.whole_journal().await;
    let copied = |entry: StoredEntry| (entry.subject.clone(), serde_json::from_slice(&entry.body).unwrap());
    entries.into_iter().map(copied).collect()
}

/// Returns the place of an order's version in a copy.
fn place(copied: &Copied, client_order_id: &str, version: u32) -> usize {
    let is_it = |(_, body): &(String, Value)| body["client_order_id"] == client_order_id && body["version"] == version;
    copied.iter().position(is_it).unwrap()
}

/// Sets a field of a document.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[field] = value;
}

/// Audits a journal with these entries, alone.
async fn audit_copy(router: &AuditedRouter, copied: &Copied) -> AuditReport {
    let rig = Rig::start().await;
    rig.apply_topology().await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap());
    for (subject, body) in copied {
        let sent = jetstream.publish(subject.clone(), body.to_string().into()).await;
        sent.unwrap().await.unwrap();
    }
    let mut scope = AuditScope {
        store: None,
        order_log: None,
        ..router.scope().await
    };
    scope.source.journal = JournalReader::new(rig.bus().await);
    audit(scope).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_that_is_copied_whole_or_with_identical_repeats_is_clean() {
    let router = AuditedRouter::busy().await;
    let mut copied = copy_of(&router).await;
    let repeats: Vec<(String, Value)> = ["buy", "cancelled", "denied"]
        .map(|id| copied[place(&copied, id, 1)].clone())
        .into();
    let adjustment = copied.iter().find(|(subject, _)| subjects::is_adjustment(subject));
    let adjustment = adjustment.unwrap().clone();
    copied.extend(repeats);
    copied.push(adjustment);
    let report = audit_copy(&router, &copied).await;
    assert_clean(&report);
    assert_eq!(report.journal.repeats, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_version_changed_repeat_and_unreadable_entry_are_named() {
    let router = AuditedRouter::busy().await;
    let whole = copy_of(&router).await;
    let first = place(&whole, "cancelled", 1);
    let order_id = whole[first].1["order_id"].as_str().unwrap().to_owned();
    let mut copied = whole.clone();
    copied.remove(first);
    let second = u64::try_from(place(&copied, "cancelled", 2)).unwrap() + 1;
    let report = audit_copy(&router, &copied).await;
    let gap = expect_break(&report, FindingKind::VersionGap, "version");
    assert_eq!((gap.expected.as_str(), gap.found.as_str()), ("1", "2"));
    assert_eq!(
        (gap.order_id.as_deref(), gap.sequence),
        (Some(order_id.as_str()), Some(second))
    );

    let mut copied = whole.clone();
    let mut changed = whole[first].clone();
    changed.1["fills"][0]["price"] = json!(181);
    copied.push(changed);
    let report = audit_copy(&router, &copied).await;
    let repeat = of_level(&report, FindingLevel::Break)[0];
    assert_eq!(repeat.kind, FindingKind::ChangedRepeat, "{repeat:?}");
    assert_eq!(repeat.order_id.as_deref(), Some(order_id.as_str()));
    assert_eq!(repeat.sequence, Some(copied.len() as u64));
    assert!(
        repeat.field.starts_with("version 1, fills") && repeat.found.contains("181"),
        "{repeat:?}"
    );

    let mut copied = whole.clone();
    copied.push((whole[first].0.clone(), json!({"order_id": "x"})));
    let wrong = (
        subjects::adjustment(&AccountId::new("fund").unwrap()),
        copied_adjustment(&whole),
    );
    copied.push(wrong);
    let report = audit_copy(&router, &copied).await;
    let unreadable = expect_break(&report, FindingKind::UnreadableEntry, "body");
    assert_eq!(unreadable.sequence, Some(whole.len() as u64 + 1));
    let adjustment = expect_break(&report, FindingKind::Adjustment, "deltas");
    assert_eq!(adjustment.name.as_deref(), Some("wrong"), "{adjustment:?}");
}

/// Returns an adjustment whose moves do not follow from its terms.
fn copied_adjustment(copied: &Copied) -> Value {
    let (_, body) = copied.iter().find(|(_, body)| body["adjustment_id"] == "p1").unwrap();
    let mut wrong = body.clone();
    wrong["adjustment_id"] = json!("wrong");
    wrong["deltas"]["cash_flow"] = json!(-1);
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arithmetic_status_and_settlement_are_named() {
    let router = AuditedRouter::busy().await;
    let whole = copy_of(&router).await;
    let at = place(&whole, "open", 1);
    let order_id = whole[at].1["order_id"].as_str().unwrap();
    // What is changed, and the field in which it shows.
    for (pointer, value, kind, field) in [
        ("/leaves_quantity", json!(1), FindingKind::Arithmetic, "leaves_quantity"),
        (
            "/avg_price",
            json!("179.999999999999"),
            FindingKind::Arithmetic,
            "avg_price",
        ),
        (
            "/filled_quantity",
            json!("9.4"),
            FindingKind::Arithmetic,
            "filled_quantity",
        ),
        ("/fills_total", json!(2), FindingKind::Arithmetic, "fills_total"),
        (
            "/settlement/filled_cost",
            json!(1),
            FindingKind::Arithmetic,
            "settlement.filled_cost",
        ),
        ("/status", json!("accepted"), FindingKind::Arithmetic, "status"),
        (
            "/settlement/total/long",
            json!("9.9"),
            FindingKind::Settlement,
            "settlement.total.long",
        ),
        (
            "/settlement/total/position",
            json!("9.4"),
            FindingKind::Settlement,
            "settlement.total.position",
        ),
        (
            "/settlement/deltas/cash_flow",
            json!(-1),
            FindingKind::Settlement,
            "settlement.deltas.cash_flow",
        ),
        (
            "/settlement/deltas/fill_result",
            json!(7),
            FindingKind::Settlement,
            "settlement.deltas.fill_result",
        ),
        (
            "/settlement/daily_notional",
            json!(5),
            FindingKind::Settlement,
            "settlement.total.daily_notional",
        ),
    ] {
        let mut copied = whole.clone();
        set(&mut copied[at].1, pointer, value);
        let report = audit_copy(&router, &copied).await;
        let found = expect_break(&report, kind, field);
        assert_eq!(found.order_id.as_deref(), Some(order_id), "{pointer}");
        assert_eq!(found.sequence, Some(at as u64 + 1), "{pointer}");
        assert_ne!(found.expected, found.found, "{pointer}");
    }
    let second = place(&whole, "cancelled", 2);
    for (pointer, value, kind, field) in [
        ("/status", json!("unknown"), FindingKind::StatusTransition, "status"),
        ("/quantity", json!(21), FindingKind::ChangedTerms, "quantity"),
        ("/symbol", json!("MSFT"), FindingKind::ChangedTerms, "symbol"),
        ("/fills/0/price", json!(181), FindingKind::Arithmetic, "fills"),
    ] {
        let mut copied = whole.clone();
        *copied[second]
            .1
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("{pointer}")) = value;
        expect_break(&audit_copy(&router, &copied).await, kind, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn void_order_is_named_and_no_break() {
    let router = AuditedRouter::busy().await;
    let mut copied = copy_of(&router).await;
    let (subject, first) = copied[place(&copied, "buy", 1)].clone();
    let mut second = first.clone();
    let order_id = first["order_id"].as_str().unwrap();
    let void = format!("{}1{}", &order_id[..3], &order_id[4..]);
    second["order_id"] = json!(void);
    second["settlement"]["id"] = json!("00000000-0000-0000-0000-000000000001");
    copied.push((subject, second));
    let report = audit_copy(&router, &copied).await;
    assert!(report.is_clean(), "{:#?}", report.findings.listed());
    let notice = of_level(&report, FindingLevel::Notice)[0];
    assert_eq!(notice.kind, FindingKind::VoidOrder);
    assert_eq!(
        (notice.expected.as_str(), notice.found.as_str()),
        (order_id, void.as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn effect_on_another_one_than_the_first_of_its_version_is_void_and_no_break() {
    let router = AuditedRouter::busy().await;
    let mut copied = copy_of(&router).await;
    let at = place(&copied, "cancelled", 2);
    let base = copied[at].1["settlement"]["builds_on"].clone();
    assert_eq!(base, copied[place(&copied, "cancelled", 1)].1["settlement"]["id"]);
    let other = "00000000-0000-0000-0000-000000000001";
    set(&mut copied[at].1, "/settlement/builds_on", json!(other));
    let report = audit_copy(&router, &copied).await;
    assert!(report.is_clean(), "{:#?}", report.findings.listed());
    let notices = of_level(&report, FindingLevel::Notice);
    assert_eq!(notices[0].kind, FindingKind::VoidEffect);
    assert_eq!(
        (
            notices[0].field.as_str(),
            notices[0].expected.as_str(),
            notices[0].found.as_str()
        ),
        ("settlement.builds_on", base.as_str().unwrap(), other)
    );
}

/// Changes one thing in Redis. Returns the command that undoes it.
async fn change(redis: &mut redis::aio::MultiplexedConnection, key: &str, field: &str, value: &str) -> redis::Cmd {
    let before: Option<Vec<u8>> = redis.hget(key, field).await.unwrap();
    let _: i64 = redis.hset(key, field, value).await.unwrap();
    match before {
        Some(before) => redis::cmd("HSET").arg(key).arg(field).arg(before).to_owned(),
        None => redis::cmd("HDEL").arg(key).arg(field).to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_ledger_record_lock_and_state_in_redis_are_named() {
    let router = AuditedRouter::busy().await;
    let mut redis = router.rig.redis.connection().await;
    let open = router.entry_of("open", 1).await;
    let report: Value = serde_json::from_slice(&open.body).unwrap();
    let order_id = report["order_id"].as_str().unwrap();
    let records: Vec<String> = redis.keys("{or}:order:*").await.unwrap();
    let [record] = &records[..] else { panic!("{records:?}") };
    let ledger = "{or}:account:paper:default";
    let holding: String = redis.hget(ledger, "ibkr.paper:AAPL").await.unwrap();
    let (first, rest) = holding.split_once(' ').unwrap();
    let wrong_holding = format!("{}1 {rest}", &first[..first.len() - 1]);
    let locks: Vec<String> = redis.hkeys("{or}:latches").await.unwrap();
    for (key, field, value, kind, name, shown) in [
        (
            ledger,
            "ibkr.paper:AAPL",
            wrong_holding.as_str(),
            FindingKind::StoreLedger,
            "account default (paper)",
            "ibkr.paper:AAPL.long",
        ),
        (record.as_str(), "v", "2", FindingKind::StoreOrder, order_id, "v"),
        (record, "doc", "{}", FindingKind::StoreOrder, order_id, "doc"),
        (record, "st", "ended", FindingKind::StoreOrder, order_id, "st"),
        (
            "{or}:latches",
            locks[0].as_str(),
            "{}",
            FindingKind::StoreLock,
            locks[0].as_str(),
            "document",
        ),
        ("{or}:state", "mode", "live", FindingKind::StoreControl, "state", "mode"),
        (
            "{or}:meta",
            "limits_hash",
            "0",
            FindingKind::StoreControl,
            "limits",
            "hash",
        ),
        (
            "{or}:adjustment:p1",
            "doc",
            "{}",
            FindingKind::StoreAdjustment,
            "p1",
            "document",
        ),
    ] {
        let undo = change(&mut redis, key, field, value).await;
        let report = router.audit().await;
        let _: i64 = undo.query_async(&mut redis).await.unwrap();
        let found = expect_break(&report, kind, shown);
        let is_named = found.name.as_deref() == Some(name) || found.order_id.as_deref() == Some(name);
        assert!(is_named, "{found:?}");
        assert_eq!(
            of_level(&report, FindingLevel::Break).len(),
            1,
            "{:#?}",
            report.findings.listed()
        );
    }
    assert_clean(&router.audit().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_extra_keys_and_members_in_redis_are_named() {
    let router = AuditedRouter::busy().await;
    router.worker.drain(SOON).await;
    let mut redis = router.rig.redis.connection().await;
    let in_store = brokers_in_store(&router.rig.settings.brokers);
    let scope = async || scope_of(&router.rig, in_store.clone()).await;
    let records: Vec<String> = redis.keys("{or}:order:*").await.unwrap();
    let name = records[0].rsplit(':').next().unwrap().to_owned();
    let buckets: Vec<String> = redis.keys("{or}:ids:*").await.unwrap();
    let ended: Vec<String> = redis.hkeys(&buckets[0]).await.unwrap();
    for (damage, undo, kind, field) in [
        (
            vec!["SREM", "{or}:open:ibkr:default", &name],
            vec!["SADD", "{or}:open:ibkr:default", &name],
            FindingKind::StoreOrder,
            "open orders",
        ),
        (
            vec!["SADD", "{or}:open:ibkr:default", &ended[0]],
            vec!["SREM", "{or}:open:ibkr:default", &ended[0]],
            FindingKind::StoreOrder,
            "{or}:open:ibkr:default",
        ),
        (
            vec!["ZADD", "{or}:due:ibkr", "5", &ended[0]],
            vec!["ZREM", "{or}:due:ibkr", &ended[0]],
            FindingKind::StoreOrder,
            "{or}:due:ibkr",
        ),
        (
            vec!["SREM", "{or}:holding_accounts:paper", "{or}:account:paper:default"],
            vec!["SADD", "{or}:holding_accounts:paper", "{or}:account:paper:default"],
            FindingKind::StoreLedger,
            "holding_accounts",
        ),
        (
            vec![
                "HSET",
                "{or}:account:paper:nobody",
                "binance.spot:BTCUSDT",
                "1 -1 1 0 0 0 0 0",
            ],
            vec!["DEL", "{or}:account:paper:nobody"],
            FindingKind::StoreLedger,
            "binance.spot:BTCUSDT.position",
        ),
        (
            vec!["HSET", "{or}:order:AAAAAAAAAAAAA", "st", "open", "v", "1", "o", "BN-1"],
            vec!["DEL", "{or}:order:AAAAAAAAAAAAA"],
            FindingKind::StoreOrder,
            "record",
        ),
        (
            vec!["RENAME", "{or}:adjustment:c1", "{or}:adjustment:c2"],
            vec!["RENAME", "{or}:adjustment:c2", "{or}:adjustment:c1"],
            FindingKind::StoreAdjustment,
            "record",
        ),
        (
            vec!["RENAME", &buckets[0], "{or}:lost"],
            vec!["RENAME", "{or}:lost", &buckets[0]],
            FindingKind::StoreRememberedId,
            "entry",
        ),
    ] {
        let run = async |redis: &mut redis::aio::MultiplexedConnection, words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            let _: redis::Value = command.query_async(redis).await.unwrap();
        };
        run(&mut redis, &damage).await;
        let report = audit(scope().await).await.unwrap();
        run(&mut redis, &undo).await;
        expect_break(&report, kind, field);
    }
    assert_clean(&audit(scope().await).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rows_in_the_order_log_are_named() {
    let AuditedRouter {
        rig, worker, sidecar, ..
    } = AuditedRouter::busy().await;
    let data = rig.settings.data_dir.0.clone();
    let scope = AuditScope {
        store: None,
        order_log: Some(data.clone()),
        ..scope_of(&rig, brokers_in_store(&rig.settings.brokers)).await
    };
    assert_clean(&audit(scope.clone()).await.unwrap());
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
    let path = data.join("order-log/orders.sqlite");
    for (damage, kind, field) in [
        (
            "UPDATE orders SET filled_quantity = '9' WHERE client_order_id = 'open'",
            FindingKind::OrderLogOrder,
            "filled_quantity",
        ),
        (
            "UPDATE orders SET status = 'expired' WHERE client_order_id = 'buy'",
            FindingKind::OrderLogOrder,
            "status",
        ),
        (
            "UPDATE orders SET id = id + 1 WHERE client_order_id = 'denied'",
            FindingKind::OrderLogOrder,
            "id",
        ),
        (
            "DELETE FROM orders WHERE client_order_id = 'fok'",
            FindingKind::OrderLogOrder,
            "row",
        ),
        (
            "UPDATE executions SET price = '1' WHERE ordinal = 0",
            FindingKind::OrderLogExecutions,
            "executions",
        ),
        (
            "DELETE FROM executions WHERE ordinal = 0",
            FindingKind::OrderLogExecutions,
            "executions",
        ),
        (
            "UPDATE positions SET quantity = '7' WHERE symbol = 'MSFT'",
            FindingKind::OrderLogPosition,
            "quantity (1e-8)",
        ),
        (
            "DELETE FROM positions WHERE symbol = 'AAPL'",
            FindingKind::OrderLogPosition,
            "quantity (1e-8)",
        ),
    ] {
        let copy = std::fs::read(&path).unwrap();
        {
            let connection = Connection::open(&path).unwrap();
            let changed = connection.execute(damage, []).unwrap();
            assert!(changed > 0, "{damage}");
        }
        let report = audit(scope.clone()).await.unwrap();
        std::fs::write(&path, copy).unwrap();
        let found = expect_break(&report, kind, field);
        assert!(found.order_id.is_some() || found.name.is_some(), "{found:?}");
    }
    assert_clean(&audit(scope.clone()).await.unwrap());
}
