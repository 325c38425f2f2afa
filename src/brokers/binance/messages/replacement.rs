//! The reply to a cancel-and-replace (`rest-api.md`, "Cancel an Existing Order and Send a New Order"), and to an amendment
//! ("Order Amend Keep Priority").

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::brokers::binance::messages::error_body::VenueError;
use crate::brokers::binance::messages::order_state::{OrderState, PlacedOrder};

/// The result of one half of a cancel-and-replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HalfResult {
    /// It was done.
    Success,
    /// It was refused; its response is the error.
    Failure,
    /// It was not tried, since the other half failed.
    NotAttempted,
}

/// Both halves of a cancel-and-replace.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplaceHalves {
    /// Whether the order was cancelled.
    pub cancel_result: HalfResult,
    /// Whether the new order was placed.
    pub new_order_result: HalfResult,
    /// The cancelled order, or the error.
    #[serde(default)]
    pub cancel_response: Option<Box<RawValue>>,
    /// The new order, or the error.
    #[serde(default)]
    pub new_order_response: Option<Box<RawValue>>,
}

/// An error whose details are both halves.
#[derive(Debug, Deserialize)]
struct FailedReplace {
    data: ReplaceHalves,
}

impl ReplaceHalves {
    /// Returns both halves of a reply: its body, or what an error carries. `None` where the reply has none: the request was
    /// refused as a whole, or says nothing. A 5xx says nothing, whatever its body is.
    pub fn read(status: u16, body: &[u8]) -> Option<Self> {
        match status {
            200 => serde_json::from_slice(body).ok(),
            500.. => None,
            _ => serde_json::from_slice::<FailedReplace>(body)
                .ok()
                .map(|failed| failed.data),
        }
    }

    /// Returns the cancelled order, where the response is one.
    pub fn cancelled(&self) -> Option<OrderState> {
        read(self.cancel_response.as_deref())
    }

    /// Returns the new order, where the response is one.
    pub fn placed(&self) -> Option<PlacedOrder> {
        read(self.new_order_response.as_deref())
    }

    /// Returns the error of the half that failed first.
    pub fn error(&self) -> Option<VenueError> {
        let failed = match self.cancel_result {
            HalfResult::Success => &self.new_order_response,
            HalfResult::Failure | HalfResult::NotAttempted => &self.cancel_response,
        };
        read(failed.as_deref())
    }
}

/// Reads a response from its own text: exact numbers have no other form.
fn read<T: DeserializeOwned>(response: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(response?.get()).ok()
}

/// The reply to an amendment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amendment {
    /// The order as it is now.
    pub amended_order: AmendedOrder,
}

/// An amended order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AmendedOrder {
    /// The venue's id of the order.
    pub order_id: i64,
    /// The client order id from now on.
    pub client_order_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_are_read_from_a_success_and_from_an_error() {
        let failed = br#"{"code":-2022,"msg":"Order cancel-replace failed.","data":{"cancelResult":"FAILURE",
            "newOrderResult":"NOT_ATTEMPTED","cancelResponse":{"code":-2011,"msg":"Unknown order sent."},
            "newOrderResponse":null}}"#;
        let halves = ReplaceHalves::read(400, failed).unwrap();
        assert_eq!(
            (halves.cancel_result, halves.new_order_result),
            (HalfResult::Failure, HalfResult::NotAttempted)
        );
        assert_eq!(halves.error().map(|error| error.code), Some(-2011));
        assert!(ReplaceHalves::read(400, br#"{"code":-1013,"msg":"Filter failure"}"#).is_none());
        assert!(ReplaceHalves::read(200, b"{}").is_none());
        let refused = br#"{"code":-2021,"msg":"Order cancel-replace partially failed.","data":{"cancelResult":"SUCCESS",
            "newOrderResult":"FAILURE","cancelResponse":{"symbol":"BTCUSDT","origClientOrderId":"a","orderId":4,
            "orderListId":-1,"clientOrderId":"b","transactTime":1684804350068,"price":"1.00000000","origQty":"0.00100000",
            "executedQty":"0.00000000","cummulativeQuoteQty":"0.00000000","status":"CANCELED","timeInForce":"GTC",
            "type":"LIMIT","side":"BUY","selfTradePreventionMode":"NONE"},"newOrderResponse":{"code":-2010,
            "msg":"Order would immediately match and take."}}}"#;
        let halves = ReplaceHalves::read(409, refused).unwrap();
        assert_eq!(halves.error().map(|error| error.code), Some(-2010));
        assert_eq!(halves.cancelled().map(|order| order.order_id), Some(4));
        assert!(halves.placed().is_none());
    }
}
