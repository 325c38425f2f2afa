//! Placements against a scripted venue: what each outcome proves, and that one request at most is on the wire.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;

use crate::brokers::adapter::BrokerAdapter;
use crate::brokers::binance::placement::*;
use crate::brokers::binance::scripted_server::{ScriptedServer, ServerAction, json, json_with};
use crate::brokers::binance::test_bench::{API_KEY, EXCHANGE_INFO, ORDER_ID, SECRET, TestBench};
use crate::brokers::binance::test_orders::{btc_order, btc_placement, decimal};
use crate::config::brokers::InquirySettings;
use crate::domain::hex;
use crate::domain::order_terms::TimeInForce::{self, Day, Fok, Gtc, Ioc};
use crate::risk::approved::approve_unchecked;

const ORDER: &str = "/api/v3/order";
const MINUTE: Duration = Duration::from_secs(60);

fn filled(id: &str) -> String {
    format!(
        r#"{{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"{id}","transactTime":1767225600000,
            "price":"30000.00","origQty":"1.0","executedQty":"1.0","cummulativeQuoteQty":"30000.0","status":"FILLED",
            "timeInForce":"GTC","type":"LIMIT","side":"BUY","fills":[{{"price":"30000.0","qty":"1.0",
            "commission":"0.001","commissionAsset":"BTC","tradeId":56}}]}}"#
    )
}

