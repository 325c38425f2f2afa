//! The scripts of orders on their way to a venue that outlives us, each guard with nothing behind it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::domain::control::OperatorValues;
use order_router::domain::execution::{Due, DueAction, VenueReport, VenueState};
use order_router::domain::id::{LeaseToken, OrderId};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::terms::TradingState;
use order_router::domain::time::Timestamp;
use order_router::store::Store;
use order_router::store::read::Waiting;
use order_router::store::replay_submission::SubmissionReplay;
use order_router::store::reserve::{ReserveAction, Reserved, Stage};
use order_router::store::sending::{Reached, Start, Started};
use order_router::store::settle::Settled;
use order_router::store::state::{StateOutcome, StateSet};
use order_router::wire::settlement::document;
use order_router::worker::submission::release_event;

use crate::conformance_store::whole_store;
use crate::rig::{Rig, SOON};
use crate::store_scripts::{claim, claimed, event, filled, key, order, reserve, roomy, settlement};
use crate::support::poll;

const SUMS: &str = "sums:paper:default:binance.spot:BTCUSDT";

fn start<'a>(order: &'a Order, lease: &'a LeaseToken) -> Start<'a> {
    Start {
        order,
        lease,
        deadline: Timestamp::now().after(SOON),
        requested_at: Timestamp::from_milliseconds(1),
        sequence: 7,
    }
}

