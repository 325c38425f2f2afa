//! The venue's REST API over real HTTP: answers, errors, signatures and limits as the documentation has them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use reqwest::Method;
use serde_json::{Value, json};

use crate::venue_fixture::{KEY, SECRET, TestVenue, changed, now_ms, sign_hmac};

fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn market_data_has_the_documented_form() {
    let venue = TestVenue::start(&[]).await;
    assert_eq!(venue.get("/api/v3/ping").await.ok(), json!({}));
    let time = venue.get("/api/v3/time").await.ok()["serverTime"].as_u64().unwrap();
    assert!(now_ms().abs_diff(time) < 20_000);
    let info = venue.get("/api/v3/exchangeInfo?symbol=BTCUSDT").await.ok();
    let symbol = &info["symbols"][0];
    assert_eq!(
        (&symbol["baseAsset"], &symbol["status"]),
        (&json!("BTC"), &json!("TRADING"))
    );
    let filters = symbol["filters"].as_array().unwrap();
    let filter = |kind: &str| filters.iter().find(|filter| filter["filterType"] == kind).unwrap();
    assert_eq!(filter("PRICE_FILTER")["tickSize"], "0.01000000");
    assert_eq!(filter("LOT_SIZE")["stepSize"], "0.00001000");
    assert_eq!(filter("NOTIONAL")["minNotional"], "5.00000000");
    assert_eq!(filter("MAX_NUM_ORDERS")["maxNumOrders"], 200);
    assert_eq!(info["rateLimits"][0]["limit"], 6_000);
    let all = venue.get("/api/v3/exchangeInfo").await.ok();
    assert_eq!(all["symbols"].as_array().unwrap().len(), 2);
    let unknown = venue.get("/api/v3/exchangeInfo?symbol=NOPE").await;
    assert_eq!(unknown.error(), (400, -1121));
    venue.place(&[]).await.ok();
    let depth = venue.get("/api/v3/depth?symbol=BTCUSDT&limit=5").await.ok();
    assert_eq!(depth["bids"], json!([["20000.00000000", "0.01000000"]]));
    let ticker = venue.get("/api/v3/ticker/bookTicker?symbol=BTCUSDT").await.ok();
    assert_eq!(
        (&ticker["bidPrice"], &ticker["askQty"]),
        (&json!("20000.00000000"), &json!("0.00000000"))
    );
    let prices = venue.get("/api/v3/ticker/price?symbols=%5B%22ETHUSDT%22%5D").await.ok();
    assert_eq!(prices, json!([{"symbol": "ETHUSDT", "price": "2000.00000000"}]));
    assert_eq!(venue.get("/api/v3/nothing").await.status, 404);
    assert_eq!(venue.get("/api/v3/order/test").await.status, 405);
}

#[tokio::test]
async fn order_is_placed_filled_queried_and_cancelled() {
    let venue = TestVenue::start(&["--key", "other:hush", "--key", "venue-key:venue-secret"]).await;
    let sell = changed(&[("side", "SELL"), ("quantity", "0.005"), ("newClientOrderId", "ask-1")]);
    let other = venue
        .signed_as("other", "hush", Method::POST, "/api/v3/order", &sell)
        .await
        .unwrap();
    assert_eq!(other.ok()["status"], "NEW");
    let placed = venue.place(&[("newClientOrderId", "bid-1"), ("price", "21000")]).await;
    assert_eq!(
        placed.header("x-mbx-order-count-10s"),
        Some("0"),
        "it is partly filled, so it does not count"
    );
    assert_eq!(
        placed.header("x-mbx-used-weight-1m"),
        Some("0"),
        "a placed order costs no weight"
    );
    let body = placed.ok();
    assert_eq!(
        (&body["status"], &body["executedQty"]),
        (&json!("PARTIALLY_FILLED"), &json!("0.00500000"))
    );
    assert_eq!(body["cummulativeQuoteQty"], "100.00000000");
    let fill = &body["fills"][0];
    assert_eq!(
        fields(fill),
        ["commission", "commissionAsset", "price", "qty", "tradeId"]
    );
    assert_eq!(
        (&fill["price"], &fill["commission"]),
        (&json!("20000.00000000"), &json!("0.00000500"))
    );
    let id = body["orderId"].as_i64().unwrap();
    let queried = venue.query(id).await.ok();
    assert_eq!(
        fields(&queried),
        [
            "clientOrderId",
            "cummulativeQuoteQty",
            "executedQty",
            "icebergQty",
            "isWorking",
            "orderId",
            "orderListId",
            "origQty",
            "origQuoteOrderQty",
            "price",
            "selfTradePreventionMode",
            "side",
            "status",
            "stopPrice",
            "symbol",
            "time",
            "timeInForce",
            "type",
            "updateTime",
            "workingTime",
        ]
    );
    let open = venue
        .signed(Method::GET, "/api/v3/openOrders", &[("symbol", "BTCUSDT")])
        .await
        .ok();
    assert_eq!(open[0], queried);
    let trades = venue
        .signed(Method::GET, "/api/v3/myTrades", &[("symbol", "BTCUSDT")])
        .await
        .ok();
    assert_eq!(
        (&trades[0]["orderId"], &trades[0]["isMaker"]),
        (&json!(id), &json!(false))
    );
    let account = venue.signed(Method::GET, "/api/v3/account", &[]).await.ok();
    let balance = |asset: &str| {
        let balances = account["balances"].as_array().unwrap().iter();
        balances
            .clone()
            .find(|balance| balance["asset"] == asset)
            .unwrap()
            .clone()
    };
    assert_eq!(balance("USDT")["locked"], "105.00000000");
    assert_eq!(balance("BTC")["free"], "100.00499500");
    assert_eq!(account["makerCommission"], 10);
    let params = [
        ("symbol", "BTCUSDT"),
        ("origClientOrderId", "bid-1"),
        ("newClientOrderId", "cancel-1"),
    ];
    let cancelled = venue.signed(Method::DELETE, "/api/v3/order", &params).await.ok();
    assert_eq!(
        (&cancelled["origClientOrderId"], &cancelled["clientOrderId"]),
        (&json!("bid-1"), &json!("cancel-1"))
    );
    assert_eq!(cancelled["status"], "CANCELED");
    let all = venue
        .signed(Method::GET, "/api/v3/allOrders", &[("symbol", "BTCUSDT")])
        .await
        .ok();
    assert_eq!(all[0]["status"], "CANCELED");
    let executions = venue.executions().await;
    let accounts: Vec<&Value> = executions.iter().map(|execution| &execution["account"]).collect();
    assert_eq!(accounts, ["other", "venue-key"]);
    let permissions = venue
        .signed(Method::GET, "/sapi/v1/account/apiRestrictions", &[])
        .await
        .ok();
    assert_eq!(permissions["enableWithdrawals"], false);
}

