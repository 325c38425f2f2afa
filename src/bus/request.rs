//! A request as both doors pass it to the worker, and its reply.

use async_nats::Message;
use bytes::Bytes;

use crate::bus::{headers, subjects};
use crate::domain::time::Timestamp;
use crate::fault::Fault;

pub use order_router_client::bus::reply::BusReply;

/// The operation that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Submits an order.
    Submit,
    /// Reads an order's current report.
    Get,
    /// Cancels an order.
    Cancel,
    /// Replaces the terms of an order.
    Replace,
    /// Cancels every order of an account, or of one symbol of it.
    CancelAll,
    /// Takes a heartbeat of an account.
    Heartbeat,
    /// Adds a note to an order.
    Note,
    /// Reads mode, trading state and limits.
    StateGet,
    /// Changes mode, trading state and limits.
    StateSet,
    /// Reads the limits in force.
    LimitsGet,
    /// Changes the limits in force.
    LimitsSet,
    /// Lists the active locks.
    LocksList,
    /// Locks an account, a symbol, a broker or everything.
    LocksSet,
    /// Lifts a lock.
    LocksLift,
    /// Books an adjustment.
    Adjust,
    /// Lists the brokers.
    Brokers,
    /// Reads whether the worker takes orders.
    Health,
}

impl Endpoint {
    /// Every endpoint of the service.
    pub const ALL: [Self; 17] = [
        Self::Submit,
        Self::Get,
        Self::Cancel,
        Self::Replace,
        Self::CancelAll,
        Self::Heartbeat,
        Self::Note,
        Self::StateGet,
        Self::StateSet,
        Self::LimitsGet,
        Self::LimitsSet,
        Self::LocksList,
        Self::LocksSet,
        Self::LocksLift,
        Self::Adjust,
        Self::Brokers,
        Self::Health,
    ];

    /// Returns the name under which the service lists it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Get => "get",
            Self::Cancel => "cancel",
            Self::Replace => "replace",
            Self::CancelAll => "cancel_all",
            Self::Heartbeat => "heartbeat",
            Self::Note => "note",
            Self::StateGet => "state_get",
            Self::StateSet => "state_set",
            Self::LimitsGet => "limits_get",
            Self::LimitsSet => "limits_set",
            Self::LocksList => "locks_list",
            Self::LocksSet => "locks_set",
            Self::LocksLift => "locks_lift",
            Self::Adjust => "adjust",
            Self::Brokers => "brokers",
            Self::Health => "health",
        }
    }

    /// Returns its request subject, or the wildcard of its request subjects.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Submit => subjects::SUBMIT_WILDCARD,
            Self::Get => subjects::GET_WILDCARD,
            Self::Cancel => subjects::CANCEL_WILDCARD,
            Self::Replace => subjects::REPLACE_WILDCARD,
            Self::CancelAll => subjects::CANCEL_ALL_WILDCARD,
            Self::Heartbeat => subjects::HEARTBEAT_WILDCARD,
            Self::Note => subjects::NOTE_WILDCARD,
            Self::StateGet => subjects::STATE_GET,
            Self::StateSet => subjects::STATE_SET,
            Self::LimitsGet => subjects::LIMITS_GET,
            Self::LimitsSet => subjects::LIMITS_SET,
            Self::LocksList => subjects::LOCKS_LIST,
            Self::LocksSet => subjects::LOCKS_SET,
            Self::LocksLift => subjects::LOCKS_LIFT,
            Self::Adjust => subjects::ADJUST,
            Self::Brokers => subjects::BROKERS,
            Self::Health => subjects::HEALTH,
        }
    }
}

/// One request, from either door.
#[derive(Debug, Clone)]
pub struct BusRequest {
    /// The operation.
    pub endpoint: Endpoint,
    /// The broker token of the subject, if it has one.
    pub broker: Option<String>,
    /// The account token of the subject, if it has one.
    pub account: Option<String>,
    /// The payload.
    pub body: Bytes,
    /// The time after which nothing may happen, from the `Deadline` header.
    pub deadline: Option<Timestamp>,
    /// When it arrived at this process; for a durable intent, when the stream stored it.
    pub received_at: Timestamp,
    /// The caller's trace context.
    pub traceparent: Option<String>,
    /// Whether it came through the durable door.
    pub is_durable: bool,
}

impl BusRequest {
    /// Builds the request for a message.
    ///
    /// # Errors
    /// `invalid_field` for an invalid `Deadline` header.
    pub(in crate::bus) fn from_message(
        message: &Message,
        endpoint: Endpoint,
        received_at: Timestamp,
        is_durable: bool,
    ) -> Result<Self, Fault> {
        let map = message.headers.as_ref();
        let ids = subjects::parse_broker_and_account(&message.subject);
        let account = subjects::parse_account(&message.subject);
        Ok(Self {
            endpoint,
            broker: ids.map(|(broker, _)| broker.to_owned()),
            account: account.map(str::to_owned),
            body: message.payload.clone(),
            deadline: headers::parse_deadline(map)?,
            received_at,
            traceparent: headers::single_text(map, headers::TRACEPARENT).map(str::to_owned),
            is_durable,
        })
    }
}

/// Handles the requests of both doors: the worker.
pub trait RequestHandler: Send + Sync + 'static {
    /// Handles one request.
    ///
    /// # Errors
    /// The fault that the caller receives. For a durable intent, [`crate::fault::FaultCode::ack_type`] of its code decides
    /// whether it is redelivered.
    fn handle(&self, request: BusRequest) -> impl Future<Output = Result<BusReply, Fault>> + Send;

    /// Called after the reply to a request was sent, before a durable message is acknowledged. The default does
    /// nothing.
    fn on_reply_sent(&self) {}
}
