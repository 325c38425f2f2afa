use super::*;
use crate::brokers::conformance::held_leg::HeldExecution;
use crate::brokers::memory_book::fixtures;
use crate::domain::order_terms::{Side, TimeInForce};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::LegWord;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{VenueOrderState, VenueReport};

fn claimed() -> Order {
    fixtures::order("1", Some("100"), TimeInForce::Gtc, Timestamp::now())
}

fn held(leg: u8, state: HeldState, executed: &[&str]) -> HeldLeg {
    let execution = |(at, amount): (usize, &&str)| HeldExecution {
        exec_id: format!("{leg}-{at}"),
        quantity: fixtures::quantity(amount),
        price: fixtures::price("100"),
    };
    HeldLeg {
        leg: LegNumber::new(leg).unwrap(),
        side: Side::Buy,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::Gtc,
        price: Some(fixtures::price("100")),
        quantity: fixtures::quantity("1"),
        state,
        executions: executed.iter().enumerate().map(execution).collect(),
    }
}

fn report(state: VenueOrderState) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    }
}

fn cancelled() -> VenueReport {
    report(VenueOrderState::Cancelled(Reason::new(
        ReasonCode::CancelRequested,
        "done",
    )))
}

#[test]
fn an_order_is_at_its_venue_once() {
    use HeldState::{Ended, Filled, Open};
    for (legs, is_once) in [
        (vec![], true),
        (vec![held(1, Filled, &["0.5", "0.5"])], true),
        (vec![held(1, Ended, &["0.5"]), held(2, Open, &["0.5"])], true),
        (vec![held(1, Filled, &["1"]), held(1, Ended, &[])], false),
        (vec![held(1, Open, &[]), held(2, Open, &[])], false),
        (vec![held(1, Ended, &["0.5"]), held(2, Filled, &["1"])], false),
    ] {
        assert_eq!(check_held_once(&claimed(), &legs).is_ok(), is_once, "{legs:?}");
    }
}

#[test]
fn an_acknowledged_order_has_its_own_terms_at_the_venue() {
    let acknowledged = PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report(VenueOrderState::Working)));
    let open = held(1, HeldState::Open, &[]);
    let other = |change: fn(&mut HeldLeg)| {
        let mut leg = open.clone();
        change(&mut leg);
        vec![leg]
    };
    for (legs, holds) in [
        (vec![open.clone()], true),
        (vec![], false),
        (other(|leg| leg.side = Side::Sell), false),
        (other(|leg| leg.quantity = fixtures::quantity("2")), false),
        (other(|leg| leg.price = Some(fixtures::price("101"))), false),
        (other(|leg| leg.time_in_force = TimeInForce::Ioc), false),
        (other(|leg| leg.order_type = OrderType::Market), false),
    ] {
        assert_eq!(
            check_placed(&claimed(), &acknowledged, &legs).is_ok(),
            holds,
            "{legs:?}"
        );
    }
}

#[test]
fn a_reported_fill_is_an_execution_of_the_venue() {
    let filled = |exec_id: &str, amount: &str, price: &str| VenueReport {
        fills: vec![Fill {
            exec_id: exec_id.into(),
            quantity: fixtures::quantity(amount),
            price: fixtures::price(price),
            timestamp: Timestamp::now(),
            fee: fixtures::decimal("0"),
            fee_currency: "USDT".into(),
        }],
        ..report(VenueOrderState::Working)
    };
    for (report, holds) in [
        (filled("1-0", "1", "100"), true),
        (filled("1-1", "1", "100"), false),
        (filled("1-0", "0.5", "100"), false),
        (filled("1-0", "1", "99"), false),
    ] {
        let acknowledged = PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report));
        let checked = check_placed(&claimed(), &acknowledged, &[held(1, HeldState::Filled, &["1"])]);
        assert_eq!(checked.is_ok(), holds, "{acknowledged:?}");
    }
}

#[test]
fn a_cancelled_order_is_not_open_and_a_cancel_that_is_not_sent_cancels_nothing() {
    let order = apply_report(&claimed(), &report(VenueOrderState::Working)).unwrap();
    let not_sent = CancelOutcome::NotSent(crate::brokers::adapter::NotSentReason::QueueFull);
    for (outcome, state, was_asked, holds) in [
        (CancelOutcome::Reported(cancelled()), HeldState::Ended, false, true),
        (CancelOutcome::Reported(cancelled()), HeldState::Open, false, false),
        (
            CancelOutcome::AlreadyEnded(order.clone()),
            HeldState::Ended,
            false,
            false,
        ),
        (not_sent.clone(), HeldState::Open, false, true),
        (not_sent.clone(), HeldState::Ended, false, false),
        (not_sent, HeldState::Ended, true, true),
    ] {
        let checked = check_cancelled(&order, &outcome, &[held(1, state, &[])], was_asked);
        assert_eq!(checked.is_ok(), holds, "{outcome:?} {state:?} {was_asked}");
    }
}

#[test]
fn an_order_and_its_venue_agree_on_every_execution_and_on_the_end() {
    let open = apply_report(&claimed(), &report(VenueOrderState::Working)).unwrap();
    let ended = apply_report(&open, &cancelled()).unwrap();
    for (order, legs, agrees) in [
        (&open, vec![held(1, HeldState::Open, &[])], true),
        (&open, vec![held(1, HeldState::Open, &["0.5"])], false),
        (&open, vec![held(1, HeldState::Ended, &[])], false),
        (&ended, vec![held(1, HeldState::Ended, &[])], true),
        (&ended, vec![held(1, HeldState::Filled, &["1"])], false),
    ] {
        assert_eq!(
            check_agreement(order, &legs).is_ok(),
            agrees,
            "{:?} {legs:?}",
            order.status
        );
    }
}
