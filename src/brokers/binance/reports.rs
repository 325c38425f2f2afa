//! From the venue's messages to reports of orders. Pure.
//!
//! A fill's id is the venue's trade id, which placements, trade lists and streams have in common: each fill is booked
//! once, whichever brings it first. Quantities are cumulative in replies, and of one fill in events; a report carries both.

use std::fmt::Display;

use crate::brokers::binance::messages::execution_report::{ExecutionReport, ExecutionType};
use crate::brokers::binance::messages::order_state::{OrderState, PlacedOrder, VenueStatus};
use crate::brokers::binance::messages::trade::Trade;
use crate::brokers::port::VenueNotice;
use crate::domain::decimal::Decimal;
use crate::domain::id::OrderId;
use crate::domain::leg::LegNumber;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::LegWord;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{Fill, VenueOrderState, VenueReport};

/// The most characters of a reason of the venue's that are recorded.
const MAX_REASON_CHARACTERS: usize = 100;

/// Why a message of the venue is no report of the order: it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The message is about another order than the one asked about.
    #[error("the venue's message is about another order: its {0} differs")]
    OtherOrder(&'static str),
    /// An amount is not one that the router can book.
    #[error("the venue's message has a {0} that cannot be booked")]
    Amount(&'static str),
    /// A text is not a valid value.
    #[error("the venue's message has an unknown {0}")]
    Text(&'static str),
}

/// The terms that decide what an order's end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EndTerms {
    is_market: bool,
    is_immediate: bool,
}

impl EndTerms {
    fn of_order(order: &Order) -> Self {
        Self {
            is_market: order.order_type == OrderType::Market,
            is_immediate: matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok),
        }
    }

    fn of_words(order_type: &str, time_in_force: &str) -> Self {
        Self {
            is_market: order_type == "MARKET",
            is_immediate: matches!(time_in_force, "IOC" | "FOK"),
        }
    }
}

/// Returns the report in the reply to the placement of an order's leg.
///
/// # Errors
/// When the reply is not about this order, or has an amount that cannot be booked. The outcome is unknown then.
pub fn placement_report(order: &Order, leg: LegNumber, reply: &PlacedOrder) -> Result<VenueReport, MessageError> {
    let leg_id = leg.venue_id(&order.order_id);
    check_same("client order id", leg_id.as_str(), &reply.client_order_id)?;
    check_same("symbol", order.symbol.as_str(), &reply.symbol)?;
    let placed = reply.orig_qty.zip(order.quantity_of_leg(leg));
    if placed.is_some_and(|(placed, wanted)| placed != wanted.decimal()) {
        return Err(MessageError::OtherOrder("quantity"));
    }
    let fills = reply.fills.iter().map(|fill| {
        new_fill(FillFields {
            trade_id: fill.trade_id,
            quantity: fill.qty,
            price: fill.price,
            time_ms: reply.transact_time,
            fee: fill.commission,
            fee_currency: &fill.commission_asset,
        })
    });
    let state = match reply.status {
        // An ACK says only that the venue has the order.
        None => VenueOrderState::Working,
        Some(status) => order_state(status, EndTerms::of_order(order), None),
    };
    Ok(VenueReport {
        broker_order_id: Some(reply.order_id.to_string()),
        fills: fills.collect::<Result<_, _>>()?,
        state,
        cumulative_quantity: reply.executed_qty,
        legs: LegWord::about(leg),
        due: None,
    })
}

/// Returns the report of an order that the venue was asked about, or that it has cancelled, with the order's trades. Where
/// a trade is missing, the cumulative quantity keeps its part reserved.
///
/// # Errors
/// When the messages are not about one order, or have an amount that cannot be booked.
pub fn queried_report(state: &OrderState, trades: &[Trade]) -> Result<VenueReport, MessageError> {
    let fills = trades.iter().map(|trade| {
        if trade.order_id != state.order_id || trade.symbol != state.symbol {
            return Err(MessageError::OtherOrder("order id"));
        }
        trade_fill(trade)
    });
    Ok(VenueReport {
        broker_order_id: Some(state.order_id.to_string()),
        fills: fills.collect::<Result<_, _>>()?,
        state: order_state(
            state.status,
            EndTerms::of_words(&state.order_type, &state.time_in_force),
            None,
        ),
        cumulative_quantity: Some(state.executed_qty),
        legs: leg_word(state.placed_client_order_id()),
        due: None,
    })
}

