use std::time::Duration;

use crate::brokers::memory_book::fixtures::{decimal, order, placement, price, quantity};
use crate::brokers::paper::fills::*;
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::order_terms::OrderStatus;
use crate::domain::order_terms::TimeInForce::{Day, Fok, Gtc, Ioc};

const NOON: &str = "2026-03-02T12:00:00Z";
const IBKR: PaperFillRules = PaperFillRules {
    first_fill_percent: 95,
    remainder_fill: RestFill::After(Duration::from_secs(3)),
    fees: PaperFees::NONE,
};
const NEVER: PaperFillRules = PaperFillRules {
    remainder_fill: RestFill::Never,
    ..IBKR
};
const IN_FULL: PaperFillRules = PaperFillRules {
    first_fill_percent: 100,
    remainder_fill: RestFill::Never,
    fees: PaperFees::NONE,
};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[test]
fn first_fill_is_rounded_down_to_the_lot() {
    // quantity (lots of 0.01), percent, filled at once
    for (ordered, percent, filled) in [
        ("10", 95, "9.5"),
        ("1", 95, "0.95"),
        ("0.2", 95, "0.19"),
        ("0.21", 95, "0.19"),
        ("0.02", 95, "0.01"),
        ("0.01", 95, "0.01"), // 0.95 of a lot: all of it
        ("0.99", 1, "0.99"),  // 0.99 of a lot: all of it
        ("1", 1, "0.01"),
        ("1.01", 1, "0.01"),
        ("333.33", 95, "316.66"),
        ("10", 100, "10"),
        ("99999999999.99", 95, "94999999999.99"),
    ] {
        let ordered_order = order(ordered, Some("180"), Gtc, at(NOON));
        assert_eq!(
            initial_fill_quantity(&ordered_order, percent),
            Some(quantity(filled)),
            "{ordered} × {percent} %"
        );
    }
    assert_eq!(
        initial_fill_quantity(&order("0.015", Some("180"), Gtc, at(NOON)), 95),
        None
    );
}

#[test]
fn each_time_in_force_has_its_first_fill_status_and_due_task() {
    let remainder_due = Some((at("2026-03-02T12:00:03Z"), DueAction::FillRemainder));
    let day_end = Some((at("2026-03-03T00:00:00Z"), DueAction::Expire));
    // rules, time in force, quantity → filled at once, status, due
    let rows = [
        (IN_FULL, Gtc, "10", "10", OrderStatus::Filled, None),
        (IN_FULL, Ioc, "10", "10", OrderStatus::Filled, None),
        (IN_FULL, Fok, "10", "10", OrderStatus::Filled, None),
        (IBKR, Gtc, "10", "9.5", OrderStatus::PartiallyFilled, remainder_due),
        (IBKR, Day, "10", "9.5", OrderStatus::PartiallyFilled, remainder_due),
        (IBKR, Ioc, "10", "9.5", OrderStatus::Cancelled, None),
        (IBKR, Fok, "10", "0", OrderStatus::Cancelled, None),
        (IBKR, Gtc, "0.01", "0.01", OrderStatus::Filled, None),
        (IBKR, Ioc, "0.01", "0.01", OrderStatus::Filled, None),
        (IBKR, Fok, "0.01", "0.01", OrderStatus::Filled, None),
        (IBKR, Day, "0.01", "0.01", OrderStatus::Filled, None),
        (NEVER, Gtc, "10", "9.5", OrderStatus::PartiallyFilled, None),
        (NEVER, Day, "10", "9.5", OrderStatus::PartiallyFilled, day_end),
        (NEVER, Ioc, "10", "9.5", OrderStatus::Cancelled, None),
    ];
    for (rules, time_in_force, ordered, filled, status, due) in rows {
        let row = format!("{rules:?} {time_in_force} {ordered}");
        let claimed = order(ordered, Some("180"), time_in_force, at(NOON));
        let report = initial_report(
            &placement(claimed.clone(), at(NOON)),
            rules,
            &TradingCalendar::utc(),
            at(NOON),
        )
        .unwrap();
        let after = claimed
            .apply_report(&report, &CurrencyRates::default(), at(NOON))
            .unwrap()
            .order;
        assert_eq!(after.filled_quantity, decimal(filled), "{row}");
        assert_eq!(after.status, Some(status), "{row}");
        assert_eq!(after.due.map(|due| (due.at, due.action)), due, "{row}");
        let reason = after.reason.as_ref().map(|reason| reason.code);
        let expected = (status == OrderStatus::Cancelled).then_some(ReasonCode::TimeInForce);
        assert_eq!(reason, expected, "{row}");
    }
}

