use proptest::prelude::*;

use crate::domain::booking::*;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId, VenueId};
use crate::domain::intent::{Intent, RiskOverrides};
use crate::domain::order_terms::{Mode, OrderType, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reservation::Reservation;
use crate::domain::symbol::Symbol;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn order(side: Side, quantity: &str) -> Order {
    let intent = Intent {
        broker: BrokerId::new("ibkr").unwrap(),
        venue: VenueId::new("ibkr.paper").unwrap(),
        symbol: Symbol::parse("AAPL").unwrap(),
        side,
        quantity: Quantity::new(number(quantity)).unwrap(),
        order_type: OrderType::Limit,
        price: Some(Price::new(number("180")).unwrap()),
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
    let now = Timestamp::from_milliseconds(0);
    let reservation = Reservation {
        lot_size: number("0.01"),
        base_rate: number("1"),
        base_asset: Some("AAPL".into()),
        reserved_lots: i64::try_from(number(quantity).count_multiples_of(number("0.01")).unwrap()).unwrap(),
        notional: Micros::new(1_000).unwrap(),
        daily_notional: Micros::new(1_000).unwrap(),
        expected_loss: Micros::new(70).unwrap(),
        is_open: true,
        trading_date: now.utc_date(),
    };
    Order::from_intent(&intent, OrderId::new("IB-1").unwrap(), Mode::Paper, reservation, now)
}

fn fill(exec_id: &str, quantity: &str, price: &str) -> Fill {
    Fill {
        exec_id: exec_id.into(),
        quantity: Quantity::new(number(quantity)).unwrap(),
        price: Price::new(number(price)).unwrap(),
        timestamp: Timestamp::from_milliseconds(0),
        fee: Decimal::ZERO,
        fee_currency: "USD".into(),
    }
}

fn rates() -> CurrencyRates {
    CurrencyRates::new([("USD".to_owned(), number("1")), ("EUR".to_owned(), number("1.1"))])
}

fn venue_report(fills: Vec<Fill>, state: VenueOrderState) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills,
        state,
        cumulative_quantity: None,
        due: None,
    }
}

fn cancelled() -> VenueOrderState {
    VenueOrderState::Cancelled(Reason::new(ReasonCode::CancelRequested, "requested"))
}

fn apply_report(order: &Order, report: VenueReport) -> OrderUpdate {
    order
        .apply_report(&report, &rates(), Timestamp::from_milliseconds(1))
        .unwrap()
}

/// Returns long exposure, short exposure and position after a claim and further events.
fn exposure_sums(order: &Order, deltas: &[SumDeltas]) -> (i64, i64, i64) {
    let total = deltas.iter().fold(order.reservation_deltas(), |sum, deltas| {
        sum.checked_add(deltas).unwrap()
    });
    (total.long, total.short, total.position)
}

#[test]
fn filled_buy_becomes_a_position_and_leaves_nothing_open() {
    let claimed = order(Side::Buy, "10");
    assert_eq!(exposure_sums(&claimed, &[]), (1_000, 0, 0));
    let partial = apply_report(
        &claimed,
        venue_report(vec![fill("1", "9.5", "180")], VenueOrderState::Working),
    );
    assert_eq!(partial.order.status, Some(OrderStatus::PartiallyFilled));
    assert_eq!(partial.order.leaves_quantity(), number("0.5"));
    assert_eq!(exposure_sums(&claimed, &[partial.deltas]), (1_000, -950, 950));
    let rest = apply_report(
        &partial.order,
        venue_report(vec![fill("2", "0.5", "182")], VenueOrderState::Working),
    );
    assert_eq!(rest.order.status, Some(OrderStatus::Filled));
    assert_eq!(rest.order.version, 2);
    assert_eq!(rest.order.average_price(), Some(number("180.1")));
    assert_eq!(
        exposure_sums(&claimed, &[partial.deltas, rest.deltas]),
        (1_000, -1_000, 1_000)
    );
}

#[test]
fn cancel_releases_the_remainder_and_late_fill_is_booked_beyond_it() {
    let claimed = order(Side::Sell, "10");
    let partial = apply_report(
        &claimed,
        venue_report(vec![fill("1", "4", "180")], VenueOrderState::Working),
    );
    let ended = apply_report(&partial.order, venue_report(vec![], cancelled()));
    assert_eq!(ended.order.status, Some(OrderStatus::Cancelled));
    assert_eq!(
        exposure_sums(&claimed, &[partial.deltas, ended.deltas]),
        (-400, 400, -400)
    );
    let late = apply_report(&ended.order, venue_report(vec![fill("2", "1", "180")], cancelled()));
    assert_eq!(late.order.status, Some(OrderStatus::Cancelled));
    assert_eq!(late.order.filled_quantity, number("5"));
    assert_eq!(
        exposure_sums(&claimed, &[partial.deltas, ended.deltas, late.deltas]),
        (-500, 500, -500)
    );
}

#[test]
fn fills_are_booked_once_and_beyond_the_quantity() {
    let claimed = order(Side::Buy, "1");
    let first = apply_report(
        &claimed,
        venue_report(
            vec![fill("1", "1", "180"), fill("1", "1", "180")],
            VenueOrderState::Working,
        ),
    );
    assert_eq!(first.order.filled_quantity, number("1"));
    let twice = first.order.apply_report(
        &venue_report(vec![fill("1", "1", "180")], VenueOrderState::Working),
        &rates(),
        Timestamp::now(),
    );
    assert_eq!(twice, Err(ApplyReportError::NoChange));
    let excess = apply_report(
        &first.order,
        venue_report(vec![fill("2", "0.5", "180")], VenueOrderState::Working),
    );
    assert_eq!(excess.order.filled_quantity, number("1.5"));
    assert_eq!(
        exposure_sums(&claimed, &[first.deltas, excess.deltas]),
        (150, -150, 150)
    );
    assert_eq!(excess.order.leaves_quantity(), Decimal::ZERO);
}

