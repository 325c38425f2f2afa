use crate::domain::order_terms::Mode;
use crate::domain::time::Timestamp;
use crate::sidecar::positions::closing_order::*;
use crate::sidecar::positions::test_fixtures::position_row;
use crate::wire::intent::{MissingIdPolicy, decode_intent};

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn held(quantity: &str) -> PositionRow {
    position_row(Mode::Paper, "a", "BTCUSDT", &[(quantity, "30000")])
}

fn target(quantity: &str, allow_increase: bool) -> PositionTarget {
    PositionTarget {
        quantity: number(quantity),
        allow_increase,
    }
}

fn refusal(held_quantity: &str, lot: &str, target_quantity: &str, allow_increase: bool) -> String {
    let row = position_row(Mode::Paper, "a", "BTCUSDT", &[(held_quantity, "0.01")]);
    let fault = build_closing_order(&row, number(lot), target(target_quantity, allow_increase)).unwrap_err();
    assert_eq!(
        (fault.code, fault.field.as_deref()),
        (FaultCode::InvalidField, Some(TARGET_FIELD)),
        "{held_quantity} to {target_quantity}"
    );
    fault.detail
}

#[test]
fn position_is_reduced_to_its_target_and_never_beyond() {
    for (held_quantity, lot, target_quantity, side, quantity) in [
        ("2", "0.00001", "0", Side::Sell, "2"),
        ("2", "0.00001", "0.5", Side::Sell, "1.5"),
        ("2", "0.00001", "1.99999", Side::Sell, "0.00001"),
        ("-2", "0.00001", "0", Side::Buy, "2"),
        ("-2", "0.00001", "-0.5", Side::Buy, "1.5"),
        // A fee in the base asset leaves no whole number of lots: part of a lot remains.
        ("0.99912345", "0.00001", "0", Side::Sell, "0.99912"),
        ("0.99912345", "0.00001", "0.1", Side::Sell, "0.89912"),
        ("-0.99912345", "0.3", "0", Side::Buy, "0.9"),
        ("100000000001", "1", "2", Side::Sell, "99999999999"),
    ] {
        let row = position_row(Mode::Paper, "a", "BTCUSDT", &[(held_quantity, "0.01")]);
        for allow_increase in [false, true] {
            let closing = build_closing_order(&row, number(lot), target(target_quantity, allow_increase));
            let closing = closing.unwrap_or_else(|fault| panic!("{held_quantity} to {target_quantity}: {fault}"));
            assert_eq!((closing.side, closing.quantity.decimal()), (side, number(quantity)));
            assert!(closing.is_reduction);
        }
    }
    for (held_quantity, lot, target_quantity) in [
        ("0.00000999", "0.00001", "0"),
        ("2", "0.00001", "1.99999001"),
        ("100000000001", "1", "0"),
    ] {
        refusal(held_quantity, lot, target_quantity, true);
    }
    let said = refusal("0.00000999", "0.00001", "0", false);
    for part in [
        "no order can trade 0.00000999",
        "order-router adjust --account a --venue binance.spot --symbol BTCUSDT --quantity -0.00000999",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let mut inexact = held("1");
    inexact.is_exact = false;
    assert_eq!(
        build_closing_order(&inexact, number("1"), target("0", true))
            .unwrap_err()
            .code,
        FaultCode::StoreUnavailable
    );
}

#[test]
fn part_below_a_lot_remains_and_names_the_way_to_clear_it() {
    let row = held("1");
    let remainder = |held: &str, target: &str, lot: &str| {
        remainder_below_lot(&row, number(held), number(target), number(lot))
            .map(|rest| (rest.quantity.to_string(), rest.detail))
    };
    for (held, target, lot, quantity, cleared_by) in [
        ("0.00000999", "0", "0.00001", "0.00000999", "--quantity -0.00000999"),
        ("-0.00012345", "0", "0.0001", "-0.00002345", "--quantity 0.00002345"),
        ("0.50000001", "0.2", "0.1", "0.00000001", "--quantity -0.00000001"),
        ("0.1", "0.25", "0.1", "-0.05", "--quantity 0.05"),
    ] {
        let (found, detail) = remainder(held, target, lot).unwrap();
        assert_eq!(found, quantity, "{held} to {target}");
        assert!(detail.contains(cleared_by), "{detail}");
    }
    assert_eq!(remainder("0.3", "0", "0.1"), None);
    assert_eq!(remainder("0.3", "0.3", "0.1"), None);
}

#[test]
fn target_beyond_the_position_or_through_zero_is_an_ordinary_order_if_it_is_allowed() {
    for (held_quantity, target_quantity, side, quantity) in [
        ("2", "3", Side::Buy, "1"),
        ("2", "-1", Side::Sell, "3"),
        ("-2", "-3.000019", Side::Sell, "1.00001"),
        ("-2", "0.5", Side::Buy, "2.5"),
    ] {
        let row = position_row(Mode::Paper, "a", "BTCUSDT", &[(held_quantity, "0.01")]);
        let order = build_closing_order(&row, number("0.00001"), target(target_quantity, true)).unwrap();
        assert_eq!((order.side, order.quantity.decimal()), (side, number(quantity)));
        assert!(!order.is_reduction);
        let intent = order.build_intent(&row, &ClientOrderId::new("k").unwrap());
        assert_eq!(intent.reduce_only, Some(false));
        let detail = refusal(held_quantity, "0.00001", target_quantity, false);
        let expected = format!(
            "target_quantity must be between 0 and the held quantity {held_quantity}; with allow_increase: true an ordinary \
             order is sent for {target_quantity}"
        );
        assert_eq!(detail, expected);
    }
    let flat = position_row(Mode::Paper, "a", "BTCUSDT", &[("1", "2"), ("-1", "2")]);
    let refused = build_closing_order(&flat, number("1"), target("2", false)).unwrap_err();
    assert!(
        refused.detail.contains("the position is flat; with allow_increase"),
        "{refused}"
    );
    assert_eq!(
        build_closing_order(&flat, number("1"), target("2", true)).unwrap().side,
        Side::Buy
    );
}

#[test]
fn only_the_held_quantity_itself_is_reached() {
    for held_quantity in ["2", "-2"] {
        for allow_increase in [false, true] {
            let detail = refusal(held_quantity, "0.00001", held_quantity, allow_increase);
            assert_eq!(
                detail,
                format!("target_quantity is reached: the position is {held_quantity} already")
            );
        }
    }
    let flat = position_row(Mode::Paper, "a", "BTCUSDT", &[("1", "2"), ("-1", "2")]);
    let refused = build_closing_order(&flat, number("1"), target("0", false)).unwrap_err();
    assert_eq!(refused.detail, "target_quantity is reached: the position is 0 already");
}

#[test]
fn closing_order_is_reduce_only() {
    let row = held("-1.5");
    let closing = build_closing_order(&row, number("0.00001"), target("0", false)).unwrap();
    let intent = closing.build_intent(&row, &ClientOrderId::new("k").unwrap());
    let intent = decode_intent(&serde_json::to_vec(&intent).unwrap(), MissingIdPolicy::Refuse).unwrap();
    assert_eq!((intent.side, intent.quantity.decimal()), (Side::Buy, number("1.5")));
    assert_eq!(
        (intent.order_type, intent.time_in_force),
        (OrderType::Market, TimeInForce::Ioc)
    );
    assert!(intent.reduce_only);
    assert_eq!((intent.mode, intent.account_id.as_str()), (Some(Mode::Paper), "a"));
    assert_eq!(intent.client_order_id.as_str(), "k");
}

#[test]
fn position_is_found_by_every_part_of_its_id() {
    let id = |mode, account: &str, symbol: &str| {
        let text = crate::wire::holding_id::HoldingId {
            mode,
            account_id: crate::domain::id::AccountId::new(account).unwrap(),
            venue: crate::domain::id::VenueId::new("binance.spot").unwrap(),
            symbol: crate::domain::symbol::Symbol::parse(symbol).unwrap(),
        };
        HoldingId::parse(&text.to_string()).unwrap()
    };
    let live = position_row(Mode::Live, "a", "BTCUSDT", &[("1", "2")]);
    let positions = PositionsSnapshot {
        rows: vec![held("1"), live.clone()],
        mode: Mode::Live,
    };
    assert_eq!(find_position(&positions, &id(Mode::Live, "a", "BTCUSDT")), Some(&live));
    // A position of another mode is found, so that a client can look up the order that was sent to close it.
    assert_eq!(
        find_position(&positions, &id(Mode::Paper, "a", "BTCUSDT")),
        positions.rows.first()
    );
    for other in [
        id(Mode::DryRun, "a", "BTCUSDT"),
        id(Mode::Live, "b", "BTCUSDT"),
        id(Mode::Live, "a", "ETHUSDT"),
    ] {
        assert_eq!(find_position(&positions, &other), None);
    }
}

fn open_order(id: &str, change: impl FnOnce(&mut OrderRecord)) -> OrderRecord {
    let now = Timestamp::now();
    let mut order = OrderRecord {
        id: 1,
        external_order_id: "BN-1".to_owned(),
        correlation_id: id.to_owned(),
        account_id: "a".to_owned(),
        broker: "binance".to_owned(),
        venue: "binance.spot".to_owned(),
        symbol: "BTCUSDT".to_owned(),
        side: Side::Sell,
        order_type: OrderType::Limit,
        quantity: Decimal::from(1),
        filled_quantity: Decimal::ZERO,
        limit_price: Some(Decimal::from(1)),
        stop_price: None,
        status: OrderStatus::Accepted,
        time_in_force: TimeInForce::Gtc,
        submitted_at: now,
        expires_at: None,
        notes: None,
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        mode: Mode::Paper,
        reason: None,
        executions: Vec::new(),
        executions_total: 0,
    };
    change(&mut order);
    order
}

#[test]
fn denial_lists_only_the_blocking_orders() {
    let denial = || Fault::new(FaultCode::ReduceOnly, "no");
    let mut orders = vec![
        open_order("mode", |order| order.mode = Mode::Live),
        open_order("account", |order| order.account_id = "b".to_owned()),
        open_order("venue", |order| order.venue = "other".to_owned()),
        open_order("symbol", |order| order.symbol = "ETHUSDT".to_owned()),
        open_order("side", |order| order.side = Side::Buy),
        open_order("ended", |order| order.status = OrderStatus::Filled),
    ];
    let none = with_blocking_orders(denial(), &held("1"), Side::Sell, &orders);
    assert_eq!(none.metadata.text(OPEN_ORDERS_FIELD), None);
    orders.push(open_order("one", |_| ()));
    orders.push(open_order("two", |order| order.status = OrderStatus::Unknown));
    let two = with_blocking_orders(denial(), &held("1"), Side::Sell, &orders);
    assert_eq!(two.metadata.text(OPEN_ORDERS_FIELD), Some("one two"));
    orders.extend((0..30).map(|number| open_order(&format!("o{number}"), |_| ())));
    let many = with_blocking_orders(denial(), &held("1"), Side::Sell, &orders);
    assert_eq!(
        many.metadata.text(OPEN_ORDERS_FIELD).unwrap().split(' ').count(),
        MAX_NAMED_ORDERS
    );
}
