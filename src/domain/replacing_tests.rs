use proptest::prelude::*;

use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderIdPrefix, ReplaceId, VenueId};
use crate::domain::intent::{Intent, RiskOverrides};
use crate::domain::leg::LegNumber;
use crate::domain::money::Micros;
use crate::domain::order::{BookingAnomaly, Order, OrderUpdate};
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity, to_quantity_units};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::{LegWord, ReplaceMethod, ReplaceOutcome, ReplaceState, ReplaceTerms};
use crate::domain::reservation::Reservation;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{DueAction, DueTask, Fill, VenueOrderState, VenueReport};

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    Price::new(number(text)).unwrap()
}

fn quantity(text: &str) -> Quantity {
    Quantity::new(number(text)).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_milliseconds(1)
}

/// Returns an accepted order at 180, valued at a mark of 180.
fn accepted(side: Side, amount: &str) -> Order {
    let intent = Intent {
        broker: BrokerId::new("binance").unwrap(),
        venue: VenueId::new("binance.spot").unwrap(),
        symbol: Symbol::parse("BTCUSDT").unwrap(),
        side,
        quantity: quantity(amount),
        order_type: OrderType::Limit,
        price: Some(price("180")),
        time_in_force: TimeInForce::Gtc,
        client_order_id: ClientOrderId::new("c1").unwrap(),
        account_id: AccountId::default_account(),
        tags: vec![],
        reduce_only: false,
        estimated_loss: None,
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    };
    let notional = Reservation::value_of(price("180"), quantity(amount), number("1")).unwrap();
    let reservation = Reservation {
        lot_size: number("0.01"),
        base_rate: number("1"),
        base_asset: None,
        mark: price("180"),
        reserved: to_quantity_units(number(amount)).unwrap(),
        notional,
        daily_notional: notional,
        expected_loss: Micros::new(70).unwrap(),
        price_loss: Micros::ZERO,
        open_price_loss: Micros::ZERO,
        is_open: true,
        trading_date: now().utc_date(),
    };
    let order = Order::from_intent(&intent, OrderIdPrefix("BN"), Mode::Live, reservation, now());
    report(&order, None, vec![], VenueOrderState::Working).order
}

fn fill(exec_id: &str, amount: &str) -> Fill {
    Fill {
        exec_id: exec_id.to_owned(),
        quantity: quantity(amount),
        price: price("180"),
        timestamp: now(),
        fee: Decimal::ZERO,
        fee_currency: "USD".to_owned(),
    }
}

fn venue_report(leg: Option<u8>, fills: Vec<Fill>, state: VenueOrderState) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills,
        state,
        cumulative_quantity: None,
        legs: LegWord {
            leg: leg.and_then(LegNumber::new),
            replace: None,
        },
        due: None,
    }
}

fn report(order: &Order, leg: Option<u8>, fills: Vec<Fill>, state: VenueOrderState) -> OrderUpdate {
    let report = venue_report(leg, fills, state);
    order.apply_report(&report, &CurrencyRates::default(), now()).unwrap()
}

fn outcome(order: &Order, outcome: ReplaceOutcome) -> OrderUpdate {
    let mut report = venue_report(None, vec![], VenueOrderState::Working);
    let leg = order.open_replace().map_or(LegNumber::FIRST, |replace| replace.leg);
    report.legs.replace = Some(Box::new((leg, outcome)));
    order.apply_report(&report, &CurrencyRates::default(), now()).unwrap()
}

fn terms(id: &str, at: &str, amount: &str, method: ReplaceMethod) -> ReplaceTerms {
    ReplaceTerms {
        replace_id: ReplaceId::new(id).unwrap(),
        price: price(at),
        quantity: quantity(amount),
        method,
        mark: None,
        requested_at: now(),
    }
}

fn inquiry() -> DueTask {
    DueTask {
        at: now(),
        action: DueAction::Inquire,
    }
}

fn begun(order: &Order, at: &str, amount: &str, method: ReplaceMethod) -> Order {
    let terms = terms("r", at, amount, method);
    order.begin_replace(&terms, Some(inquiry()), now()).unwrap().order
}

fn cancelled() -> VenueOrderState {
    VenueOrderState::Cancelled(Reason::new(ReasonCode::CancelRequested, "requested"))
}

fn reason() -> Reason {
    Reason::new(ReasonCode::NotReplaced, "a test")
}

fn reserved(order: &Order) -> Decimal {
    crate::domain::quantity::from_quantity_units(order.reservation.reserved)
}

