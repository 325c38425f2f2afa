//! The parameters that describe orders and cancels.

use crate::venue::amount::Amount;
use crate::venue::command::{CancelRequest, OrderReference};
use crate::venue::error::VenueError;
use crate::venue::order::NewOrder;
use crate::venue::parameters::Parameters;
use crate::venue::render::DEFAULT_SELF_TRADE_PREVENTION;
use crate::venue::words::{CancelRestriction, OrderType, ResponseType, SelfTradePrevention, Side, TimeInForce};

/// A placement: the order, and how much its answer says.
#[derive(Debug, Clone)]
pub struct PlaceParameters {
    /// The order.
    pub order: NewOrder,
    /// How much the answer says.
    pub response: ResponseType,
}

/// Parses the parameters of a placement.
///
/// # Errors
/// The first parameter that is missing, malformed or superfluous for the type.
pub fn placement(parameters: &Parameters, account: &str) -> Result<PlaceParameters, VenueError> {
    let symbol = parameters.symbol()?.to_owned();
    let side = parameters.word("side", Side::parse, || VenueError::new(-1117, "Invalid side."))?;
    let side = side.ok_or_else(|| VenueError::mandatory("side"))?;
    let kind = parameters.word("type", OrderType::parse, || {
        VenueError::new(-1116, "Invalid orderType.")
    })?;
    let kind = kind.ok_or_else(|| VenueError::mandatory("type"))?;
    let time_in_force = time_in_force(parameters, kind)?;
    let quantity = parameters.amount("quantity")?;
    let quote_quantity = parameters.amount("quoteOrderQty")?;
    let price = parameters.amount("price")?;
    let stop_price = parameters.amount("stopPrice")?;
    check_amounts(kind, quantity, quote_quantity, price, stop_price)?;
    refuse_unsupported(parameters)?;
    let wrong_mode = || {
        VenueError::new(
            -1013,
            "This symbol does not allow the specified self-trade prevention mode.",
        )
    };
    let mode = parameters.word("selfTradePreventionMode", SelfTradePrevention::parse, wrong_mode)?;
    let wrong_response = || VenueError::invalid_parameter("newOrderRespType");
    let response = parameters.word("newOrderRespType", ResponseType::parse, wrong_response)?;
    // The venue ignores the strategy of an order, which is the client's own mark.
    let _ = (
        parameters.number::<u64>("strategyId")?,
        parameters.number::<u64>("strategyType")?,
    );
    let default_response = match kind {
        OrderType::Limit | OrderType::Market => ResponseType::Full,
        OrderType::LimitMaker | OrderType::StopLossLimit => ResponseType::Ack,
    };
    Ok(PlaceParameters {
        order: NewOrder {
            account: account.to_owned(),
            symbol,
            side,
            kind,
            time_in_force,
            quantity: quantity.unwrap_or_default(),
            quote_quantity: quote_quantity.unwrap_or_default(),
            price: price.unwrap_or_default(),
            stop_price: stop_price.unwrap_or_default(),
            client_order_id: parameters.client_id("newClientOrderId")?.unwrap_or_else(generated_id),
            self_trade_prevention: mode.unwrap_or(DEFAULT_SELF_TRADE_PREVENTION),
        },
        response: response.unwrap_or(default_response),
    })
}

fn time_in_force(parameters: &Parameters, kind: OrderType) -> Result<TimeInForce, VenueError> {
    let invalid = || VenueError::new(-1115, "Invalid timeInForce.");
    let sent = parameters.word("timeInForce", TimeInForce::parse, invalid)?;
    match (kind, sent) {
        (OrderType::Limit | OrderType::StopLossLimit, Some(sent)) => Ok(sent),
        (OrderType::Limit | OrderType::StopLossLimit, None) => Err(VenueError::mandatory("timeInForce")),
        (OrderType::Market | OrderType::LimitMaker, None) => Ok(TimeInForce::Gtc),
        (OrderType::Market | OrderType::LimitMaker, Some(_)) => Err(VenueError::not_required("timeInForce")),
    }
}

fn check_amounts(
    kind: OrderType,
    quantity: Option<Amount>,
    quote_quantity: Option<Amount>,
    price: Option<Amount>,
    stop_price: Option<Amount>,
) -> Result<(), VenueError> {
    let is_market = kind == OrderType::Market;
    match (quantity, quote_quantity) {
        (Some(_), Some(_)) if is_market => {
            return Err(VenueError::new(-1128, "Combination of optional parameters invalid."));
        }
        (None, None) if is_market => return Err(VenueError::either("quantity", "quoteOrderQty")),
        (_, Some(_)) if !is_market => return Err(VenueError::not_required("quoteOrderQty")),
        (None, _) if !is_market => return Err(VenueError::mandatory("quantity")),
        _ => {}
    }
    if quote_quantity.is_some_and(Amount::is_zero) {
        return Err(VenueError::new(-1013, "Invalid quote order qty."));
    }
    match (is_market, price) {
        (true, Some(_)) => return Err(VenueError::not_required("price")),
        (false, None) => return Err(VenueError::mandatory("price")),
        _ => {}
    }
    match (kind.has_stop(), stop_price) {
        (false, Some(_)) => Err(VenueError::not_required("stopPrice")),
        (true, None) => Err(VenueError::mandatory("stopPrice")),
        _ => Ok(()),
    }
}

/// Refuses what this venue does not serve and every symbol therefore forbids.
fn refuse_unsupported(parameters: &Parameters) -> Result<(), VenueError> {
    if parameters.amount("icebergQty")?.is_some_and(Amount::is_positive) {
        let text = "Iceberg orders are not supported for this symbol.";
        return Err(VenueError::order_rejected(text));
    }
    if parameters.get("trailingDelta").is_some() {
        let text = "Trailing stop orders are not supported for this symbol.";
        return Err(VenueError::order_rejected(text));
    }
    Ok(())
}

/// Parses which order is meant, by either id or both.
///
/// # Errors
/// When neither was sent, or one is malformed.
pub fn reference(
    parameters: &Parameters,
    account: &str,
    id_name: &str,
    client_id_name: &str,
) -> Result<OrderReference, VenueError> {
    let order_id = parameters.number(id_name)?;
    let client_order_id = parameters.client_id(client_id_name)?;
    if order_id.is_none() && client_order_id.is_none() {
        return Err(VenueError::either(client_id_name, id_name));
    }
    Ok(OrderReference {
        account: account.to_owned(),
        symbol: parameters.symbol()?.to_owned(),
        order_id,
        client_order_id,
    })
}

/// Parses a cancel. `names` are those of the venue's id, the client's id, and the id of the cancel.
///
/// # Errors
/// As [`reference`]; also when the restriction is unknown.
pub fn cancel(parameters: &Parameters, account: &str, names: [&str; 3]) -> Result<CancelRequest, VenueError> {
    let [id_name, client_id_name, request_id_name] = names;
    let invalid = || VenueError::new(-1145, "Invalid cancelRestrictions");
    Ok(CancelRequest {
        order: reference(parameters, account, id_name, client_id_name)?,
        request_id: parameters.client_id(request_id_name)?.unwrap_or_else(generated_id),
        restriction: parameters.word("cancelRestrictions", CancelRestriction::parse, invalid)?,
    })
}

/// Returns an id for an order or a cancel that its client has not named.
pub fn generated_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