#[test]
fn only_a_rejection_before_any_fill_releases_the_days_notional() {
    let claimed = order(Side::Buy, "1");
    let rejected = VenueOrderState::Rejected(Reason::new(ReasonCode::BrokerRejected, "no"));
    assert_eq!(
        apply_report(&claimed, venue_report(vec![], rejected))
            .deltas
            .daily_notional,
        -1_000
    );
    assert_eq!(
        apply_report(&claimed, venue_report(vec![], cancelled()))
            .deltas
            .daily_notional,
        0
    );
    let filled = apply_report(
        &claimed,
        venue_report(vec![fill("1", "1", "180.000001")], VenueOrderState::Working),
    );
    assert_eq!(filled.deltas.daily_notional, 0);
    assert_eq!(filled.deltas.cash_flow, -180_000_001);
}

#[test]
fn reopened_order_counts_in_full_until_it_ends() {
    let claimed = order(Side::Buy, "10");
    let rejected = VenueOrderState::Rejected(Reason::new(ReasonCode::BrokerRejected, "no"));
    let ended_rejected = apply_report(&claimed, venue_report(vec![], rejected));
    assert_eq!(
        (ended_rejected.deltas.open_orders, ended_rejected.deltas.open_loss),
        (-1, -70)
    );
    let reopened = apply_report(
        &ended_rejected.order,
        venue_report(vec![fill("1", "4", "180")], VenueOrderState::Working),
    );
    let deltas = reopened.deltas;
    assert_eq!((deltas.long, deltas.short, deltas.position), (1_000, -400, 400));
    assert_eq!(
        (deltas.open_orders, deltas.open_loss, deltas.daily_notional),
        (1, 70, 1_000)
    );
    let ended = apply_report(&reopened.order, venue_report(vec![], cancelled()));
    assert_eq!((ended.deltas.open_orders, ended.deltas.open_loss), (-1, -70));
    assert_eq!(
        apply_report(
            &ended_rejected.order,
            venue_report(vec![fill("1", "10", "180")], cancelled())
        )
        .deltas
        .open_loss,
        0
    );
}

#[test]
fn report_lists_the_last_fills_and_the_order_knows_all() {
    let claimed = order(Side::Buy, "200");
    let fills = (0..150).map(|n| fill(&n.to_string(), "1", "180")).collect();
    let applied = apply_report(&claimed, venue_report(fills, VenueOrderState::Working));
    assert_eq!((applied.order.fills.len(), applied.order.fill_count()), (100, 150));
    let again = applied.order.apply_report(
        &venue_report(vec![fill("0", "1", "180")], VenueOrderState::Working),
        &rates(),
        Timestamp::now(),
    );
    assert_eq!(again, Err(ApplyReportError::NoChange));
}

/// Returns a report that a venue may send next: fills of some lots under some ids, and a state.
fn any_venue_report() -> impl Strategy<Value = VenueReport> {
    let fills = proptest::collection::vec((0u8..12, 1i64..400), 0..3);
    let state = prop_oneof![
        3 => Just(VenueOrderState::Working),
        1 => Just(cancelled()),
        1 => Just(VenueOrderState::Expired(Reason::new(ReasonCode::EndOfDay, "over"))),
    ];
    (fills, state).prop_map(|(fills, state)| {
        // One id is always the same fill: a venue may repeat a trade, and never changes it.
        let fill_of = |(id, _): (u8, i64)| fill(&id.to_string(), &format!("{}.{:02}", 1 + id % 3, id), "180");
        venue_report(fills.into_iter().map(fill_of).collect(), state)
    })
}

proptest! {
    /// Reports may be repeated, late, out of order or beyond the quantity. Exposure is always position + open lots, each
    /// fill counts once, and an ended order holds no reservation.
    #[test]
    fn sums_stay_consistent_under_any_reports(
        reports in proptest::collection::vec(any_venue_report(), 1..12),
        is_buy in any::<bool>(),
    ) {
        let claimed = order(if is_buy { Side::Buy } else { Side::Sell }, "10");
        let (mut now, mut sum) = (claimed.clone(), claimed.reservation_deltas());
        let mut booked = std::collections::BTreeMap::new();
        for report in &reports {
            for fill in &report.fills {
                booked.insert(fill.exec_id.clone(), fill.quantity.decimal().count_multiples_of(number("0.01")).unwrap());
            }
            if let Ok(applied) = now.apply_report(report, &rates(), Timestamp::from_milliseconds(1)) {
                prop_assert_eq!(applied.order.version, now.version + 1);
                sum = sum.checked_add(&applied.deltas).unwrap();
                now = applied.order;
            }
            let filled: i128 = booked.values().sum();
            let filled = i64::try_from(filled).unwrap();
            prop_assert_eq!(now.filled_quantity.count_multiples_of(number("0.01")), Some(i128::from(filled)));
            let (open, position) = (now.reservation.reserved_lots, if is_buy { filled } else { -filled });
            let (long, short) = if is_buy { (position + open, -position) } else { (position, -position + open) };
            prop_assert_eq!((sum.position, sum.long, sum.short), (position, long, short));
            prop_assert!(open >= 0 && (!now.is_terminal() || open == 0));
            prop_assert_eq!(now.leaves_quantity().is_zero(), now.is_terminal());
        }
    }
}
