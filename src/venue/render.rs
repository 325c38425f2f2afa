//! Orders, trades and accounts as the venue answers them (binance-spot-api-docs, rest-api.md).

use serde_json::{Map, Value, json};

use crate::venue::amount::Amount;
use crate::venue::balances::Account;
use crate::venue::exchange::effects::{AmendedOrder, CanceledOrder, PlacedOrder, PreventedMatch, ReportedFill};
use crate::venue::exchange::state::Market;
use crate::venue::filters;
use crate::venue::order::{Order, Trade, TradeSide};
use crate::venue::settings::{CommissionSettings, RESERVED_ACCOUNTS};
use crate::venue::words::{OrderType, ResponseType, SelfTradePrevention, Side};

/// Returns the answer to a placement.
pub fn placed(placed: &PlacedOrder, response: ResponseType) -> Value {
    let (order, terms) = (&placed.order, &placed.order.terms);
    let mut answer = json!({
        "symbol": terms.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": terms.client_order_id,
        "transactTime": order.updated_at,
    });
    if response == ResponseType::Ack {
        return answer;
    }
    extend(&mut answer, amounts(order));
    if let Some(working) = order.working_since {
        answer["workingTime"] = working.into();
    }
    answer["selfTradePreventionMode"] = json!(terms.self_trade_prevention);
    extend(&mut answer, conditional(order));
    if response == ResponseType::Full {
        answer["fills"] = placed.fills.iter().map(fill).collect();
        if !placed.prevented.is_empty() {
            answer["preventedMatches"] = placed.prevented.iter().map(prevented_match).collect();
        }
    }
    answer
}

fn fill(fill: &ReportedFill) -> Value {
    json!({
        "price": fill.price,
        "qty": fill.quantity,
        "commission": fill.commission,
        "commissionAsset": fill.commission_asset,
        "tradeId": fill.trade_id,
    })
}

fn prevented_match(prevented: &PreventedMatch) -> Value {
    let mut shown = json!({
        "preventedMatchId": prevented.id,
        "makerOrderId": prevented.maker_order_id,
        "price": prevented.price,
    });
    if let Some(quantity) = prevented.taker_quantity {
        shown["takerPreventedQuantity"] = json!(quantity);
    }
    if let Some(quantity) = prevented.maker_quantity {
        shown["makerPreventedQuantity"] = json!(quantity);
    }
    shown
}

/// The amounts, status and terms that every answer about an order has.
fn amounts(order: &Order) -> Value {
    let terms = &order.terms;
    json!({
        "price": terms.price,
        "origQty": terms.quantity,
        "executedQty": order.executed,
        "origQuoteOrderQty": terms.quote_quantity,
        "cummulativeQuoteQty": order.executed_quote,
        "status": order.status,
        "timeInForce": terms.time_in_force,
        "type": terms.kind,
        "side": terms.side,
    })
}

/// The fields that only some orders have.
fn conditional(order: &Order) -> Value {
    let mut fields = Map::new();
    if order.terms.kind.has_stop() {
        fields.insert("stopPrice".into(), json!(order.terms.stop_price));
    }
    if let Some(id) = order.prevented_match_id {
        fields.insert("preventedMatchId".into(), id.into());
        fields.insert("preventedQuantity".into(), json!(order.prevented));
    }
    if let Some(reason) = order.expiry_reason() {
        fields.insert("expiryReason".into(), reason.into());
    }
    Value::Object(fields)
}

/// Returns the answer to a cancel.
pub fn canceled(canceled: &CanceledOrder) -> Value {
    let (order, terms) = (&canceled.order, &canceled.order.terms);
    let mut answer = json!({
        "symbol": terms.symbol,
        "origClientOrderId": terms.client_order_id,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": canceled.request_id,
        "transactTime": order.updated_at,
    });
    extend(&mut answer, amounts(order));
    answer["selfTradePreventionMode"] = json!(terms.self_trade_prevention);
    extend(&mut answer, conditional(order));
    answer
}

/// Returns the answer to an amendment.
pub fn amended(amended: &AmendedOrder) -> Value {
    let (order, terms) = (&amended.order, &amended.order.terms);
    json!({
        "transactTime": order.updated_at,
        "executionId": amended.execution_id,
        "amendedOrder": {
            "symbol": terms.symbol,
            "orderId": order.id,
            "orderListId": -1,
            "origClientOrderId": amended.previous_client_order_id,
            "clientOrderId": terms.client_order_id,
            "price": terms.price,
            "qty": terms.quantity,
            "executedQty": order.executed,
            "preventedQty": order.prevented,
            "quoteOrderQty": terms.quote_quantity,
            "cumulativeQuoteQty": order.executed_quote,
            "status": order.status,
            "timeInForce": terms.time_in_force,
            "type": terms.kind,
            "side": terms.side,
            "workingTime": order.working_since,
            "selfTradePreventionMode": terms.self_trade_prevention,
        },
    })
}

