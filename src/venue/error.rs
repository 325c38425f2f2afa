//! The venue's errors: HTTP status, code and text (binance-spot-api-docs, errors.md and rest-api.md).

use serde_json::{Value, json};

use crate::venue::amount::AmountError;

/// An error as a client receives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct VenueError {
    /// The HTTP status.
    pub status: u16,
    /// The code.
    pub code: i32,
    /// The text.
    pub message: String,
    /// What a partly failed replacement did.
    pub data: Option<Value>,
    /// When the client may try again, in milliseconds since 1970.
    pub retry_at: Option<u64>,
}

impl VenueError {
    /// Returns an error of status 400.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code,
            message: message.into(),
            data: None,
            retry_at: None,
        }
    }

    /// Returns the error with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Returns the error with the time from which the client may try again.
    #[must_use]
    pub fn with_retry_at(mut self, retry_at: u64) -> Self {
        self.retry_at = Some(retry_at);
        self
    }

    /// Returns the body of the REST API.
    pub fn body(&self) -> Value {
        let mut body = json!({"code": self.code, "msg": self.message});
        if let Some(data) = &self.data {
            body["data"] = data.clone();
        }
        body
    }

    /// An unknown error.
    pub fn unknown() -> Self {
        Self::new(-1000, "An unknown error occurred while processing the request.").with_status(500)
    }

    /// The venue serves nothing at the moment.
    pub fn unavailable() -> Self {
        Self::new(-1016, "This service is no longer available.").with_status(503)
    }

    /// The engine has not answered in time: the outcome is unknown.
    pub fn timeout() -> Self {
        let text = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
        Self::new(-1007, text).with_status(504)
    }

    /// There is no such operation.
    pub fn unsupported() -> Self {
        Self::new(-1020, "This operation is not supported.").with_status(404)
    }

    /// The request came too late.
    pub fn outside_window() -> Self {
        Self::new(-1021, "Timestamp for this request is outside of the recvWindow.")
    }

    /// The request comes from the future.
    pub fn ahead_of_server() -> Self {
        Self::new(
            -1021,
            "Timestamp for this request was 1000ms ahead of the server's time.",
        )
    }

    /// The signature does not fit.
    pub fn invalid_signature() -> Self {
        Self::new(-1022, "Signature for this request is not valid.")
    }

    /// A parameter has a character that it must not have.
    pub fn illegal_characters(parameter: &str, range: &str) -> Self {
        let text = format!("Illegal characters found in parameter '{parameter}'; legal range is '{range}'.");
        Self::new(-1100, text)
    }

    /// A parameter is missing, empty or malformed.
    pub fn mandatory(parameter: &str) -> Self {
        let text = format!("Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.");
        Self::new(-1102, text)
    }

    /// One of two parameters is needed.
    pub fn either(first: &str, second: &str) -> Self {
        let text = format!("Param '{first}' or '{second}' must be sent, but both were empty/null!");
        Self::new(-1102, text)
    }

    /// A parameter has no value.
    pub fn empty(parameter: &str) -> Self {
        Self::new(-1105, format!("Parameter '{parameter}' was empty."))
    }

    /// A parameter does not belong here.
    pub fn not_required(parameter: &str) -> Self {
        Self::new(-1106, format!("Parameter '{parameter}' sent when not required."))
    }

    /// The value of a parameter is out of range.
    pub fn invalid_parameter(parameter: &str) -> Self {
        Self::new(-1130, format!("Data sent for parameter '{parameter}' is not valid."))
    }

    /// A number is not one, or has too many digits.
    pub fn amount(parameter: &str, error: AmountError) -> Self {
        match error {
            AmountError::Malformed => Self::illegal_characters(parameter, r"^([0-9]{1,20})(\.[0-9]{1,20})?$"),
            AmountError::TooPrecise => Self::new(-1111, format!("Parameter '{parameter}' has too much precision.")),
            AmountError::TooLarge => Self::new(-1108, format!("Parameter '{parameter}' overflowed.")),
        }
    }

    /// There is no such symbol.
    pub fn invalid_symbol() -> Self {
        Self::new(-1121, "Invalid symbol.")
    }

    /// A filter of the symbol refuses the order.
    pub fn filter(name: &str) -> Self {
        Self::new(-1013, format!("Filter failure: {name}"))
    }

    /// The engine refuses the order.
    pub fn order_rejected(text: &str) -> Self {
        Self::new(-2010, text)
    }

    /// The engine refuses the cancel.
    pub fn cancel_rejected(text: &str) -> Self {
        Self::new(-2011, text)
    }

    /// The order to cancel has ended or never existed.
    pub fn unknown_order() -> Self {
        Self::cancel_rejected("Unknown order sent.")
    }

    /// The queried order is not there.
    pub fn no_such_order() -> Self {
        Self::new(-2013, "Order does not exist.")
    }

    /// The two ids of a query name different orders.
    pub fn wrong_client_order_id() -> Self {
        Self::new(-2039, "Client order ID is not correct for this order ID.")
    }

    /// The engine refuses the amendment.
    pub fn amend_rejected(text: &str) -> Self {
        Self::new(-2038, text)
    }

    /// The key is missing or malformed.
    pub fn bad_key_format() -> Self {
        Self::new(-2014, "API-key format invalid.").with_status(401)
    }

    /// The key is unknown.
    pub fn unknown_key() -> Self {
        Self::new(-2015, "Invalid API-key, IP, or permissions for action.").with_status(401)
    }

    /// The account has too many unfilled orders in an interval.
    pub fn too_many_orders(limit: u32, interval: &str) -> Self {
        let text = format!("Too many new orders; current limit is {limit} orders per {interval}.");
        Self::new(-1015, text).with_status(429)
    }

    /// The address used too much weight.
    pub fn too_much_weight(limit: u32) -> Self {
        let text = format!(
            "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. Please use WebSocket \
             Streams for live updates to avoid polling the API."
        );
        Self::new(-1003, text).with_status(429)
    }

    /// The address is banned.
    pub fn banned(until: u64) -> Self {
        let text = format!(
            "Way too much request weight used; IP banned until {until}. Please use WebSocket Streams for live updates \
             to avoid bans."
        );
        Self::new(-1003, text).with_status(418).with_retry_at(until)
    }
}
