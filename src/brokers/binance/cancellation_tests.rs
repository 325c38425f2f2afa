//! Cancels and inquiries against a scripted venue.

use crate::brokers::adapter::BrokerAdapter;
use crate::brokers::binance::cancellation::*;
use crate::brokers::binance::scripted_server::{ReceivedRequest, ServerAction, json};
use crate::brokers::binance::test_bench::{ORDER_ID, TestBench};
use crate::brokers::binance::test_orders::{btc_order, decimal};
use crate::domain::order_terms::{OrderStatus, TimeInForce};
use crate::domain::reason::ReasonCode;
use crate::domain::venue_report::VenueOrderState;

const ORDER: &str = "/api/v3/order";
const TRADES: &str = "/api/v3/myTrades";
const UNKNOWN_ORDER: &str = r#"{"code":-2011,"msg":"Unknown order sent."}"#;
const NO_SUCH_ORDER: &str = r#"{"code":-2013,"msg":"Order does not exist."}"#;

/// An order that the router knows as open.
fn open_order() -> Order {
    let mut order = btc_order(ORDER_ID, "1", Some("30000"), TimeInForce::Gtc);
    order.status = Some(OrderStatus::Accepted);
    order.version = 1;
    order.broker_order_id = Some("28".into());
    order
}

/// The order as a query returns it.
fn queried(status: &str, executed: &str) -> String {
    format!(
        r#"{{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"{ORDER_ID}","price":"30000.0",
            "origQty":"1.0","executedQty":"{executed}","cummulativeQuoteQty":"0.0","status":"{status}",
            "timeInForce":"GTC","type":"LIMIT","side":"BUY","time":1,"updateTime":1,"isWorking":true}}"#
    )
}