/// Returns the answer to a query of an order.
pub fn queried(order: &Order) -> Value {
    let terms = &order.terms;
    let mut answer = json!({
        "symbol": terms.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": terms.client_order_id,
        "stopPrice": terms.stop_price,
        "icebergQty": Amount::ZERO,
        "time": order.created_at,
        "updateTime": order.updated_at,
        "isWorking": order.working_since.is_some(),
        "selfTradePreventionMode": terms.self_trade_prevention,
    });
    extend(&mut answer, amounts(order));
    if let Some(working) = order.working_since {
        answer["workingTime"] = working.into();
    }
    extend(&mut answer, conditional(order));
    answer
}

/// Returns one side of a trade as its account sees it.
pub fn own_trade(trade: &Trade, side: &TradeSide) -> Value {
    json!({
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": side.order_id,
        "orderListId": -1,
        "price": trade.price,
        "qty": trade.quantity,
        "quoteQty": trade.quote_quantity,
        "commission": side.commission,
        "commissionAsset": side.commission_asset,
        "time": trade.time,
        "isBuyer": side.side == Side::Buy,
        "isMaker": side.is_maker,
        "isBestMatch": true,
    })
}

/// Returns one side of a trade as the control endpoint lists it; `None` for a side of the venue itself.
pub fn execution(trade: &Trade, side: &TradeSide) -> Option<Value> {
    if RESERVED_ACCOUNTS.contains(&side.account.as_str()) {
        return None;
    }
    let mut shown = own_trade(trade, side);
    shown["account"] = json!(side.account);
    shown["clientOrderId"] = json!(side.client_order_id);
    shown["side"] = json!(side.side);
    Some(shown)
}

/// Returns an order as the control endpoint lists it; `None` for one of the venue itself.
pub fn kept_order(order: &Order) -> Option<Value> {
    if RESERVED_ACCOUNTS.contains(&order.terms.account.as_str()) {
        return None;
    }
    let mut shown = queried(order);
    shown["account"] = json!(order.terms.account);
    Some(shown)
}

/// Returns an account.
pub fn account((name, account): (&str, &Account), commissions: CommissionSettings, omit_zero: bool) -> Value {
    let in_basis_points = |rate: Amount| rate.times(Amount::from_units(10_000 * Amount::ONE.units()));
    let whole = |amount: Amount| i64::try_from(amount.units() / Amount::ONE.units()).unwrap_or_default();
    let kept = account
        .balances
        .iter()
        .filter(|(_, balance)| !omit_zero || balance.free.is_positive() || balance.locked.is_positive());
    let balances: Vec<Value> = kept
        .map(|(asset, balance)| json!({"asset": asset, "free": balance.free, "locked": balance.locked}))
        .collect();
    json!({
        "makerCommission": whole(in_basis_points(commissions.maker)),
        "takerCommission": whole(in_basis_points(commissions.taker)),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": commissions.maker,
            "taker": commissions.taker,
            "buyer": Amount::ZERO,
            "seller": Amount::ZERO,
        },
        "canTrade": true,
        "canWithdraw": false,
        "canDeposit": false,
        "brokered": false,
        "requireSelfTradePrevention": false,
        "preventSor": false,
        "updateTime": account.updated_at,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": uid(name),
    })
}

/// Returns the number of an account: the same for each of its keys, and another one for every other account (FNV-1a).
fn uid(name: &str) -> u32 {
    name.bytes().fold(2_166_136_261, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    })
}

/// Returns a symbol of exchange information. `status` overrides the symbol's own.
pub fn symbol(name: &str, market: &Market, status: &str) -> Value {
    let types = OrderType::ALL.iter().map(|kind| kind.as_str());
    let modes = SelfTradePrevention::ALL.iter().map(|mode| mode.as_str());
    let mut shown = json!({
        "symbol": name,
        "status": status,
        "baseAsset": market.settings.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.settings.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": types.collect::<Vec<_>>(),
        "icebergAllowed": false,
        "ocoAllowed": false,
        "otoAllowed": false,
        "opoAllowed": false,
        "quoteOrderQtyMarketAllowed": true,
        "allowTrailingStop": false,
        "cancelReplaceAllowed": true,
        "amendAllowed": true,
        "pegInstructionsAllowed": false,
    });
    let rest = json!({
        "isSpotTradingAllowed": true,
        "isMarginTradingAllowed": false,
        "filters": filters::describe(&market.settings),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": DEFAULT_SELF_TRADE_PREVENTION,
        "allowedSelfTradePreventionModes": modes.collect::<Vec<_>>(),
    });
    extend(&mut shown, rest);
    shown
}

/// The mode of an order that names none.
pub const DEFAULT_SELF_TRADE_PREVENTION: SelfTradePrevention = SelfTradePrevention::ExpireMaker;

fn extend(value: &mut Value, more: Value) {
    if let (Some(fields), Value::Object(more)) = (value.as_object_mut(), more) {
        fields.extend(more);
    }
}
