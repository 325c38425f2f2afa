//! Reports from messages as the venue documents them, and the traps of its events.

use crate::brokers::binance::reports::*;
use crate::brokers::binance::test_orders::{btc_order, decimal};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::leg::LegNumber;
use crate::domain::order::ApplyReportError;
use crate::domain::order_terms::OrderStatus;

const ID: &str = "BN-0190f0a0b0c07d8e9fa0b1c2d3e4f506";

fn event(fields: &str) -> VenueNotice {
    let changed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(fields).unwrap();
    let mut all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(
        r#"{"e":"executionReport","E":1767225600010,"s":"BTCUSDT","c":"BN-0190f0a0b0c07d8e9fa0b1c2d3e4f506","S":"BUY",
            "o":"LIMIT","f":"GTC","q":"1.00000000","p":"30000.00","g":-1,"C":"","x":"NEW","X":"NEW","r":"NONE",
            "i":4293153,"l":"0.00000000","z":"0.00000000","L":"0.00000000","n":"0","N":null,"T":1767225600009,
            "t":-1,"I":8641984,"w":true,"m":false,"Z":"0.00000000"}"#,
    )
    .unwrap();
    all.extend(changed);
    let text = serde_json::to_string(&all).unwrap();
    execution_notice(&serde_json::from_str(&text).unwrap(), "USDT").unwrap()
}

fn placed(order: &Order, text: &str) -> Result<VenueReport, MessageError> {
    placement_report(order, LegNumber::FIRST, &serde_json::from_str(text).unwrap())
}

fn status_after(order: &Order, reports: &[&VenueReport]) -> Order {
    let mut order = order.clone();
    for report in reports {
        match order.apply_report(report, &CurrencyRates::default(), Timestamp::now()) {
            Ok(update) => order = update.order,
            Err(ApplyReportError::NoChange) => {}
            Err(error) => panic!("{error}"),
        }
    }
    order
}

#[test]
fn an_acknowledgement_alone_says_that_the_order_works() {
    let order = btc_order(ID, "1", Some("30000"), TimeInForce::Gtc);
    let text = format!(
        r#"{{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"{ID}","transactTime":1767225600000}}"#
    );
    let report = placed(&order, &text).unwrap();
    assert_eq!(report.broker_order_id.as_deref(), Some("28"));
    assert_eq!(
        (report.state, report.cumulative_quantity),
        (VenueOrderState::Working, None)
    );
}

#[test]
fn a_full_reply_has_each_fill_with_its_fee() {
    let order = btc_order(ID, "10", None, TimeInForce::Gtc);
    let text = format!(
        r#"{{"symbol":"BTCUSDT","orderId":28,"clientOrderId":"{ID}","transactTime":1767225600000,"origQty":"10.0",
            "executedQty":"6.00000000","status":"EXPIRED","timeInForce":"GTC","type":"MARKET","side":"BUY","fills":[
            {{"price":"4000.00","qty":"1.0","commission":"0.001","commissionAsset":"BTC","tradeId":56}},
            {{"price":"3999.00","qty":"5.0","commission":"-0.5","commissionAsset":"BNB","tradeId":57}}]}}"#
    );
    let report = placed(&order, &text).unwrap();
    let fills: Vec<(&str, String, &str)> = report
        .fills
        .iter()
        .map(|fill| (fill.exec_id.as_str(), fill.fee.to_string(), fill.fee_currency.as_str()))
        .collect();
    assert_eq!(
        fills,
        [("56", "0.001".to_owned(), "BTC"), ("57", "-0.5".to_owned(), "BNB")]
    );
    // The remainder of a market order is cancelled for its time in force, with its fills.
    let after = status_after(&order, &[&report]);
    assert_eq!(after.status, Some(OrderStatus::Cancelled));
    assert_eq!(after.filled_quantity, decimal("6"));
    assert_eq!(after.reason.unwrap().code, ReasonCode::TimeInForce);
}

#[test]
fn a_result_without_its_fills_keeps_their_quantity_reserved() {
    let order = btc_order(ID, "1", Some("30000"), TimeInForce::Ioc);
    let text = format!(
        r#"{{"symbol":"BTCUSDT","orderId":28,"clientOrderId":"{ID}","transactTime":1,"origQty":"1","executedQty":"0.4",
            "status":"EXPIRED"}}"#
    );
    let after = status_after(&order, &[&placed(&order, &text).unwrap()]);
    assert_eq!(after.status, Some(OrderStatus::Cancelled));
    assert_eq!(after.reservation.reserved, 40_000_000);
}

