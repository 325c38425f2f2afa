//! The table of error codes: HTTP status, acknowledgement at the durable door, and whether a retry can succeed.

use std::time::Duration;

use crate::domain::metadata::Metadata;
use crate::domain::reason::{Reason, ReasonCode};

/// How the durable door acknowledges a message that ended in a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckType {
    /// Acknowledged: the outcome is on the journal.
    Ack,
    /// Negatively acknowledged: JetStream redelivers it later.
    Nak,
    /// Terminated: it can never succeed. It is kept as a dead letter and not redelivered.
    Term,
}

macro_rules! fault_codes {
    ($($(#[$doc:meta])* $code:ident = $text:literal, $status:literal, $ack_type:ident, $title:literal;)+) => {
        /// The code of an error, the same on the bus and over REST.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FaultCode { $($(#[$doc])* $code),+ }

        impl FaultCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// Returns the code's word in problem documents.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text),+ }
            }

            /// Returns the HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$code => $status),+ }
            }

            /// Returns how the durable door acknowledges the message.
            pub fn ack_type(self) -> AckType {
                match self { $(Self::$code => AckType::$ack_type),+ }
            }

            /// Returns the problem's title, which is the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$code => $title),+ }
            }
        }
    };
}

fault_codes! {
    /// The body is not a JSON object in UTF-8.
    Malformed = "malformed", 400, Term, "The body is not a JSON object";
    /// A field is missing, of the wrong type, or out of range.
    InvalidField = "invalid_field", 400, Term, "A field is missing or invalid";
    /// A field is not part of the schema.
    UnknownField = "unknown_field", 400, Term, "A field is unknown";
    /// The intent reached a worker after its deadline.
    IntentExpired = "intent_expired", 400, Term, "The intent has expired";
    /// The quantity exceeds the instrument's maximum order size.
    OrderSizeExceeded = "order_size_exceeded", 400, Ack, "The order exceeds the instrument's maximum size";
    /// A risk rule without its own code denied the order.
    RiskLocked = "risk_locked", 400, Ack, "A risk rule denied the order";
    /// The request has no valid API key.
    Unauthenticated = "unauthenticated", 401, Term, "The API key is missing or invalid";
    /// The API key does not permit the operation.
    NotEntitled = "not_entitled", 403, Term, "The API key, or the NATS user, does not permit the operation";
    /// The account in the payload differs from that of the subject or the API key.
    AccountMismatch = "account_mismatch", 403, Term, "The account differs from the caller's";
    /// The order exceeds the limit of the day's routed notional.
    DailyNotionalExceeded = "daily_notional_exceeded", 403, Ack, "The order exceeds the daily notional limit";
    /// The day's loss has reached its limit.
    DailyLossExceeded = "daily_loss_exceeded", 403, Ack, "The daily loss limit is reached";
    /// Only cancels are accepted.
    TradingHalted = "trading_halted", 403, Ack, "Trading is halted";
    /// Only reductions are accepted.
    ReduceOnly = "reduce_only", 403, Ack, "Only orders that reduce a position are accepted";
    /// The broker is not configured.
    UnknownBroker = "unknown_broker", 404, Term, "The broker is unknown";
    /// The venue does not trade the symbol.
    UnsupportedPair = "unsupported_pair", 404, Term, "The venue does not trade the symbol";
    /// There is no such order.
    UnknownOrder = "unknown_order", 404, Term, "The order is unknown";
    /// The resource does not exist.
    NotFound = "not_found", 404, Term, "Not found";
    /// The resource does not support the HTTP method.
    MethodNotAllowed = "method_not_allowed", 405, Term, "The method is not allowed";
    /// The body exceeds the size limit.
    PayloadTooLarge = "payload_too_large", 413, Term, "The body is too large";
    /// The content type is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, Term, "The content type is not application/json";
    /// The client order id was used before for an order with different content.
    ClientOrderIdConflict = "client_order_id_conflict", 409, Term, "The client order id was used with different content";
    /// The order has ended.
    OrderClosed = "order_closed", 409, Term, "The order has ended";
    /// The id of the replace was used before for other terms of the order.
    ReplaceIdConflict = "replace_id_conflict", 409, Term, "The id of the replace was used for other terms";
    /// Another replace of the order is in flight, or came first.
    ReplaceInFlight = "replace_in_flight", 409, Term, "Another replace of the order came first";
    /// The order cannot have the new terms: it keeps its own.
    NotReplaced = "not_replaced", 409, Term, "The order cannot be replaced so";
    /// The intent names another mode than the one in force.
    ModeMismatch = "mode_mismatch", 409, Term, "Another mode is in force";
    /// The broker has no adapter for the mode.
    ModeUnavailable = "mode_unavailable", 409, Term, "The mode has no adapter";
    /// The caller exceeded the rate limit of one second.
    RateLimited = "rate_limited", 429, Nak, "Too many calls within one second";
    /// A bounded queue is full.
    QueueFull = "queue_full", 503, Nak, "The router is full";
    /// The order could not be recorded before sending; nothing was sent.
    PersistenceFailed = "persistence_failed", 500, Nak, "The order could not be recorded";
    /// No worker replies on the bus.
    NoWorker = "no_worker", 503, Nak, "No worker is available";
    /// NATS is unavailable.
    BusUnavailable = "bus_unavailable", 503, Nak, "The bus is unavailable";
    /// Redis is unavailable.
    StoreUnavailable = "store_unavailable", 503, Nak, "The store is unavailable";
    /// The broker is unavailable.
    BrokerUnavailable = "broker_unavailable", 503, Nak, "The broker is unavailable";
    /// The order, or a held position, has no price to be valued at.
    ReferencePriceMissing = "reference_price_missing", 503, Nak, "The reference price is missing";
}

