//! The order log over unusual journals: void and released orders, and missing or unreadable entries.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use async_nats::jetstream;
use order_router::bus::subjects;
use order_router::domain::id::AccountId;
use order_router::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND};
use serde_json::{Value, json};

use crate::rest_router::{Router, order, texts};
use crate::rig::SOON;
use crate::support::poll;

/// A router, and a journal that the test writes to directly.
struct Journal {
    router: Router,
    stream: jetstream::Context,
    /// A report as journaled by a worker.
    report: Value,
}

impl Journal {
    async fn start() -> Self {
        let router = Router::start().await;
        assert_eq!(router.submit(&order("own", &json!({}))).await.status, 201);
        let stream = jetstream::new(async_nats::connect(router.rig.nats.url()).await.unwrap());
        let client = router.rig.caller().await;
        let report = serde_json::to_value(&client.reports().await[0]).unwrap();
        Self { router, stream, report }
    }

    /// Returns the report with some fields replaced.
    fn with(&self, over: &Value) -> Value {
        let mut report = self.report.clone();
        for (name, value) in over.as_object().unwrap() {
            report[name] = value.clone();
        }
        report
    }

    async fn append(&self, subject: String, body: &Value) {
        let published = self.stream.publish(subject, body.to_string().into()).await.unwrap();
        published.await.unwrap();
    }

    async fn report(&self, over: &Value) {
        let account = AccountId::default_account();
        let broker = order_router::domain::id::BrokerId::new("binance").unwrap();
        self.append(subjects::report(&broker, &account), &self.with(over)).await;
    }

    async fn submission(&self, kind: &str, claim: &str, over: &Value) {
        let subject = subjects::event(kind, Some(&AccountId::default_account()));
        self.append(subject, &json!({"claim": claim, "order": self.with(over)}))
            .await;
    }

    /// Waits until the log has reached the journal's end: a read sees the order submitted before it.
    async fn settle(&self) {
        let id = uuid::Uuid::now_v7().to_string();
        let response = self.router.submit(&order(&id, &json!({"quantity": "0.8"}))).await;
        assert_eq!(response.status, 400, "{response:?}");
        let (items, _) = self.router.list("/orders/log?limit=1").await;
        assert_eq!(texts(&items, "correlation_id"), [id]);
    }

