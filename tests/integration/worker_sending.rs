//! Orders to an external venue: whatever is killed, lost or redelivered, the venue sees each order at most once, and the
//! order ends with the venue's report.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use futures_util::future::join_all;
use order_router::bus::request::BusReply;
use order_router::bus::router_client::RequestError;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::wire::report::ExecutionReport;
use order_router::wire::submission::SubmissionEvent;
use tokio::task::JoinHandle;

use crate::external_venue::{HoldPoint, KillableWorker, Venue};
use crate::remembered_view::record_name;
use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

const SUMS: &str = "sums:paper:default:binance.spot:BTCUSDT";
/// How long a venue must report an order as not found before the router accepts it.
const WINDOW: Duration = Duration::from_millis(1_500);
/// How long a test waits for an event that must not happen.
const SETTLE_TIME: Duration = Duration::from_millis(700);

/// A router whose `binance` is the external venue, with frequent inquiries and a short not-found window.
pub async fn rig() -> (Rig, Venue, Client) {
    let mut rig = Rig::start().await;
    rig.settings.brokers.task.call_timeout_ms = 30_000;
    rig.settings.brokers.inquiry.first_pause_ms = 50;
    rig.settings.brokers.inquiry.longest_pause_ms = 200;
    rig.settings.brokers.inquiry.not_found_window_ms = u64::try_from(WINDOW.as_millis()).unwrap();
    let client = rig.caller().await;
    (rig, Venue::new(), client)
}

/// Submits in a separate task: the worker may never reply.
fn submit(rig: &Rig, body: String) -> JoinHandle<Result<BusReply, RequestError>> {
    let settings = rig.settings.clone();
    tokio::spawn(async move {
        let policy = order_router::bus::connection::ConnectPolicy::RetryFor(SOON);
        let bus = order_router::bus::connection::connect(&settings.nats, "caller", policy)
            .await
            .unwrap();
        let caller = order_router::bus::router_client::RouterClient::new(bus);
        let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::default_account());
        let subject = order_router::bus::subjects::submit(&broker, &account);
        caller
            .request(
                &subject,
                body.into(),
                Timestamp::now().saturating_add(Duration::from_secs(20)),
            )
            .await
    })
}

/// Submits an order and waits until the venue holds it at a point.
pub async fn submit_held_at(
    point: HoldPoint,
    rig: &Rig,
    venue: &Venue,
    id: &str,
) -> JoinHandle<Result<BusReply, RequestError>> {
    venue.hold_at(point);
    let answer = submit(rig, intent(id, &[]));
    venue.wait_for_held_order().await;
    answer
}

/// Waits until the last report of the journal has this status, and returns the reports.
async fn wait_for_last_status(client: &Client, status: OrderStatus) -> Vec<ExecutionReport> {
    poll::eventually(SOON, format!("the last report is {status:?}"), async || {
        let reports = client.reports().await;
        (reports.last()?.status == status).then_some(reports)
    })
    .await
}

pub async fn events(client: &Client, kind: &str) -> Vec<SubmissionEvent> {
    let subject = format!("orders.events.{kind}.default");
    let journal = client.journal().await;
    let events = journal.iter().filter(|entry| entry.subject == subject);
    events
        .map(|entry| serde_json::from_slice(&entry.body).unwrap())
        .collect()
}

pub async fn sums(rig: &Rig) -> (i64, i64) {
    (rig.sum(SUMS, "long").await, rig.sum(SUMS, "position").await)
}

/// Waits until the id is known again: the store is rebuilt.
async fn wait_until_known(client: &Client, id: &str) {
    poll::until(SOON, "the id is known", async || {
        client.submit(&intent(id, &[])).await.is_ok_and(|reply| reply.is_replay)
    })
    .await;
}

