//! The methods of the WebSocket API and their requests (binance-spot-api-docs, web-socket-api.md).

use serde_json::{Map, Value, json};

use crate::venue::error::VenueError;
use crate::venue::operation::Operation;
use crate::venue::parameters::Parameters;
use crate::venue::rate_limit::RateLimits;
use crate::venue::service::request::Answer;

/// What a method does beside its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStep {
    /// Nothing: its result is the answer.
    None,
    /// Authenticates the session.
    Logon,
    /// Returns the state of the session.
    Status,
    /// Ends the authentication, and the subscriptions that rest on it.
    Logout,
    /// Subscribes to the user data stream of the session's account.
    Subscribe,
    /// Subscribes to the user data stream of the account that signed the request.
    SubscribeSigned,
    /// Ends one subscription, or all.
    Unsubscribe,
    /// Lists the subscriptions.
    Subscriptions,
}

/// The methods.
const METHODS: &[(&str, Operation, SessionStep)] = &[
    ("ping", Operation::Ping, SessionStep::None),
    ("time", Operation::Time, SessionStep::None),
    ("exchangeInfo", Operation::ExchangeInfo, SessionStep::None),
    ("depth", Operation::Depth, SessionStep::None),
    ("ticker.book", Operation::BookTicker, SessionStep::None),
    ("ticker.price", Operation::PriceTicker, SessionStep::None),
    ("session.logon", Operation::Logon, SessionStep::Logon),
    ("session.status", Operation::Session, SessionStep::Status),
    ("session.logout", Operation::Session, SessionStep::Logout),
    ("session.subscriptions", Operation::Session, SessionStep::Subscriptions),
    ("order.place", Operation::Place, SessionStep::None),
    ("order.test", Operation::TestOrder, SessionStep::None),
    ("order.status", Operation::QueryOrder, SessionStep::None),
    ("order.cancel", Operation::Cancel, SessionStep::None),
    ("order.cancelReplace", Operation::CancelReplace, SessionStep::None),
    ("order.amend.keepPriority", Operation::Amend, SessionStep::None),
    ("openOrders.status", Operation::OpenOrders, SessionStep::None),
    ("openOrders.cancelAll", Operation::CancelAll, SessionStep::None),
    ("allOrders", Operation::AllOrders, SessionStep::None),
    ("myTrades", Operation::MyTrades, SessionStep::None),
    ("account.status", Operation::Account, SessionStep::None),
    ("account.rateLimits.orders", Operation::OrderLimits, SessionStep::None),
    ("userDataStream.subscribe", Operation::Subscribe, SessionStep::Subscribe),
    (
        "userDataStream.subscribe.signature",
        Operation::SubscribeSigned,
        SessionStep::SubscribeSigned,
    ),
    (
        "userDataStream.unsubscribe",
        Operation::Session,
        SessionStep::Unsubscribe,
    ),
];

/// A request as a text frame carries it.
#[derive(Debug)]
pub struct MethodRequest {
    /// The client's id of the request, echoed as it is.
    pub id: Value,
    /// The operation.
    pub operation: Operation,
    /// What the method does beside it.
    pub step: SessionStep,
    /// The parameters.
    pub parameters: Parameters,
    /// Whether the answer lists the rate limits; `None` to follow the connection.
    pub shows_limits: Option<bool>,
}

impl MethodRequest {
    /// Parses a text frame.
    ///
    /// # Errors
    /// The id, as far as it is known, and why the request is refused.
    pub fn parse(text: &str) -> Result<Self, (Value, VenueError)> {
        let invalid = || VenueError::new(-1135, "Invalid JSON Request");
        let frame: Map<String, Value> = serde_json::from_str(text).map_err(|_| (Value::Null, invalid()))?;
        let id = frame.get("id").cloned().unwrap_or_default();
        let is_id = id.is_null() || id.is_string() || id.is_i64() || id.is_u64();
        let with_id = |error| (id.clone(), error);
        if !is_id {
            return Err((Value::Null, VenueError::invalid_parameter("id")));
        }
        let method = frame.get("method").and_then(Value::as_str);
        let method = method.ok_or_else(|| with_id(VenueError::mandatory("method")))?;
        let name = method.strip_prefix("v3/").unwrap_or(method);
        let known = METHODS.iter().find(|(known, _, _)| *known == name);
        let (_, operation, step) = known.ok_or_else(|| with_id(VenueError::unsupported().with_status(400)))?;
        let members = match frame.get("params") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(members)) => members.clone(),
            Some(_) => return Err(with_id(VenueError::invalid_parameter("params"))),
        };
        let parameters = Parameters::from_json(&members).map_err(with_id)?;
        let shows_limits = parameters.get("returnRateLimits").map(|text| text == "true");
        Ok(Self {
            id,
            operation: *operation,
            step: *step,
            parameters,
            shows_limits,
        })
    }
}

/// Returns the text frame of an answer.
pub fn answer_frame(id: &Value, answer: &Answer, limits: &RateLimits, shows_limits: bool) -> String {
    let mut frame = json!({"id": id});
    match &answer.result {
        Ok(result) => {
            frame["status"] = 200.into();
            frame["result"] = result.clone();
        }
        Err(error) => {
            frame["status"] = error.status.into();
            frame["error"] = error.body();
            if let Some(retry_at) = error.retry_at {
                // Over the WebSocket API this is a time, not a number of seconds.
                frame["error"]["data"] = json!({"serverTime": answer.server_time, "retryAfter": retry_at});
            }
        }
    }
    if shows_limits {
        let mut shown = answer
            .orders
            .map(|counts| limits.order_limits(counts))
            .unwrap_or_default();
        shown.push(limits.weight_limit(answer.used_weight));
        frame["rateLimits"] = shown.into();
    }
    frame.to_string()
}
