//! What both doors hand to the worker, and what they get back.

use bytes::Bytes;

use crate::bus::subjects;
use crate::domain::time::Timestamp;
use crate::fault::Fault;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Submits an order.
    Submit,
    /// Asks for an order's current report.
    Get,
    /// Cancels an order.
    Cancel,
    /// Cancels every order of an account, or of one symbol of it.
    CancelAll,
    /// Notes something on an order.
    Note,
    /// Reads mode, trading state and limits.
    StateGet,
    /// Changes mode, trading state and limits.
    StateSet,
    /// Lists the locks in force.
    LocksList,
    /// Closes an account, a symbol, a broker or everything.
    LocksSet,
    /// Lifts a lock.
    LocksLift,
    /// Books an adjustment.
    Adjust,
    /// Lists the brokers.
    Brokers,
}

impl Endpoint {
    /// Every endpoint of the service.
    pub const ALL: [Self; 12] = [
        Self::Submit,
        Self::Get,
        Self::Cancel,
        Self::CancelAll,
        Self::Note,
        Self::StateGet,
        Self::StateSet,
        Self::LocksList,
        Self::LocksSet,
        Self::LocksLift,
        Self::Adjust,
        Self::Brokers,
    ];

    /// Returns the name the service lists it under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Get => "get",
            Self::Cancel => "cancel",
            Self::CancelAll => "cancel_all",
            Self::Note => "note",
            Self::StateGet => "state_get",
            Self::StateSet => "state_set",
            Self::LocksList => "locks_list",
            Self::LocksSet => "locks_set",
            Self::LocksLift => "locks_lift",
            Self::Adjust => "adjust",
            Self::Brokers => "brokers",
        }
    }

    /// Returns the subject, or the pattern of subjects, it is called by.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Submit => subjects::SUBMIT_WILDCARD,
            Self::Get => subjects::GET_WILDCARD,
            Self::Cancel => subjects::CANCEL_WILDCARD,
            Self::CancelAll => subjects::CANCEL_ALL_WILDCARD,
            Self::Note => subjects::NOTE_WILDCARD,
            Self::StateGet => subjects::STATE_GET,
            Self::StateSet => subjects::STATE_SET,
            Self::LocksList => subjects::LOCKS_LIST,
            Self::LocksSet => subjects::LOCKS_SET,
            Self::LocksLift => subjects::LOCKS_LIFT,
            Self::Adjust => subjects::ADJUST,
            Self::Brokers => subjects::BROKERS,
        }
    }
}

/// One call, from either door.
#[derive(Debug, Clone)]
pub struct BusRequest {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// The broker's token in the subject, where there is one.
    pub broker: Option<String>,
    /// The account's token in the subject, where there is one.
    pub account: Option<String>,
    /// The payload.
    pub body: Bytes,
    /// After this moment nothing may happen, by the `Deadline` header.
    pub deadline: Option<Timestamp>,
    /// When it reached this process; for a durable intent, when the stream took it.
    pub received_at: Timestamp,
    /// The caller's trace context.
    pub traceparent: Option<String>,
    /// Whether it came by the durable door.
    pub is_durable: bool,
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusReply {
    /// The JSON.
    pub body: Vec<u8>,
    /// Where in the journal it stands.
    pub journal_sequence: Option<u64>,
    /// Whether it repeats an earlier answer.
    pub is_replay: bool,
}

/// Whoever answers calls: the worker.
pub trait RequestHandler: Send + Sync + 'static {
    /// Answers one call.
    ///
    /// # Errors
    /// The fault its caller is told; for a durable intent [`crate::fault::FaultCode::delivery`] says what becomes of it.
    fn handle(&self, request: BusRequest) -> impl Future<Output = Result<BusReply, Fault>> + Send;

    /// Called when the answer to a call has left, before a durable message is acknowledged. Does nothing unless a
    /// handler wants to know.
    fn on_reply_sent(&self) {}
}
