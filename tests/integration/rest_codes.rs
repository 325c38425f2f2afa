//! The HTTP status of every fault code.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use order_router::fault::FaultCode;

use crate::rest_fixture::Rest;
use crate::rig::intent;

/// Each fault code with its HTTP status.
const STATUS_OF_CODES: &[(&str, u16)] = &[
    ("malformed", 400),
    ("invalid_field", 400),
    ("unknown_field", 400),
    ("intent_expired", 400),
    ("order_size_exceeded", 400),
    ("risk_locked", 400),
    ("unauthenticated", 401),
    ("not_entitled", 403),
    ("account_mismatch", 403),
    ("daily_notional_exceeded", 403),
    ("trading_halted", 403),
    ("unknown_broker", 404),
    ("unsupported_pair", 404),
    ("unknown_order", 404),
    ("not_found", 404),
    ("method_not_allowed", 405),
    ("client_order_id_conflict", 409),
    ("order_closed", 409),
    ("replace_id_conflict", 409),
    ("replace_in_flight", 409),
    ("not_replaced", 409),
    ("mode_mismatch", 409),
    ("mode_unavailable", 409),
    ("daily_loss_exceeded", 403),
    ("reduce_only", 403),
    ("rate_limited", 429),
    ("payload_too_large", 413),
    ("unsupported_media_type", 415),
    ("persistence_failed", 500),
    ("no_worker", 503),
    ("bus_unavailable", 503),
    ("store_unavailable", 503),
    ("broker_unavailable", 503),
    ("queue_full", 503),
    ("reference_price_missing", 503),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_fault_code_maps_to_its_http_status() {
    let rest = Rest::start().await;
    for (code, status) in STATUS_OF_CODES {
        let response = rest.submit(&intent(code, &[])).await;
        assert_eq!((response.status, response.code().as_str()), (*status, *code));
        assert_eq!(response.json()["client_order_id"], *code);
        let response = rest.get(&format!("/orders/BN-{code}")).await;
        assert_eq!((response.status, response.code().as_str()), (*status, *code));
        let body = format!(r#"{{"order_id":"BN-{code}"}}"#);
        let response = rest.send("POST", "/orders/binance/cancel", &body, &[]).await;
        assert_eq!((response.status, response.code().as_str()), (*status, *code));
    }
    for code in FaultCode::ALL {
        let row = (code.as_str(), code.status());
        assert!(STATUS_OF_CODES.contains(&row), "{row:?} has no row");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_halt_returns_unknown_and_other_changes_return_no_worker() {
    let rest = Rest::start_with(|settings| settings.http.request_timeout_ms = 600).await;
    let response = rest
        .send("PUT", "/state", r#"{"trading_state":"halted","reason":"wait"}"#, &[])
        .await;
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.json()["status"], "unknown");
    assert_eq!(response.json()["reason"]["code"], "outcome_unknown");
    let response = rest
        .send("PUT", "/state", r#"{"trading_state":"active","reason":"wait"}"#, &[])
        .await;
    assert_eq!((response.status, response.code().as_str()), (503, "no_worker"));
}
