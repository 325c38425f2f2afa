//! `POST /positions/{id}/close` to a target beyond the position, or on the other side of zero.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use serde_json::json;

use crate::rest_fixture::{RestResponse, client};
use crate::rest_positions::{close, holding, id_of, journal_length, number, trade};
use crate::rest_router::Router;

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
