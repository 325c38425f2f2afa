//! The request to replace the terms of an order (FIX 35=G).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::domain::id::ReplaceId;
use crate::domain::quantity::{Price, Quantity};
use crate::fault::Fault;
use crate::wire::order_reference::{OrderSelector, exactly_one_id, take_order_selector};
use crate::wire::schema_numbers::{NumberInput, PriceInput, QuantityInput};
use crate::wire::schema_patterns;
use crate::wire::strict_object::StrictObject;

/// New terms for what is still open of an order. The order is named by exactly one of its two ids; at least one term is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("allOf" = one_order_and_a_term()))]
pub struct ReplaceRequest {
    /// The router's id of the order, 1-36 characters of `[A-Za-z0-9_-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ORDER_ID))]
    pub order_id: Option<String>,
    /// The caller's id of the order, 1-36 printable ASCII characters without a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub client_order_id: Option<String>,
    /// The new limit price (FIX 44), in the quote currency: above zero, below 10^9, at most 8 decimals, a multiple of the
    /// instrument's tick. Without it the order keeps its price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub price: Option<NumberInput>,
    /// The new quantity of the whole order (FIX 38), what is filled included: above zero, below 10^11, at most 8 decimals, a
    /// whole number of the instrument's lots, and more than is filled. Without it the order keeps its quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<QuantityInput>")]
    pub quantity: Option<NumberInput>,
    /// The caller's id of the replace, 1-36 printable ASCII characters without a space: within the order it is the
    /// idempotency key. Assigned if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub replace_id: Option<String>,
}

/// New terms for what is still open of an order, over REST. The path names its broker. The order is named by exactly one of
/// its two ids; at least one term is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("allOf" = one_order_and_a_term()))]
pub struct ReplaceBody {
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
    /// The new limit price (FIX 44), in the quote currency: above zero, below 10^9, at most 8 decimals, a multiple of the
    /// instrument's tick. Without it the order keeps its price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub price: Option<NumberInput>,
    /// The new quantity of the whole order (FIX 38), what is filled included: above zero, below 10^11, at most 8 decimals, a
    /// whole number of the instrument's lots, and more than is filled. Without it the order keeps its quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<QuantityInput>")]
    pub quantity: Option<NumberInput>,
    /// The caller's id of the replace, 1-36 printable ASCII characters without a space: within the order it is the
    /// idempotency key. Assigned if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub replace_id: Option<String>,
}

/// Returns the schema's rules that a request has exactly one of the two ids, and at least one term.
fn one_order_and_a_term() -> serde_json::Value {
    let term = |name: &str| json!({"properties": {name: {"type": ["number", "string"]}}, "required": [name]});
    json!([{"oneOf": exactly_one_id()}, {"anyOf": [term("price"), term("quantity")]}])
}

/// A decoded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedReplace {
    /// The order.
    pub selector: OrderSelector,
    /// The new price; `None` keeps the order's.
    pub price: Option<Price>,
    /// The new quantity; `None` keeps the order's.
    pub quantity: Option<Quantity>,
    /// The idempotency key.
    pub replace_id: ReplaceId,
}

/// Decodes a [`ReplaceRequest`]. Assigns an id to a request without one.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when the request names no order, two, or no term.
pub fn decode_replace(body: &[u8]) -> Result<DecodedReplace, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let replace = take_replace(&mut object)?;
    object.reject_unknown()?;
    Ok(replace)
}

/// Takes the fields of a [`ReplaceRequest`] from a request that may have further ones.
///
/// # Errors
/// `invalid_field`; also when the request names no order, two, or no term.
pub fn take_replace(object: &mut StrictObject<'_>) -> Result<DecodedReplace, Fault> {
    let selector = take_order_selector(object)?;
    let price = object.optional_amount("price", Price::new)?;
    let quantity = object.optional_amount("quantity", Quantity::new)?;
    let replace_id = object.optional_text("replace_id", ReplaceId::new)?;
    if price.is_none() && quantity.is_none() {
        return Err(object.invalid_field(
            "price",
            "or quantity is required: a replace changes at least one of them",
        ));
    }
    Ok(DecodedReplace {
        selector,
        price,
        quantity,
        replace_id: replace_id.unwrap_or_else(ReplaceId::generate),
    })
}

impl DecodedReplace {
    /// Returns the JSON of the request on the bus.
    pub fn encode(&self) -> Vec<u8> {
        // Cannot fail: the request holds only strings and exact numbers.
        serde_json::to_vec(&self.to_request()).unwrap_or_default()
    }

    /// Returns the request's document.
    pub(crate) fn to_request(&self) -> ReplaceRequest {
        let (order_id, client_order_id) = match &self.selector {
            OrderSelector::OrderId(id) => (Some(id.to_string()), None),
            OrderSelector::ClientOrderId(id) => (None, Some(id.to_string())),
        };
        ReplaceRequest {
            order_id,
            client_order_id,
            price: self.price.map(|price| NumberInput(price.decimal())),
            quantity: self.quantity.map(|quantity| NumberInput(quantity.decimal())),
            replace_id: Some(self.replace_id.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    #[test]
    fn replace_names_one_order_and_at_least_one_term() {
        for body in [
            r#"{"order_id":"BN-1","price":"180.5"}"#,
            r#"{"client_order_id":"c","quantity":7,"replace_id":"r-1"}"#,
            r#"{"client_order_id":"c","quantity":7,"price":1}"#,
        ] {
            let decoded = decode_replace(body.as_bytes()).unwrap();
            assert_eq!(decode_replace(&decoded.encode()).unwrap(), decoded, "{body}");
        }
        for (body, field) in [
            (r#"{"order_id":"BN-1"}"#, "price"),
            (r#"{"order_id":"BN-1","price":null}"#, "price"),
            (r#"{"price":1}"#, "order_id"),
            (r#"{"order_id":"a","client_order_id":"b","price":1}"#, "client_order_id"),
            (r#"{"order_id":"a","price":0}"#, "price"),
            (r#"{"order_id":"a","quantity":-1}"#, "quantity"),
            (r#"{"order_id":"a","quantity":1,"replace_id":"a b"}"#, "replace_id"),
            (r#"{"order_id":"a","quantity":1,"side":"buy"}"#, "side"),
        ] {
            let fault = decode_replace(body.as_bytes()).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{body}");
        }
        assert_eq!(decode_replace(b"[]").unwrap_err().code, FaultCode::Malformed);
    }
}