#[tokio::test]
async fn an_order_that_was_sent_is_not_sent_again_by_this_process() {
    for action in [json(200, &filled(ORDER_ID)), ServerAction::Close, json(504, "")] {
        let (bench, _) = place_at(action).await;
        let again = place(&bench, limit_order(Gtc)).await;
        assert!(matches!(again, PlaceOutcome::OutcomeUnknown(_)), "{again:?}");
        assert_eq!(bench.server.requests(ORDER).len(), 1);
        assert_eq!(bench.gate.started.lock().unwrap().len(), 1);
    }
    // One that the venue certainly did not take may be.
    let (bench, first) = place_at(json(400, r#"{"code":-1021,"msg":"late"}"#)).await;
    assert!(matches!(first, PlaceOutcome::NotSent(_)), "{first:?}");
    bench.session.client.synchronize_clock().await.unwrap();
    place(&bench, limit_order(Gtc)).await;
    assert_eq!(bench.server.requests(ORDER).len(), 2);
}

fn limit_order(time_in_force: TimeInForce) -> Placement {
    btc_placement(btc_order(ORDER_ID, "1", Some("30000"), time_in_force), MINUTE)
}

async fn place(bench: &TestBench, placement: Placement) -> PlaceOutcome {
    bench.adapter.place(approve_unchecked(placement)).await
}

/// Places one order at a venue that answers placements so. Returns the outcome after checking that one request was sent.
async fn place_at(action: ServerAction) -> (TestBench, PlaceOutcome) {
    let bench = TestBench::start(move |_| action.clone()).await;
    let outcome = place(&bench, limit_order(Gtc)).await;
    let sent = bench.server.requests(ORDER);
    assert_eq!(sent.len(), 1, "{outcome:?}: {sent:?}");
    assert_eq!(sent[0].method, "POST");
    (bench, outcome)
}

#[tokio::test]
async fn an_order_is_sent_once_as_announced_and_signed() {
    let (bench, outcome) = place_at(json(200, &filled(ORDER_ID))).await;
    let PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(report.broker_order_id.as_deref(), Some("28"));
    assert_eq!(report.fills[0].exec_id, "56");

    let request = &bench.server.requests(ORDER)[0];
    for (name, value) in [
        ("symbol", "BTCUSDT"),
        ("side", "BUY"),
        ("type", "LIMIT"),
        ("timeInForce", "GTC"),
        ("quantity", "1"),
        ("price", "30000"),
        ("newClientOrderId", ORDER_ID),
        ("newOrderRespType", "FULL"),
        ("selfTradePreventionMode", "EXPIRE_MAKER"),
        ("recvWindow", "5000"),
    ] {
        assert_eq!(request.parameter(name), Some(value), "{name}");
    }
    assert!(
        request.head.contains(&format!("x-mbx-apikey: {API_KEY}")),
        "{}",
        request.head
    );
    // The timestamp is the one that the gate stored, and the signature covers it.
    let started = bench.gate.started.lock().unwrap()[0].as_milliseconds().to_string();
    assert_eq!(request.parameter("timestamp"), Some(started.as_str()));
    let (signed, signature) = request.query.rsplit_once("&signature=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    assert!(hmac::verify(&key, signed.as_bytes(), &hex::decode(signature).unwrap()).is_ok());
}

#[tokio::test]
async fn a_market_order_has_no_price_and_no_time_in_force() {
    let bench = TestBench::start(|_| json(200, &filled(ORDER_ID))).await;
    let outcome = place(&bench, btc_placement(btc_order(ORDER_ID, "1", None, Ioc), MINUTE)).await;
    assert!(matches!(outcome, PlaceOutcome::Acknowledged(_)), "{outcome:?}");
    let request = &bench.server.requests(ORDER)[0];
    assert_eq!(request.parameter("type"), Some("MARKET"));
    assert_eq!(
        (request.parameter("price"), request.parameter("timeInForce")),
        (None, None)
    );
}

#[tokio::test]
async fn a_lost_or_unclear_reply_is_unknown_and_sends_nothing_more() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"symbol\"";
    let redirect = |status: u16| json_with(status, "Location: /api/v3/order?again=1\r\n", "");
    for (what, action) in [
        ("the connection closes before the reply", ServerAction::Close),
        ("the connection is reset before the reply", ServerAction::Reset),
        ("the reply is cut", ServerAction::WriteAndClose(head.into())),
        ("the reply never ends", ServerAction::Write(head.into())),
        ("there is no reply", ServerAction::StaySilent),
        (
            "the reply is no HTTP",
            ServerAction::WriteAndClose("\u{1}\u{2}\u{3}\r\n\r\n".into()),
        ),
        ("500", json(500, "")),
        ("502 of a proxy", json(502, "<html>bad gateway</html>")),
        (
            "503",
            json(503, r#"{"code":-1008,"msg":"Server is currently overloaded"}"#),
        ),
        (
            "504",
            json(
                504,
                r#"{"code":-1007,"msg":"Timeout waiting for response from backend server."}"#,
            ),
        ),
        (
            "503 of a rejection",
            json(503, r#"{"code":-2010,"msg":"Account has insufficient balance"}"#),
        ),
        (
            "-1006",
            json(400, r#"{"code":-1006,"msg":"Execution status unknown."}"#),
        ),
        ("an unlisted code", json(400, r#"{"code":-4242,"msg":"new"}"#)),
        (
            "a duplicate",
            json(400, r#"{"code":-2010,"msg":"Duplicate order sent."}"#),
        ),
        ("301", redirect(301)),
        ("302", redirect(302)),
        ("307", redirect(307)),
        ("308", redirect(308)),
        ("204", json(204, "")),
        ("a success that is no JSON", json(200, "<html>ok</html>")),
        ("a success about another order", json(200, &filled("other"))),
    ] {
        let (bench, outcome) = place_at(action).await;
        assert!(
            matches!(outcome, PlaceOutcome::OutcomeUnknown(_)),
            "{what}: {outcome:?}"
        );
        assert_eq!(*bench.gate.announced.lock().unwrap(), 1, "{what}");
        let shown = format!("{outcome:?}");
        assert!(
            !shown.contains(API_KEY) && !shown.contains("signature"),
            "{what}: {shown}"
        );
    }
}

#[tokio::test]
async fn the_venues_refusals_are_rejected_or_not_sent() {
    for (status, code, is_rejected) in [
        (400, -2010, true),
        (400, -1013, true),
        (400, -1111, true),
        (400, -1121, true),
        (400, -1021, false),
        (401, -2015, false),
        (400, -1022, false),
        (429, -1015, false),
        (429, -1003, false),
        (418, -1003, false),
    ] {
        let body = format!(r#"{{"code":{code},"msg":"scripted"}}"#);
        let (_, outcome) = place_at(json(status, &body)).await;
        match outcome {
            PlaceOutcome::Rejected(reason) => {
                assert!(is_rejected, "{code}");
                assert_eq!(reason.code, ReasonCode::BrokerRejected);
                assert!(reason.message.contains(&code.to_string()), "{}", reason.message);
            }
            PlaceOutcome::NotSent(NotSentReason::Unavailable(reason)) => {
                assert!(!is_rejected && reason.contains(&code.to_string()), "{reason}");
            }
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn refusals_that_last_close_intake_without_another_request() {
    for (status, headers, body) in [
        (
            429,
            "Retry-After: 30\r\n",
            r#"{"code":-1003,"msg":"Too many requests"}"#,
        ),
        (418, "Retry-After: 120\r\n", r#"{"code":-1003,"msg":"banned"}"#),
        (403, "", "<html>firewall</html>"),
        (429, "", r#"{"code":-1015,"msg":"Too many new orders"}"#),
        (
            401,
            "",
            r#"{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}"#,
        ),
        (
            400,
            "",
            r#"{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}"#,
        ),
    ] {
        let (bench, first) = place_at(json_with(status, headers, body)).await;
        assert!(matches!(first, PlaceOutcome::NotSent(_)), "{body}: {first:?}");
        let second = place(&bench, limit_order(Gtc)).await;
        assert!(
            matches!(second, PlaceOutcome::NotSent(NotSentReason::NotAccepted(_))),
            "{body}: {second:?}"
        );
        assert_eq!(bench.server.requests(ORDER).len(), 1, "{body}");
        assert_eq!(*bench.gate.announced.lock().unwrap(), 1, "{body}");
    }
}

#[tokio::test]
async fn an_unreachable_venue_means_not_announced_and_not_sent() {
    let bench = TestBench::start(|_| json(200, &filled(ORDER_ID))).await;
    bench.server.stop_listening().await;
    let outcome = place(&bench, limit_order(Gtc)).await;
    assert!(
        matches!(&outcome, PlaceOutcome::NotSent(NotSentReason::NotAccepted(reason)) if reason.contains("connection")),
        "{outcome:?}"
    );
    assert_eq!(*bench.gate.announced.lock().unwrap(), 0);
    assert_eq!(bench.server.requests(ORDER).len(), 0);
}

#[tokio::test]
async fn a_gate_that_refuses_sends_nothing() {
    let bench = TestBench::start(|_| json(200, &filled(ORDER_ID))).await;
    for refusal in [
        NotSentReason::LeaseLost,
        NotSentReason::Halted,
        NotSentReason::DeadlinePassed,
    ] {
        bench.gate.script.lock().unwrap().refuses_announcement = Some(refusal.clone());
        assert_eq!(
            place(&bench, limit_order(Gtc)).await,
            PlaceOutcome::NotSent(refusal.clone())
        );
        bench.gate.script.lock().unwrap().refuses_announcement = None;
        bench.gate.script.lock().unwrap().refuses_start = Some(refusal.clone());
        assert_eq!(place(&bench, limit_order(Gtc)).await, PlaceOutcome::NotSent(refusal));
        bench.gate.script.lock().unwrap().refuses_start = None;
    }
    assert_eq!(bench.server.requests(ORDER).len(), 0);
}

#[tokio::test]
async fn a_connection_that_closes_behind_the_gate_is_not_replaced() {
    for _ in 0..10 {
        let bench = TestBench::start(|_| json(200, &filled(ORDER_ID))).await;
        *bench.gate.at_start.lock().unwrap() = Some(Arc::clone(&bench.server));
        let outcome = place(&bench, limit_order(Gtc)).await;
        let arrived = bench.server.requests(ORDER).len();
        // Whether the close was seen before the first byte decides which; a new connection is never opened for the order.
        assert!(
            matches!(
                outcome,
                PlaceOutcome::NotSent(NotSentReason::Unavailable(_)) | PlaceOutcome::OutcomeUnknown(_)
            ),
            "{outcome:?}"
        );
        assert_eq!(arrived, 0);
    }
}

#[tokio::test]
async fn orders_share_a_connection_until_the_venue_closes_it() {
    // The reply names the order that was asked for.
    let bench = TestBench::start(|request| json(200, &filled(request.parameter("newClientOrderId").unwrap()))).await;
    let mut connections = Vec::new();
    for round in 0..4 {
        if round == 2 {
            bench.server.close_idle_connections().await;
        }
        // Each attempt is another order. A close that only its request meets makes its outcome unknown.
        for attempt in 0.. {
            let order = btc_order(&format!("BN-{round}-{attempt}"), "1", Some("30000"), Gtc);
            let outcome = place(&bench, btc_placement(order, MINUTE)).await;
            if matches!(outcome, PlaceOutcome::Acknowledged(_)) {
                break;
            }
            assert!(round == 2 && attempt < 10, "{outcome:?}");
        }
        connections.push(bench.server.requests(ORDER).last().unwrap().connection);
    }
    assert_eq!(connections[0], connections[1]);
    assert_ne!(connections[1], connections[2]);
    assert_eq!(connections[2], connections[3]);
}

#[tokio::test]
async fn the_window_ends_with_the_deadline_and_a_passed_one_sends_nothing() {
    let bench = TestBench::start(|_| json(200, &filled(ORDER_ID))).await;
    let order = btc_order(ORDER_ID, "1", Some("30000"), Gtc);
    place(&bench, btc_placement(order, Duration::from_secs(2))).await;
    let window: u64 = bench.server.requests(ORDER)[0]
        .parameter("recvWindow")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=2_000).contains(&window), "{window}");
    let mut late = btc_placement(btc_order("BN-late", "1", Some("30000"), Gtc), MINUTE);
    late.deadline = Timestamp::from_milliseconds(Timestamp::now().as_milliseconds() - 1);
    assert_eq!(
        place(&bench, late).await,
        PlaceOutcome::NotSent(NotSentReason::DeadlinePassed)
    );
    assert_eq!(bench.server.requests(ORDER).len(), 1);
}

#[tokio::test]
async fn terms_that_the_venue_lacks_are_rejected_here() {
    let bench = TestBench::start(|_| json(200, &filled(ORDER_ID))).await;
    for (quantity, price, time_in_force) in [
        ("1", Some("30000"), Day),
        ("1", None, Fok),
        ("1", Some("30000.001"), Gtc),
        ("0.000001", Some("30000"), Gtc),
    ] {
        let order = btc_order(ORDER_ID, quantity, price, time_in_force);
        let outcome = place(&bench, btc_placement(order, MINUTE)).await;
        assert!(matches!(outcome, PlaceOutcome::Rejected(_)), "{outcome:?}");
    }
    assert_eq!(bench.server.requests(ORDER).len(), 0);
    assert_eq!(*bench.gate.announced.lock().unwrap(), 0);
}

#[tokio::test]
async fn without_clock_or_rules_nothing_is_sent() {
    let server = Arc::new(ScriptedServer::start(|_| json(200, EXCHANGE_INFO)).await);
    let bench = TestBench::at(server, "ws://127.0.0.1:9/");
    for what in ["rules", "clock"] {
        let outcome = place(&bench, limit_order(Gtc)).await;
        assert!(
            matches!(&outcome, PlaceOutcome::NotSent(NotSentReason::NotAccepted(reason)) if reason.contains(what)),
            "{outcome:?}"
        );
        crate::brokers::binance::maintenance::read_rules(&bench.session)
            .await
            .unwrap();
    }
    assert_eq!(*bench.gate.announced.lock().unwrap(), 0);
}

#[tokio::test]
async fn an_immediate_order_keeps_its_fills_when_its_remainder_ends() {
    let body = filled(ORDER_ID)
        .replace("FILLED", "EXPIRED")
        .replace("\"executedQty\":\"1.0\"", "\"executedQty\":\"0.4\"");
    let (_, outcome) = place_at(json(200, &body.replace("\"qty\":\"1.0\"", "\"qty\":\"0.4\""))).await;
    let PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(report.cumulative_quantity, Some(decimal("0.4")));
    assert_eq!(report.fills.len(), 1);
}

#[test]
fn not_found_replies_count_only_after_the_latest_effect() {
    let window = Duration::from_millis(InquirySettings::default().not_found_window_ms);
    assert!(window >= LATEST_EFFECT + Duration::from_secs(5));
}