#[test]
fn day_order_is_due_at_the_end_of_its_day_at_the_latest() {
    let midnight = at("2026-03-03T00:00:00Z");
    for (placed, due_at, action) in [
        (
            "2026-03-02T23:59:56.999999Z",
            "2026-03-02T23:59:59.999999Z",
            DueAction::FillRemainder,
        ),
        ("2026-03-02T23:59:57Z", "2026-03-03T00:00:00Z", DueAction::Expire),
        ("2026-03-02T23:59:59.999999Z", "2026-03-03T00:00:00Z", DueAction::Expire),
        ("2026-03-03T00:00:00Z", "2026-03-03T00:00:03Z", DueAction::FillRemainder),
    ] {
        let due = schedule_remainder(Day, IBKR.remainder_fill, &TradingCalendar::utc(), at(placed)).unwrap();
        assert_eq!((due.at, due.action), (at(due_at), action), "{placed}");
    }
    let late = schedule_remainder(
        Gtc,
        IBKR.remainder_fill,
        &TradingCalendar::utc(),
        at("2026-03-02T23:59:59Z"),
    )
    .unwrap();
    assert!(late.at > midnight && late.action == DueAction::FillRemainder);
}

#[test]
fn day_of_an_order_follows_the_trading_calendar() {
    let new_york = TradingCalendar::new("America/New_York", "17:00").unwrap();
    // The clock in New York is set forward on 8 March.
    for (placed, day_end) in [
        ("2026-03-06T21:59:59.999999Z", "2026-03-06T22:00:00Z"),
        ("2026-03-06T22:00:00Z", "2026-03-07T22:00:00Z"),
        ("2026-03-07T22:00:00Z", "2026-03-08T21:00:00Z"),
    ] {
        let due = schedule_remainder(Day, RestFill::Never, &new_york, at(placed)).unwrap();
        assert_eq!((due.at, due.action), (at(day_end), DueAction::Expire), "{placed}");
    }
}

#[test]
fn fills_have_their_price_and_a_deterministic_trade_id() {
    for (limit, filled_at) in [(None, "180"), (Some("179.5"), "179.5")] {
        let claimed = order("10", limit, Gtc, at(NOON));
        let placing = placement(claimed.clone(), at(NOON));
        let report = initial_report(&placing, IBKR, &TradingCalendar::utc(), at(NOON)).unwrap();
        assert_eq!(
            initial_report(&placing, IBKR, &TradingCalendar::utc(), at(NOON)).unwrap(),
            report
        );
        let open_order = claimed
            .apply_report(&report, &CurrencyRates::default(), at(NOON))
            .unwrap()
            .order;
        let remainder = due_report(&open_order, IBKR, at("2026-03-02T18:00:00Z"))
            .unwrap()
            .unwrap();
        let ended = open_order
            .apply_report(&remainder, &CurrencyRates::default(), at("2026-03-02T18:00:00Z"))
            .unwrap()
            .order;
        let executions: Vec<_> = ended
            .fills
            .iter()
            .map(|fill| (fill.exec_id.clone(), fill.price, fill.quantity, fill.timestamp))
            .collect();
        let id = |number: u8| format!("{}-{number}", claimed.order_id);
        assert_eq!(
            executions,
            [
                (id(1), price(filled_at), quantity("9.5"), at(NOON)),
                // As of the moment it was due, however late it was computed.
                (id(2), price(filled_at), quantity("0.5"), at("2026-03-02T12:00:03Z")),
            ]
        );
        assert!(
            ended
                .fills
                .iter()
                .all(|fill| fill.fee.is_zero() && fill.fee_currency == "USD")
        );
        assert_eq!(ended.broker_order_id, Some(format!("paper-{}", claimed.order_id)));
        assert_eq!(ended.status, Some(OrderStatus::Filled));
    }
}

