//! The messages of the WebSocket API: replies to requests, and events (`web-socket-api.md`, "Event format").

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::brokers::binance::messages::account::{AccountPosition, BalanceUpdate};
use crate::brokers::binance::messages::error_body::VenueError;
use crate::brokers::binance::messages::execution_report::ExecutionReport;

/// One message.
#[derive(Debug)]
pub enum StreamMessage {
    /// The reply to a request.
    Reply(RequestReply),
    /// An update of an order.
    ExecutionReport(Box<ExecutionReport>),
    /// Balances that have changed.
    AccountPosition(AccountPosition),
    /// A deposit, a withdrawal or a transfer.
    BalanceUpdate(BalanceUpdate),
    /// The subscription has ended; the connection has not.
    SubscriptionTerminated,
    /// The server is about to close the connection.
    ServerShutdown,
    /// An event that this adapter does not use; its name.
    Other(String),
}

/// The reply to a request of the WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RequestReply {
    /// The id of the request; none where the venue could not read it.
    pub id: Option<String>,
    /// The HTTP status that REST would have.
    pub status: u16,
    /// The error, if the request failed.
    pub error: Option<ReplyError>,
}

/// The error of a reply. Its data have the time to wait, as a timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ReplyError {
    /// The code.
    pub code: i32,
    /// The text.
    #[serde(default)]
    pub msg: String,
    /// Further data.
    pub data: Option<ReplyErrorData>,
}

/// The data of a reply's error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyErrorData {
    /// When requests are accepted again, in milliseconds since 1970-01-01T00:00:00Z: a point in time, unlike the header
    /// of REST.
    pub retry_after: Option<i64>,
}

impl ReplyError {
    /// Returns the error without its data.
    pub fn venue_error(&self) -> VenueError {
        VenueError {
            code: self.code,
            msg: self.msg.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    status: Option<u16>,
}

#[derive(Deserialize)]
struct EventName {
    #[serde(rename = "e")]
    name: String,
}

impl StreamMessage {
    /// Reads one message.
    ///
    /// # Errors
    /// When it is neither a reply nor an event, or an event that matters cannot be read. The error has no part of the message.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let envelope: Envelope = serde_json::from_str(text)?;
        match (envelope.event, envelope.status) {
            (Some(event), _) => Self::read_event(event.get()),
            (None, Some(_)) => serde_json::from_str(text).map(Self::Reply),
            // `serverShutdown` belongs to the connection, and may come without a subscription around it.
            (None, None) => Self::read_event(text),
        }
    }

    fn read_event(text: &str) -> Result<Self, serde_json::Error> {
        let EventName { name } = serde_json::from_str(text)?;
        Ok(match name.as_str() {
            "executionReport" => Self::ExecutionReport(serde_json::from_str(text)?),
            "outboundAccountPosition" => Self::AccountPosition(serde_json::from_str(text)?),
            "balanceUpdate" => Self::BalanceUpdate(serde_json::from_str(text)?),
            "eventStreamTerminated" => Self::SubscriptionTerminated,
            "serverShutdown" => Self::ServerShutdown,
            _ => Self::Other(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_in_and_outside_of_a_subscription() {
        for (text, expected) in [
            (
                r#"{"subscriptionId":0,"event":{"e":"serverShutdown","E":1770123456789}}"#,
                "ServerShutdown",
            ),
            (r#"{"event":{"e":"serverShutdown","E":1}}"#, "ServerShutdown"),
            (r#"{"e":"serverShutdown","E":1}"#, "ServerShutdown"),
            (
                r#"{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1}}"#,
                "SubscriptionTerminated",
            ),
            (
                r#"{"subscriptionId":0,"event":{"e":"balanceUpdate","E":2,"a":"BTC","d":"100.00000000","T":1}}"#,
                "BalanceUpdate(BalanceUpdate { asset: \"BTC\", amount: 100, cleared_at_ms: 1 })",
            ),
            (
                r#"{"subscriptionId":0,"event":{"e":"brandNew","x":{}}}"#,
                "Other(\"brandNew\")",
            ),
        ] {
            assert_eq!(format!("{:?}", StreamMessage::read(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_reply_has_its_status_and_its_time_to_wait() {
        let text = r#"{"id":"a","status":418,"error":{"code":-1003,"msg":"banned","data":{"serverTime":1,
            "retryAfter":1659146400000}},"rateLimits":[]}"#;
        let StreamMessage::Reply(reply) = StreamMessage::read(text).unwrap() else {
            panic!("not a reply")
        };
        let error = reply.error.unwrap();
        assert_eq!((reply.status, error.code), (418, -1003));
        assert_eq!(error.data.unwrap().retry_after, Some(1_659_146_400_000));
        assert!(matches!(
            StreamMessage::read(r#"{"id":null,"status":400,"error":{"code":-1135,"msg":"bad"}}"#).unwrap(),
            StreamMessage::Reply(RequestReply {
                id: None,
                status: 400,
                ..
            })
        ));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for text in [
            "",
            "[]",
            "{}",
            "null",
            "7",
            r#"{"event":{}}"#,
            r#"{"event":{"e":"executionReport"}}"#,
        ] {
            assert!(StreamMessage::read(text).is_err(), "{text}");
        }
    }
}
