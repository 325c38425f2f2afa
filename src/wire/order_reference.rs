//! Requests about an order that exists: get, cancel, cancel all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::id::{ClientOrderId, OrderId};
use crate::domain::intent::Symbol;
use crate::fault::Fault;
use crate::wire::report::ExecutionReport;
use crate::wire::schema_patterns;
use crate::wire::strict_object::StrictObject;

/// Names one order: by the router's id or by the caller's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = json!([
    {"properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    {"properties": {"client_order_id": {"type": "string"}}, "required": ["client_order_id"]},
])))]
pub struct OrderReference {
    /// The router's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ORDER_ID))]
    pub order_id: Option<String>,
    /// The caller's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub client_order_id: Option<String>,
}

/// Names one order to cancel, over REST: the path names its broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = json!([
    {"properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    {"properties": {"client_order_id": {"type": "string"}}, "required": ["client_order_id"]},
])))]
pub struct CancelBody {
    /// The router's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ORDER_ID))]
    pub order_id: Option<String>,
    /// The caller's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub client_order_id: Option<String>,
    /// The account the order is of; `default` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::TOKEN))]
    pub account_id: Option<String>,
}

/// Which open orders to cancel, over REST: the path names the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CancelAllBody {
    /// The account; `default` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::TOKEN))]
    pub account_id: Option<String>,
    /// The symbol; every one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
    pub symbol: Option<String>,
}

/// One order, named in one of the two ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderSelector {
    /// By the router's id.
    OrderId(OrderId),
    /// By the caller's id, in the account of the subject.
    ClientOrderId(ClientOrderId),
}

impl std::fmt::Display for OrderSelector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OrderId(id) => write!(formatter, "order_id {id}"),
            Self::ClientOrderId(id) => write!(formatter, "client_order_id {id}"),
        }
    }
}

/// Asks for every open order of an account at a broker to be cancelled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CancelAllRequest {
    /// Only orders of this symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
    pub symbol: Option<String>,
}

/// What a cancel of all orders did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CancelAllAnswer")]
pub struct CancelAllReply {
    /// The reports of the orders it cancelled.
    pub cancelled: Vec<ExecutionReport>,
    /// The reports of the orders that are still open or unknown.
    pub remaining: Vec<ExecutionReport>,
}

/// Reads which order is meant.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when none or both of the ids are given.
pub fn decode_order_selector(body: &[u8]) -> Result<OrderSelector, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let name = take_order_selector(&mut object)?;
    object.reject_unknown()?;
    Ok(name)
}

/// Takes which order is meant from a request that may hold more.
///
/// # Errors
/// `invalid_field`; also when none or both of the ids are given.
pub fn take_order_selector(object: &mut StrictObject<'_>) -> Result<OrderSelector, Fault> {
    let order_id = object.optional_text("order_id", OrderId::new)?;
    let client_order_id = object.optional_text("client_order_id", ClientOrderId::new)?;
    match (order_id, client_order_id) {
        (Some(id), None) => Ok(OrderSelector::OrderId(id)),
        (None, Some(id)) => Ok(OrderSelector::ClientOrderId(id)),
        (None, None) => Err(object.invalid_field("order_id", "or client_order_id is required")),
        (Some(_), Some(_)) => Err(object.invalid_field("client_order_id", "cannot stand beside order_id")),
    }
}

/// Reads which symbol's orders are meant; `None` means all.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`.
pub fn decode_cancel_all(body: &[u8]) -> Result<Option<Symbol>, Fault> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut object = StrictObject::from_body(body)?;
    let symbol = object.optional_text("symbol", Symbol::parse)?;
    object.reject_unknown()?;
    Ok(symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_id_names_an_order() {
        assert!(matches!(
            decode_order_selector(br#"{"order_id":"BN-1"}"#),
            Ok(OrderSelector::OrderId(_))
        ));
        assert!(matches!(
            decode_order_selector(br#"{"client_order_id":"a"}"#),
            Ok(OrderSelector::ClientOrderId(_))
        ));
        for body in [
            "{}",
            r#"{"order_id":"a","client_order_id":"b"}"#,
            r#"{"order_id":7}"#,
            r#"{"id":"a"}"#,
            "[]",
        ] {
            assert!(decode_order_selector(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(decode_cancel_all(b"").unwrap(), None);
        assert_eq!(
            decode_cancel_all(br#"{"symbol":"btc/usdt"}"#)
                .unwrap()
                .unwrap()
                .as_str(),
            "BTCUSDT"
        );
    }
}
