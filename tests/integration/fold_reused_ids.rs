//! The fold of a journal in which a client order id is used again: after its retention another order counts, before it the
//! second one is void.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::domain::id::{ClientOrderId, LeaseToken, OrderIdPrefix};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_terms::Mode;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::store::rebuild::fold::{FoldedState, ReportContext};
use order_router::store::rebuild::orders::OrderReplay;
use order_router::store::rebuild::submissions::SubmissionReplay;
use order_router::store::sums::ledgers::LedgerOwner;
use order_router::wire::journal_report::build_settled_report;
use rust_decimal::Decimal as Number;
use uuid::Uuid;

use crate::model_markets::{in_units, markets};
use crate::model_orders::{Message, ReportedState, Side, Terms, Trade};
use crate::model_words::{account, claimed, date, intent, rates, report};

const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

fn terms() -> Terms {
    let market = &markets()[0];
    Terms {
        account: 0,
        market: 0,
        side: Side::Buy,
        quantity: in_units(market.lot) * 8,
        lot: in_units(market.lot),
        limit: Some(market.reference),
        mark: market.reference,
        expected_loss: Number::ZERO,
        reduce_only: false,
        day: 2,
    }
}

/// Returns an order of one client order id that is claimed at a moment.
fn claimed_at(at: Timestamp) -> Order {
    let terms = terms();
    let mut order = claimed(&terms, &intent(&terms, ClientOrderId::new("again").unwrap()));
    order.order_id = order.key().order_id(OrderIdPrefix("MO"), at);
    (order.submitted_at, order.updated_at) = (at, at);
    order
}

/// Folds the whole fill of an order that is claimed at a moment.
fn fold_filled(state: &mut FoldedState, at: Timestamp, sequence: u64) {
    let (claimed, terms) = (claimed_at(at), terms());
    let message = Message {
        trades: vec![Trade {
            id: 1,
            quantity: terms.quantity,
            price: terms.price(),
            fee: Number::ZERO,
            currency: "USD",
            day: terms.day,
        }],
        state: ReportedState::Working,
        counted: None,
        day: terms.day,
    };
    let applied = claimed.apply_report(&report(&message), &rates(), at).unwrap();
    let deltas: SumDeltas = claimed.reservation_deltas().checked_add(&applied.deltas).unwrap();
    let (order, id) = (applied.order, Some(Uuid::now_v7()));
    let document = build_settled_report(&order, deltas, date(terms.day), 1, Metadata::new(), id);
    let event = OrderReplay {
        deltas,
        booked_on: date(terms.day),
        earlier_days: Vec::new(),
        sequence,
        document: document.encode().into(),
        order,
    };
    let context = ReportContext {
        stored_at: at,
        retention: RETENTION,
        is_at_venue: false,
    };
    state.apply_report(&event, &context);
}

fn position(state: &FoldedState) -> i128 {
    let ledger = &state.ledgers[&LedgerOwner::Account(Mode::Paper, account(0))];
    ledger.holdings.values().map(|holding| holding.position).sum()
}

fn ago(hours: i64) -> Timestamp {
    Timestamp::from_milliseconds(Timestamp::now().as_milliseconds() - hours * 60 * 60 * 1_000)
}

#[test]
fn id_is_used_again_after_its_retention_and_both_orders_count() {
    let mut state = FoldedState::default();
    fold_filled(&mut state, ago(30), 1);
    let first = position(&state);
    assert!(first > 0);
    fold_filled(&mut state, ago(1), 2);
    assert_eq!(position(&state), 2 * first);
    let remembered = state.remembered.values().next().unwrap();
    assert_eq!((remembered.sequence(), state.remembered.len()), (2, 1));
}

#[test]
fn second_order_within_the_retention_is_void() {
    let mut state = FoldedState::default();
    fold_filled(&mut state, ago(2), 1);
    let first = position(&state);
    fold_filled(&mut state, ago(2).saturating_add(Duration::from_secs(30)), 2);
    assert_eq!(position(&state), first);
    assert_eq!(state.remembered.values().next().unwrap().sequence(), 1);
}

#[test]
fn submission_under_an_id_whose_retention_has_ended_reserves() {
    let mut state = FoldedState::default();
    fold_filled(&mut state, ago(30), 1);
    let submitted = |at: Timestamp, sequence: u64| {
        let order = claimed_at(at);
        SubmissionReplay {
            claim_token: LeaseToken::generate(),
            reserved: order.reservation_deltas(),
            is_released: false,
            sequence,
            document: Vec::new(),
            order,
        }
    };
    let early = submitted(ago(30).saturating_add(Duration::from_secs(30)), 2);
    assert!(!state.apply_submission(&early, early.order.submitted_at, RETENTION));
    let later = submitted(ago(1), 3);
    assert!(state.apply_submission(&later, later.order.submitted_at, RETENTION));
    assert_eq!(state.orders[&later.order.key()].order_id, later.order.order_id);
}
