//! The venue's WebSocket API and market streams, by a WebSocket client over real connections.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use base64::Engine as _;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::support::poll;
use crate::venue_fixture::{SOON, Stream, TestVenue, signed_params, signed_params_by};

fn order(price: &str, client_order_id: &str) -> Value {
    json!({
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01",
        "price": price,
        "newClientOrderId": client_order_id,
    })
}

#[tokio::test]
async fn methods_answer_like_rest() {
    let venue = TestVenue::start(&[]).await;
    let mut api = venue.ws_api().await;
    let pong = api.call("ping", json!({})).await;
    assert_eq!((&pong["status"], &pong["result"]), (&json!(200), &json!({})));
    assert_eq!(pong["rateLimits"][0]["rateLimitType"], "REQUEST_WEIGHT");
    assert!(api.call("v3/time", json!({})).await["result"]["serverTime"].is_u64());
    let info = api
        .call(
            "exchangeInfo",
            json!({"symbols": ["BTCUSDT"], "returnRateLimits": false}),
        )
        .await;
    assert_eq!(info["result"]["symbols"][0]["symbol"], "BTCUSDT");
    assert!(info.get("rateLimits").is_none());
    let placed = api.signed("order.place", order("20000", "ws-1")).await;
    assert_eq!(
        (&placed["status"], &placed["result"]["status"]),
        (&json!(200), &json!("NEW"))
    );
    assert_eq!(placed["rateLimits"][0]["rateLimitType"], "ORDERS");
    let id = &placed["result"]["orderId"];
    let status = api
        .signed("order.status", json!({"symbol": "BTCUSDT", "orderId": id}))
        .await;
    assert_eq!(status["result"]["clientOrderId"], "ws-1");
    let open = api.signed("openOrders.status", json!({"symbol": "BTCUSDT"})).await;
    assert_eq!(open["result"].as_array().unwrap().len(), 1);
    let mut replacement = order("20001", "ws-2");
    replacement["cancelReplaceMode"] = "STOP_ON_FAILURE".into();
    replacement["cancelOrderId"] = id.clone();
    let replaced = api.signed("order.cancelReplace", replacement.clone()).await;
    assert_eq!(replaced["result"]["newOrderResult"], "SUCCESS");
    let failed = api.signed("order.cancelReplace", replacement).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!(400), &json!(-2022))
    );
    assert_eq!(failed["error"]["data"]["cancelResult"], "FAILURE");
    let cancel = json!({"symbol": "BTCUSDT", "origClientOrderId": "ws-2"});
    assert_eq!(api.signed("order.cancel", cancel).await["result"]["status"], "CANCELED");
    // A request is executed before the next one of its connection.
    for number in 0..20 {
        let id = format!("pipelined-{number}");
        let cancel = json!({"symbol": "BTCUSDT", "origClientOrderId": id});
        for (method, params) in [("order.place", order("20000", &id)), ("order.cancel", cancel)] {
            let request = json!({"id": method, "method": method, "params": signed_params(params)});
            api.send_text(&request.to_string()).await;
        }
        for method in ["order.place", "order.cancel"] {
            let answer = api.next().await.unwrap();
            assert_eq!(
                (&answer["id"], &answer["status"]),
                (&json!(method), &json!(200)),
                "{answer}"
            );
        }
    }
    let account = api.signed("account.status", json!({})).await;
    assert_eq!(account["result"]["canTrade"], true);
    for (text, code) in [
        ("nonsense", -1135),
        (r#"{"id":1}"#, -1102),
        (r#"{"id":1,"method":"order.fly"}"#, -1020),
        (r#"{"id":1,"method":"order.place","params":[]}"#, -1130),
        (r#"{"id":1,"method":"order.place","params":{}}"#, -2014),
        (r#"{"id":1,"method":"userDataStream.subscribe"}"#, -1002),
        (r#"{"id":1,"method":"userDataStream.unsubscribe"}"#, -2036),
    ] {
        api.send_text(text).await;
        let answer = api.next().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{text}: {answer}");
    }
}

#[tokio::test]
async fn executions_and_balances_are_published_in_full() {
    let venue = TestVenue::start(&[]).await;
    let mut stream = venue.user_stream().await;
    let id = venue.place(&[("newClientOrderId", "bid")]).await.ok()["orderId"].clone();
    let event = stream.event().await;
    assert_eq!(event["subscriptionId"], 0);
    let report = &event["event"];
    let mut names: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = "C E F I L M N O P Q S T V W X Y Z c e f g i l m n o p q r s t w x z";
    let mut expected: Vec<&str> = expected.split(' ').collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (field, value) in [
        ("e", json!("executionReport")),
        ("c", json!("bid")),
        ("C", json!("")),
        ("x", json!("NEW")),
        ("X", json!("NEW")),
        ("i", id.clone()),
        ("q", json!("0.01000000")),
        ("t", json!(-1)),
        ("N", Value::Null),
        ("w", json!(true)),
        ("g", json!(-1)),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    let position = stream.event().await;
    assert_eq!(
        position["event"]["B"],
        json!([{"a": "USDT", "f": "999800.00000000", "l": "200.00000000"}])
    );
    let part = json!({"orderId": id, "quantity": "0.004"});
    venue.control("/control/fills", part).await.ok();
    let fill = stream.execution().await;
    for (field, value) in [
        ("x", json!("TRADE")),
        ("X", json!("PARTIALLY_FILLED")),
        ("l", json!("0.00400000")),
        ("L", json!("20000.00000000")),
        ("Y", json!("80.00000000")),
        ("z", json!("0.00400000")),
        ("n", json!("0.00000400")),
        ("N", json!("BTC")),
        ("m", json!(true)),
        ("t", json!(1)),
    ] {
        assert_eq!(fill[field], value, "{field}");
    }
    venue.cancel(id.as_i64().unwrap()).await.ok();
    let cancel = stream.execution().await;
    assert_eq!(
        (&cancel["x"], &cancel["C"], &cancel["z"]),
        (&json!("CANCELED"), &json!("bid"), &json!("0.00400000"))
    );
    assert_ne!(cancel["c"], "bid", "a cancel carries its own id");
    let transfer = json!({"account": "venue-key", "asset": "BTC", "amount": "2"});
    venue.control("/control/transfers", transfer).await.ok();
    let update = loop {
        let event = stream.event().await;
        if event["event"]["e"] == "balanceUpdate" {
            break event;
        }
    };
    assert_eq!(
        (&update["event"]["a"], &update["event"]["d"]),
        (&json!("BTC"), &json!("2.00000000"))
    );
}

#[tokio::test]
async fn sessions_log_on_with_ed25519_only() {
    let random = SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let base64 = &base64::engine::general_purpose::STANDARD;
    let key = format!("ed-key@venue-key:ed25519:{}", base64.encode(pair.public_key().as_ref()));
    let venue = TestVenue::start(&["--key", &key, "--key", "venue-key:venue-secret"]).await;
    let mut api = venue.ws_api().await;
    let hmac = api.signed("session.logon", json!({})).await;
    assert_eq!(hmac["error"]["code"], -4056, "{hmac}");
    let sign = |payload: &str| base64.encode(pair.sign(payload.as_bytes()).as_ref());
    let wrong = signed_params_by(json!({}), "ed-key", |payload| sign(&payload.replace('1', "2")));
    assert_eq!(api.call("session.logon", wrong).await["error"]["code"], -1022);
    let logon = api
        .call("session.logon", signed_params_by(json!({}), "ed-key", sign))
        .await;
    assert_eq!(
        (&logon["status"], &logon["result"]["apiKey"]),
        (&json!(200), &json!("ed-key"))
    );
    let mut params = order("20000", "session-1");
    params["timestamp"] = crate::venue_fixture::now_ms().into();
    let subscribed = api.call("userDataStream.subscribe", json!({})).await;
    assert_eq!(subscribed["result"]["subscriptionId"], 0);
    assert_eq!(
        api.call("userDataStream.subscribe", json!({})).await["error"]["code"],
        -2035
    );
    assert_eq!(
        api.call("order.place", params).await["result"]["clientOrderId"],
        "session-1"
    );
    assert_eq!(api.execution().await["c"], "session-1");
    assert_eq!(
        api.call("session.status", json!({})).await["result"]["userDataStream"],
        true
    );
    assert_eq!(
        api.call("userDataStream.unsubscribe", json!({})).await["result"],
        json!({})
    );
    let ended = loop {
        let event = api.event().await;
        if event["event"]["e"] == "eventStreamTerminated" {
            break event;
        }
    };
    assert_eq!(ended["subscriptionId"], 0);
    let logout = api.call("session.logout", json!({})).await;
    assert_eq!(logout["result"]["apiKey"], Value::Null);
}

#[tokio::test]
async fn streams_are_pinged_and_announce_the_shutdown() {
    // Three unanswered pings close a connection, and these are not read all the time.
    let mut venue = TestVenue::start(&["--ping-interval-ms", "4000"]).await;
    let mut api = venue.ws_api().await;
    let mut market = Stream::open(&format!("{}/ws/btcusdt@bookTicker", venue.ws)).await;
    let mut combined = Stream::open(&format!("{}/stream?streams=btcusdt@bookTicker", venue.ws)).await;
    assert_eq!(
        market.next().await.unwrap()["a"],
        "0.00000000",
        "the current prices come first"
    );
    assert_eq!(combined.next().await.unwrap()["data"]["s"], "BTCUSDT");
    poll::until(SOON, "a ping", async || {
        api.call("ping", json!({})).await;
        api.pings > 0
    })
    .await;
    venue.place(&[]).await.ok();
    let ticker = market.next().await.unwrap();
    assert_eq!(
        (&ticker["b"], &ticker["B"]),
        (&json!("20000.00000000"), &json!("0.01000000"))
    );
    let ticker = combined.next().await.unwrap();
    assert_eq!(
        (&ticker["stream"], &ticker["data"]["b"]),
        (&json!("btcusdt@bookTicker"), &json!("20000.00000000"))
    );
    market
        .send_text(r#"{"method":"SUBSCRIBE","params":["ethusdt@bookTicker"],"id":7}"#)
        .await;
    assert_eq!(market.next().await.unwrap(), json!({"result": null, "id": 7}));
    assert_eq!(market.next().await.unwrap()["s"], "ETHUSDT");
    venue.process.process().signal("TERM");
    assert_eq!(api.next().await.unwrap()["event"]["e"], "serverShutdown");
    assert_eq!(market.next().await.unwrap()["e"], "serverShutdown");
    assert_eq!(combined.next().await.unwrap()["stream"], "!serverShutdown");
    assert_eq!(api.next().await, None);
    assert!(venue.process.process().wait(SOON).await.success());
}