fn reason(report: &ExecutionReport) -> Option<ReasonCode> {
    report.reason.as_ref().map(|reason| reason.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_announced_sent_once_and_reported() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let report = client.report(&intent("a1", &[])).await;
    assert_eq!((report.status, report.version), (OrderStatus::Filled, 1));
    assert_eq!(venue.arrivals(), vec![report.order_id]);
    let subjects: Vec<String> = client.journal().await.into_iter().map(|entry| entry.subject).collect();
    assert_eq!(
        subjects,
        ["orders.events.submitting.default", "orders.reports.binance.default"]
    );
    assert_eq!(sums(&rig).await, (100, 100));
    // The venue rejects the order: its report releases the reservation.
    venue.set(|behaviour| behaviour.rejects = true);
    let refused = client.report(&intent("a2", &[])).await;
    assert_eq!(reason(&refused), Some(ReasonCode::BrokerRejected));
    assert_eq!(sums(&rig).await, (100, 100));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_a_worker_killed_before_the_start_is_released_and_keeps_its_id() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let _lost = submit_held_at(HoldPoint::Announced, &rig, &venue, "a1").await;
    let announced = events(&client, "submitting").await.remove(0);
    assert_eq!(
        (announced.order.version, announced.order.quantity.to_string()),
        (0, "0.001".into())
    );
    worker.kill();
    venue.resume();
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let released = poll::eventually(SOON, "the release is on the journal", async || {
        events(&client, "released").await.pop()
    })
    .await;
    assert_eq!(
        (&released.claim, &released.order.order_id),
        (&announced.claim, &announced.order.order_id)
    );
    rig.quiet().await;
    assert_eq!((sums(&rig).await, venue.arrivals()), ((0, 0), vec![]));
    // After a rebuild it is the same: nothing is reserved, and no worker inquires about it.
    rig.redis.flushall().await;
    poll::until(SOON, "the store is rebuilt", async || {
        let store = rig.store().await;
        let record = store.get(&record_name("default", "a1"));
        record.is_some_and(|record| record["st"] == "released")
    })
    .await;
    assert_eq!((sums(&rig).await, venue.inquiries()), ((0, 0), 0));
    poll::until(SOON, "the router accepts requests", async || {
        client
            .submit(&intent("whole", &[("quantity", "0.1234567")]))
            .await
            .is_err_and(|error| error.to_string().contains("invalid_field"))
    })
    .await;
    let other = client.fault(&intent("a1", &[("quantity", "0.002")])).await;
    assert_eq!(other.code, FaultCode::ClientOrderIdConflict);
    let report = client.report(&intent("a1", &[])).await;
    assert_eq!((report.status, report.version), (OrderStatus::Filled, 1));
    assert_eq!(report.order_id, announced.order.order_id);
    assert_eq!((sums(&rig).await, venue.arrivals().len()), ((100, 100), 1));
    // A rebuild counts the second submission, and neither the first nor its release.
    rig.redis.flushall().await;
    poll::until(SOON, "the store is rebuilt", async || sums(&rig).await == (100, 100)).await;
    wait_until_known(&client, "a1").await;
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_a_worker_killed_before_the_first_byte_is_unknown_until_the_not_found_window_ends() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let _lost = submit_held_at(HoldPoint::Started, &rig, &venue, "a1").await;
    worker.kill();
    let started = std::time::Instant::now();
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let unknown = wait_for_last_status(&client, OrderStatus::Unknown).await.remove(0);
    assert_eq!(
        (unknown.version, reason(&unknown)),
        (1, Some(ReasonCode::OutcomeUnknown))
    );
    assert_eq!(sums(&rig).await, (100, 0));
    let reply = client.submit(&intent("a1", &[])).await.unwrap();
    assert!(reply.is_replay && reply.journal_sequence.is_some());
    let reports = wait_for_last_status(&client, OrderStatus::Rejected).await;
    assert!(
        started.elapsed() >= WINDOW - Duration::from_millis(500),
        "not found is accepted too early"
    );
    assert!(venue.inquiries() >= 3);
    assert_eq!((reports.len(), reason(&reports[1])), (2, Some(ReasonCode::NotPlaced)));
    assert_eq!((sums(&rig).await, venue.arrivals()), ((0, 0), vec![]));
    let day = rig.store().await;
    let day = &day["totals:paper"];
    assert_eq!(day["daily_notional"], "0");
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_a_worker_killed_before_the_reply_ends_with_the_venue_report() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let _lost = submit_held_at(HoldPoint::Received, &rig, &venue, "a1").await;
    worker.kill();
    venue.resume();
    let (one, two) = tokio::join!(
        KillableWorker::start(&rig.settings, &venue),
        KillableWorker::start(&rig.settings, &venue)
    );
    let reports = wait_for_last_status(&client, OrderStatus::Filled).await;
    let statuses: Vec<OrderStatus> = reports.iter().map(|report| report.status).collect();
    assert_eq!(statuses, [OrderStatus::Unknown, OrderStatus::Filled]);
    assert_eq!((sums(&rig).await, venue.arrivals().len()), ((100, 100), 1));
    one.kill();
    two.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_reply_is_reported_as_unknown_and_a_lagging_or_silent_venue_does_not_end_the_order() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    venue.set(|behaviour| (behaviour.drops_replies, behaviour.ignores_inquiries) = (true, true));
    let reply = client.submit(&intent("a1", &[])).await.unwrap();
    let report = ExecutionReport::decode(&reply.body).unwrap();
    assert_eq!(
        (report.status, report.version, reason(&report)),
        (OrderStatus::Unknown, 1, Some(ReasonCode::OutcomeUnknown))
    );
    assert!(reply.journal_sequence.is_some());
    assert_eq!(sums(&rig).await, (100, 0));
    // Inquiries without a reply never count, however many and however late.
    tokio::time::sleep(WINDOW + SETTLE_TIME).await;
    assert!(venue.inquiries() >= 4, "{}", venue.inquiries());
    venue.set(|behaviour| (behaviour.hides_orders, behaviour.ignores_inquiries) = (true, false));
    let inquired = venue.inquiries();
    poll::until(SOON, "the venue has received an inquiry", async || {
        venue.inquiries() > inquired
    })
    .await;
    venue.set(|behaviour| behaviour.hides_orders = false);
    let reports = wait_for_last_status(&client, OrderStatus::Filled).await;
    assert_eq!(reports.len(), 2);
    assert_eq!((sums(&rig).await, venue.arrivals().len()), ((100, 100), 1));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_raced_and_redelivered_over_two_workers_reaches_the_venue_once() {
    let (rig, venue, client) = rig().await;
    let (one, two) = tokio::join!(
        KillableWorker::start(&rig.settings, &venue),
        KillableWorker::start(&rig.settings, &venue)
    );
    venue.hold_at(HoldPoint::Received);
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::default_account());
    let deadline = Timestamp::now().saturating_add(SOON);
    let body = intent("a1", &[]);
    for _ in 0..3 {
        let published = client
            .caller
            .publish_intent(&broker, &account, body.clone().into(), Some(deadline), None);
        published.await.unwrap();
    }
    venue.wait_for_held_order().await;
    let answers = join_all((0..20).map(|_| client.submit(&body)));
    let (answers, ()) = tokio::join!(answers, async {
        tokio::time::sleep(SETTLE_TIME).await;
        venue.resume();
    });
    for answer in answers {
        let report = ExecutionReport::decode(&answer.unwrap().body).unwrap();
        assert_eq!(Some(&report.order_id), venue.arrivals().first());
    }
    wait_for_last_status(&client, OrderStatus::Filled).await;
    poll::until(SOON, "the queue is empty", async || client.queued().await == 0).await;
    assert_eq!((sums(&rig).await, venue.arrivals().len()), ((100, 100), 1));
    one.kill();
    two.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn claim_that_lost_its_lease_is_not_sent() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let answer = submit_held_at(HoldPoint::Announced, &rig, &venue, "a1").await;
    poll::until(SOON, "the order is released", async || {
        events(&client, "released").await.len() == 1
    })
    .await;
    venue.resume();
    assert!(
        ExecutionReport::decode(&answer.await.unwrap().unwrap().body)
            .unwrap()
            .is_receipt()
    );
    assert_eq!((sums(&rig).await, venue.arrivals()), ((0, 0), vec![]));
    assert_eq!(client.report(&intent("a1", &[])).await.status, OrderStatus::Filled);
    assert_eq!((sums(&rig).await, venue.arrivals().len()), ((100, 100), 1));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_order_is_released_by_its_own_worker_even_after_the_start() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    venue.set(|behaviour| behaviour.unreachable = true);
    let fault = client.fault(&intent("a1", &[])).await;
    assert_eq!(fault.code, FaultCode::BrokerUnavailable, "{fault}");
    assert_eq!((sums(&rig).await, events(&client, "released").await.len()), ((0, 0), 1));
    venue.set(|behaviour| behaviour.unreachable = false);
    let report = client.report(&intent("a1", &[])).await;
    let announced = events(&client, "submitting").await;
    assert_eq!(announced.len(), 2);
    assert!(announced.iter().all(|event| event.order.order_id == report.order_id));
    assert_eq!((report.version, venue.arrivals().len()), (1, 1));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_that_no_adapter_accepts_leaves_nothing_on_the_journal() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let refuse_once = async |is_offline: bool| {
        venue.set(|behaviour| (behaviour.is_offline, behaviour.unreachable) = (is_offline, !is_offline));
        let fault = client.fault(&intent("a1", &[])).await;
        assert_eq!(fault.code, FaultCode::BrokerUnavailable, "{fault}");
        (
            sums(&rig).await,
            events(&client, "submitting").await.len(),
            events(&client, "released").await.len(),
        )
    };
    for _ in 0..3 {
        assert_eq!(refuse_once(true).await, ((0, 0), 0, 0));
    }
    // The same holds behind an attempt that was announced, whose order keeps its id.
    assert_eq!(refuse_once(false).await, ((0, 0), 1, 1));
    for _ in 0..2 {
        assert_eq!(refuse_once(true).await, ((0, 0), 1, 1));
    }
    let announced = events(&client, "submitting").await;
    venue.set(|behaviour| (behaviour.is_offline, behaviour.unreachable) = (false, false));
    let report = client.report(&intent("a1", &[])).await;
    assert_eq!((report.version, venue.arrivals().len()), (1, 1));
    assert_eq!(report.order_id, announced[0].order.order_id);
    assert_eq!(sums(&rig).await, (100, 100));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn not_sent_result_does_not_count_after_a_takeover() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    venue.set(|behaviour| (behaviour.unreachable, behaviour.ignores_inquiries) = (true, true));
    let answer = submit_held_at(HoldPoint::Started, &rig, &venue, "a1").await;
    wait_for_last_status(&client, OrderStatus::Unknown).await;
    venue.resume();
    let report = ExecutionReport::decode(&answer.await.unwrap().unwrap().body).unwrap();
    assert_eq!((report.status, report.version), (OrderStatus::Unknown, 1));
    assert_eq!(
        (sums(&rig).await, events(&client, "released").await.len()),
        ((100, 0), 0)
    );
    venue.set(|behaviour| behaviour.ignores_inquiries = false);
    let reports = wait_for_last_status(&client, OrderStatus::Rejected).await;
    assert_eq!(reason(&reports[1]), Some(ReasonCode::NotPlaced));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn venue_report_counts_through_an_emptied_store_and_nothing_is_sent_again() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let answer = submit_held_at(HoldPoint::Received, &rig, &venue, "a1").await;
    rig.redis.flushall().await;
    // An order known only by its submission counts in full.
    poll::until(SOON, "the store is rebuilt", async || sums(&rig).await == (100, 0)).await;
    let record = &rig.store().await[&record_name("default", "a1")];
    assert_eq!(record["st"], "sending");
    venue.resume();
    let report = ExecutionReport::decode(&answer.await.unwrap().unwrap().body).unwrap();
    assert_eq!(report.status, OrderStatus::Filled);
    poll::until(SOON, "the order is settled", async || sums(&rig).await == (100, 100)).await;
    rig.redis.flushall().await;
    poll::until(SOON, "the store is rebuilt", async || sums(&rig).await == (100, 100)).await;
    wait_until_known(&client, "a1").await;
    assert_eq!(venue.arrivals().len(), 1);
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_known_only_by_its_submission_is_inquired_about_and_never_started() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    let answer = submit_held_at(HoldPoint::Announced, &rig, &venue, "a1").await;
    rig.redis.flushall().await;
    poll::until(SOON, "the store is rebuilt", async || sums(&rig).await == (100, 0)).await;
    wait_for_last_status(&client, OrderStatus::Unknown).await;
    venue.resume();
    // The worker that announced the order may not start it any more, and its result does not end it.
    let report = ExecutionReport::decode(&answer.await.unwrap().unwrap().body).unwrap();
    assert_eq!(report.status, OrderStatus::Unknown);
    let reports = wait_for_last_status(&client, OrderStatus::Rejected).await;
    assert_eq!(reason(&reports[1]), Some(ReasonCode::NotPlaced));
    assert_eq!((sums(&rig).await, venue.arrivals()), ((0, 0), vec![]));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_waits_for_the_venue_and_is_sent_there_while_the_order_is_unknown() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    venue.set(|behaviour| behaviour.keeps_open = true);
    let answer = submit_held_at(HoldPoint::Received, &rig, &venue, "a1").await;
    let mut cancel = std::pin::pin!(client.order("cancel", "binance", r#"{"client_order_id":"a1"}"#));
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut cancel)
            .await
            .is_err()
    );
    venue.resume();
    let accepted = ExecutionReport::decode(&answer.await.unwrap().unwrap().body).unwrap();
    assert_eq!(accepted.status, OrderStatus::Accepted);
    let cancelled = cancel.await.unwrap();
    assert_eq!((cancelled.status, cancelled.version), (OrderStatus::Cancelled, 2));
    assert_eq!(sums(&rig).await, (0, 0));
    venue.set(|behaviour| (behaviour.drops_replies, behaviour.ignores_inquiries) = (true, true));
    assert_eq!(client.report(&intent("a2", &[])).await.status, OrderStatus::Unknown);
    let cancelled = client
        .order("cancel", "binance", r#"{"client_order_id":"a2"}"#)
        .await
        .unwrap();
    assert_eq!((cancelled.status, cancelled.version), (OrderStatus::Cancelled, 2));
    assert_eq!((sums(&rig).await, venue.arrivals().len()), ((0, 0), 2));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn unjournaled_order_is_not_sent() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    venue.hold_at(HoldPoint::Announced);
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    jetstream.delete_stream("ORDER_REPORTS").await.unwrap();
    let result = client.submit(&intent("a1", &[])).await;
    let is_refused = match result {
        Ok(reply) => ExecutionReport::decode(&reply.body).unwrap().is_receipt(),
        // The worker may notice the loss before it accepts the intent.
        Err(RequestError::Fault(fault)) => fault.code == FaultCode::PersistenceFailed,
        Err(error) => panic!("{error}"),
    };
    assert!(is_refused);
    assert_eq!(venue.arrivals(), Vec::<String>::new());
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn venue_report_counts_from_any_worker_after_a_takeover() {
    let (rig, venue, client) = rig().await;
    let worker = KillableWorker::start(&rig.settings, &venue).await;
    venue.set(|behaviour| behaviour.ignores_inquiries = true);
    let answer = submit_held_at(HoldPoint::Received, &rig, &venue, "a1").await;
    wait_for_last_status(&client, OrderStatus::Unknown).await;
    venue.resume();
    let report = ExecutionReport::decode(&answer.await.unwrap().unwrap().body).unwrap();
    assert_eq!((report.status, report.version), (OrderStatus::Filled, 2));
    assert_eq!((sums(&rig).await, venue.arrivals().len()), ((100, 100), 1));
    worker.kill();
}
