use proptest::prelude::*;

use crate::domain::booking::*;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderIdPrefix, VenueId};
use crate::domain::intent::{Intent, RiskOverrides};
use crate::domain::order_terms::{Mode, OrderType, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::replace::LegWord;
use crate::domain::reservation::Reservation;
use crate::domain::symbol::Symbol;

/// A lot of the test's orders, 0.01, in units of 1e-8.
const LOT: QuantityUnits = 1_000_000;

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
        mark: Price::new(number("180")).unwrap(),
        reserved: to_quantity_units(number(quantity)).unwrap(),
        notional: Micros::new(1_000).unwrap(),
        daily_notional: Micros::new(1_000).unwrap(),
        expected_loss: Micros::new(70).unwrap(),
        price_loss: Micros::ZERO,
        open_price_loss: Micros::ZERO,
        is_open: true,
        trading_date: now.utc_date(),
    };
    Order::from_intent(&intent, OrderIdPrefix("IB"), Mode::Paper, reservation, now)
}

/// Returns an order that reserves a loss against its mark, in millionths.
fn priced_order(side: Side, quantity: &str, price_loss: i64) -> Order {
    let mut order = order(side, quantity);
    order.reservation.price_loss = Micros::new(price_loss).unwrap();
    order.reservation.open_price_loss = order.reservation.price_loss;
    order.total_deltas = order.reservation_deltas();
    order
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
        legs: LegWord::default(),
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

/// Returns long exposure, short exposure and position, in units of 1e-8, after a claim and further events.
fn exposure_sums(order: &Order, deltas: &[SumDeltas]) -> (QuantityUnits, QuantityUnits, QuantityUnits) {
    let total = deltas.iter().fold(order.reservation_deltas(), |sum, deltas| {
        sum.checked_add(deltas).unwrap()
    });
    (total.long, total.short, total.position)
}

#[test]
fn filled_buy_becomes_a_position_and_leaves_nothing_open() {
    let claimed = order(Side::Buy, "10");
    assert_eq!(exposure_sums(&claimed, &[]), (1_000 * LOT, 0, 0));
    let partial = apply_report(
        &claimed,
        venue_report(vec![fill("1", "9.5", "180")], VenueOrderState::Working),
    );
    assert_eq!(partial.order.status, Some(OrderStatus::PartiallyFilled));
    assert_eq!(partial.order.leaves_quantity(), number("0.5"));
    assert_eq!(
        exposure_sums(&claimed, &[partial.deltas]),
        (1_000 * LOT, -950 * LOT, 950 * LOT)
    );
    let rest = apply_report(
        &partial.order,
        venue_report(vec![fill("2", "0.5", "182")], VenueOrderState::Working),
    );
    assert_eq!(rest.order.status, Some(OrderStatus::Filled));
    assert_eq!(rest.order.version, 2);
    assert_eq!(rest.order.average_price(), Some(number("180.1")));
    assert_eq!(
        exposure_sums(&claimed, &[partial.deltas, rest.deltas]),
        (1_000 * LOT, -1_000 * LOT, 1_000 * LOT)
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
        (-400 * LOT, 400 * LOT, -400 * LOT)
    );
    let late = apply_report(&ended.order, venue_report(vec![fill("2", "1", "180")], cancelled()));
    assert_eq!(late.order.status, Some(OrderStatus::Cancelled));
    assert_eq!(late.order.filled_quantity, number("5"));
    assert_eq!(
        exposure_sums(&claimed, &[partial.deltas, ended.deltas, late.deltas]),
        (-500 * LOT, 500 * LOT, -500 * LOT)
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
        (150 * LOT, -150 * LOT, 150 * LOT)
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
    assert_eq!(
        (deltas.long, deltas.short, deltas.position),
        (1_000 * LOT, -400 * LOT, 400 * LOT)
    );
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
fn loss_of_the_price_is_reserved_until_its_part_of_the_order_fills_or_ends() {
    let working = |fills| venue_report(fills, VenueOrderState::Working);
    for side in [Side::Buy, Side::Sell] {
        let claimed = priced_order(side, "10", 1_000);
        assert_eq!(claimed.reservation_deltas().open_loss, 70 + 1_000);
        // 9.99 of 10 are filled: 0.1 % of the loss belongs to the rest. A fraction stays reserved.
        let partial = apply_report(&claimed, working(vec![fill("1", "9.99", "180")]));
        assert_eq!(partial.deltas.open_loss, -999);
        let partial = apply_report(&claimed, working(vec![fill("1", "9.999", "180")]));
        assert_eq!(partial.deltas.open_loss, -999);
        assert_eq!(partial.order.reservation.open_price_loss.units(), 1);
        let filled = apply_report(&partial.order, working(vec![fill("2", "0.001", "180")]));
        assert_eq!(filled.deltas.open_loss, -1 - 70);
        let cancelled_part = apply_report(&partial.order, venue_report(vec![], cancelled()));
        assert_eq!(cancelled_part.deltas.open_loss, -1 - 70);
        let both = apply_report(&claimed, venue_report(vec![fill("1", "4", "180")], cancelled()));
        assert_eq!(both.deltas.open_loss, -1_000 - 70);
        // A late fill has no loss reserved any more, and neither has one beyond the quantity.
        let late = apply_report(&both.order, venue_report(vec![fill("2", "1", "180")], cancelled()));
        assert_eq!(late.deltas.open_loss, 0);
        let beyond = apply_report(&claimed, working(vec![fill("1", "30", "180")]));
        assert_eq!(
            (beyond.deltas.open_loss, beyond.order.reservation.open_price_loss),
            (-1_070, Micros::ZERO)
        );
    }
}

#[test]
fn reopened_order_reserves_the_loss_of_the_price_for_what_is_open() {
    let rejected = VenueOrderState::Rejected(Reason::new(ReasonCode::NotPlaced, "no"));
    let ended = apply_report(&priced_order(Side::Buy, "10", 1_000), venue_report(vec![], rejected));
    assert_eq!(ended.deltas.open_loss, -1_070);
    // The venue has the order after all: by a fill, or by an acknowledgement.
    for (fills, restored) in [(vec![fill("1", "4", "180")], 600), (vec![], 1_000)] {
        let reopened = apply_report(&ended.order, venue_report(fills, VenueOrderState::Working));
        assert_eq!(reopened.order.reservation.open_price_loss.units(), restored);
        assert_eq!(reopened.deltas.open_loss, 70 + restored);
        let again = apply_report(&reopened.order, venue_report(vec![], cancelled()));
        assert_eq!(again.order.total_deltas.open_loss, 0);
    }
}

#[test]
fn fee_in_the_traded_asset_moves_the_position_and_another_one_the_money() {
    let with_fee = |fee: &str, currency: &str| Fill {
        fee: number(fee),
        fee_currency: currency.into(),
        ..fill("1", "10", "180")
    };
    for (side, fee, currency, [position, long, short], fees) in [
        (Side::Buy, "0.01", "AAPL", [999 * LOT, -LOT, -999 * LOT], 0),
        (Side::Sell, "0.01", "AAPL", [-1_001 * LOT, -1_001 * LOT, LOT], 0),
        // Less than a unit of 1e-8 rounds up.
        (
            Side::Buy,
            "0.000000011",
            "AAPL",
            [1_000 * LOT - 2, -2, 2 - 1_000 * LOT],
            0,
        ),
        (Side::Buy, "1.8", "USD", [1_000 * LOT, 0, -1_000 * LOT], 1_800_000),
        (Side::Sell, "1.8", "EUR", [-1_000 * LOT, -1_000 * LOT, 0], 1_980_000),
        (Side::Sell, "0.0000001", "EUR", [-1_000 * LOT, -1_000 * LOT, 0], 1),
        (Side::Sell, "1.8", "XYZ", [-1_000 * LOT, -1_000 * LOT, 0], 0),
    ] {
        let report = venue_report(vec![with_fee(fee, currency)], VenueOrderState::Working);
        let update = apply_report(&order(side, "10"), report);
        let deltas = update.deltas;
        assert_eq!(
            [deltas.position, deltas.long, deltas.short],
            [position, long, short],
            "{side} {fee} {currency}"
        );
        assert_eq!(deltas.fees, fees, "{side} {fee} {currency}");
        let is_unpriced = currency == "XYZ";
        assert_eq!(deltas.unpriced_fees, i64::from(is_unpriced), "{side} {fee} {currency}");
        let unpriced = || UnpricedFee {
            exec_id: update.order.fills[0].exec_id.clone(),
            fee: number(fee),
            currency: currency.to_owned(),
        };
        let anomalies: Vec<_> = is_unpriced
            .then(|| BookingAnomaly::UnpricedFee(unpriced()))
            .into_iter()
            .collect();
        assert_eq!(update.anomalies, anomalies);
    }
}

#[test]
fn fill_result_is_what_the_fill_makes_at_the_mark_of_its_reservation() {
    // side, price, fee, its currency → millionths; 10 at a mark of 180.
    for (side, price, fee, currency, result) in [
        (Side::Buy, "180", "0", "USD", 0),
        (Side::Buy, "182", "0", "USD", -20_000_000),
        (Side::Buy, "179", "0", "USD", 10_000_000),
        (Side::Sell, "182", "0", "USD", 20_000_000),
        (Side::Sell, "179", "0", "USD", -10_000_000),
        (Side::Buy, "180", "1.8", "USD", -1_800_000),
        (Side::Sell, "182", "1.8", "EUR", 20_000_000 - 1_980_000),
        // A fee in the traded asset costs its quantity at the mark, not at the price.
        (Side::Buy, "180", "0.01", "AAPL", -1_800_000),
        (Side::Buy, "182", "0.01", "AAPL", -20_000_000 - 1_800_000),
        (Side::Sell, "182", "0.01", "AAPL", 20_000_000 - 1_800_000),
        // Fractions of a millionth count against us, the position's and the payment's each.
        (Side::Buy, "180.00000001", "0.00000001", "AAPL", -1 - 2),
        (Side::Sell, "180.00000001", "0.00000001", "AAPL", -2),
    ] {
        let claimed = order(side, "10");
        let filled = Fill {
            fee: number(fee),
            fee_currency: currency.into(),
            ..fill("1", "10", price)
        };
        let update = apply_report(&claimed, venue_report(vec![filled], VenueOrderState::Working));
        assert_eq!(update.deltas.fill_result, result, "{side} {price} {fee} {currency}");
        assert_eq!(update.order.total_deltas.fill_result, result);
    }
    let mut abroad = order(Side::Buy, "10");
    abroad.reservation.base_rate = number("1.1");
    let update = apply_report(
        &abroad,
        venue_report(vec![fill("1", "10", "182")], VenueOrderState::Working),
    );
    assert_eq!(update.deltas.fill_result, -22_000_000);
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

/// Returns a report that a venue may send next: fills under some ids, and a state.
fn any_venue_report() -> impl Strategy<Value = VenueReport> {
    let fills = proptest::collection::vec((0u8..12, 1i64..400), 0..3);
    let state = prop_oneof![
        3 => Just(VenueOrderState::Working),
        1 => Just(cancelled()),
        1 => Just(VenueOrderState::Expired(Reason::new(ReasonCode::EndOfDay, "over"))),
    ];
    (fills, state).prop_map(|(fills, state)| {
        // One id is always the same fill: a venue may repeat a trade, and never changes it.
        let fill_of = |(id, _): (u8, i64)| Fill {
            fee: Decimal::from_parts(id.into(), 8).unwrap(),
            fee_currency: "AAPL".into(),
            ..fill(&id.to_string(), &format!("{}.{:02}", 1 + id % 3, id), "180")
        };
        venue_report(fills.into_iter().map(fill_of).collect(), state)
    })
}

proptest! {
    /// Reports may be repeated, late, out of order or beyond the quantity. Exposure is always position + open quantity, each
    /// fill counts once, its fee moves the position, and an ended order holds no reservation.
    #[test]
    fn sums_stay_consistent_under_any_reports(
        reports in proptest::collection::vec(any_venue_report(), 1..12),
        is_buy in any::<bool>(),
    ) {
        let claimed = priced_order(if is_buy { Side::Buy } else { Side::Sell }, "10", 1_001);
        let (mut now, mut sum) = (claimed.clone(), claimed.reservation_deltas());
        let mut booked = std::collections::BTreeMap::new();
        for report in &reports {
            for fill in &report.fills {
                let units = |number: Decimal| to_quantity_units(number).unwrap();
                booked.insert(fill.exec_id.clone(), (units(fill.quantity.decimal()), units(fill.fee)));
            }
            if let Ok(applied) = now.apply_report(report, &rates(), Timestamp::from_milliseconds(1)) {
                prop_assert_eq!(applied.order.version, now.version + 1);
                sum = sum.checked_add(&applied.deltas).unwrap();
                now = applied.order;
            }
            prop_assert_eq!(now.total_deltas, sum);
            let filled: QuantityUnits = booked.values().map(|(filled, _)| filled).sum();
            let fees: QuantityUnits = booked.values().map(|(_, fee)| fee).sum();
            prop_assert_eq!(to_quantity_units(now.filled_quantity), Some(filled));
            let (open, position) = (now.reservation.reserved, if is_buy { filled } else { -filled } - fees);
            let (long, short) = if is_buy { (position + open, -position) } else { (position, -position + open) };
            prop_assert_eq!((sum.position, sum.long, sum.short), (position, long, short));
            prop_assert!(open >= 0 && (!now.is_terminal() || open == 0));
            prop_assert_eq!(now.leaves_quantity().is_zero(), now.is_terminal());
            // At the mark a fill costs its fee, rounded against us fill by fill.
            let (least, most) = (fees * 18 / 10, fees * 18 / 10 + 12);
            prop_assert!((-most..=-least).contains(&i128::from(sum.fill_result)));
            let (ordered, price_loss) = (1_000 * LOT, 1_001);
            let open_price_loss = (price_loss * open + ordered - 1) / ordered;
            prop_assert_eq!(i128::from(now.reservation.open_price_loss.units()), open_price_loss);
            let open_loss = if now.is_terminal() { 0 } else { 70 + open_price_loss };
            prop_assert_eq!(i128::from(sum.open_loss), open_loss);
        }
    }
}