/// How long a caller should wait before it retries a retryable request.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest excerpt of a caller's text in an error, in characters.
pub const MAX_EXCERPT_CHARACTERS: usize = 64;

impl FaultCode {
    /// Returns the code of a word; `None` for an unknown word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Reports whether the same request can succeed later.
    pub fn is_retryable(self) -> bool {
        self.ack_type() == AckType::Nak
    }

    /// Returns the code that a caller receives for an order that a risk rule denied or refused; `None` for a reason that is
    /// not a risk rule's.
    pub fn from_risk_reason(reason: ReasonCode) -> Option<Self> {
        match reason {
            ReasonCode::OrderSizeExceeded => Some(Self::OrderSizeExceeded),
            ReasonCode::RiskLocked => Some(Self::RiskLocked),
            ReasonCode::DailyNotionalExceeded => Some(Self::DailyNotionalExceeded),
            ReasonCode::DailyLossExceeded => Some(Self::DailyLossExceeded),
            ReasonCode::TradingHalted => Some(Self::TradingHalted),
            ReasonCode::ReduceOnly => Some(Self::ReduceOnly),
            ReasonCode::IntentExpired => Some(Self::IntentExpired),
            ReasonCode::RateLimited => Some(Self::RateLimited),
            ReasonCode::ReferencePriceMissing => Some(Self::ReferencePriceMissing),
            ReasonCode::TimeInForce
            | ReasonCode::CancelRequested
            | ReasonCode::CancelledNotPlaced
            | ReasonCode::NotReplaced
            | ReasonCode::EndOfDay
            | ReasonCode::BrokerRejected
            | ReasonCode::DryRun
            | ReasonCode::NotPlaced
            | ReasonCode::InFlight
            | ReasonCode::OutcomeUnknown
            | ReasonCode::NotJournaled => None,
        }
    }
}

/// An error as its caller receives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Fault {
    /// The code, for programs.
    pub code: FaultCode,
    /// A sentence on this occurrence, for people: what happened, and what to do.
    pub detail: String,
    /// The invalid field.
    pub field: Option<String>,
    /// The risk rule that stopped the order.
    pub rule_id: Option<String>,
    /// Measurements that explain the error.
    pub metadata: Metadata,
    /// The caller's id of the order.
    pub client_order_id: Option<String>,
    /// The journal sequence of a denial.
    pub journal_sequence: Option<u64>,
}

impl Fault {
    /// Returns a fault with a code and a detail only.
    pub fn new(code: FaultCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            rule_id: None,
            metadata: Metadata::new(),
            client_order_id: None,
            journal_sequence: None,
        }
    }

    /// Returns a fault of one field. Its detail begins with the field's name.
    pub fn for_field(code: FaultCode, field: &str, requirement: impl std::fmt::Display) -> Self {
        let field = quoted(field);
        Self {
            field: Some(field.clone()),
            ..Self::new(code, format!("{field} {requirement}"))
        }
    }

    /// Returns the fault of an order that a risk rule denied or refused; `None` for a reason that is not a risk rule's.
    pub fn from_risk_reason(reason: &Reason) -> Option<Self> {
        let code = FaultCode::from_risk_reason(reason.code)?;
        Some(Self {
            rule_id: reason.metadata.text("rule_id").map(str::to_owned),
            metadata: reason.metadata.clone(),
            ..Self::new(code, reason.message.clone())
        })
    }

    /// Returns the fault with the caller's id of the order.
    #[must_use]
    pub fn with_client_order_id(mut self, client_order_id: &str) -> Self {
        self.client_order_id = Some(client_order_id.to_owned());
        self
    }
}

/// Returns the first [`MAX_EXCERPT_CHARACTERS`] characters of a caller's text, without control characters.
pub fn quoted(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_EXCERPT_CHARACTERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_errors_and_rate_limits_are_retryable() {
        for code in FaultCode::ALL {
            let (status, text) = (code.status(), code.as_str());
            assert_eq!(code.is_retryable(), status >= 500 || status == 429, "{text}");
            assert_eq!(FaultCode::parse(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn quoted_text_is_short_and_without_control_characters() {
        assert_eq!(quoted(&format!("a\r\n{}", "b".repeat(100))).len(), 64);
    }
}
