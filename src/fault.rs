//! The one table of errors: code → HTTP status → what the durable door does → whether a retry can help.

use std::time::Duration;

use crate::domain::metadata::Metadata;
use crate::domain::reason::{Reason, ReasonCode};

/// What the durable door does with a message that ended in a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckType {
    /// It is dealt with: its outcome is on the journal.
    Ack,
    /// It comes again later.
    Nak,
    /// It never can succeed: dead-lettered, and not delivered again.
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

            /// Returns the word that stands in problem documents.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text),+ }
            }

            /// Returns the HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$code => $status),+ }
            }

            /// Returns what the durable door does.
            pub fn ack_type(self) -> AckType {
                match self { $(Self::$code => AckType::$ack_type),+ }
            }

            /// Returns the problem's title: the same sentence for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$code => $title),+ }
            }
        }
    };
}

fault_codes! {
    /// Not a JSON object in UTF-8.
    Malformed = "malformed", 400, Term, "The body is not a JSON object";
    /// A field is missing, of another type, or out of its range.
    InvalidField = "invalid_field", 400, Term, "A field does not hold what it must";
    /// A field nobody knows.
    UnknownField = "unknown_field", 400, Term, "A field is not known";
    /// It reached a worker after its deadline.
    IntentExpired = "intent_expired", 400, Term, "The intent's time is over";
    /// Larger than the instrument's maximum order size.
    OrderSizeExceeded = "order_size_exceeded", 400, Ack, "The order is larger than the instrument allows";
    /// Denied by a rule without a code of its own.
    RiskLocked = "risk_locked", 400, Ack, "A risk rule stopped the order";
    /// No valid key.
    Unauthenticated = "unauthenticated", 401, Term, "No valid key";
    /// The key does not allow it.
    NotEntitled = "not_entitled", 403, Term, "Not entitled";
    /// The subject's account is not the payload's.
    AccountMismatch = "account_mismatch", 403, Term, "The account is not the one spoken for";
    /// The day's routed notional has no room.
    DailyNotionalExceeded = "daily_notional_exceeded", 403, Ack, "The daily notional limit has no room for the order";
    /// The day's loss has reached its limit.
    DailyLossExceeded = "daily_loss_exceeded", 403, Ack, "The daily loss limit is reached";
    /// Nothing is taken but cancels.
    TradingHalted = "trading_halted", 403, Ack, "Trading is halted";
    /// Only reductions are taken.
    ReduceOnly = "reduce_only", 403, Ack, "Only orders that reduce a position are taken";
    /// No such broker.
    UnknownBroker = "unknown_broker", 404, Term, "The broker is not known";
    /// The broker does not trade the symbol.
    UnsupportedPair = "unsupported_pair", 404, Term, "The venue does not trade the symbol";
    /// No such order.
    UnknownOrder = "unknown_order", 404, Term, "The order is not known";
    /// No such thing.
    NotFound = "not_found", 404, Term, "Not found";
    /// No such method here.
    MethodNotAllowed = "method_not_allowed", 405, Term, "The method is not allowed here";
    /// The body is too large.
    PayloadTooLarge = "payload_too_large", 413, Term, "The body is too large";
    /// The body is not JSON by its content type.
    UnsupportedMediaType = "unsupported_media_type", 415, Term, "The content type is not application/json";
    /// The id was used before with other content.
    ClientOrderIdConflict = "client_order_id_conflict", 409, Term, "The client order id was used with other content";
    /// The order has ended.
    OrderClosed = "order_closed", 409, Term, "The order has ended";
    /// Another mode is in force.
    ModeMismatch = "mode_mismatch", 409, Term, "Another mode is in force";
    /// No adapter for the mode.
    ModeUnavailable = "mode_unavailable", 409, Term, "The mode has no adapter";
    /// Too many calls within a second.
    RateLimited = "rate_limited", 429, Nak, "Too many calls within a second";
    /// A service found all its places taken.
    QueueFull = "queue_full", 503, Nak, "The router is full";
    /// The record could not be made before sending; nothing was sent.
    PersistenceFailed = "persistence_failed", 500, Nak, "The order could not be recorded";
    /// Nobody answers on the bus.
    NoWorker = "no_worker", 503, Nak, "No worker is up";
    /// The bus is out of reach.
    BusUnavailable = "bus_unavailable", 503, Nak, "The bus is out of reach";
    /// The shared state is out of reach.
    StoreUnavailable = "store_unavailable", 503, Nak, "The shared state is out of reach";
    /// The broker is out of reach.
    BrokerUnavailable = "broker_unavailable", 503, Nak, "The broker is out of reach";
    /// The order cannot be valued.
    ReferencePriceMissing = "reference_price_missing", 503, Nak, "There is no price to value the order at";
}

/// How long a caller should wait before it tries again, where trying again can help.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest text of the caller's that an error repeats, in characters.
pub const MAX_EXCERPT_CHARACTERS: usize = 64;

impl FaultCode {
    /// Returns the code of a word, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether the same request can succeed later.
    pub fn is_retryable(self) -> bool {
        self.ack_type() == AckType::Nak
    }

    /// Returns the code a denied order's caller sees, or `None` for a reason that is no denial.
    pub fn from_denial(reason: ReasonCode) -> Option<Self> {
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

/// An error as its caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Fault {
    /// What programs decide by.
    pub code: FaultCode,
    /// A sentence a person can act on.
    pub detail: String,
    /// The field it is about.
    pub field: Option<String>,
    /// The risk rule it comes from.
    pub rule_id: Option<String>,
    /// Figures.
    pub metadata: Metadata,
    /// The order it is about, as the caller calls it.
    pub client_order_id: Option<String>,
    /// Where the journal has it, if it is kept there: a denial.
    pub journal_sequence: Option<u64>,
}

impl Fault {
    /// Returns a fault without further particulars.
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

    /// Returns a fault of one field: its detail opens with the field's name.
    pub fn for_field(code: FaultCode, field: &str, requirement: impl std::fmt::Display) -> Self {
        let field = quoted(field);
        Self {
            field: Some(field.clone()),
            ..Self::new(code, format!("{field} {requirement}"))
        }
    }

    /// Returns the fault that tells why a risk rule denied an order, or `None` for a reason that is no denial.
    pub fn from_denial(reason: &Reason) -> Option<Self> {
        let code = FaultCode::from_denial(reason.code)?;
        Some(Self {
            rule_id: reason.metadata.text("rule_id").map(str::to_owned),
            metadata: reason.metadata.clone(),
            ..Self::new(code, reason.message.clone())
        })
    }

    /// Returns the fault with the order it is about.
    #[must_use]
    pub fn with_client_order_id(mut self, client_order_id: &str) -> Self {
        self.client_order_id = Some(client_order_id.to_owned());
        self
    }
}

/// Returns a caller's text cut to a length that fits an error, control characters left out.
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
    fn a_retry_is_invited_exactly_where_nothing_was_sent_and_it_can_help() {
        for code in FaultCode::ALL {
            let (status, text) = (code.status(), code.as_str());
            assert_eq!(code.is_retryable(), status >= 500 || status == 429, "{text}");
            assert_eq!(FaultCode::parse(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn what_is_quoted_is_short_and_plain() {
        assert_eq!(quoted(&format!("a\r\n{}", "b".repeat(100))).len(), 64);
    }
}
