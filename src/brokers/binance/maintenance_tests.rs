//! The check of the API key against a scripted venue.

use crate::brokers::binance::maintenance::*;
use crate::brokers::binance::scripted_server::json;
use crate::brokers::binance::test_bench::TestBench;

/// Returns whether a key is accepted that has these permissions, and what is said of it.
async fn judge_key(can_trade: bool, permissions: (u16, &'static str)) -> (bool, String) {
    let bench = TestBench::start(move |request| match request.path.as_str() {
        "/api/v3/account" => json(200, &format!("{{\"canTrade\":{can_trade},\"balances\":[]}}")),
        "/sapi/v1/account/apiRestrictions" => json(permissions.0, permissions.1),
        _ => json(200, r#"{"serverTime":1}"#),
    })
    .await;
    bench.session.client.refuse_key();
    let checked = check_key(&bench.session).await;
    let said = checked.err().map_or_else(String::new, |error| error.to_string());
    (bench.session.client.is_key_accepted(), said)
}

#[tokio::test]
async fn key_is_used_only_if_it_may_trade_and_not_withdraw() {
    let trades = r#"{"enableWithdrawals":false,"enableSpotAndMarginTrading":true}"#;
    let withdraws = r#"{"enableWithdrawals":true,"enableSpotAndMarginTrading":true}"#;
    let reads = r#"{"enableWithdrawals":false,"enableSpotAndMarginTrading":false}"#;
    for (can_trade, permissions, is_accepted, said) in [
        (true, (200, trades), true, ""),
        // The testnet has no such request.
        (true, (404, "not found"), true, ""),
        (false, (200, trades), false, "the account may not trade"),
        (true, (200, withdraws), false, "the API key may withdraw"),
        (true, (200, reads), false, "the API key may not trade"),
        // A venue that does not say has not accepted the key.
        (true, (503, ""), false, "the venue replied 503"),
        (true, (404, r#"{"code":-2015,"msg":"Invalid API-key"}"#), false, "404"),
    ] {
        let (accepted, report) = judge_key(can_trade, permissions).await;
        assert_eq!(accepted, is_accepted, "{permissions:?}: {report}");
        assert!(report.contains(said), "{permissions:?}: {report}");
    }
}