#[tokio::test]
async fn each_answer_type_says_what_it_should() {
    let venue = TestVenue::start(&[]).await;
    for (response, has_status, has_fills) in [("ACK", false, false), ("RESULT", true, false), ("FULL", true, true)] {
        let body = venue.place(&[("newOrderRespType", response)]).await.ok();
        assert_eq!(body.get("status").is_some(), has_status, "{response}");
        assert_eq!(body.get("fills").is_some(), has_fills, "{response}");
    }
    assert_eq!(
        venue
            .signed(Method::POST, "/api/v3/order/test", &changed(&[]))
            .await
            .ok(),
        json!({})
    );
    let limits = venue.signed(Method::GET, "/api/v3/rateLimit/order", &[]).await.ok();
    assert!(limits[0]["count"].as_u64().unwrap() <= 3, "{limits}");
    assert_eq!(limits[1]["count"], 3);
    let body = venue
        .signed(Method::DELETE, "/api/v3/openOrders", &[("symbol", "BTCUSDT")])
        .await
        .ok();
    assert_eq!(body.as_array().unwrap().len(), 3);
    let none = venue
        .signed(Method::DELETE, "/api/v3/openOrders", &[("symbol", "BTCUSDT")])
        .await;
    assert_eq!(none.error(), (400, -2011));
}