async fn stage(store: &Store, order: &Order) -> Stage {
    store.read(&key(order)).await.unwrap().unwrap().known.stage
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_any_more_once_trading_is_halted_and_what_was_started_stays_so() {
    let rig = Rig::start().await;
    let store = whole_store(&rig).await;
    let (one, lease) = claimed(&rig, &store, 100).await;
    let (started, its_lease) = claimed(&rig, &store, 100).await;
    let sending = store.start_sending(&start(&started, &its_lease)).await;
    assert_eq!(sending, Ok(Started::Sending));
    let halt = StateSet {
        builds_on: 0,
        version: 1,
        values: OperatorValues {
            trading_state: Some(TradingState::Halted),
            ..OperatorValues::default()
        },
        document: vec![b'x'].into(),
        is_journaled: true,
    };
    assert!(matches!(store.set_state(&halt).await, Ok(StateOutcome::Changed(_))));
    assert_eq!(store.start_sending(&start(&one, &lease)).await, Ok(Started::Halted));
    assert_eq!(stage(&store, &one).await, Stage::Claimed);
    // The answer to a step that was taken before is the same again.
    let again = store.start_sending(&start(&started, &its_lease)).await;
    assert_eq!(again, Ok(Started::Sending));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_lease_starts_an_order_once_and_in_time() {
    let rig = Rig::start().await;
    let store = whole_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    let another = LeaseToken::assign();
    let late = Start {
        deadline: Timestamp::from_milliseconds(Timestamp::now().milliseconds() - 1),
        ..start(&order, &lease)
    };
    assert_eq!(
        store.start_sending(&start(&order, &another)).await,
        Ok(Started::LeaseLost)
    );
    assert_eq!(store.start_sending(&late).await, Ok(Started::Late));
    assert_eq!(stage(&store, &order).await, Stage::Claimed);
    assert_eq!(store.start_sending(&start(&order, &lease)).await, Ok(Started::Sending));
    // The same step, whose answer may have been lost; another one would be a second sending.
    assert_eq!(store.start_sending(&start(&order, &lease)).await, Ok(Started::Sending));
    let second = Start {
        requested_at: Timestamp::from_milliseconds(2),
        ..start(&order, &lease)
    };
    assert_eq!(store.start_sending(&second).await, Ok(Started::LeaseLost));
    assert_eq!(stage(&store, &order).await, Stage::Sending);
    assert_eq!(
        rig.store().await[&format!("order:r:default:{}", order.client_order_id)]["sq"],
        "7"
    );
    // Nobody who only finds it releases it, nor by the plain release of what was never announced.
    let body = release_event(&order, &lease, 1);
    assert_eq!(store.withdraw(&order, &lease, Reached::Claimed, &body).await, Ok(false));
    assert_eq!(
        store.withdraw(&order, &another, Reached::Sending, &body).await,
        Ok(false)
    );
    assert_eq!(store.release(&order, &lease).await, Ok(false));
    assert_eq!(rig.sum(SUMS, "long").await, 100);
    assert_eq!(store.withdraw(&order, &lease, Reached::Sending, &body).await, Ok(true));
    assert_eq!(rig.sum(SUMS, "long").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_order_takes_no_effect_and_is_claimed_anew_by_itself_once_that_is_journaled() {
    let rig = Rig::start().await;
    let store = whole_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    let body = release_event(&order, &lease, 1);
    assert_eq!(store.withdraw(&order, &lease, Reached::Claimed, &body).await, Ok(true));
    let again = claim(&store, &order, &LeaseToken::assign(), roomy(&order)).await;
    assert!(
        matches!(&again, Reserved::Known(known) if known.stage == Stage::Releasing),
        "{again:?}"
    );
    let mut fenced = settlement(&filled(&order, 100));
    fenced.lease = Some(lease.clone());
    assert_eq!(store.settle(fenced).await, Ok(Settled::Missing));
    assert_eq!(
        store.settle(settlement(&filled(&order, 100))).await,
        Ok(Settled::Missing)
    );
    store.mark_withdrawn(&order, &lease, 9).await.unwrap();
    assert_eq!(
        store.settle(settlement(&filled(&order, 100))).await,
        Ok(Settled::Missing)
    );
    // Another order id, or other content, is not the same order.
    let mut other = order.clone();
    other.order_id = OrderId::new("BN-other").unwrap();
    let mut changed = order.clone();
    changed.content = order_router::domain::id::ContentHash::of(b"other");
    for not_it in [&other, &changed] {
        let answer = reserve(&store, not_it, ReserveAction::Look).await;
        assert!(
            matches!(&answer, Reserved::Known(known) if known.stage == Stage::Released),
            "{answer:?}"
        );
    }
    let retry = LeaseToken::assign();
    assert!(matches!(
        claim(&store, &order, &retry, roomy(&order)).await,
        Reserved::Claimed(_)
    ));
    assert_eq!(
        store.start_sending(&start(&order, &lease)).await,
        Ok(Started::LeaseLost)
    );
    assert_eq!(store.start_sending(&start(&order, &retry)).await, Ok(Started::Sending));
    assert_eq!(rig.sum(SUMS, "long").await, 100);
    let ttl: i64 = redis::cmd("PTTL")
        .arg(format!("{{or}}:order:r:default:{}", order.client_order_id))
        .query_async(&mut rig.redis.connection().await)
        .await
        .unwrap();
    assert_eq!(ttl, -1, "an order under way is not forgotten");
}

/// An order of which nobody knows anything, due to be asked about.
async fn unknown(rig: &Rig, store: &Store) -> Order {
    let (order, _) = claimed(rig, store, 100).await;
    let report = VenueReport {
        broker_order_id: None,
        fills: vec![],
        state: VenueState::Unknown(Reason::new(ReasonCode::OutcomeUnknown, "lost")),
        cumulative_quantity: None,
        due: Some(Due {
            at: Timestamp::from_milliseconds(1),
            action: DueAction::Inquire,
        }),
    };
    let applied = order
        .apply(
            &report,
            &order_router::domain::rates::Rates::default(),
            Timestamp::now(),
        )
        .unwrap();
    store.settle(settlement(&applied)).await.unwrap();
    applied.order
}

#[tokio::test(flavor = "multi_thread")]
async fn a_not_found_counts_only_in_its_turn_and_the_pauses_grow() {
    let rig = Rig::start().await;
    let store = whole_store(&rig).await;
    let order = unknown(&rig, &store).await;
    let (one, two) = (LeaseToken::assign(), LeaseToken::assign());
    let hold = Duration::from_millis(300);
    let pauses = [Duration::from_millis(10), Duration::from_millis(20)];
    let first = store.take_inquiry(&order, &one, hold).await.unwrap().unwrap();
    assert_eq!(first.not_founds, 0);
    assert_eq!(store.take_inquiry(&order, &two, hold).await, Ok(None), "one at a time");
    let turn = poll::eventually(SOON, "the turn is free again", async || {
        store.take_inquiry(&order, &two, hold).await.unwrap()
    })
    .await;
    assert!(turn.since_sending >= hold, "{turn:?}");
    assert_eq!(
        store.note_not_found(&order, &one, pauses).await,
        Ok(None),
        "its turn is over"
    );
    assert_eq!(
        store
            .note_not_found(&order, &two, pauses)
            .await
            .unwrap()
            .unwrap()
            .not_founds,
        1
    );
    assert_eq!(
        store
            .note_unanswered(&order, &two, pauses)
            .await
            .unwrap()
            .unwrap()
            .not_founds,
        1
    );
    let due = Waiting::Due(order.broker.clone());
    poll::until(SOON, "it is due again", async || {
        store.waiting(&due, Duration::ZERO).await.unwrap() == [key(&order)]
    })
    .await;
    // Once its venue has spoken nobody is given a turn, and no not-found counts.
    store.settle(settlement(&filled(&order, 100))).await.unwrap();
    assert_eq!(store.take_inquiry(&order, &one, hold).await, Ok(None));
    assert_eq!(store.note_not_found(&order, &two, pauses).await, Ok(None));
}

fn submission(order: &Order, claim: &LeaseToken, is_released: bool, sequence: u64) -> SubmissionReplay {
    SubmissionReplay {
        order: order.clone(),
        claim: claim.clone(),
        reserved: order.claim_deltas(),
        is_released,
        sequence,
        document: document(order, order.claim_deltas(), 1, Metadata::new()).encode(),
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
                let moved = order.claim_deltas().plus(&filled.deltas).unwrap();
                store.replay_late(&[event(&filled, moved, sequence)]).await.unwrap()
            }
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_replay_the_same_however_often_and_from_wherever() {
    let rig = Rig::start().await;
    let store = whole_store(&rig).await;
    let claims = [LeaseToken::assign(), LeaseToken::assign()];
    let expected = [
        (Stage::Sending, 100),
        (Stage::Released, 0),
        (Stage::Sending, 100),
        (Stage::Open, 100),
    ];
    for known in 1..=expected.len() {
        for again_from in 0..known {
            let order = order(&rig, 100);
            let before = rig.sum(SUMS, "long").await;
            replay(&store, &order, &claims, 0..known).await;
            // Nothing, then one event for itself (the journal may hold it twice), then all from it on.
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
async fn a_report_over_an_order_being_sent_counts_it_once() {
    let rig = Rig::start().await;
    let store = whole_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    store.start_sending(&start(&order, &lease)).await.unwrap();
    // Settled in a store that has lost it since, and replayed from the journal.
    replay(&store, &order, &[lease.clone(), lease], 3..4).await;
    assert_eq!(
        (rig.sum(SUMS, "long").await, rig.sum(SUMS, "position").await),
        (100, 60)
    );
    let day = rig.store().await;
    let day = day.iter().find(|(key, _)| key.starts_with("day:paper:")).unwrap();
    let notional = order.reservation.daily_notional.units().to_string();
    assert_eq!(day.1["daily_notional"], notional);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_this_store_is_not_undone_by_a_late_submission_of_one_it_has_lost() {
    let rig = Rig::start().await;
    let store = whole_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    let lost = LeaseToken::assign();
    store
        .replay_late_submissions(&[submission(&order, &lost, false, 10)])
        .await
        .unwrap();
    assert_eq!(store.start_sending(&start(&order, &lease)).await, Ok(Started::Sending));
    assert_eq!(rig.sum(SUMS, "long").await, 100);
}