#[test]
fn due_task_executes_at_its_moment_and_never_after_the_end() {
    let claimed = order("10", Some("180"), Day, at(NOON));
    let report = initial_report(
        &placement(claimed.clone(), at(NOON)),
        NEVER,
        &TradingCalendar::utc(),
        at(NOON),
    )
    .unwrap();
    let open_order = claimed
        .apply_report(&report, &CurrencyRates::default(), at(NOON))
        .unwrap()
        .order;
    assert_eq!(due_report(&claimed, IBKR, at("2027-01-01T00:00:00Z")), Ok(None));
    assert_eq!(
        due_report(&open_order, IBKR, at("2026-03-02T23:59:59.999999Z")),
        Ok(None)
    );
    let end = due_report(&open_order, IBKR, at("2026-03-03T00:00:00Z"))
        .unwrap()
        .unwrap();
    assert!(matches!(&end.state, VenueOrderState::Expired(reason) if reason.code == ReasonCode::EndOfDay));
    let mut ended = open_order
        .apply_report(&cancel_report(&open_order), &CurrencyRates::default(), at(NOON))
        .unwrap()
        .order;
    ended.due = open_order.due;
    assert_eq!(due_report(&ended, IBKR, at("2026-03-03T00:00:00Z")), Ok(None));
}

#[test]
fn unfillable_order_is_rejected() {
    let mut unpriced = order("10", Some("180"), Gtc, at(NOON));
    unpriced.price = None;
    let odd = order("0.015", Some("180"), Gtc, at(NOON));
    for refused in [unpriced, odd] {
        let reason =
            initial_report(&placement(refused, at(NOON)), IBKR, &TradingCalendar::utc(), at(NOON)).unwrap_err();
        assert_eq!(reason.code, ReasonCode::BrokerRejected);
    }
    let mut without_first_fill = order("10", None, Gtc, at(NOON));
    without_first_fill.due = Some(DueTask {
        at: at(NOON),
        action: DueAction::FillRemainder,
    });
    assert_eq!(
        due_report(&without_first_fill, IBKR, at(NOON)),
        Err(RemainderNotFillable)
    );
}

#[test]
fn fee_is_its_share_of_the_fill_rounded_up() {
    let fees = |rate: &str, fee_asset| PaperFillRules {
        fees: PaperFees {
            fee_rate: decimal(rate),
            fee_asset,
        },
        ..IN_FULL
    };
    for (base_asset, rules, fee, currency) in [
        (None, fees("0", FeeAsset::Quote), "0", "USD"),
        (None, fees("0.001", FeeAsset::Quote), "1.80001", "USD"),
        (None, fees("0.00000001", FeeAsset::Quote), "0.00001801", "USD"),
        // The fee on an instrument without a base asset is in money.
        (None, fees("0.001", FeeAsset::Received), "1.80001", "USD"),
        (Some("AAPL"), fees("0.001", FeeAsset::Received), "0.01", "AAPL"),
        (
            Some("AAPL"),
            fees("0.000000001", FeeAsset::Received),
            "0.00000001",
            "AAPL",
        ),
        (Some("AAPL"), fees("0.001", FeeAsset::Quote), "1.80001", "USD"),
    ] {
        let mut placed = placement(order("10", Some("180.001"), Gtc, at(NOON)), at(NOON));
        placed.order.reservation.base_asset = base_asset.map(Into::into);
        let report = initial_report(&placed, rules, &TradingCalendar::utc(), at(NOON)).unwrap();
        let filled = &report.fills[0];
        assert_eq!(
            (filled.fee, filled.fee_currency.as_str()),
            (decimal(fee), currency),
            "{rules:?}"
        );
    }
}

#[test]
fn fee_is_paid_in_what_the_order_receives() {
    let received = PaperFillRules {
        fees: PaperFees {
            fee_rate: decimal("0.001"),
            fee_asset: FeeAsset::Received,
        },
        ..IBKR
    };
    let calendar = TradingCalendar::utc();
    // side, traded asset → currency, fee of 9.5, fee of the remaining 0.5
    for (side, base_asset, currency, first, rest) in [
        (Side::Buy, Some("AAPL"), "AAPL", "0.0095", "0.0005"),
        (Side::Sell, Some("AAPL"), "USD", "1.71", "0.09"),
        (Side::Buy, None, "USD", "1.71", "0.09"),
        (Side::Sell, None, "USD", "1.71", "0.09"),
    ] {
        let mut claimed = order("10", Some("180"), Gtc, at(NOON));
        claimed.side = side;
        claimed.reservation.base_asset = base_asset.map(Into::into);
        let report = initial_report(&placement(claimed.clone(), at(NOON)), received, &calendar, at(NOON)).unwrap();
        let rates = CurrencyRates::default();
        let open_order = claimed.apply_report(&report, &rates, at(NOON)).unwrap().order;
        let later = open_order.due.unwrap().at;
        let remainder = due_report(&open_order, received, later).unwrap().unwrap();
        let fees = [&report, &remainder].map(|report| (report.fills[0].fee, report.fills[0].fee_currency.clone()));
        let expected = [first, rest].map(|fee| (decimal(fee), currency.to_owned()));
        assert_eq!(fees, expected, "{side} {base_asset:?}");
    }
}

