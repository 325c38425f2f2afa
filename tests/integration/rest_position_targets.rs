//! `POST /positions/{id}/close` and `order-router close`: targets beyond the position or on the other side of zero, and what
//! is less than one lot.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::subjects;
use serde_json::{Value, json};

use crate::rest_commands::run;
use crate::rest_fixture::{RestResponse, client};
use crate::rest_positions::{close, holding, id_of, journal_length, number, trade};
use crate::rest_router::{Router, order};
use crate::rig::SOON;
use crate::support::poll;

#[tokio::test(flavor = "multi_thread")]
async fn target_beyond_the_position_is_an_ordinary_order_only_on_request() {
    let router = Router::start().await;
    trade(&router, "one", "buy", "0.02", "30000").await;
    let id = id_of(&holding(&router, "default").await);
    for (target, said) in [
        ("0.03", "must be between 0 and the held quantity 0.02"),
        ("-0.01", "must be between 0 and the held quantity 0.02"),
        ("0.02", "is reached: the position is 0.02 already"),
    ] {
        let before = journal_length(&router).await;
        let refused = close(&router, &id, None, &format!(r#"{{"target_quantity": {target}}}"#)).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "invalid_field"),
            "{target}"
        );
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said), "{detail}");
        assert_eq!(detail.contains("allow_increase: true"), target != "0.02", "{detail}");
        assert_eq!(journal_length(&router).await, before);
    }
    for (key, target, side, quantity) in [
        ("up", "0.03", "buy", json!(0.01)),
        ("through", "-0.01", "sell", json!(0.04)),
        ("back", "0", "buy", json!(0.01)),
        // The position is flat: an order opens it again.
        ("again", "0.005", "buy", json!(0.005)),
    ] {
        let body = format!(r#"{{"target_quantity": "{target}", "allow_increase": true}}"#);
        let moved = close(&router, &id, Some(key), &body).await;
        assert_eq!(moved.status, 200, "{moved:?}");
        let report = &moved.json()["order"];
        assert_eq!(
            (&report["side"], &report["quantity"]),
            (&json!(side), &quantity),
            "{key}"
        );
        let held = moved.json()["positions"]["items"][0]["holdings"][0]["quantity"].clone();
        assert_eq!(held.is_null(), target == "0", "{moved:?}");
        if target != "0" {
            assert_eq!(number(&held), target.parse().unwrap(), "{key}");
        }
        let replay = close(&router, &id, Some(key), &body).await;
        assert_eq!(
            (replay.status, replay.header("idempotent-replay")),
            (200, "true"),
            "{key}"
        );
    }
    // The ordinary order is subject to the trading state; a reduction is not.
    let state = json!({"trading_state": "reduce_only", "reason": "test"});
    let url = format!("http://{}/state", router.sidecar.address());
    let request = client().put(url).header("Content-Type", "application/json");
    let changed = RestResponse::read(request.body(state.to_string()).send().await.unwrap()).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let denied = close(&router, &id, None, r#"{"target_quantity": 1, "allow_increase": true}"#).await;
    assert_eq!(denied.status, 403, "{denied:?}");
    let closed = close(&router, &id, None, r#"{"target_quantity": 0, "allow_increase": true}"#).await;
    assert_eq!(closed.status, 200, "{closed:?}");
}

/// Starts a router whose venue takes its fee of a buy in BTC: 0.5 bought at one in 100 000 leave 0.499995.
async fn router_with_dust() -> Router {
    let router = Router::start_with(|rig| {
        rig.settings.brokers.paper_fees.rate = "0.00001".to_owned();
        rig.settings.brokers.paper_fees.paid_in = "received".to_owned();
    })
    .await;
    let over = json!({"quantity": "0.5", "price": "30000"});
    assert_eq!(router.submit(&order("in", &over)).await.status, 201);
    router
}

/// Books a change of the position.
async fn adjust(router: &Router, id: &str, quantity: &str) {
    let body = json!({"adjustment_id": id, "account_id": "default", "venue": "binance.spot", "symbol": "BTCUSDT",
        "quantity": quantity, "price": "30000", "actor": "mira", "reason": "below one lot"});
    let caller = router.rig.caller().await;
    caller.call(subjects::ADJUST, &body.to_string()).await.unwrap();
}

async fn units(router: &Router) -> String {
    let store = router.rig.store().await;
    store["account:paper:default"]["binance.spot:BTCUSDT.position"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn close_names_what_is_less_than_a_lot_and_an_adjustment_clears_it() {
    let router = router_with_dust().await;
    // The order log counts a fee in the traded asset as the shared sums do.
    let held = holding(&router, "default").await;
    assert_eq!(held["quantity"], json!(0.499995));
    assert_eq!(units(&router).await, "49999500");
    let id = id_of(&held);
    let closed = close(&router, &id, Some("k"), "").await;
    assert_eq!(closed.status, 200, "{closed:?}");
    let body = closed.json();
    assert_eq!(
        (
            &body["order"]["status"],
            &body["order"]["quantity"],
            &body["remaining_quantity"]
        ),
        (&json!("filled"), &json!(0.49999), &json!(0))
    );
    let rest = &body["remainder_below_lot"];
    assert_eq!(
        (&rest["quantity"], &rest["lot_size"]),
        (&json!(0.000005), &json!(0.00001))
    );
    let said = rest["detail"].as_str().unwrap();
    let command = "order-router adjust --account default --venue binance.spot --symbol BTCUSDT --quantity -0.000005";
    assert!(said.contains(command), "{said}");
    let replay = close(&router, &id, Some("k"), "").await;
    assert_eq!(replay.json()["remainder_below_lot"], *rest);

    // No order can trade it: the refusal says so, over REST and on the command line.
    let refused = close(&router, &id, None, "").await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_field"));
    let problem = refused.json();
    assert_eq!(problem["metadata"]["remainder_below_lot"], json!(0.000005));
    assert!(problem["detail"].as_str().unwrap().contains(command), "{problem}");
    let address = router.sidecar.address().to_string();
    let command_line = "close --venue binance.spot --symbol BTCUSDT";
    let output = run(command_line, &address, &[]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains(command), "{output:?}");

    adjust(&router, "clear", "-0.000005").await;
    assert_eq!(units(&router).await, "0");
    poll::until(SOON, "the order log holds nothing", async || {
        router.get("/positions").await.json()["items"] == json!([])
    })
    .await;
    let output = run(command_line, &address, &[]).await;
    assert!(
        output.stderr.contains("default holds no BTCUSDT at binance.spot"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn command_line_closes_and_dust_of_eight_decimals_counts_exactly() {
    let router = router_with_dust().await;
    adjust(&router, "dust", "0.12345678").await;
    assert_eq!(units(&router).await, "62345178");
    assert_eq!(holding(&router, "default").await["quantity"], json!(0.62345178));
    let address = router.sidecar.address().to_string();
    let command = "close --venue binance.spot --symbol BTCUSDT --id half --target 0.5";
    let output = run(command, &address, &[]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(
        output
            .stdout
            .contains("0.00000178 stays: it is less than one lot (0.00001)"),
        "{output:?}"
    );
    assert_eq!(units(&router).await, "50000178");
    // The same id is the same order.
    let again = run(&format!("{command} --json"), &address, &[]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let body: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(body["order"]["client_order_id"], "half");
    assert_eq!(units(&router).await, "50000178");
}
