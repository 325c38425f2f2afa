//! The events of the user data stream (binance-spot-api-docs, user-data-stream.md).

use serde_json::{Value, json};

use crate::venue::amount::Amount;
use crate::venue::exchange::effects::{Effects, ExecutionReport, TransferReport};
use crate::venue::exchange::state::Exchange;
use crate::venue::settings::RESERVED_ACCOUNTS;
use crate::venue::words::ExecutionType;

/// An event and the account whose streams carry it.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountEvent {
    /// The account.
    pub account: String,
    /// The event, without the wrapper of a subscription.
    pub event: Value,
}

/// Returns the events of a command, in their order: executions, then transfers, then balances.
pub fn account_events(exchange: &Exchange, effects: &Effects, time: u64) -> Vec<AccountEvent> {
    let mut events: Vec<AccountEvent> = effects
        .reports
        .iter()
        .map(|report| AccountEvent {
            account: report.order.terms.account.clone(),
            event: execution_report(report, time),
        })
        .collect();
    events.extend(effects.transfers.iter().map(|transfer| AccountEvent {
        account: transfer.account.clone(),
        event: balance_update(transfer, time),
    }));
    let mut accounts: Vec<&String> = effects.balances.iter().map(|(account, _)| account).collect();
    accounts.dedup();
    for account in accounts
        .into_iter()
        .filter(|account| !RESERVED_ACCOUNTS.contains(&account.as_str()))
    {
        let changed = effects.balances.iter().filter(|(owner, _)| owner == account);
        let assets: Vec<&str> = changed.map(|(_, asset)| asset.as_str()).collect();
        events.push(AccountEvent {
            account: account.clone(),
            event: account_position(exchange, account, &assets, time),
        });
    }
    events
}

fn account_position(exchange: &Exchange, account: &str, assets: &[&str], time: u64) -> Value {
    let known = exchange.account(account);
    let balances: Vec<Value> = assets
        .iter()
        .map(|asset| {
            let balance = known.map(|known| known.balance(asset)).unwrap_or_default();
            json!({"a": asset, "f": balance.free, "l": balance.locked})
        })
        .collect();
    json!({
        "e": "outboundAccountPosition",
        "E": time,
        "u": known.map_or(time, |known| known.updated_at),
        "B": balances,
    })
}

fn balance_update(transfer: &TransferReport, time: u64) -> Value {
    json!({"e": "balanceUpdate", "E": time, "a": transfer.asset, "d": transfer.amount, "T": time})
}

/// Returns the event of an execution.
pub fn execution_report(report: &ExecutionReport, time: u64) -> Value {
    let (order, terms) = (&report.order, &report.order.terms);
    let fill = report.fill.as_ref();
    // A cancel carries its own id, and the order's as the original one; so does an amendment with the order's former id.
    let (client_id, original) = match (&report.request_id, &report.previous_client_order_id) {
        (Some(request), _) => (request.as_str(), terms.client_order_id.as_str()),
        (None, Some(previous)) => (terms.client_order_id.as_str(), previous.as_str()),
        (None, None) => (terms.client_order_id.as_str(), ""),
    };
    let mut event = json!({
        "e": "executionReport",
        "E": time,
        "s": terms.symbol,
        "c": client_id,
        "S": terms.side,
        "o": terms.kind,
        "f": terms.time_in_force,
        "q": terms.quantity,
        "p": terms.price,
        "P": terms.stop_price,
        "F": Amount::ZERO,
        "g": -1,
        "C": original,
        "x": report.execution,
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": fill.map_or(Amount::ZERO, |fill| fill.quantity),
        "z": order.executed,
        "L": fill.map_or(Amount::ZERO, |fill| fill.price),
        "n": fill.map_or_else(|| json!("0"), |fill| json!(fill.commission)),
        "N": fill.map(|fill| fill.commission_asset.as_str()),
        "T": order.updated_at,
    });
    let rest = json!({
        "t": fill.map_or_else(|| json!(-1), |fill| json!(fill.trade_id)),
        "I": report.execution_id,
        "w": order.is_on_book(),
        "m": fill.is_some_and(|fill| fill.is_maker),
        "M": fill.is_some(),
        "O": order.created_at,
        "Z": order.executed_quote,
        "Y": fill.map_or(Amount::ZERO, |fill| fill.quote_quantity),
        "Q": terms.quote_quantity,
        "V": terms.self_trade_prevention,
    });
    if let (Some(event), Value::Object(rest)) = (event.as_object_mut(), rest) {
        event.extend(rest);
    }
    if let Some(working) = order.working_since {
        event["W"] = working.into();
    }
    if report.execution == ExecutionType::TradePrevention {
        event["v"] = json!(order.prevented_match_id);
        event["A"] = json!(order.prevented);
        event["B"] = json!(report.prevented);
    }
    if let Some(reason) = order.expiry_reason() {
        event["eR"] = reason.into();
    }
    event
}
