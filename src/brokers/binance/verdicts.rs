//! The one table of replies: HTTP status and error code → what a placement, a cancel or a query may conclude.
//!
//! Sources: `errors.md`, `rest-api.md` ("HTTP Return Codes", "New order", "Cancel order", "Query order"). A reply that
//! no row lists proves nothing: a placement and a cancel are then unknown, a query is unanswered (law 3 in
//! docs/architecture.md).

use crate::brokers::binance::messages::error_body::VenueError;

/// What a reply to a placement proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceVerdict {
    /// The venue has the order, if the body says so too.
    Acknowledged,
    /// The venue rejected the order and keeps no part of it.
    Rejected,
    /// The venue did not take the order; a later attempt may succeed.
    NotPlaced,
    /// The order may have been executed.
    OutcomeUnknown,
}

/// What a reply to a cancel proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelVerdict {
    /// The order is cancelled, if the body says so too.
    Cancelled,
    /// The order is not open: it ended before, or the venue never had it. The query decides.
    QueryOrder,
    /// The venue did not take the cancel.
    NotCancelled,
    /// The order may be cancelled.
    OutcomeUnknown,
}

/// What a reply to a query proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryVerdict {
    /// The body has the reply.
    Answered,
    /// The venue does not find the order. Its query service may lag: once is no proof.
    NotFound,
    /// The order ended without a fill more than 90 days ago, and is archived.
    Archived,
    /// The reply says nothing about the order.
    Unanswered,
}

/// What a reply asks of the adapter beyond the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    None,
    /// The clock's offset is measured again.
    SynchronizeClock,
    /// No request is sent until the venue's time is over.
    StopRequests,
    /// No order is sent until the venue's window of orders is over.
    StopOrders,
    /// No order is sent until a signed request has succeeded.
    LockCredentials,
}

/// The verdicts of one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdicts {
    /// For a placement.
    pub place: PlaceVerdict,
    /// For a cancel.
    pub cancel: CancelVerdict,
    /// For a query.
    pub query: QueryVerdict,
    /// For the adapter.
    pub consequence: Consequence,
}

/// The message of a rejection that proves the opposite: an open order has this id already (`errors.md`, messages of
/// -2010). The order is there, by an earlier attempt.
const DUPLICATE_ORDER: &str = "Duplicate order sent.";

const SUCCESS: Verdicts = Verdicts {
    place: PlaceVerdict::Acknowledged,
    cancel: CancelVerdict::Cancelled,
    query: QueryVerdict::Answered,
    consequence: Consequence::None,
};

/// Nothing is proved.
const UNKNOWN: Verdicts = Verdicts {
    place: PlaceVerdict::OutcomeUnknown,
    cancel: CancelVerdict::OutcomeUnknown,
    query: QueryVerdict::Unanswered,
    consequence: Consequence::None,
};

/// The request is malformed or breaks a filter: refused before the matching engine.
const REFUSED: Verdicts = Verdicts {
    place: PlaceVerdict::Rejected,
    cancel: CancelVerdict::NotCancelled,
    ..UNKNOWN
};

/// Refused before the matching engine, for a reason that passes.
const NOT_TAKEN: Verdicts = Verdicts {
    place: PlaceVerdict::NotPlaced,
    cancel: CancelVerdict::NotCancelled,
    ..UNKNOWN
};

const CLOCK: Verdicts = Verdicts {
    consequence: Consequence::SynchronizeClock,
    ..NOT_TAKEN
};

const TOO_MANY_REQUESTS: Verdicts = Verdicts {
    consequence: Consequence::StopRequests,
    ..NOT_TAKEN
};

const TOO_MANY_ORDERS: Verdicts = Verdicts {
    consequence: Consequence::StopOrders,
    ..NOT_TAKEN
};

const CREDENTIALS: Verdicts = Verdicts {
    consequence: Consequence::LockCredentials,
    ..NOT_TAKEN
};

/// The matching engine refused the order.
const ENGINE_REJECTED: Verdicts = Verdicts {
    place: PlaceVerdict::Rejected,
    ..UNKNOWN
};

/// The matching engine found no open order to cancel.
const CANCEL_REJECTED: Verdicts = Verdicts {
    cancel: CancelVerdict::QueryOrder,
    ..UNKNOWN
};

const NO_SUCH_ORDER: Verdicts = Verdicts {
    query: QueryVerdict::NotFound,
    ..CANCEL_REJECTED
};

const ARCHIVED: Verdicts = Verdicts {
    query: QueryVerdict::Archived,
    ..CANCEL_REJECTED
};