#[tokio::test]
async fn invalid_orders_get_the_documented_errors() {
    let venue = TestVenue::start(&["--balance", "USDT=1000", "--balance", "BTC=1"]).await;
    let long = "a".repeat(37);
    for (changes, error) in [
        (&[("symbol", "NOPE")][..], (400, -1121)),
        (&[("symbol", "btcusdt")], (400, -1100)),
        (&[("symbol", "")], (400, -1102)),
        (&[("side", "HOLD")], (400, -1117)),
        (&[("type", "ICEBERG")], (400, -1116)),
        (&[("timeInForce", "DAY")], (400, -1115)),
        (&[("timeInForce", "")], (400, -1102)),
        (&[("quantity", "")], (400, -1102)),
        (&[("quantity", "0.000000001")], (400, -1111)),
        (&[("quantity", "1e-3")], (400, -1100)),
        (&[("quantity", "0.000001")], (400, -1013)),
        (&[("quantity", "0")], (400, -1013)),
        (&[("price", "20000.001")], (400, -1013)),
        (&[("quantity", "0.0001")], (400, -1013)),
        (&[("newClientOrderId", "a.b")], (400, -1100)),
        (&[("newClientOrderId", &long)], (400, -1100)),
        (&[("selfTradePreventionMode", "SOMETIMES")], (400, -1013)),
        (&[("type", "MARKET")], (400, -1106)),
        (
            &[("type", "MARKET"), ("timeInForce", ""), ("price", ""), ("quantity", "")],
            (400, -1102),
        ),
        (&[("stopPrice", "1")], (400, -1106)),
        (&[("colour", "red")], (400, -1104)),
        (&[("quantity", "1")], (400, -2010)),
        (&[("recvWindow", "60001")], (400, -1102)),
    ] {
        let answer = venue.place(changes).await;
        assert_eq!(answer.error(), error, "{changes:?}: {}", answer.body);
    }
    let balance = venue.place(&[("quantity", "1")]).await;
    assert_eq!(
        balance.body["msg"],
        "Account has insufficient balance for requested action."
    );
    venue.place(&[("newClientOrderId", "x")]).await.ok();
    let duplicate = venue.place(&[("newClientOrderId", "x")]).await;
    assert_eq!(
        (duplicate.error(), &duplicate.body["msg"]),
        ((400, -2010), &json!("Duplicate order sent."))
    );
    assert_eq!(venue.query(99).await.error(), (400, -2013));
    assert_eq!(venue.cancel(99).await.error(), (400, -2011));
    let none = venue
        .signed(Method::GET, "/api/v3/order", &[("symbol", "BTCUSDT")])
        .await;
    assert_eq!(none.error(), (400, -1102));
    for status in ["HALT", "CANCEL_ONLY", "TRADING"] {
        venue
            .control("/control/symbols/BTCUSDT", json!({"status": status}))
            .await
            .ok();
        let placed = venue.place(&[]).await;
        assert_eq!(placed.status == 200, status == "TRADING", "{status}: {}", placed.body);
        let info = venue.get("/api/v3/exchangeInfo?symbol=BTCUSDT").await.ok();
        assert_eq!(info["symbols"][0]["status"], status);
    }
}

#[tokio::test]
async fn requests_are_authenticated_by_key_signature_and_time() {
    let venue = TestVenue::start(&[]).await;
    let account = "/api/v3/account";
    let signed = |payload: &str, secret: &str| format!("{account}?{payload}&signature={}", sign_hmac(secret, payload));
    let at = |shift: i64| format!("timestamp={}", now_ms().saturating_add_signed(shift));
    for (key, target, error) in [
        (None, signed(&at(0), SECRET), (401, -2014)),
        (Some("not a key"), signed(&at(0), SECRET), (401, -2014)),
        (Some("unknown"), signed(&at(0), SECRET), (401, -2015)),
        (Some(KEY), signed(&at(0), "wrong"), (400, -1022)),
        (Some(KEY), format!("{account}?{}", at(0)), (400, -1102)),
        (Some(KEY), signed("recvWindow=5000", SECRET), (400, -1102)),
        (Some(KEY), signed(&at(-30_000), SECRET), (400, -1021)),
        (Some(KEY), signed(&at(30_000), SECRET), (400, -1021)),
        (
            Some(KEY),
            signed(&format!("{}&recvWindow=60000", at(-30_000)), SECRET),
            (200, 0),
        ),
        (
            Some(KEY),
            signed(&format!("timestamp={}000", now_ms()), SECRET),
            (200, 0),
        ),
    ] {
        let answer = venue.send(Method::GET, &target, key, None).await.unwrap();
        assert_eq!(answer.error(), error, "{target}: {}", answer.body);
    }
    // The payload is signed as it is sent, percent-encoded; parameters may come in the body.
    let query = "symbol=BTC%55SDT&side=BUY&type=LIMIT";
    let body = format!("timeInForce=GTC&quantity=0.01&price=20000&{}", at(0));
    let signature = sign_hmac(SECRET, &format!("{query}{body}"));
    let target = format!("/api/v3/order?{query}");
    let with_signature = format!("{body}&signature={signature}");
    let placed = venue
        .send(Method::POST, &target, Some(KEY), Some(with_signature))
        .await
        .unwrap();
    assert_eq!(placed.ok()["symbol"], "BTCUSDT");
    let decoded = sign_hmac(SECRET, &format!("{}{body}", query.replace("%55", "U")));
    let with_signature = format!("{body}&signature={decoded}");
    let refused = venue
        .send(Method::POST, &target, Some(KEY), Some(with_signature))
        .await
        .unwrap();
    assert_eq!(refused.error(), (400, -1022));
}

