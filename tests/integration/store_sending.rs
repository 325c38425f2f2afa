//! The scripts for orders in flight to an external venue: each guard is tested alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::brokers::paper::binance::PREFIX;
use order_router::domain::control::OperatorOverrides;
use order_router::domain::id::{LeaseToken, OrderId};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_terms::TradingState;
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::replace::LegWord;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{DueAction, DueTask, VenueOrderState, VenueReport};
use order_router::store::Store;
use order_router::store::control::operator_state::{OperatorStateChange, OperatorStateOutcome};
use order_router::store::orders::mark_journaled::MarkJournaledRequest;
use order_router::store::orders::record::RecordStage;
use order_router::store::orders::reserve::{ReserveAction, ReserveOutcome};
use order_router::store::orders::settle::SettleOutcome;
use order_router::store::orders::submission::{StartSendingOutcome, StartSendingRequest, WithdrawalStage};
use order_router::store::orders::waiting::WorkQueue;
use order_router::store::rebuild::orders::ConflictingOrder;
use order_router::store::rebuild::submissions::SubmissionReplay;
use order_router::wire::journal_report::build_journal_report;
use order_router::worker::submission::announced::encode_release_event;

use crate::conformance_store::ready_store;
use crate::remembered_view::record_name;
use crate::rig::{Rig, SOON};
use crate::store_scripts::{applied, claim, claimed, event, filled, key, order, reserve, roomy, settlement};
use crate::support::poll;

const SUMS: &str = "sums:paper:default:binance.spot:BTCUSDT";

fn start<'a>(order: &'a Order, lease: &'a LeaseToken) -> StartSendingRequest<'a> {
    StartSendingRequest {
        order,
        lease,
        deadline: Timestamp::now().saturating_add(SOON),
        requested_at: Timestamp::from_milliseconds(1),
        submission_sequence: 7,
    }
}