/// Checks that what the venue has under an order's id are the order's own terms.
///
/// # Errors
/// When they are not.
pub fn check_terms(order: &Order, state: &OrderState) -> Result<(), MessageError> {
    let (order_id, leg) = read_leg(state.placed_client_order_id())?;
    check_same("client order id", order.order_id.as_str(), order_id.as_str())?;
    check_same("symbol", order.symbol.as_str(), &state.symbol)?;
    check_same("side", side_word(order.side), &state.side)?;
    let wanted = order.quantity_of_leg(leg);
    if wanted.is_some_and(|wanted| state.orig_qty != wanted.decimal()) {
        return Err(MessageError::OtherOrder("quantity"));
    }
    Ok(())
}

/// Returns the notice of an order that the venue listed or was asked about.
///
/// # Errors
/// As [`queried_report`]; when the order has no id that the router could have given.
pub fn queried_notice(state: &OrderState, trades: &[Trade]) -> Result<VenueNotice, MessageError> {
    Ok(VenueNotice {
        order_id: read_order_id(state.placed_client_order_id())?,
        symbol: read_symbol(&state.symbol)?,
        side: read_side(&state.side)?,
        report: queried_report(state, trades)?,
    })
}

/// Returns the notice of an event of the user data stream. `quote_asset` names the currency of a fee of nothing, which the
/// venue leaves out.
///
/// # Errors
/// When the event has an amount that cannot be booked, or no valid order id, symbol or side.
pub fn execution_notice(event: &ExecutionReport, quote_asset: &str) -> Result<VenueNotice, MessageError> {
    let is_trade = event.execution_type == ExecutionType::Trade;
    // The trade id says whether the event is a fill: a fill counts whatever the event is called (-1: none).
    let has_fill = event.trade_id >= 0 && event.last_quantity.is_positive();
    if is_trade && !has_fill {
        return Err(MessageError::Amount("trade without a trade id or a quantity"));
    }
    let fee_currency = match event.commission_asset.as_deref() {
        Some(asset) => asset,
        None if event.commission.is_zero() => quote_asset,
        None => return Err(MessageError::Amount("commission without an asset")),
    };
    let fill = has_fill.then(|| {
        new_fill(FillFields {
            trade_id: event.trade_id,
            quantity: event.last_quantity,
            price: event.last_price,
            time_ms: event.transaction_time_ms,
            fee: event.commission,
            fee_currency,
        })
    });
    let terms = EndTerms::of_words(&event.order_type, &event.time_in_force);
    Ok(VenueNotice {
        order_id: read_order_id(event.placed_client_order_id())?,
        symbol: read_symbol(&event.symbol)?,
        side: read_side(&event.side)?,
        report: VenueReport {
            broker_order_id: Some(event.order_id.to_string()),
            fills: fill.transpose()?.into_iter().collect(),
            state: order_state(event.status, terms, end_reason(event).as_deref()),
            cumulative_quantity: Some(event.cumulative_quantity),
            legs: leg_word(event.placed_client_order_id()),
            due: None,
        },
    })
}

/// Returns the report of an order that ended without a fill more than 90 days ago (-2026).
pub fn archived_report() -> VenueReport {
    let message = "the venue archived the order: it was cancelled or expired without a fill over 90 days ago";
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state: VenueOrderState::Cancelled(Reason::new(ReasonCode::CancelRequested, message)),
        cumulative_quantity: Some(Decimal::ZERO),
        legs: LegWord::default(),
        due: None,
    }
}

/// Returns a fill of the venue's trade list.
///
/// # Errors
/// When an amount cannot be booked.
pub fn trade_fill(trade: &Trade) -> Result<Fill, MessageError> {
    new_fill(FillFields {
        trade_id: trade.id,
        quantity: trade.qty,
        price: trade.price,
        time_ms: trade.time,
        fee: trade.commission,
        fee_currency: &trade.commission_asset,
    })
}