/// Every error code that proves something, or whose name suggests more than it proves, in order.
const ERROR_CODES: &[(i32, &str, Verdicts)] = &[
    (-1000, "UNKNOWN", UNKNOWN),
    (-1001, "DISCONNECTED", UNKNOWN),
    (-1002, "UNAUTHORIZED", CREDENTIALS),
    (-1003, "TOO_MANY_REQUESTS", TOO_MANY_REQUESTS),
    (-1006, "UNEXPECTED_RESP", UNKNOWN),
    (-1007, "TIMEOUT", UNKNOWN),
    // Orders have been executed behind this answer, whatever its name says.
    (-1008, "SERVER_BUSY", UNKNOWN),
    (-1010, "ERROR_MSG_RECEIVED", UNKNOWN),
    (-1013, "INVALID_MESSAGE", REFUSED),
    (-1014, "UNKNOWN_ORDER_COMPOSITION", REFUSED),
    (-1015, "TOO_MANY_ORDERS", TOO_MANY_ORDERS),
    (-1016, "SERVICE_SHUTTING_DOWN", UNKNOWN),
    (-1020, "UNSUPPORTED_OPERATION", REFUSED),
    (-1021, "INVALID_TIMESTAMP", CLOCK),
    (-1022, "INVALID_SIGNATURE", CREDENTIALS),
    (-1100, "ILLEGAL_CHARS", REFUSED),
    (-1101, "TOO_MANY_PARAMETERS", REFUSED),
    (-1102, "MANDATORY_PARAM_EMPTY_OR_MALFORMED", REFUSED),
    (-1103, "UNKNOWN_PARAM", REFUSED),
    (-1104, "UNREAD_PARAMETERS", REFUSED),
    (-1105, "PARAM_EMPTY", REFUSED),
    (-1106, "PARAM_NOT_REQUIRED", REFUSED),
    (-1108, "PARAM_OVERFLOW", REFUSED),
    (-1111, "BAD_PRECISION", REFUSED),
    (-1112, "NO_DEPTH", REFUSED),
    (-1114, "TIF_NOT_REQUIRED", REFUSED),
    (-1115, "INVALID_TIF", REFUSED),
    (-1116, "INVALID_ORDER_TYPE", REFUSED),
    (-1117, "INVALID_SIDE", REFUSED),
    (-1118, "EMPTY_NEW_CL_ORD_ID", REFUSED),
    (-1119, "EMPTY_ORG_CL_ORD_ID", REFUSED),
    (-1120, "BAD_INTERVAL", REFUSED),
    (-1121, "BAD_SYMBOL", REFUSED),
    (-1122, "INVALID_SYMBOLSTATUS", REFUSED),
    (-1125, "INVALID_LISTEN_KEY", REFUSED),
    (-1127, "MORE_THAN_XX_HOURS", REFUSED),
    (-1128, "OPTIONAL_PARAMS_BAD_COMBO", REFUSED),
    (-1130, "INVALID_PARAMETER", REFUSED),
    (-1134, "BAD_STRATEGY_TYPE", REFUSED),
    (-1135, "INVALID_JSON", REFUSED),
    (-1139, "INVALID_TICKER_TYPE", REFUSED),
    (-1145, "INVALID_CANCEL_RESTRICTIONS", REFUSED),
    (-1151, "DUPLICATE_SYMBOLS", REFUSED),
    (-1152, "INVALID_SBE_HEADER", REFUSED),
    (-1153, "UNSUPPORTED_SCHEMA_ID", REFUSED),
    (-1155, "SBE_DISABLED", REFUSED),
    (-1194, "INVALID_TIME_UNIT", REFUSED),
    (-2010, "NEW_ORDER_REJECTED", ENGINE_REJECTED),
    (-2011, "CANCEL_REJECTED", CANCEL_REJECTED),
    (-2013, "NO_SUCH_ORDER", NO_SUCH_ORDER),
    (-2014, "BAD_API_KEY_FMT", CREDENTIALS),
    (-2015, "REJECTED_MBX_KEY", CREDENTIALS),
    // Cancel-and-replace only: the results of both halves are in the body, and are read there.
    (-2021, "ORDER_CANCEL_REPLACE_PARTIALLY_FAILED", UNKNOWN),
    (-2022, "ORDER_CANCEL_REPLACE_FAILED", UNKNOWN),
    (-2026, "ORDER_ARCHIVED", ARCHIVED),
    (-2038, "ORDER_AMEND_REJECTED", ENGINE_REJECTED),
    // The order id and the client order id are of two orders: the one to be cancelled is not open under both.
    (-2039, "CLIENT_ORDER_ID_INVALID", CANCEL_REJECTED),
];

/// Returns the verdicts of a reply: its HTTP status, and the error in its body, if it has one.
pub fn verdicts_of(status: u16, error: Option<&VenueError>) -> Verdicts {
    match status {
        200 => SUCCESS,
        // A limit was exceeded, or the address is banned. An order-count limit has an error code of its own.
        418 | 429 => match error.map(verdicts_of_error) {
            None => TOO_MANY_REQUESTS,
            Some(listed) if listed.consequence != Consequence::None => listed,
            Some(_) => Verdicts {
                consequence: Consequence::StopRequests,
                ..UNKNOWN
            },
        },
        // The web application firewall: its body is not the API's.
        403 if error.is_none() => TOO_MANY_REQUESTS,
        400..=499 => error.map_or(UNKNOWN, verdicts_of_error),
        // "It is important to NOT treat this as a failure operation": every 5xx, whatever its body says.
        _ => UNKNOWN,
    }
}

fn verdicts_of_error(error: &VenueError) -> Verdicts {
    let row = ERROR_CODES.iter().find(|(code, ..)| *code == error.code);
    match row {
        Some((-2010, ..)) if error.msg.trim() == DUPLICATE_ORDER => UNKNOWN,
        Some((_, _, verdicts)) => *verdicts,
        None => UNKNOWN,
    }
}

/// Returns the documented name of an error code.
pub fn error_name(code: i32) -> Option<&'static str> {
    let row = ERROR_CODES.iter().find(|(listed, ..)| *listed == code);
    row.map(|(_, name, _)| *name)
}

#[cfg(test)]
#[path = "verdicts_tests.rs"]
mod tests;