async fn stage(store: &Store, order: &Order) -> RecordStage {
    store.read_order(&key(order)).await.unwrap().unwrap().known.stage
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_after_a_halt() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (one, lease) = claimed(&rig, &store, 100).await;
    let (started, its_lease) = claimed(&rig, &store, 100).await;
    let sending = store.start_sending(&start(&started, &its_lease)).await;
    assert_eq!(sending, Ok(StartSendingOutcome::Sending));
    let halt = OperatorStateChange {
        base_version: 0,
        version: 1,
        values: OperatorOverrides {
            trading_state: Some(TradingState::Halted),
            ..OperatorOverrides::default()
        },
        document: vec![b'x'].into(),
        is_journaled: true,
    };
    assert!(matches!(
        store.set_operator_state(&halt).await,
        Ok(OperatorStateOutcome::Changed(_))
    ));
    assert_eq!(
        store.start_sending(&start(&one, &lease)).await,
        Ok(StartSendingOutcome::Halted)
    );
    assert_eq!(stage(&store, &one).await, RecordStage::Claimed);
    // Repeating a completed step returns the same reply.
    let again = store.start_sending(&start(&started, &its_lease)).await;
    assert_eq!(again, Ok(StartSendingOutcome::Sending));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_lease_starts_an_order_once_and_in_time() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    let another = LeaseToken::generate();
    let late = StartSendingRequest {
        deadline: Timestamp::from_milliseconds(Timestamp::now().as_milliseconds() - 1),
        ..start(&order, &lease)
    };
    assert_eq!(
        store.start_sending(&start(&order, &another)).await,
        Ok(StartSendingOutcome::LeaseLost)
    );
    assert_eq!(
        store.start_sending(&late).await,
        Ok(StartSendingOutcome::DeadlinePassed)
    );
    assert_eq!(stage(&store, &order).await, RecordStage::Claimed);
    assert_eq!(
        store.start_sending(&start(&order, &lease)).await,
        Ok(StartSendingOutcome::Sending)
    );
    // Repeating the same step succeeds, since its reply may be lost; a different step would send the order twice.
    assert_eq!(
        store.start_sending(&start(&order, &lease)).await,
        Ok(StartSendingOutcome::Sending)
    );
    let second = StartSendingRequest {
        requested_at: Timestamp::from_milliseconds(2),
        ..start(&order, &lease)
    };
    assert_eq!(store.start_sending(&second).await, Ok(StartSendingOutcome::LeaseLost));
    assert_eq!(stage(&store, &order).await, RecordStage::Sending);
    assert_eq!(
        rig.store().await[&record_name("default", order.client_order_id.as_str())]["sq"],
        "7"
    );
    // A worker without the lease cannot release it, and neither can the plain release of an unannounced claim.
    let body = encode_release_event(&order, &lease, 1);
    assert_eq!(
        store
            .withdraw_submission(&order, &lease, WithdrawalStage::Claimed, &body)
            .await,
        Ok(false)
    );
    assert_eq!(
        store
            .withdraw_submission(&order, &another, WithdrawalStage::Sending, &body)
            .await,
        Ok(false)
    );
    assert_eq!(store.release_claim(&order, &lease).await, Ok(false));
    assert_eq!(rig.sum(SUMS, "long").await, 100);
    assert_eq!(
        store
            .withdraw_submission(&order, &lease, WithdrawalStage::Sending, &body)
            .await,
        Ok(true)
    );
    assert_eq!(rig.sum(SUMS, "long").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_order_takes_no_effect_and_is_claimable_once_journaled() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    let body = encode_release_event(&order, &lease, 1);
    assert_eq!(
        store
            .withdraw_submission(&order, &lease, WithdrawalStage::Claimed, &body)
            .await,
        Ok(true)
    );
    let again = claim(&store, &order, &LeaseToken::generate(), roomy(&order)).await;
    assert!(
        matches!(&again, ReserveOutcome::AlreadyKnown(known) if known.stage == RecordStage::Releasing),
        "{again:?}"
    );
    let mut fenced = settlement(&filled(&order, 100));
    fenced.lease = Some(lease.clone());
    assert_eq!(store.settle(fenced).await, Ok(SettleOutcome::OrderNotFound));
    assert_eq!(
        store.settle(settlement(&filled(&order, 100))).await,
        Ok(SettleOutcome::OrderNotFound)
    );
    store.mark_withdrawal_journaled(&order, &lease, 9).await.unwrap();
    assert_eq!(
        store.settle(settlement(&filled(&order, 100))).await,
        Ok(SettleOutcome::OrderNotFound)
    );
    // Another order id or other content is a different order.
    let mut other = order.clone();
    other.order_id = OrderId::new("BN-other").unwrap();
    let mut changed = order.clone();
    changed.content_hash = order_router::domain::content_hash::ContentHash::of(b"other");
    for not_it in [&other, &changed] {
        let answer = reserve(&store, not_it, ReserveAction::Lookup).await;
        assert!(
            matches!(&answer, ReserveOutcome::AlreadyKnown(known) if known.stage == RecordStage::Released),
            "{answer:?}"
        );
    }
    let retry = LeaseToken::generate();
    assert!(matches!(
        claim(&store, &order, &retry, roomy(&order)).await,
        ReserveOutcome::Claimed(_)
    ));
    assert_eq!(
        store.start_sending(&start(&order, &lease)).await,
        Ok(StartSendingOutcome::LeaseLost)
    );
    assert_eq!(
        store.start_sending(&start(&order, &retry)).await,
        Ok(StartSendingOutcome::Sending)
    );
    assert_eq!(rig.sum(SUMS, "long").await, 100);
    let ttl: i64 = redis::cmd("PTTL")
        .arg(format!(
            "{{or}}:{}",
            record_name("default", order.client_order_id.as_str())
        ))
        .query_async(&mut rig.redis.connection().await)
        .await
        .unwrap();
    assert_eq!(ttl, -1, "an order in flight does not expire");
}

/// Returns an order with an unknown outcome that is due for an inquiry.
async fn unknown(rig: &Rig, store: &Store) -> Order {
    let (order, _) = claimed(rig, store, 100).await;
    let report = VenueReport {
        broker_order_id: None,
        fills: vec![],
        state: VenueOrderState::Unknown(Reason::new(ReasonCode::OutcomeUnknown, "lost")),
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: Some(DueTask {
            at: Timestamp::from_milliseconds(1),
            action: DueAction::Inquire,
        }),
    };
    let applied = applied(&order, &report);
    store.settle(settlement(&applied)).await.unwrap();
    applied.order
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found_counts_only_in_its_turn_and_delays_grow() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let order = unknown(&rig, &store).await;
    let (one, two) = (LeaseToken::generate(), LeaseToken::generate());
    let hold = Duration::from_millis(300);
    let pauses = [Duration::from_millis(10), Duration::from_millis(20)];
    let first = store.acquire_inquiry_turn(&order, &one, hold).await.unwrap().unwrap();
    assert_eq!(first.not_found_count, 0);
    assert_eq!(
        store.acquire_inquiry_turn(&order, &two, hold).await,
        Ok(None),
        "one inquiry at a time"
    );
    let turn = poll::eventually(SOON, "the inquiry turn is free again", async || {
        store.acquire_inquiry_turn(&order, &two, hold).await.unwrap()
    })
    .await;
    assert!(turn.time_since_sending >= hold, "{turn:?}");
    assert_eq!(
        store.record_not_found(&order, &one, pauses).await,
        Ok(None),
        "the turn has expired"
    );
    assert_eq!(
        store
            .record_not_found(&order, &two, pauses)
            .await
            .unwrap()
            .unwrap()
            .not_found_count,
        1
    );
    assert_eq!(
        store
            .record_unanswered(&order, &two, pauses)
            .await
            .unwrap()
            .unwrap()
            .not_found_count,
        1
    );
    let due = WorkQueue::Due(order.broker.clone());
    poll::until(SOON, "the inquiry is due again", async || {
        store
            .list_waiting_orders(&due, Duration::ZERO, 0)
            .await
            .unwrap()
            .members
            == [key(&order)]
    })
    .await;
    // After a venue report no worker gets a turn, and no not-found counts.
    store.settle(settlement(&filled(&order, 100))).await.unwrap();
    assert_eq!(store.acquire_inquiry_turn(&order, &one, hold).await, Ok(None));
    assert_eq!(store.record_not_found(&order, &two, pauses).await, Ok(None));
}

fn submission(order: &Order, claim: &LeaseToken, is_released: bool, sequence: u64) -> SubmissionReplay {
    SubmissionReplay {
        order: order.clone(),
        claim_token: claim.clone(),
        reserved: order.reservation_deltas(),
        is_released,
        sequence,
        document: build_journal_report(order, order.reservation_deltas(), 1, Metadata::new()).encode(),
    }
}

/// Replays the events of one order from one to another: two submissions, the first of them released, and its report.
async fn replay(store: &Store, order: &Order, claims: &[LeaseToken; 2], places: std::ops::Range<usize>) {
    for place in places {
        let sequence = 10 + u64::try_from(place).unwrap();
        let one = |claim, is_released| [submission(order, claim, is_released, sequence)];
        match place {
            0 => store.replay_late_submissions(&one(&claims[0], false)).await.unwrap(),
            1 => store.replay_late_submissions(&one(&claims[0], true)).await.unwrap(),
            2 => store.replay_late_submissions(&one(&claims[1], false)).await.unwrap(),
            _ => {
                let filled = filled(order, 60);
                let moved = order.reservation_deltas().checked_add(&filled.deltas).unwrap();
                store
                    .replay_orders_with_conflicts(None, &[event(&filled, moved, sequence)], None)
                    .await
                    .unwrap()
                    .0
            }
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_replay_alike_from_any_start() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let claims = [LeaseToken::generate(), LeaseToken::generate()];
    let expected = [
        (RecordStage::Sending, 100),
        (RecordStage::Released, 0),
        (RecordStage::Sending, 100),
        (RecordStage::Open, 100),
    ];
    for known in 1..=expected.len() {
        for again_from in 0..known {
            let order = order(&rig, 100);
            let before = rig.sum(SUMS, "long").await;
            replay(&store, &order, &claims, 0..known).await;
            // Start empty, replay one event alone (the journal may contain it twice), then all events from it on.
            for repeated in [0..0, again_from..again_from + 1, again_from..known] {
                let (wanted, held) = expected[known - 1];
                let what = format!("{known} known, {repeated:?} repeated");
                replay(&store, &order, &claims, repeated).await;
                assert_eq!(stage(&store, &order).await, wanted, "{what}");
                assert_eq!(rig.sum(SUMS, "long").await - before, held, "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn report_of_an_order_in_flight_counts_it_once() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    store.start_sending(&start(&order, &lease)).await.unwrap();
    // The order was settled in a store that has since lost it, and is replayed from the journal.
    replay(&store, &order, &[lease.clone(), lease], 3..4).await;
    assert_eq!(
        (rig.sum(SUMS, "long").await, rig.sum(SUMS, "position").await),
        (100, 60)
    );
    let day = rig.store().await;
    let day = &day["totals:paper"];
    let notional = order.reservation.daily_notional.units().to_string();
    assert_eq!(day["daily_notional"], notional);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_submission_of_a_lost_store_does_not_undo_a_claim() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    let lost = LeaseToken::generate();
    store
        .replay_late_submissions(&[submission(&order, &lost, false, 10)])
        .await
        .unwrap();
    assert_eq!(
        store.start_sending(&start(&order, &lease)).await,
        Ok(StartSendingOutcome::Sending)
    );
    assert_eq!(rig.sum(SUMS, "long").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn submission_of_a_released_claim_does_not_replace_one_that_is_being_sent() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let order = order(&rig, 100);
    let [late, current] = [LeaseToken::generate(), LeaseToken::generate()];
    // The worker of the released claim was late: its submission is on the journal behind that of the claim after it.
    for (claim, is_released, sequence) in [(&late, true, 10), (&current, false, 11), (&late, false, 12)] {
        let event = [submission(&order, claim, is_released, sequence)];
        store.replay_late_submissions(&event).await.unwrap();
    }
    assert_eq!(stage(&store, &order).await, RecordStage::Sending);
    assert_eq!(rig.sum(SUMS, "long").await, 100);
    let body = encode_release_event(&order, &late, 1);
    let released = store.withdraw_submission(&order, &late, WithdrawalStage::Sending, &body);
    assert_eq!(released.await, Ok(false), "what was sent is not released by another");
    let released = store.withdraw_submission(&order, &current, WithdrawalStage::Sending, &body);
    assert_eq!(released.await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn event_replaces_only_what_came_later_when_it_is_replaced() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (first, _) = claimed(&rig, &store, 100).await;
    let mut second = first.clone();
    let later = Timestamp::now().saturating_add(Duration::from_secs(1));
    second.order_id = first.key().order_id(PREFIX, later);
    let (booked, void) = (filled(&first, 60), filled(&second, 60));
    let settled = settlement(&booked);
    store.settle(settled.clone()).await.unwrap();
    let moved = second.reservation_deltas().checked_add(&void.deltas).unwrap();
    let replay = [event(&void, moved, 12)];
    // The journal's order is not known yet: the event and what stands in its place conflict.
    let conflict = store.replay_orders_with_conflicts(None, &replay, None).await;
    assert_eq!(conflict, Ok((0, vec![0])));
    let mark = MarkJournaledRequest {
        key: key(&first),
        order_id: first.order_id.clone(),
        version: 1,
        settlement_id: Some(settled.settlement_id),
        sequence: 11,
    };
    store.mark_journaled(mark).await.unwrap();
    let stored = ConflictingOrder { order: booked.order };
    let replaced = store.replay_orders_with_conflicts(None, &replay, Some(&stored)).await;
    assert_eq!(replaced, Ok((0, vec![])), "by now the first is known to be the first");
    let record = store.read_order(&key(&first)).await.unwrap().unwrap();
    assert_eq!(record.known.order_id, first.order_id);
    assert_eq!(
        (rig.sum(SUMS, "long").await, rig.sum(SUMS, "position").await),
        (100, 60)
    );
}