    async fn states(&self, client_order_id: &str) -> Vec<String> {
        let path = format!("/orders/log?client_order_id={client_order_id}");
        texts(&self.router.list(&path).await.0, "status")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_order_of_an_id_counts_and_versions_only_rise() {
    let journal = Journal::start().await;
    let first = json!({"order_id": "BN-first", "client_order_id": "twice", "status": "accepted", "fills": [],
        "fills_total": 0, "filled_quantity": 0});
    journal.report(&first).await;
    journal
        .report(&json!({"order_id": "BN-later", "client_order_id": "twice"}))
        .await;
    // Another effect of a journaled version, and an older one.
    journal
        .report(&json!({"order_id": "BN-first", "client_order_id": "twice", "status": "cancelled"}))
        .await;
    journal.settle().await;
    assert_eq!(journal.states("twice").await, ["accepted"]);
    let end = json!({"order_id": "BN-first", "client_order_id": "twice", "version": 2, "fills": [], "fills_total": 0,
        "filled_quantity": 0, "status": "cancelled"});
    journal.report(&end).await;
    journal.report(&first).await;
    journal.settle().await;
    assert_eq!(journal.states("twice").await, ["cancelled"]);
    assert_eq!(journal.router.list("/executions?client_order_id=twice").await.1, 0);
    // A dry run has its own ids, and an id is free again long after its order's end.
    journal
        .report(&json!({"order_id": "BN-dry", "client_order_id": "twice", "mode": "dry_run"}))
        .await;
    let late =
        json!({"order_id": "BN-again", "client_order_id": "twice", "submitted_at": "2036-03-02T09:00:00.000000Z"});
    journal.report(&late).await;
    journal.settle().await;
    assert_eq!(journal.states("twice").await, ["filled", "filled", "cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn effect_that_builds_on_a_void_one_does_not_count() {
    let journal = Journal::start().await;
    let settlement = |id: &str, builds_on: Option<&str>| {
        let mut settlement = journal.report["settlement"].clone();
        let full = |end: &str| format!("00000000-0000-0000-0000-0000000000{end}");
        settlement["id"] = json!(full(id));
        settlement["builds_on"] = json!(builds_on.map(full));
        settlement
    };
    let version = |version: u32, status: &str, settlement: Value| {
        json!({"order_id": "BN-one", "client_order_id": "one", "version": version, "status": status, "fills": [],
            "fills_total": 0, "filled_quantity": 0, "settlement": settlement})
    };
    journal.report(&version(1, "accepted", settlement("a1", None))).await;
    journal.report(&version(1, "unknown", settlement("b1", None))).await;
    journal
        .report(&version(2, "cancelled", settlement("b2", Some("b1"))))
        .await;
    journal.settle().await;
    assert_eq!(journal.states("one").await, ["accepted"]);
    journal
        .report(&version(2, "rejected", settlement("a2", Some("a1"))))
        .await;
    journal
        .report(&version(3, "cancelled", settlement("b3", Some("b2"))))
        .await;
    journal.settle().await;
    assert_eq!(journal.states("one").await, ["rejected"]);
    // Where an entry is missing, it may be the one that the next version builds on.
    let unreadable = json!({"version": "x"});
    journal.report(&unreadable).await;
    journal
        .report(&version(4, "filled", settlement("a4", Some("a3"))))
        .await;
    journal.settle().await;
    assert_eq!(journal.states("one").await, ["filled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn submission_alone_is_unknown_and_a_released_one_is_no_order() {
    let journal = Journal::start().await;
    let (_, before) = journal.router.list("/orders/log").await;
    let sent = json!({"order_id": "BN-sent", "client_order_id": "sent", "version": 0, "fills": [], "fills_total": 0,
        "filled_quantity": 0, "status": "unknown"});
    journal.submission(SUBMITTING_EVENT_KIND, "one", &sent).await;
    journal.settle().await;
    assert_eq!(journal.states("sent").await, ["unknown"]);
    // A release of another claim has no effect.
    journal.submission(RELEASED_EVENT_KIND, "other", &sent).await;
    journal.settle().await;
    assert_eq!(journal.states("sent").await, ["unknown"]);
    journal.submission(RELEASED_EVENT_KIND, "one", &sent).await;
    journal.settle().await;
    assert!(journal.states("sent").await.is_empty());
    let (_, now) = journal.router.list("/orders/log").await;
    assert_eq!(now, before + 3, "the orders that the waits submitted");
    // The worker of the released claim was late, and so was one whose claim was released before its submission came.
    journal.submission(SUBMITTING_EVENT_KIND, "one", &sent).await;
    let late = json!({"order_id": "BN-late", "client_order_id": "late", "version": 0, "fills": [], "fills_total": 0,
        "filled_quantity": 0, "status": "unknown"});
    journal.submission(RELEASED_EVENT_KIND, "three", &late).await;
    journal.submission(SUBMITTING_EVENT_KIND, "three", &late).await;
    journal.settle().await;
    assert!(journal.states("sent").await.is_empty());
    assert!(journal.states("late").await.is_empty());
    // A claim that was released before its submission came is remembered in the place of the one before.
    journal.submission(RELEASED_EVENT_KIND, "again", &sent).await;
    journal.submission(SUBMITTING_EVENT_KIND, "again", &sent).await;
    journal.settle().await;
    assert!(journal.states("sent").await.is_empty());
    journal.submission(SUBMITTING_EVENT_KIND, "two", &sent).await;
    // Beside a claim that stands, another one's submission has no effect, and its release neither.
    journal.submission(SUBMITTING_EVENT_KIND, "four", &sent).await;
    journal.submission(RELEASED_EVENT_KIND, "four", &sent).await;
    journal.settle().await;
    assert_eq!(journal.states("sent").await, ["unknown"]);
    journal.submission(SUBMITTING_EVENT_KIND, "five", &late).await;
    journal
        .report(&json!({"order_id": "BN-late", "client_order_id": "late"}))
        .await;
    journal
        .report(&json!({"order_id": "BN-sent", "client_order_id": "sent"}))
        .await;
    journal.settle().await;
    assert_eq!(journal.states("sent").await, ["filled"]);
    assert_eq!(journal.states("late").await, ["filled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_and_missing_entries_are_named_and_skipped() {
    let journal = Journal::start().await;
    journal
        .report(&json!({"order_id": "BN-odd", "client_order_id": "odd", "status": "suspended"}))
        .await;
    let reason = json!({"code": "of_a_newer_version", "message": "m"});
    journal
        .report(&json!({"order_id": "BN-new", "client_order_id": "new", "reason": reason}))
        .await;
    // The report lists only some of its fills: the position is marked as incomplete.
    journal
        .report(&json!({"order_id": "BN-many", "client_order_id": "many", "fills_total": 150, "filled_quantity": 1.5}))
        .await;
    let stream = journal.stream.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let last = stream.cached_info().state.last_sequence;
    journal.settle().await;
    assert!(journal.states("odd").await.is_empty());
    assert_eq!(journal.states("new").await, ["filled"]);
    assert_eq!(
        journal.router.list("/orders/log?client_order_id=new").await.0[0]["reason"],
        Value::Null
    );
    let health = journal.router.get("/health").await.json();
    let detail = health["checks"]["order_log"]["detail"].as_str().unwrap();
    assert!(detail.contains("1 entry of the journal"), "{health}");
    let positions = journal.router.get("/positions").await.json();
    assert_eq!(
        positions["items"][0]["holdings"][0]["realized_pnl"],
        Value::Null,
        "{positions}"
    );
    // A rebuilt log also names a removed entry; the others are unchanged.
    stream.delete_message(last).await.unwrap();
    std::fs::remove_file(journal.router.rig.settings.data_dir.0.join("order-log/orders.sqlite")).unwrap();
    poll::until(SOON, "both entries are named", async || {
        let health = journal.router.get("/health").await.json();
        let check = &health["checks"]["order_log"];
        check["status"] == "ok" && check["detail"].as_str().is_some_and(|text| text.contains("2 entries"))
    })
    .await;
    assert!(journal.states("many").await.is_empty());
    assert_eq!(journal.states("new").await, ["filled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_reported_without_the_alerts_stream() {
    let journal = Journal::start().await;
    journal.stream.delete_stream(subjects::STREAM_ALERTS).await.unwrap();
    poll::until(SOON, "the missing alerts stream is detected", async || {
        journal.router.get("/health").await.json()["checks"]["order_log"]["status"] == "behind"
    })
    .await;
    for n in 0..3 {
        assert_eq!(
            journal.router.submit(&order(&format!("o{n}"), &json!({}))).await.status,
            201
        );
        assert_eq!(journal.states(&format!("o{n}")).await, ["filled"]);
    }
}