#[test]
fn open_replace_reserves_the_greater_quantity_until_its_outcome() {
    let order = accepted(Side::Buy, "10");
    for (amount, while_open, after) in [("15", "15", "15"), ("4", "10", "4")] {
        let pending = begun(&order, "181", amount, ReplaceMethod::CancelReplace);
        assert_eq!(
            (pending.version, reserved(&pending)),
            (2, number(while_open)),
            "{amount}"
        );
        assert_eq!((pending.price, pending.quantity), (order.price, order.quantity));
        assert_eq!(pending.due, Some(inquiry()));
        // A buy at 181 makes a loss of 1 against the mark of 180.
        let done = report(&pending, Some(2), vec![], VenueOrderState::Working).order;
        assert_eq!((done.price, done.quantity), (Some(price("181")), quantity(amount)));
        assert_eq!((reserved(&done), done.due), (number(after), None), "{amount}");
        assert_eq!(
            done.reservation.open_price_loss.units(),
            1_000_000 * i64::from(amount.parse::<u8>().unwrap())
        );
        let kept = outcome(&pending, ReplaceOutcome::NotReplaced(reason())).order;
        assert_eq!((kept.price, reserved(&kept)), (order.price, number("10")));
        assert_eq!(kept.latest_replace().unwrap().state, ReplaceState::NotReplaced);
        assert_eq!(
            (kept.total_deltas, kept.reservation),
            (order.total_deltas, order.reservation.clone())
        );
    }
}

#[test]
fn fills_of_an_earlier_leg_count_and_its_end_does_not_end_the_order() {
    let order = accepted(Side::Sell, "10");
    let pending = begun(&order, "179", "8", ReplaceMethod::CancelReplace);
    // The stream reports the cancel of the first leg before the second one is known.
    let ended = report(&pending, Some(1), vec![], cancelled()).order;
    assert_eq!(
        (ended.status, ended.due),
        (Some(OrderStatus::Accepted), Some(inquiry()))
    );
    let done = report(&ended, Some(2), vec![fill("b", "3")], VenueOrderState::Working).order;
    assert_eq!(
        (done.status, done.filled_quantity),
        (Some(OrderStatus::PartiallyFilled), number("3"))
    );
    // A late fill of the first leg: it takes of what is reserved, and what exceeds that is an alert.
    let late = report(&done, Some(1), vec![fill("a", "1")], cancelled());
    assert!(late.anomalies.is_empty() && !late.order.is_terminal());
    assert_eq!(
        (late.order.filled_quantity, reserved(&late.order)),
        (number("4"), number("4"))
    );
    let whole = report(&late.order, Some(2), vec![fill("c", "5")], VenueOrderState::Working);
    assert_eq!(whole.anomalies, [BookingAnomaly::Overfill(100_000_000)]);
    assert_eq!(
        (whole.order.status, whole.order.filled_quantity),
        (Some(OrderStatus::Filled), number("9"))
    );
    assert_eq!(whole.order.venue_id().as_str(), format!("{}2", order.order_id));
}

#[test]
fn cancelled_leg_whose_next_one_is_not_placed_ends_the_order_until_evidence_of_it() {
    let order = accepted(Side::Buy, "10");
    let pending = begun(&order, "181", "12", ReplaceMethod::CancelReplace);
    let unknown = outcome(&pending, ReplaceOutcome::Unknown(reason())).order;
    assert_eq!(unknown.latest_replace().unwrap().state, ReplaceState::Unknown);
    let ended = report(&unknown, Some(1), vec![], cancelled()).order;
    let lost = outcome(&ended, ReplaceOutcome::CancelledNotPlaced(reason())).order;
    assert_eq!(lost.status, Some(OrderStatus::Cancelled));
    assert_eq!(lost.reason.as_ref().unwrap().code, ReasonCode::CancelledNotPlaced);
    assert_eq!((reserved(&lost), lost.reservation.is_open), (Decimal::ZERO, false));
    assert_eq!(lost.total_deltas.open_orders, 0);
    // Law 3: what the venue reports of the new leg reopens the order, with an alert.
    let found = report(&lost, Some(2), vec![fill("a", "2")], VenueOrderState::Working);
    assert!(found.anomalies.contains(&BookingAnomaly::Reopened));
    assert_eq!(found.order.status, Some(OrderStatus::PartiallyFilled));
    assert_eq!(
        (reserved(&found.order), found.order.total_deltas.open_orders),
        (number("10"), 1)
    );
    assert_eq!(found.order.latest_replace().unwrap().state, ReplaceState::Done);
}