#[tokio::test]
async fn replacements_and_amendments_answer_both_halves() {
    let venue = TestVenue::start(&[]).await;
    let id = venue.place(&[]).await.ok()["orderId"].as_i64().unwrap().to_string();
    let replace = |id: &str, mode: &str, price: &str| {
        let mut params = changed(&[("price", price)]);
        params.retain(|(_, value)| !value.is_empty());
        let own = [("cancelOrderId", id), ("cancelReplaceMode", mode)];
        let owned: Vec<(String, String)> = params
            .iter()
            .chain(&own)
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        owned
    };
    let send = async |params: Vec<(String, String)>| {
        let params: Vec<(&str, &str)> = params
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        venue.signed(Method::POST, "/api/v3/order/cancelReplace", &params).await
    };
    let both = send(replace(&id, "STOP_ON_FAILURE", "20001")).await.ok();
    assert_eq!(
        (&both["cancelResult"], &both["newOrderResult"]),
        (&json!("SUCCESS"), &json!("SUCCESS"))
    );
    assert_eq!(both["cancelResponse"]["status"], "CANCELED");
    let second = both["newOrderResponse"]["orderId"].as_i64().unwrap().to_string();
    let none = send(replace(&id, "STOP_ON_FAILURE", "20001")).await;
    assert_eq!(none.error(), (400, -2022));
    assert_eq!(none.body["data"]["newOrderResult"], "NOT_ATTEMPTED");
    assert_eq!(none.body["data"]["newOrderResponse"], Value::Null);
    assert_eq!(none.body["data"]["cancelResponse"]["code"], -2011);
    let second_half = send(replace(&id, "ALLOW_FAILURE", "20002")).await;
    assert_eq!(second_half.error(), (409, -2021));
    assert_eq!(second_half.body["data"]["newOrderResponse"]["status"], "NEW");
    let mut too_large = replace(&second, "STOP_ON_FAILURE", "20000");
    for (name, value) in &mut too_large {
        if name == "quantity" {
            *value = "100".into();
        }
    }
    let first_half = send(too_large.clone()).await;
    assert_eq!(first_half.error(), (409, -2021));
    assert_eq!(first_half.body["data"]["cancelResult"], "SUCCESS");
    assert_eq!(first_half.body["data"]["newOrderResponse"]["code"], -2010);
    too_large.retain(|(name, _)| name != "cancelReplaceMode");
    too_large.push(("cancelReplaceMode".into(), "ALLOW_FAILURE".into()));
    assert_eq!(send(too_large).await.error(), (400, -2022));
    let id = venue.place(&[]).await.ok()["orderId"].as_i64().unwrap().to_string();
    let amend = |quantity: &'static str| [("symbol", "BTCUSDT"), ("orderId", id.as_str()), ("newQty", quantity)];
    let amended = venue
        .signed(Method::PUT, "/api/v3/order/amend/keepPriority", &amend("0.005"))
        .await
        .ok();
    assert_eq!(amended["amendedOrder"]["qty"], "0.00500000");
    let raised = venue
        .signed(Method::PUT, "/api/v3/order/amend/keepPriority", &amend("0.02"))
        .await;
    assert_eq!(raised.error(), (400, -2038));
}

#[tokio::test]
async fn limits_refuse_then_ban() {
    let limits = [
        "--weight-limit",
        "60",
        "--ban-after",
        "3",
        "--orders-per-10s",
        "1000",
        "--orders-per-day",
        "2",
    ];
    let venue = TestVenue::start(&limits).await;
    venue.place(&[]).await.ok();
    venue.place(&[]).await.ok();
    let refused = venue.place(&[]).await;
    assert_eq!(refused.error(), (429, -1015));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(refused.header("x-mbx-order-count-1d"), Some("2"));
    // A minute may end within these requests; the second round is in one minute then.
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = venue.get("/api/v3/exchangeInfo").await;
        if answer.status == 429 {
            assert_eq!(answer.error(), (429, -1003));
            let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
        }
        statuses.push(answer.status);
    }
    statuses.dedup();
    assert!(statuses.ends_with(&[200, 429, 418]), "{statuses:?}");
    let banned = venue.get("/api/v3/ping").await;
    assert_eq!(banned.error(), (418, -1003));
    assert!(banned.header("retry-after").unwrap().parse::<u64>().unwrap() > 60);
    venue.control("/control/limits/reset", json!({})).await.ok();
    assert_eq!(venue.get("/api/v3/ping").await.status, 200);
}

#[tokio::test]
async fn market_maker_moves_the_book_and_fills_resting_orders() {
    let args = ["--market-maker", "--market-maker-interval-ms", "20", "--seed", "3"];
    let venue = TestVenue::start(&args).await;
    let at_market = venue
        .place(&[
            ("type", "MARKET"),
            ("timeInForce", ""),
            ("price", ""),
            ("quantity", "0.001"),
        ])
        .await;
    assert_eq!(at_market.ok()["status"], "FILLED");
    let body = venue.place(&[("price", "29990"), ("quantity", "0.5")]).await.ok();
    let id = body["orderId"].as_i64().unwrap();
    crate::support::poll::until(crate::venue_fixture::SOON, "the order is filled in parts", async || {
        let order = venue.query(id).await.ok();
        venue.control("/control/limits/reset", json!({})).await.ok();
        order["executedQty"] != "0.00000000"
    })
    .await;
}