#[test]
fn fill_that_only_reduces_is_capped_at_the_position() {
    let report_of = |placed: &Placement| initial_report(placed, IN_FULL, &TradingCalendar::utc(), at(NOON)).unwrap();
    // side, position (1e-8), time in force → filled of 10, in lots of 0.01
    for (side, position, time_in_force, filled) in [
        (Side::Sell, 400_000_000, Gtc, Some("4")),
        (Side::Buy, -400_000_000, Gtc, Some("4")),
        (Side::Sell, 400_999_999, Gtc, Some("4")),
        (Side::Buy, -401_000_000, Gtc, Some("4.01")),
        (Side::Sell, 1_000_000, Ioc, Some("0.01")),
        (Side::Sell, 999_999, Gtc, None),
        (Side::Buy, -999_999, Gtc, None),
        (Side::Sell, 0, Gtc, None),
        (Side::Buy, 0, Gtc, None),
        // The position is on the order's own side: nothing of it is a reduction.
        (Side::Sell, -400_000_000, Gtc, None),
        (Side::Buy, 400_000_000, Gtc, None),
        // Never more than the fill that was to be capped.
        (Side::Sell, 4_000_000_000, Gtc, Some("10")),
        // In full or not at all.
        (Side::Sell, 999_000_000, Fok, None),
        (Side::Sell, 1_000_000_000, Fok, Some("10")),
    ] {
        let row = format!("{side} {position} {time_in_force}");
        let mut placed = placement(order("10", Some("180"), time_in_force, at(NOON)), at(NOON));
        placed.order.side = side;
        let capped = cap_report(&placed.order, &report_of(&placed), position, IN_FULL);
        let quantities: Vec<_> = capped.fills.iter().map(|fill| fill.quantity).collect();
        assert_eq!(
            quantities,
            filled.map(quantity).into_iter().collect::<Vec<_>>(),
            "{row}"
        );
        assert!(
            matches!(&capped.state, VenueOrderState::Cancelled(reason) if reason.code == ReasonCode::ReduceOnly),
            "{row}"
        );
        assert_eq!(
            (capped.due, capped.broker_order_id),
            (None, Some(broker_order_id(&placed.order))),
            "{row}"
        );
    }
}

#[test]
fn capped_fill_keeps_its_price_moment_and_number_and_pays_the_fee_of_its_quantity() {
    for (fee_asset, base_asset, first_fee, rest_fee, currency) in [
        (FeeAsset::Quote, None, "0.72", "0.036", "USD"),
        (FeeAsset::Received, Some("AAPL"), "0.004", "0.0002", "AAPL"),
    ] {
        let rules = PaperFillRules {
            fees: PaperFees {
                fee_rate: decimal("0.001"),
                fee_asset,
            },
            ..IBKR
        };
        let mut placed = placement(order("10", Some("180"), Gtc, at(NOON)), at(NOON));
        placed.order.reservation.base_asset = base_asset.map(Into::into);
        let report = initial_report(&placed, rules, &TradingCalendar::utc(), at(NOON)).unwrap();
        let capped = cap_report(&placed.order, &report, -400_000_000, rules);
        let expected = |uncapped: &Fill, amount: &str, fee: &str| Fill {
            quantity: quantity(amount),
            fee: decimal(fee),
            fee_currency: currency.to_owned(),
            ..uncapped.clone()
        };
        assert_eq!(capped.fills, [expected(&report.fills[0], "4", first_fee)]);

        let rates = CurrencyRates::default();
        let open_order = placed.order.apply_report(&report, &rates, at(NOON)).unwrap().order;
        let remainder = due_report(&open_order, rules, open_order.due.unwrap().at)
            .unwrap()
            .unwrap();
        let capped = cap_report(&open_order, &remainder, -20_000_000, rules);
        assert_eq!(capped.fills, [expected(&remainder.fills[0], "0.2", rest_fee)]);
        assert_eq!(capped.fills[0].exec_id, format!("{}-2", open_order.order_id));
        let ended = open_order.apply_report(&capped, &rates, at(NOON)).unwrap().order;
        assert_eq!(ended.status, Some(OrderStatus::Cancelled));
        assert_eq!(ended.filled_quantity, decimal("9.7"));
    }
}