/// The order as a cancel returns it: its own id is the original one.
fn cancelled(executed: &str) -> String {
    let original = format!(r#""clientOrderId":"cancel-1","origClientOrderId":"{ORDER_ID}""#);
    queried("CANCELED", executed).replace(&format!(r#""clientOrderId":"{ORDER_ID}""#), &original)
}

fn trades(quantities: &[&str]) -> String {
    let trades = quantities.iter().zip(7..).map(|(quantity, id)| {
        format!(
            r#"{{"symbol":"BTCUSDT","id":{id},"orderId":28,"price":"30000.0","qty":"{quantity}","commission":"0.0001",
                "commissionAsset":"BNB","time":1767225600000,"isBuyer":true,"isMaker":false}}"#
        )
    });
    format!("[{}]", trades.collect::<Vec<_>>().join(","))
}

/// A venue with one reply for cancels, one for queries and one for trades.
async fn venue(cancel: ServerAction, query: ServerAction, trades: ServerAction) -> TestBench {
    TestBench::start(move |request: &ReceivedRequest| {
        match (request.method.as_str(), request.path.as_str()) {
            ("DELETE", ORDER) => &cancel,
            ("GET", ORDER) => &query,
            ("GET", TRADES) => &trades,
            _ => panic!("{request:?}"),
        }
        .clone()
    })
    .await
}

async fn cancel_at(cancel: ServerAction, query: ServerAction, trades: ServerAction) -> (TestBench, CancelOutcome) {
    let bench = venue(cancel, query, trades).await;
    let outcome = bench.adapter.cancel(open_order()).await;
    assert_eq!(bench.server.requests_of("DELETE", ORDER).len(), 1, "{outcome:?}");
    (bench, outcome)
}

#[tokio::test]
async fn a_cancelled_order_is_reported_with_its_fills() {
    let (bench, outcome) = cancel_at(
        json(200, &cancelled("0.4")),
        json(500, ""),
        json(200, &trades(&["0.1", "0.3"])),
    )
    .await;
    let CancelOutcome::Reported(report) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(matches!(&report.state, VenueOrderState::Cancelled(reason) if reason.code == ReasonCode::CancelRequested));
    let ids: Vec<&str> = report.fills.iter().map(|fill| fill.exec_id.as_str()).collect();
    assert_eq!(ids, ["7", "8"]);
    let request = &bench.server.requests_of("DELETE", ORDER)[0];
    assert_eq!(request.parameter("orderId"), Some("28"));
    assert_eq!(request.parameter("origClientOrderId"), Some(ORDER_ID));
}

#[tokio::test]
async fn a_cancel_whose_trades_are_not_listed_keeps_their_quantity() {
    for listed in [json(200, &trades(&["0.1"])), json(400, r#"{"code":-1100,"msg":"no"}"#)] {
        let (_, outcome) = cancel_at(json(200, &cancelled("0.4")), json(500, ""), listed).await;
        let CancelOutcome::Reported(report) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            (report.fills.len(), report.cumulative_quantity),
            (0, Some(decimal("0.4")))
        );
    }
}

#[tokio::test]
async fn a_cancel_that_finds_no_open_order_returns_what_became_of_it() {
    for (status, executed, listed, expected) in [
        ("FILLED", "1.0", vec!["0.4", "0.6"], OrderStatus::Filled),
        ("CANCELED", "0.4", vec!["0.4"], OrderStatus::Cancelled),
        ("EXPIRED", "0.0", vec![], OrderStatus::Expired),
    ] {
        let (bench, outcome) = cancel_at(
            json(400, UNKNOWN_ORDER),
            json(200, &queried(status, executed)),
            json(200, &trades(&listed)),
        )
        .await;
        let CancelOutcome::AlreadyEnded(order) = outcome else {
            panic!("{status}: {outcome:?}");
        };
        assert_eq!(
            (order.status, order.filled_quantity),
            (Some(expected), decimal(executed))
        );
        // What the cancel has learned is settled, not only returned.
        assert_eq!(bench.inbox.delivered().len(), 1, "{status}");
        // A second cancel of the ended order learns nothing.
        let again = bench.adapter.cancel(order.clone()).await;
        assert_eq!(again, CancelOutcome::AlreadyEnded(order));
        assert_eq!(bench.inbox.delivered().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_cancel_without_proof_is_unknown() {
    for (what, cancel, query) in [
        ("no reply", ServerAction::StaySilent, json(500, "")),
        ("closed", ServerAction::Close, json(500, "")),
        ("reset", ServerAction::Reset, json(500, "")),
        ("504", json(504, r#"{"code":-1007,"msg":"Timeout"}"#), json(500, "")),
        (
            "an unlisted code",
            json(400, r#"{"code":-4242,"msg":"new"}"#),
            json(500, ""),
        ),
        ("no JSON", json(200, "ok"), json(500, "")),
        (
            "another order",
            json(200, &cancelled("0").replace("BTCUSDT", "ETHUSDT")),
            json(500, ""),
        ),
        ("neither is there", json(400, UNKNOWN_ORDER), json(400, NO_SUCH_ORDER)),
        ("still open", json(400, UNKNOWN_ORDER), json(200, &queried("NEW", "0"))),
        ("no word on the order", json(400, UNKNOWN_ORDER), json(500, "")),
        (
            "filled, trades missing",
            json(400, UNKNOWN_ORDER),
            json(200, &queried("FILLED", "1.0")),
        ),
    ] {
        let (bench, outcome) = cancel_at(cancel, query, json(200, "[]")).await;
        assert!(
            matches!(outcome, CancelOutcome::OutcomeUnknown(_)),
            "{what}: {outcome:?}"
        );
        assert_eq!(bench.inbox.delivered(), [], "{what}");
    }
}

#[tokio::test]
async fn a_cancel_that_the_venue_did_not_take_is_not_sent() {
    for (status, code) in [(400, -1021), (400, -1102), (401, -2015), (429, -1003)] {
        let body = format!(r#"{{"code":{code},"msg":"scripted"}}"#);
        let (_, outcome) = cancel_at(json(status, &body), json(500, ""), json(500, "")).await;
        assert!(matches!(outcome, CancelOutcome::NotSent(_)), "{code}: {outcome:?}");
    }
    let bench = venue(json(500, ""), json(500, ""), json(500, "")).await;
    let claimed = btc_order(ORDER_ID, "1", Some("30000"), TimeInForce::Gtc);
    assert!(matches!(bench.adapter.cancel(claimed).await, CancelOutcome::NotSent(_)));
    assert_eq!(bench.server.requests(ORDER).len(), 0);
    bench.server.stop_listening().await;
    let outcome = bench.adapter.cancel(open_order()).await;
    assert!(
        matches!(outcome, CancelOutcome::NotSent(NotSentReason::Unavailable(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_cancel_passes_while_orders_are_stopped() {
    let bench = venue(json(200, &cancelled("0")), json(500, ""), json(500, "")).await;
    bench.session.client.refuse_key();
    bench.session.client.clock.reject_offset();
    let outcome = bench.adapter.cancel(open_order()).await;
    assert!(matches!(outcome, CancelOutcome::Reported(_)), "{outcome:?}");
}

async fn inquire_at(query: ServerAction, trades: ServerAction) -> (TestBench, InquiryOutcome) {
    let bench = venue(json(500, ""), query, trades).await;
    let outcome = bench.adapter.inquire(open_order()).await;
    (bench, outcome)
}

#[tokio::test]
async fn an_inquiry_reports_state_and_fills() {
    let (bench, outcome) = inquire_at(
        json(200, &queried("PARTIALLY_FILLED", "0.4")),
        json(200, &trades(&["0.4"])),
    )
    .await;
    let InquiryOutcome::Reported(report) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(report.state, VenueOrderState::Working);
    assert_eq!(
        (report.fills[0].exec_id.as_str(), report.fills[0].fee_currency.as_str()),
        ("7", "BNB")
    );
    assert_eq!(bench.server.requests(TRADES)[0].parameter("orderId"), Some("28"));
    let (bench, _) = inquire_at(json(200, &queried("NEW", "0.0")), json(500, "")).await;
    assert_eq!(
        bench.server.requests(TRADES).len(),
        0,
        "an order without a fill has no trades"
    );
}

#[tokio::test]
async fn only_the_venues_own_word_is_not_found() {
    let (_, outcome) = inquire_at(json(400, NO_SUCH_ORDER), json(500, "")).await;
    assert_eq!(outcome, InquiryOutcome::NotFound);
    let (_, outcome) = inquire_at(json(400, r#"{"code":-2026,"msg":"archived"}"#), json(500, "")).await;
    assert!(
        matches!(&outcome, InquiryOutcome::Reported(report) if matches!(report.state, VenueOrderState::Cancelled(_))),
        "{outcome:?}"
    );
    for (what, query) in [
        ("closed", ServerAction::Close),
        ("404 of a proxy", json(404, "<html>not found</html>")),
        ("500 of the same code", json(500, NO_SUCH_ORDER)),
        ("-2011", json(400, UNKNOWN_ORDER)),
        ("429", json(429, r#"{"code":-1003,"msg":"Too many requests"}"#)),
        ("bad key", json(401, r#"{"code":-2015,"msg":"Invalid API-key"}"#)),
        ("no JSON", json(200, "[]")),
        ("another side", json(200, &queried("NEW", "0").replace("BUY", "SELL"))),
        ("a new status", json(200, &queried("BRAND_NEW", "0"))),
        ("trades behind", json(200, &queried("FILLED", "1.0"))),
    ] {
        let (_, outcome) = inquire_at(query, json(200, &trades(&["0.4"]))).await;
        assert!(matches!(outcome, InquiryOutcome::Unanswered(_)), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_read_is_repeated_a_few_times_and_a_refusal_is_not() {
    for (query, attempts) in [
        (json(503, ""), 3),
        (ServerAction::Close, 3),
        (json(400, NO_SUCH_ORDER), 1),
        (json(429, ""), 1),
        (json(400, r#"{"code":-1100,"msg":"no"}"#), 1),
        // After the clock is measured again.
        (json(400, r#"{"code":-1021,"msg":"late"}"#), 3),
    ] {
        let shown = format!("{query:?}");
        let (bench, _) = inquire_at(query, json(500, "")).await;
        let requests = bench.server.requests_of("GET", ORDER);
        assert_eq!(requests.len(), attempts, "{shown}");
        let timestamps: Vec<_> = requests.iter().map(|request| request.parameter("timestamp")).collect();
        assert!(timestamps.is_sorted(), "{timestamps:?}");
    }
}