#[test]
fn a_reply_about_another_order_proves_nothing() {
    let order = btc_order(ID, "1", Some("30000"), TimeInForce::Gtc);
    for (text, what) in [
        (
            r#"{"symbol":"BTCUSDT","orderId":1,"clientOrderId":"other","transactTime":1}"#.to_owned(),
            "client order id",
        ),
        (
            format!(r#"{{"symbol":"ETHUSDT","orderId":1,"clientOrderId":"{ID}","transactTime":1}}"#),
            "symbol",
        ),
        (
            format!(r#"{{"symbol":"BTCUSDT","orderId":1,"clientOrderId":"{ID}","transactTime":1,"origQty":"2"}}"#),
            "quantity",
        ),
    ] {
        assert_eq!(placed(&order, &text), Err(MessageError::OtherOrder(what)));
    }
}

#[test]
fn the_id_of_a_cancelled_order_is_the_original_one() {
    let cancelled = event(&format!(
        r#"{{"x":"CANCELED","X":"CANCELED","c":"cancel-7","C":"{ID}"}}"#
    ));
    assert_eq!(cancelled.order_id.as_str(), ID);
    assert!(matches!(cancelled.report.state, VenueOrderState::Cancelled(_)));
    // Without an original id the event is the order's own, and on other events the field is not a cancel's.
    for fields in [
        r#"{"x":"CANCELED","X":"CANCELED"}"#,
        r#"{"x":"NEW","C":"other"}"#,
        r#"{"x":"EXPIRED","X":"EXPIRED","C":null}"#,
    ] {
        assert_eq!(event(fields).order_id.as_str(), ID, "{fields}");
    }
}

#[test]
fn events_have_the_last_quantity_as_fill_and_the_cumulative_one_beside_it() {
    let order = btc_order(ID, "1", Some("30000"), TimeInForce::Gtc);
    let first =
        event(r#"{"x":"TRADE","X":"PARTIALLY_FILLED","l":"0.4","z":"0.4","L":"30000","n":"0.0004","N":"BTC","t":7}"#);
    let second = event(r#"{"x":"TRADE","X":"FILLED","l":"0.6","z":"1.0","L":"29999","n":"0.01","N":"BNB","t":8}"#);
    assert_eq!(first.report.fills[0].quantity.decimal(), decimal("0.4"));
    assert_eq!(first.report.cumulative_quantity, Some(decimal("0.4")));
    // In any order, repeated, and before the acknowledgement: each is booked once.
    let new = event(r#"{"x":"NEW","X":"NEW"}"#);
    for reports in [
        [&new.report, &first.report, &second.report, &first.report],
        [&second.report, &first.report, &new.report, &second.report],
    ] {
        let after = status_after(&order, &reports);
        assert_eq!(after.status, Some(OrderStatus::Filled));
        assert_eq!((after.filled_quantity, after.fill_count()), (decimal("1"), 2));
    }
}

#[test]
fn an_expiry_with_fills_keeps_them() {
    let order = btc_order(ID, "1", Some("30000"), TimeInForce::Ioc);
    let trade = event(r#"{"x":"TRADE","X":"PARTIALLY_FILLED","f":"IOC","l":"0.4","z":"0.4","L":"30000","t":7}"#);
    let expiry = event(r#"{"x":"EXPIRED","X":"EXPIRED","f":"IOC","l":"0","z":"0.4","t":-1}"#);
    for reports in [[&trade.report, &expiry.report], [&expiry.report, &trade.report]] {
        let after = status_after(&order, &reports);
        assert_eq!(after.status, Some(OrderStatus::Cancelled));
        assert_eq!((after.filled_quantity, after.reservation.reserved), (decimal("0.4"), 0));
    }
    // A fill on an event of another name is a fill.
    let both = event(r#"{"x":"EXPIRED","X":"EXPIRED","f":"IOC","l":"0.4","z":"0.4","L":"30000","t":7}"#);
    assert_eq!(both.report.fills.len(), 1);
}

#[test]
fn the_end_of_an_order_has_its_reason() {
    for (fields, code, shown) in [
        (
            r#"{"x":"EXPIRED","X":"EXPIRED","f":"FOK"}"#,
            ReasonCode::TimeInForce,
            "at once",
        ),
        (
            r#"{"x":"EXPIRED","X":"EXPIRED","o":"MARKET"}"#,
            ReasonCode::TimeInForce,
            "at once",
        ),
        (
            r#"{"x":"EXPIRED","X":"EXPIRED","eR":"EXECUTION_RULE_PRICE_RANGE_EXCEEDED"}"#,
            ReasonCode::BrokerRejected,
            "EXECUTION_RULE_PRICE_RANGE_EXCEEDED",
        ),
        (
            r#"{"x":"TRADE_PREVENTION","X":"EXPIRED_IN_MATCH","v":3}"#,
            ReasonCode::BrokerRejected,
            "self-trade",
        ),
        (
            r#"{"x":"REJECTED","X":"REJECTED","r":"INSUFFICIENT_BALANCES"}"#,
            ReasonCode::BrokerRejected,
            "INSUFFICIENT_BALANCES",
        ),
    ] {
        let reason = match event(fields).report.state {
            VenueOrderState::Cancelled(reason)
            | VenueOrderState::Expired(reason)
            | VenueOrderState::Rejected(reason) => reason,
            other => panic!("{fields}: {other:?}"),
        };
        assert_eq!(reason.code, code, "{fields}");
        assert!(reason.message.contains(shown), "{}", reason.message);
    }
}

#[test]
fn an_event_that_cannot_be_booked_is_an_error() {
    let base = r#"{"e":"executionReport","s":"BTCUSDT","c":"x","C":"","S":"BUY","o":"LIMIT","f":"GTC","q":"1","x":"TRADE",
        "X":"FILLED","i":1,"l":"1","z":"1","L":"30000","n":"0.1","N":"BNB","T":1,"t":5}"#;
    let notice = |from: &str, to: &str| {
        let event = serde_json::from_str(&base.replace(from, to)).unwrap();
        execution_notice(&event, "USDT").map(|notice| notice.report.fills.len())
    };
    assert_eq!(notice("", ""), Ok(1));
    for (from, to) in [
        (r#""t":5"#, r#""t":-1"#),
        (r#""l":"1""#, r#""l":"0""#),
        (r#""L":"30000""#, r#""L":"0""#),
        (r#""N":"BNB""#, r#""N":null"#),
        (r#""S":"BUY""#, r#""S":"LONG""#),
        (r#""c":"x""#, r#""c":"x y""#),
        (r#""s":"BTCUSDT""#, r#""s":"btc""#),
    ] {
        assert!(notice(from, to).is_err(), "{to}");
    }
    // A status that no version of this adapter knows is an error of the parser.
    assert!(serde_json::from_str::<ExecutionReport>(&base.replace("FILLED", "BRAND_NEW")).is_err());
}

#[test]
fn a_query_is_about_the_order_only_with_its_terms() {
    let order = btc_order(ID, "1", Some("30000"), TimeInForce::Gtc);
    let text = format!(
        r#"{{"symbol":"BTCUSDT","orderId":1,"clientOrderId":"{ID}","origQty":"1.0","executedQty":"0.4",
            "status":"PARTIALLY_FILLED","timeInForce":"GTC","type":"LIMIT","side":"BUY","time":1,"isWorking":true}}"#
    );
    let read = |from: &str, to: &str| serde_json::from_str::<OrderState>(&text.replace(from, to)).unwrap();
    assert_eq!(check_terms(&order, &read("", "")), Ok(()));
    for (from, to, what) in [
        ("BUY", "SELL", "side"),
        ("\"1.0\"", "\"2\"", "quantity"),
        ("BTCUSDT", "ETHUSDT", "symbol"),
        (ID, "other", "client order id"),
    ] {
        assert_eq!(
            check_terms(&order, &read(from, to)),
            Err(MessageError::OtherOrder(what))
        );
    }
    let trade = |order_id: i64| Trade {
        symbol: "BTCUSDT".into(),
        id: 9,
        order_id,
        price: decimal("30000"),
        qty: decimal("0.4"),
        commission: decimal("0.0004"),
        commission_asset: "BTC".into(),
        time: 5,
        is_buyer: true,
    };
    let report = queried_report(&read("", ""), &[trade(1)]).unwrap();
    let after = status_after(&order, &[&report]);
    assert_eq!(after.status, Some(OrderStatus::PartiallyFilled));
    assert!(queried_report(&read("", ""), &[trade(2)]).is_err());
}
