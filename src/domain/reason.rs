//! Why an order is in the state it is in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metadata::Metadata;

/// The code of a reason; programs decide by it, people read the message beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// Cancelled: what an IOC or FOK order could not fill at once.
    TimeInForce,
    /// Cancelled: somebody asked for it.
    CancelRequested,
    /// Expired: the trading day ended.
    EndOfDay,
    /// Rejected by the venue.
    BrokerRejected,
    /// Rejected: the venue does not have it, and cannot come to have it any more.
    NotPlaced,
    /// Denied: larger than the instrument's maximum order size.
    OrderSizeExceeded,
    /// Denied by a rule without a code of its own; `metadata.rule_id` names it.
    RiskLocked,
    /// Denied: the day's routed notional has no room for it.
    DailyNotionalExceeded,
    /// Denied: the day's loss has reached its limit.
    DailyLossExceeded,
    /// Denied: trading is halted.
    TradingHalted,
    /// Denied: only reductions are taken, and it would not only reduce.
    ReduceOnly,
    /// Refused: its deadline has passed. The id stays free.
    IntentExpired,
    /// Refused: too many orders within a second. The id stays free.
    RateLimited,
    /// Refused: what the order, or what is held, is worth is not known. The id stays free.
    ReferencePriceMissing,
    /// Cancelled: a dry run, which every rule let pass and which was not sent.
    DryRun,
    /// A receipt: the order is still under way.
    InFlight,
    /// It may have been sent, and what became of it is not known yet.
    OutcomeUnknown,
    /// A receipt: it was sent, and its report is not on the journal yet.
    NotJournaled,
}

impl ReasonCode {
    /// Whether a lock with this code is the id's final outcome; after another one the same id may be tried again.
    pub fn uses_up_the_id(self) -> bool {
        !matches!(
            self,
            Self::IntentExpired | Self::RateLimited | Self::ReferencePriceMissing
        )
    }
}

/// Why an order was rejected, cancelled, expired or is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// What programs decide by.
    pub code: ReasonCode,
    /// A sentence for people.
    pub message: String,
    /// The figures behind it.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

impl Reason {
    /// Returns a reason without figures.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            metadata: Metadata::new(),
        }
    }
}
