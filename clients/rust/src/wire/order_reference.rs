//! Requests about existing orders: get, cancel, cancel all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::id::{ClientOrderId, OrderId};
use crate::domain::symbol::Symbol;
use crate::fault::Fault;
use crate::wire::report::ExecutionReport;
use crate::wire::schema_patterns;
use crate::wire::strict_object::StrictObject;

/// One order, named by exactly one of its two ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one_id()))]
pub struct OrderReference {
    /// The router's id of the order, 1-36 characters of `[A-Za-z0-9_-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ORDER_ID))]
    pub order_id: Option<String>,
    /// The caller's id of the order, 1-36 printable ASCII characters without a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub client_order_id: Option<String>,
}

/// The order to cancel over REST, named by exactly one of its two ids. The path names its broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one_id()))]
pub struct CancelBody {
    /// The router's id of the order, 1-36 characters of `[A-Za-z0-9_-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ORDER_ID))]
    pub order_id: Option<String>,
    /// The caller's id of the order, 1-36 printable ASCII characters without a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub client_order_id: Option<String>,
    /// The account that the order belongs to, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone. Without it, an `order_id`
    /// names an order of any account that the key may use, a `client_order_id` one of `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
    pub account_id: Option<String>,
}

/// The open orders to cancel over REST. The path names the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CancelAllBody {
    /// The account whose orders to cancel, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone. Default `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
    pub account_id: Option<String>,
    /// The symbol whose orders to cancel, at most 128 characters before it is normalised. Without it, the orders of every
    /// symbol are cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
    pub symbol: Option<String>,
}

/// Returns the schema's rule that a request has exactly one of the two ids.
pub(super) fn exactly_one_id() -> serde_json::Value {
    json!([
        {"properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
        {"properties": {"client_order_id": {"type": "string"}}, "required": ["client_order_id"]},
    ])
}

/// The checked name of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderSelector {
    /// The router's id of the order.
    OrderId(OrderId),
    /// The caller's id of the order, within the account that the subject names.
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

/// The open orders of an account at a broker to cancel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CancelAllRequest {
    /// The symbol whose orders to cancel, at most 128 characters before it is normalised. Without it, the orders of every
    /// symbol are cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
    pub symbol: Option<String>,
}

/// The most orders that each list of a reply to a cancel of all orders has.
pub const MAX_LISTED_ORDERS: usize = 500;
/// The maximum size of the two lists together, in bytes: a reply has to fit into one message of 1 MB.
const MAX_LISTED_BYTES: usize = 900_000;

/// The outcome of a request to cancel all orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CancelAllAnswer")]
pub struct CancelAllReply {
    /// The reports of orders that the request cancelled: at most 500, and as many as fit into the reply.
    #[schemars(length(max = MAX_LISTED_ORDERS))]
    pub cancelled: Vec<ExecutionReport>,
    /// The number of orders that the request cancelled, those that `cancelled` leaves out included.
    pub cancelled_total: u64,
    /// The reports of orders that are still open, or receipts where the outcome is unknown or not journaled: at most 500,
    /// and as many as fit into the reply.
    #[schemars(length(max = MAX_LISTED_ORDERS))]
    pub remaining: Vec<ExecutionReport>,
    /// The number of orders that are still open or whose outcome is unknown or not journaled, those that `remaining`
    /// leaves out included.
    pub remaining_total: u64,
}

impl CancelAllReply {
    /// Returns the reply with lists that fit into one message. The remaining orders are listed first.
    #[must_use]
    pub fn fitting_one_message(mut self) -> Self {
        let mut room = MAX_LISTED_BYTES;
        for list in [&mut self.remaining, &mut self.cancelled] {
            let mut count = 0;
            while let Some(report) = list.get(count).filter(|_| count < MAX_LISTED_ORDERS) {
                let size = report.encode().len() + 1;
                if size > room {
                    break;
                }
                room -= size;
                count += 1;
            }
            list.truncate(count);
        }
        self
    }
}

/// Decodes an [`OrderReference`].
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when the body has neither or both of the ids.
pub fn decode_order_selector(body: &[u8]) -> Result<OrderSelector, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let selector = take_order_selector(&mut object)?;
    object.reject_unknown()?;
    Ok(selector)
}

/// Takes the name of one order from a request that may have further fields.
///
/// # Errors
/// `invalid_field`; also when the request has neither or both of the ids.
pub fn take_order_selector(object: &mut StrictObject<'_>) -> Result<OrderSelector, Fault> {
    let order_id = object.optional_text("order_id", OrderId::new)?;
    let client_order_id = object.optional_text("client_order_id", ClientOrderId::new)?;
    match (order_id, client_order_id) {
        (Some(id), None) => Ok(OrderSelector::OrderId(id)),
        (None, Some(id)) => Ok(OrderSelector::ClientOrderId(id)),
        (None, None) => Err(object.invalid_field("order_id", "or client_order_id is required")),
        (Some(_), Some(_)) => {
            Err(object.invalid_field("client_order_id", "and order_id are both given: send one of them"))
        }
    }
}

/// Decodes a [`CancelAllRequest`] and returns its symbol; `None`, also for an empty body, means every symbol.
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
    use crate::domain::order_terms::{Mode, Side};
    use crate::domain::reason::{Reason, ReasonCode};
    use crate::wire::intent::{ExecutionIntent, MissingIdPolicy, decode_intent};

    #[test]
    fn reply_lists_as_many_reports_as_fit_into_one_message_the_remaining_first() {
        let intent = ExecutionIntent::limit("binance", "binance.spot", "BTCUSDT", Side::Buy, 1.into(), 64_000.into());
        let intent = decode_intent(&serde_json::to_vec(&intent).unwrap(), MissingIdPolicy::Assign).unwrap();
        let reason = Reason::new(ReasonCode::OutcomeUnknown, "the venue has not replied");
        let example = ExecutionReport::receipt(&intent, None, Mode::Paper, reason);
        for (tags, remaining) in [(1, 500), (32, 300)] {
            let mut report = example.clone();
            report.tags = vec!["t".repeat(64); tags];
            let reply = CancelAllReply {
                cancelled: vec![report.clone(); 600],
                cancelled_total: 600,
                remaining: vec![report; remaining + 100],
                remaining_total: 7_000,
            };
            let fitting = reply.fitting_one_message();
            let size = serde_json::to_vec(&fitting).unwrap().len();
            assert!((600_000..1_000_000).contains(&size), "{size}");
            assert!(fitting.remaining.len() >= remaining && fitting.remaining.len() <= MAX_LISTED_ORDERS);
            assert!(fitting.cancelled.len() <= MAX_LISTED_ORDERS);
            assert_eq!((fitting.cancelled_total, fitting.remaining_total), (600, 7_000));
        }
    }

    #[test]
    fn order_is_named_by_exactly_one_id() {
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
