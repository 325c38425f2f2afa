//! The submission pipeline: an intent becomes a report, once; denials, replays, cancels and later fills of a paper order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::bus::router_client::RequestError;
use order_router::config::brokers::RestFill;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::reason::ReasonCode;
use order_router::fault::FaultCode;

use crate::rig::{Rig, SOON, ibkr, intent};
use crate::support::poll;

#[tokio::test(flavor = "multi_thread")]
async fn intent_returns_a_filled_report_that_is_already_journaled() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let reply = client
        .submit(&intent("a1", &[("tags", "[\"strategy:x\"]")]))
        .await
        .unwrap();
    let text = String::from_utf8(reply.body.clone()).unwrap();
    let report = order_router::wire::report::ExecutionReport::decode(&reply.body).unwrap();
    assert_eq!((report.status, report.version), (OrderStatus::Filled, 1));
    assert!(
        text.contains(r#""quantity":0.001,"#) && text.contains(r#""avg_price":30000,"#),
        "{text}"
    );
    assert!(!text.contains("settlement"), "{text}");
    assert!(report.order_id.starts_with("BN-"));
    let journal = client.journal().await;
    assert_eq!((journal.len(), Some(journal[0].sequence)), (1, reply.journal_sequence));
    assert_eq!(journal[0].subject, "orders.reports.binance.default");
    rig.quiet().await;
    assert_eq!(
        rig.sum("sums:paper:default:binance.spot:BTCUSDT", "position").await,
        100
    );
    assert_eq!(rig.sum("sums:paper:default:binance.spot:BTCUSDT", "long").await, 100);
    assert_eq!(rig.sum("sums:paper:default:binance.spot:BTCUSDT", "short").await, -100);
    assert_eq!(
        rig.sum("sums:paper:default:binance.spot:BTCUSDT", "cash_flow").await,
        -30_000_000
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_id_returns_its_first_report_and_sends_nothing() {
    let mut rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let first = client.submit(&intent("a1", &[])).await.unwrap();
    let again = client
        .submit(&intent("a1", &[("symbol", "\"btc/usdt\""), ("price", "\"3e4\"")]))
        .await
        .unwrap();
    assert!(again.is_replay && !first.is_replay);
    assert_eq!(
        (again.body, again.journal_sequence),
        (first.body.clone(), first.journal_sequence)
    );
    let conflict = client.fault(&intent("a1", &[("quantity", "0.002")])).await;
    assert_eq!(conflict.code, FaultCode::ClientOrderIdConflict);
    // Tags are a set: their sequence is not content.
    client.report(&intent("t1", &[("tags", r#"["b","a"]"#)])).await;
    let again = client.submit(&intent("t1", &[("tags", r#"["a","b","a"]"#)])).await;
    assert!(again.unwrap().is_replay);
    let conflict = client.fault(&intent("t1", &[("tags", r#"["a"]"#)])).await;
    assert_eq!(conflict.code, FaultCode::ClientOrderIdConflict);
    worker.drain(SOON).await;
    // Another worker returns the same reply after limits are lowered and deadlines have passed.
    rig.settings.risk.daily_notional_limit = "1".to_owned();
    rig.settings.risk.account_stop_loss = "0.01".to_owned();
    rig.apply_limits().await;
    let worker = rig.worker().await;
    let late = client
        .submit(&intent("a1", &[("expires_at", "\"2020-01-01T00:00:00Z\"")]))
        .await
        .unwrap();
    assert!(late.is_replay);
    assert_eq!(late.body, first.body);
    assert_eq!(
        client.fault(&intent("a2", &[])).await.code,
        FaultCode::DailyNotionalExceeded
    );
    assert_eq!(client.reports().await.len(), 3);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn market_order_ignores_its_price_and_risk_values_name_the_account() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let market = [("order_type", "\"market\""), ("price", "0")];
    let report = client.report(&intent("m1", &market)).await;
    assert_eq!((report.status, report.price), (OrderStatus::Filled, None));
    let of_fund = intent("m2", &[("risk", r#"{"account_id":"fund"}"#)]);
    let subject = "orders.submit.binance.fund";
    let reply = client.call(subject, &of_fund).await.unwrap();
    let report = order_router::wire::report::ExecutionReport::decode(&reply).unwrap();
    assert_eq!(report.account_id, "fund");
    // The account of the intent itself takes precedence.
    let own = [("account_id", "\"fund\""), ("risk", r#"{"account_id":"other"}"#)];
    let reply = client.call(subject, &intent("m3", &own)).await.unwrap();
    let report = order_router::wire::report::ExecutionReport::decode(&reply).unwrap();
    assert_eq!(report.account_id, "fund");
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_is_final_and_any_other_refusal_leaves_the_id_free() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let denied = client.fault(&intent("a1", &[("quantity", "0.75001")])).await;
    assert_eq!(
        (denied.code, denied.rule_id.as_deref()),
        (FaultCode::OrderSizeExceeded, Some("order_size"))
    );
    assert_eq!(client.fault(&intent("a1", &[("quantity", "0.75001")])).await, denied);
    assert_eq!(
        client.fault(&intent("a1", &[])).await.code,
        FaultCode::ClientOrderIdConflict
    );
    let reports = client.reports().await;
    assert_eq!((reports.len(), reports[0].status), (1, OrderStatus::Rejected));
    for (over, code) in [
        (("expires_at", "\"2020-01-01T00:00:00Z\""), FaultCode::IntentExpired),
        (("expires_at", "\"2999-01-01T00:00:00Z\""), FaultCode::InvalidField),
        (("symbol", "\"DOGEUSDT\""), FaultCode::UnsupportedPair),
        (("venue", "\"ibkr.paper\""), FaultCode::InvalidField),
        (("time_in_force", "\"DAY\""), FaultCode::InvalidField),
        (("quantity", "0.000001"), FaultCode::InvalidField),
        (("price", "30000.001"), FaultCode::InvalidField),
        (("mode", "\"live\""), FaultCode::ModeMismatch),
    ] {
        let fault = client.fault(&intent("a2", &[over])).await;
        assert_eq!(fault.code, code, "{over:?}: {fault}");
        assert_eq!(fault.client_order_id.as_deref(), Some("a2"));
    }
    assert_eq!(client.report(&intent("a2", &[])).await.status, OrderStatus::Filled);
    rig.quiet().await;
    assert_eq!(rig.sum("sums:paper:default:binance.spot:BTCUSDT", "long").await, 100);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remainder_of_an_ibkr_order_fills_later_on_any_worker() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::After(Duration::from_millis(700));
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let report = client.report(&ibkr("a1", &[])).await;
    assert_eq!((report.status, report.version), (OrderStatus::PartiallyFilled, 1));
    assert_eq!(report.leaves_quantity.to_string(), "0.5");
    worker.drain(SOON).await;
    let other = rig.worker().await;
    let filled = poll::eventually(SOON, "the remainder is filled", async || {
        let now = client
            .order("get", "ibkr", r#"{"client_order_id":"a1"}"#)
            .await
            .unwrap();
        (now.status == OrderStatus::Filled).then_some(now)
    })
    .await;
    assert_eq!(
        (filled.version, filled.fills_total, filled.order_id.as_str()),
        (2, 2, report.order_id.as_str())
    );
    assert_eq!(
        client
            .reports()
            .await
            .iter()
            .map(|report| report.version)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    rig.quiet().await;
    assert!(!rig.store().await.contains_key("due:ibkr"));
    other.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_an_open_order_and_an_ended_order_is_closed() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let open = client.report(&ibkr("a1", &[("side", "\"sell\"")])).await;
    let by_id = format!(r#"{{"order_id":"{}"}}"#, open.order_id);
    let wrong_broker = client.order("cancel", "binance", &by_id).await.unwrap_err();
    assert_eq!(wrong_broker.code, FaultCode::UnknownOrder);
    let cancelled = client.order("cancel", "ibkr", &by_id).await.unwrap();
    assert_eq!((cancelled.status, cancelled.version), (OrderStatus::Cancelled, 2));
    assert_eq!(cancelled.reason.unwrap().code, ReasonCode::CancelRequested);
    assert_eq!(
        (
            cancelled.filled_quantity.to_string(),
            cancelled.leaves_quantity.to_string()
        ),
        ("9.5".into(), "0".into())
    );
    for _ in 0..2 {
        assert_eq!(
            client.order("cancel", "ibkr", &by_id).await.unwrap_err().code,
            FaultCode::OrderClosed
        );
    }
    let filled = client.report(&intent("b1", &[])).await;
    assert_eq!(filled.status, OrderStatus::Filled);
    let closed = client
        .order("cancel", "binance", r#"{"client_order_id":"b1"}"#)
        .await
        .unwrap_err();
    assert_eq!(closed.code, FaultCode::OrderClosed);
    let unknown = client
        .order("cancel", "ibkr", r#"{"client_order_id":"unknown"}"#)
        .await
        .unwrap_err();
    assert_eq!(unknown.code, FaultCode::UnknownOrder);
    rig.quiet().await;
    assert_eq!(rig.sum("sums:paper:default:ibkr.paper:AAPL", "short").await, 950);
    assert_eq!(rig.sum("sums:paper:default:ibkr.paper:AAPL", "long").await, -950);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_all_returns_the_cancelled_and_the_remaining_orders() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    for id in ["a1", "a2", "a3"] {
        client.report(&ibkr(id, &[])).await;
    }
    client
        .report(&ibkr("m1", &[("symbol", "\"MSFT\""), ("price", "320")]))
        .await;
    let body = client
        .call("orders.cancel_all.ibkr.default", r#"{"symbol":"aapl"}"#)
        .await
        .unwrap();
    let reply: order_router::wire::order_reference::CancelAllReply = serde_json::from_slice(&body).unwrap();
    assert_eq!((reply.cancelled.len(), reply.remaining.len()), (3, 0));
    let body = client.call("orders.cancel_all.ibkr.default", "").await.unwrap();
    let reply: order_router::wire::order_reference::CancelAllReply = serde_json::from_slice(&body).unwrap();
    assert_eq!((reply.cancelled.len(), reply.cancelled[0].symbol.as_str()), (1, "MSFT"));
    // A symbol that the broker trades and that has no open order is no error; any other symbol is one.
    for (subject, symbol, expected) in [
        ("orders.cancel_all.ibkr.default", "AAPL", None),
        ("orders.cancel_all.ibkr.default", "BTCUSDT", Some("unsupported_pair")),
        ("orders.cancel_all.ibkr.default", "APPL", Some("unsupported_pair")),
        ("orders.cancel_all.binance.default", "BTCUSDT", None),
    ] {
        let body = format!(r#"{{"symbol":"{symbol}"}}"#);
        let fault = match client.call(subject, &body).await {
            Ok(_) => None,
            Err(RequestError::Fault(fault)) => Some(fault),
            Err(error) => panic!("{error}"),
        };
        let code = fault.as_ref().map(|fault| fault.code.as_str());
        assert_eq!(code, expected, "{subject} {symbol}");
        let field = fault.and_then(|fault| fault.field);
        assert_eq!(field.as_deref(), expected.map(|_| "symbol"));
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_all_reaches_open_orders_in_a_symbol_that_is_not_traded_any_more() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client
        .report(&ibkr("m1", &[("symbol", "\"MSFT\""), ("price", "320")]))
        .await;
    worker.drain(SOON).await;
    rig.settings
        .instruments
        .0
        .retain(|instrument| instrument.symbol != "MSFT");
    rig.apply_limits().await;
    let worker = rig.worker().await;
    let cancel = async || {
        client
            .call("orders.cancel_all.ibkr.default", r#"{"symbol":"MSFT"}"#)
            .await
    };
    let reply: order_router::wire::order_reference::CancelAllReply =
        serde_json::from_slice(&cancel().await.unwrap()).unwrap();
    assert_eq!((reply.cancelled.len(), reply.remaining.len()), (1, 0));
    let Err(RequestError::Fault(fault)) = cancel().await else {
        panic!("the symbol is neither traded nor held by an open order");
    };
    assert_eq!(fault.code, FaultCode::UnsupportedPair);
    worker.drain(SOON).await;
}

/// Runs a command and returns what it prints.
async fn command(rig: &Rig, args: &[&str]) -> Vec<u8> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
    command
        .args(["--nats-url", &rig.nats.url()])
        .args(args)
        .kill_on_drop(true);
    let output = tokio::time::timeout(SOON, command.output()).await;
    output.expect("the end of the command").unwrap().stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn order_id_alone_names_an_order_of_any_account() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let open = client.report(&ibkr("a1", &[("account_id", "\"fund\"")])).await;
    let by_id = format!(r#"{{"order_id":"{}"}}"#, open.order_id);
    for what in ["get", "cancel"] {
        for (broker, body, code, field) in [
            ("binance", by_id.as_str(), FaultCode::UnknownOrder, None),
            ("ibkr", r#"{"order_id":"IB-0"}"#, FaultCode::UnknownOrder, None),
            ("kraken", &by_id, FaultCode::UnknownBroker, Some("broker")),
            (
                "ibkr",
                r#"{"client_order_id":"a1"}"#,
                FaultCode::InvalidField,
                Some("order_id"),
            ),
        ] {
            match client.call(&format!("orders.{what}.{broker}._"), body).await {
                Err(RequestError::Fault(fault)) => {
                    assert_eq!(
                        (fault.code, fault.field.as_deref()),
                        (code, field),
                        "{what} {broker} {body}"
                    );
                }
                other => panic!("{what} {broker} {body}: {other:?}"),
            }
        }
    }
    // On the bus, and on the command line without `--account`.
    let other = client.report(&ibkr("a2", &[("account_id", "\"fund\"")])).await;
    for (what, status) in [("get", "partially_filled"), ("cancel", "cancelled")] {
        let body = client.call(&format!("orders.{what}.ibkr._"), &by_id).await.unwrap();
        let args = [what, "--broker", "ibkr", "--order-id", &other.order_id, "--json"];
        for body in [body, command(&rig, &args).await] {
            let report = order_router::wire::report::ExecutionReport::decode(body.trim_ascii()).unwrap();
            assert_eq!(
                (report.account_id.as_str(), report.status.as_str()),
                ("fund", status),
                "{what}"
            );
        }
    }
    // A client order id belongs to an account, `default` unless it is named.
    let own = ["get", "--broker", "ibkr", "--id", "a1", "--json"];
    let problem: serde_json::Value = serde_json::from_slice(&command(&rig, &own).await).unwrap();
    assert_eq!(problem["code"], "unknown_order");
    let named = [&own[..], &["--account", "fund"]].concat();
    let report = order_router::wire::report::ExecutionReport::decode(command(&rig, &named).await.trim_ascii());
    assert_eq!(report.unwrap().order_id, open.order_id);
    // Any other request needs an account.
    let all = client.call("orders.cancel_all.ibkr._", "").await;
    let Err(RequestError::Fault(fault)) = all else {
        panic!("{all:?}");
    };
    assert_eq!(
        (fault.code, fault.field.as_deref()),
        (FaultCode::InvalidField, Some("account_id"))
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_unknown_to_another_account() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let open = client.report(&ibkr("a1", &[("account_id", "\"fund\"")])).await;
    let by_id = format!(r#"{{"order_id":"{}"}}"#, open.order_id);
    for what in ["get", "cancel"] {
        for body in [by_id.as_str(), r#"{"client_order_id":"a1"}"#] {
            // These calls are made for the account `default`.
            let fault = client.order(what, "ibkr", body).await.unwrap_err();
            assert_eq!(fault.code, FaultCode::UnknownOrder, "{what} {body}");
        }
    }
    let own = client.call("orders.get.ibkr.fund", &by_id).await.unwrap();
    assert!(String::from_utf8(own).unwrap().contains("partially_filled"));
    worker.drain(SOON).await;
}
