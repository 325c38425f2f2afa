//! Replaces against a scripted venue: what each reply may conclude.

use crate::brokers::adapter::BrokerAdapter;
use crate::brokers::binance::replacement::*;
use crate::brokers::binance::scripted_server::{ServerAction, json};
use crate::brokers::binance::test_bench::{ORDER_ID, TestBench};
use crate::brokers::binance::test_orders::{btc_order, price, quantity};
use crate::domain::id::ReplaceId;
use crate::domain::order_terms::{OrderStatus, TimeInForce};
use crate::domain::replace::{ReplaceState, ReplaceTerms};

const CANCEL_REPLACE: &str = "/api/v3/order/cancelReplace";

/// An order with a pending replace by the venue's cancel-replace.
fn pending() -> Order {
    let mut order = btc_order(ORDER_ID, "1", Some("30000"), TimeInForce::Gtc);
    order.status = Some(OrderStatus::Accepted);
    order.version = 1;
    order.broker_order_id = Some("28".into());
    let terms = ReplaceTerms {
        replace_id: ReplaceId::new("r").unwrap(),
        price: price("29000"),
        quantity: quantity("1"),
        method: ReplaceMethod::CancelReplace,
        mark: None,
        requested_at: Timestamp::now(),
    };
    order.begin_replace(&terms, None, Timestamp::now()).unwrap().order
}

fn order_json(id: &str, original: &str, status: &str, at: &str) -> String {
    format!(
        r#"{{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"origClientOrderId":"{original}","clientOrderId":"{id}",
            "transactTime":1,"price":"{at}","origQty":"1.0","executedQty":"0.0","cummulativeQuoteQty":"0.0",
            "status":"{status}","timeInForce":"GTC","type":"LIMIT","side":"BUY","fills":[]}}"#
    )
}

/// Both halves, as a body and as what an error carries.
fn halves(cancel: &str, new_order: &str, error: i64) -> String {
    let refused = format!(r#"{{"code":{error},"msg":"no"}}"#);
    let cancelled = match cancel {
        "SUCCESS" => order_json("cancel-1", ORDER_ID, "CANCELED", "30000.0"),
        _ => refused.clone(),
    };
    let placed = match new_order {
        "SUCCESS" => order_json(&format!("{ORDER_ID}2"), "", "NEW", "29000.0"),
        "FAILURE" => refused,
        _ => "null".to_owned(),
    };
    format!(
        r#"{{"cancelResult":"{cancel}","newOrderResult":"{new_order}","cancelResponse":{cancelled},
            "newOrderResponse":{placed}}}"#
    )
}

fn failed(cancel: &str, new_order: &str, error: i64) -> String {
    let halves = halves(cancel, new_order, error);
    format!(r#"{{"code":-2022,"msg":"Order cancel-replace failed.","data":{halves}}}"#)
}

/// Returns what became of the replace, by the reports of its outcome; `None` where the venue's reply proves nothing.
async fn state_after(reply: ServerAction) -> Option<ReplaceState> {
    let bench = TestBench::start(move |_| reply.clone()).await;
    let order = pending();
    let outcome = bench.adapter.replace(order.clone()).await;
    assert_eq!(bench.server.requests_of("POST", CANCEL_REPLACE).len(), 1, "{outcome:?}");
    let reports = match outcome {
        ReplaceCallOutcome::Reported(reports) => reports,
        ReplaceCallOutcome::OutcomeUnknown(_) => return None,
        ReplaceCallOutcome::NotSent(reason) => panic!("{reason:?}"),
    };
    let after = reports.iter().fold(order, |order, report| {
        let applied = order.apply_report(
            report,
            &crate::domain::currency_rates::CurrencyRates::default(),
            Timestamp::now(),
        );
        applied.unwrap().order
    });
    after.latest_replace().map(|replace| replace.state)
}

#[tokio::test]
async fn both_halves_decide_and_no_error_of_the_server_is_believed() {
    for (reply, expected) in [
        (json(200, &halves("SUCCESS", "SUCCESS", 0)), Some(ReplaceState::Done)),
        (
            json(400, &failed("FAILURE", "NOT_ATTEMPTED", -2011)),
            Some(ReplaceState::NotReplaced),
        ),
        (
            json(409, &failed("SUCCESS", "FAILURE", -2010)),
            Some(ReplaceState::CancelledNotPlaced),
        ),
        (
            json(400, r#"{"code":-1013,"msg":"Filter failure: NOTIONAL"}"#),
            Some(ReplaceState::NotReplaced),
        ),
        // The venue itself does not know whether it has the new order.
        (json(409, &failed("SUCCESS", "FAILURE", -1007)), None),
        (json(409, &failed("FAILURE", "SUCCESS", -2011)), None),
        (json(200, "{}"), None),
        (json(500, &failed("FAILURE", "NOT_ATTEMPTED", -2011)), None),
        (json(502, &failed("SUCCESS", "FAILURE", -2010)), None),
        (json(503, &halves("SUCCESS", "SUCCESS", 0)), None),
        (
            json(
                504,
                r#"{"code":-1007,"msg":"Timeout waiting for response from backend server."}"#,
            ),
            None,
        ),
        (ServerAction::Close, None),
    ] {
        let name = format!("{reply:?}");
        assert_eq!(state_after(reply).await, expected, "{name}");
    }
}

#[tokio::test]
async fn leg_that_this_process_has_sent_is_not_sent_again() {
    let bench = TestBench::start(|_| ServerAction::Close).await;
    let order = pending();
    for _ in 0..2 {
        let outcome = bench.adapter.replace(order.clone()).await;
        assert!(matches!(outcome, ReplaceCallOutcome::OutcomeUnknown(_)), "{outcome:?}");
    }
    assert_eq!(bench.server.requests_of("POST", CANCEL_REPLACE).len(), 1);
}