/// Returns the router's state for a status of the venue.
fn order_state(status: VenueStatus, terms: EndTerms, why: Option<&str>) -> VenueOrderState {
    let reason = |code, message: &dyn Display| {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        Reason::new(code, format!("{message}{why}"))
    };
    match status {
        VenueStatus::New
        | VenueStatus::PendingNew
        | VenueStatus::PartiallyFilled
        | VenueStatus::PendingCancel
        // Its fills complete it; until the last one is booked the order is open.
        | VenueStatus::Filled => VenueOrderState::Working,
        VenueStatus::Canceled => {
            VenueOrderState::Cancelled(reason(ReasonCode::CancelRequested, &"cancelled at the venue on request"))
        }
        VenueStatus::Rejected => {
            VenueOrderState::Rejected(reason(ReasonCode::BrokerRejected, &"rejected by the venue"))
        }
        VenueStatus::Expired if terms.is_market || terms.is_immediate => VenueOrderState::Cancelled(reason(
            ReasonCode::TimeInForce,
            &"the venue could not fill the remainder at once",
        )),
        VenueStatus::Expired => {
            VenueOrderState::Expired(reason(ReasonCode::BrokerRejected, &"ended by a rule of the venue"))
        }
        VenueStatus::ExpiredInMatch => VenueOrderState::Expired(reason(
            ReasonCode::BrokerRejected,
            &"ended by the venue's self-trade prevention",
        )),
    }
}

/// Returns the venue's own word on why an order ended.
fn end_reason(event: &ExecutionReport) -> Option<String> {
    let expiry = event.expiry_reason.as_ref().map(|reason| match reason.as_str() {
        Some(word) => word.to_owned(),
        None => reason.to_string(),
    });
    let rejection = event.reject_reason.clone().filter(|reason| reason != "NONE");
    let reason = expiry
        .or(rejection)
        .filter(|reason| reason != "NONE" && !reason.is_empty())?;
    let printable = reason.chars().filter(|c| !c.is_control());
    Some(printable.take(MAX_REASON_CHARACTERS).collect())
}

/// The fields that every message has of a fill.
struct FillFields<'a> {
    trade_id: i64,
    quantity: Decimal,
    price: Decimal,
    time_ms: i64,
    fee: Decimal,
    fee_currency: &'a str,
}

fn new_fill(fields: FillFields<'_>) -> Result<Fill, MessageError> {
    if fields.trade_id < 0 {
        return Err(MessageError::Amount("fill without a trade id"));
    }
    Ok(Fill {
        exec_id: fields.trade_id.to_string(),
        quantity: Quantity::new(fields.quantity).map_err(|_| MessageError::Amount("quantity of a fill"))?,
        price: Price::new(fields.price).map_err(|_| MessageError::Amount("price of a fill"))?,
        timestamp: Timestamp::from_milliseconds(fields.time_ms),
        fee: fields.fee,
        fee_currency: fields.fee_currency.to_owned(),
    })
}

fn check_same(what: &'static str, expected: &str, actual: &str) -> Result<(), MessageError> {
    if expected == actual {
        Ok(())
    } else {
        Err(MessageError::OtherOrder(what))
    }
}

/// Returns the venue's word for a side.
pub fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

fn read_side(word: &str) -> Result<Side, MessageError> {
    match word {
        "BUY" => Ok(Side::Buy),
        "SELL" => Ok(Side::Sell),
        _ => Err(MessageError::Text("side")),
    }
}

/// Returns a symbol of the venue.
///
/// # Errors
/// When it is not one that the router has.
pub fn read_symbol(text: &str) -> Result<Symbol, MessageError> {
    let symbol = Symbol::parse(text).map_err(|_| MessageError::Text("symbol"))?;
    check_same("symbol", symbol.as_str(), text)?;
    Ok(symbol)
}

/// Returns the order and the leg that a client order id names. The venue's grammar of client order ids is the router's
/// grammar of order ids.
fn read_leg(text: &str) -> Result<(OrderId, LegNumber), MessageError> {
    let venue_id = OrderId::new(text).map_err(|_| MessageError::Text("client order id"))?;
    Ok(LegNumber::split_venue_id(&venue_id))
}

fn read_order_id(text: &str) -> Result<OrderId, MessageError> {
    read_leg(text).map(|(order_id, _)| order_id)
}

/// Returns which leg a report is about, by the client order id in it.
fn leg_word(client_order_id: &str) -> LegWord {
    read_leg(client_order_id).map_or_else(|_| LegWord::default(), |(_, leg)| LegWord::about(leg))
}

#[cfg(test)]
#[path = "reports_tests.rs"]
mod tests;