#[test]
fn venue_that_rejects_the_new_leg_closes_the_replace() {
    let pending = begun(&accepted(Side::Buy, "10"), "181", "15", ReplaceMethod::CancelReplace);
    let rejected = VenueOrderState::Rejected(reason());
    let kept = report(&pending, Some(2), vec![], rejected.clone()).order;
    assert_eq!(kept.latest_replace().unwrap().state, ReplaceState::NotReplaced);
    assert_eq!(
        (kept.is_terminal(), kept.quantity, reserved(&kept)),
        (false, quantity("10"), number("10"))
    );
    let cancelled_first = report(&pending, Some(1), vec![], cancelled()).order;
    let ended = report(&cancelled_first, Some(2), vec![], rejected).order;
    assert_eq!(ended.latest_replace().unwrap().state, ReplaceState::CancelledNotPlaced);
    assert_eq!((ended.is_terminal(), reserved(&ended)), (true, Decimal::ZERO));
}

#[test]
fn late_word_about_an_earlier_replace_leaves_a_later_one_open() {
    let first = begun(&accepted(Side::Buy, "10"), "181", "15", ReplaceMethod::CancelReplace);
    let kept = outcome(&first, ReplaceOutcome::NotReplaced(reason())).order;
    let terms = terms("r-2", "182", "12", ReplaceMethod::CancelReplace);
    let second = kept.begin_replace(&terms, Some(inquiry()), now()).unwrap().order;
    let mut late = venue_report(None, vec![], VenueOrderState::Working);
    late.legs.replace = LegNumber::new(2).map(|leg| Box::new((leg, ReplaceOutcome::NotReplaced(reason()))));
    let after = second.apply_report(&late, &CurrencyRates::default(), now());
    assert!(after.is_err(), "nothing is new: {after:?}");
    // The venue has the first replace's leg after all: its terms count, with an alert.
    let found = report(&kept, Some(2), vec![], VenueOrderState::Working);
    assert!(found.anomalies.contains(&BookingAnomaly::Reopened));
    assert_eq!(found.order.latest_replace().unwrap().state, ReplaceState::Done);
}

#[test]
fn order_that_ends_under_its_earlier_terms_closes_the_replace() {
    let order = accepted(Side::Buy, "10");
    let pending = begun(&order, "181", "12", ReplaceMethod::CancelReplace);
    let filled = report(&pending, Some(1), vec![fill("a", "10")], VenueOrderState::Working).order;
    assert_eq!(
        (filled.status, reserved(&filled)),
        (Some(OrderStatus::Filled), Decimal::ZERO)
    );
    assert_eq!(filled.latest_replace().unwrap().state, ReplaceState::NotReplaced);
    assert_eq!(
        (filled.total_deltas.long, filled.total_deltas.open_loss),
        (1_000_000_000, 0)
    );
    assert_eq!(filled.reservation.daily_notional, order.reservation.daily_notional);
}

#[test]
fn cancel_before_placing_leaves_the_rest_for_the_new_leg() {
    let order = report(
        &accepted(Side::Buy, "10"),
        None,
        vec![fill("a", "2")],
        VenueOrderState::Working,
    )
    .order;
    let pending = begun(&order, "181", "9", ReplaceMethod::CancelFirst);
    let mut end = venue_report(Some(1), vec![fill("b", "3")], cancelled());
    end.cumulative_quantity = Some(number("5"));
    let ended = pending
        .apply_report(&end, &CurrencyRates::default(), now())
        .unwrap()
        .order;
    assert_eq!(ended.latest_replace().unwrap().ended_leg, Some(number("5")));
    let placing = outcome(&ended, ReplaceOutcome::Placing(now())).order;
    let replace = placing.latest_replace().unwrap();
    assert_eq!(
        (replace.is_placing, replace.leg_quantity()),
        (true, Some(quantity("4")))
    );
    let mut placed = venue_report(Some(2), vec![], cancelled());
    placed.cumulative_quantity = Some(number("1"));
    let end = placing
        .apply_report(&placed, &CurrencyRates::default(), now())
        .unwrap()
        .order;
    // The venue counts one more than it has reported: that stays reserved.
    assert_eq!(
        (end.status, reserved(&end)),
        (Some(OrderStatus::Cancelled), number("1"))
    );
}

#[test]
fn order_has_at_most_64_legs() {
    let mut order = accepted(Side::Buy, "10");
    for number in 2..=64_u8 {
        let terms = terms(&number.to_string(), "180", "10", ReplaceMethod::CancelReplace);
        let report = venue_report(None, vec![], VenueOrderState::Working);
        order = order
            .replace_at_once(&terms, &report, &CurrencyRates::default(), now())
            .unwrap()
            .order;
        assert_eq!(order.working_leg().get(), number);
    }
    assert_eq!(order.next_leg(), None);
    let last = terms("last", "180", "10", ReplaceMethod::CancelReplace);
    assert!(order.begin_replace(&last, None, now()).is_err());
}

/// One event of an order.
#[derive(Debug, Clone)]
enum Event {
    Begin(u8, u8, usize),
    Report(u8, Option<u8>, usize),
    Outcome(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..30_u8, 170..190_u8, 0..3_usize).prop_map(|(amount, at, method)| Event::Begin(amount, at, method)),
        (1..4_u8, proptest::option::of(1..4_u8), 0..4_usize)
            .prop_map(|(leg, fill, state)| Event::Report(leg, fill, state)),
        (0..5_usize).prop_map(Event::Outcome),
    ]
}

fn apply(order: &Order, event: &Event, at: usize) -> Option<OrderUpdate> {
    let methods = [
        ReplaceMethod::Amend,
        ReplaceMethod::CancelReplace,
        ReplaceMethod::CancelFirst,
    ];
    match event {
        Event::Begin(amount, at_price, method) => {
            let wanted = quantity(&amount.to_string());
            if order.open_replace().is_some() || order.is_terminal() || wanted.decimal() <= order.filled_quantity {
                return None;
            }
            let terms = terms(
                &at.to_string(),
                &at_price.to_string(),
                &amount.to_string(),
                methods[*method],
            );
            order.begin_replace(&terms, Some(inquiry()), now()).ok()
        }
        Event::Report(leg, amount, state) => {
            let fills = amount.map(|amount| fill(&format!("f{at}"), &amount.to_string()));
            let state = match state {
                0 => cancelled(),
                1 => VenueOrderState::Expired(reason()),
                _ => VenueOrderState::Working,
            };
            let report = venue_report(Some(*leg), fills.into_iter().collect(), state);
            order.apply_report(&report, &CurrencyRates::default(), now()).ok()
        }
        Event::Outcome(which) => {
            let outcomes = [
                ReplaceOutcome::Done,
                ReplaceOutcome::NotReplaced(reason()),
                ReplaceOutcome::CancelledNotPlaced(reason()),
                ReplaceOutcome::Unknown(reason()),
                ReplaceOutcome::Placing(now()),
            ];
            let mut report = venue_report(None, vec![], VenueOrderState::Working);
            let leg = order.open_replace().map_or(LegNumber::FIRST, |replace| replace.leg);
            report.legs.replace = Some(Box::new((leg, outcomes[*which].clone())));
            order.apply_report(&report, &CurrencyRates::default(), now()).ok()
        }
    }
}

proptest! {
    /// Whatever comes in whatever order: the sums are those of what is filled and reserved, an open order reserves what the
    /// greater of its quantities leaves, and every fill counts once.
    #[test]
    fn sums_follow_fills_and_reservation(
        is_buy in any::<bool>(),
        events in proptest::collection::vec(event(), 1..24),
    ) {
        let side = if is_buy { Side::Buy } else { Side::Sell };
        let mut order = accepted(side, "10");
        let mut moved = order.total_deltas;
        let mut filled = Decimal::ZERO;
        for (at, event) in events.iter().enumerate() {
            let Some(update) = apply(&order, event, at) else { continue };
            if let Event::Report(_, Some(amount), _) = event {
                filled = filled.checked_add(Decimal::from(i64::from(*amount))).unwrap();
            }
            moved = moved.checked_add(&update.deltas).unwrap();
            prop_assert_eq!(update.order.version, order.version + 1);
            order = update.order;
            prop_assert_eq!(order.total_deltas, moved);
            prop_assert_eq!(order.filled_quantity, filled);
            let (held, reservation) = (to_quantity_units(filled).unwrap(), &order.reservation);
            let (open_side, other_side) = if is_buy { (moved.long, moved.short) } else { (moved.short, moved.long) };
            prop_assert_eq!((open_side, other_side), (held + reservation.reserved, -held));
            prop_assert_eq!(moved.open_orders, i64::from(reservation.is_open));
            prop_assert_eq!(reservation.is_open, !order.is_terminal());
            let open_loss = reservation.expected_loss.units() + reservation.open_price_loss.units();
            prop_assert_eq!(moved.open_loss, if reservation.is_open { open_loss } else { 0 });
            prop_assert_eq!(moved.daily_notional, reservation.daily_notional.units());
            let greatest = order.open_replace().map_or(order.quantity, |open| open.quantity.max(order.quantity));
            let left = (to_quantity_units(greatest.decimal()).unwrap() - held).max(0);
            let expected = if order.is_terminal() { 0 } else { left };
            prop_assert_eq!(reservation.reserved, expected, "{:?}", order);
            prop_assert!(!(order.is_terminal() && order.open_replace().is_some()));
        }
    }
}
