//! Why an order has its status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::metadata::Metadata;
use crate::domain::word_enum::word_enum;

word_enum! {
    /// The code of a reason. Programs decide by it; the message beside it is for people.
    ReasonCode {
        /// Cancelled: the quantity that an IOC or FOK order could not fill at once.
        TimeInForce = "time_in_force",
        /// Cancelled on request.
        CancelRequested = "cancel_requested",
        /// Cancelled: a replace cancelled the earlier terms, and the new ones are not in force.
        CancelledNotPlaced = "cancelled_not_placed",
        /// A replace that was not done: the order keeps its earlier terms.
        NotReplaced = "not_replaced",
        /// Expired: the trading day ended.
        EndOfDay = "end_of_day",
        /// Rejected by the venue.
        BrokerRejected = "broker_rejected",
        /// Rejected: the venue does not have the order, and can no longer receive it.
        NotPlaced = "not_placed",
        /// Denied: the quantity exceeds the instrument's maximum order size.
        OrderSizeExceeded = "order_size_exceeded",
        /// Denied by a rule without its own code; `metadata.rule_id` names it.
        RiskLocked = "risk_locked",
        /// Denied: the order exceeds the limit of the day's routed notional.
        DailyNotionalExceeded = "daily_notional_exceeded",
        /// Denied: the day's loss has reached its limit.
        DailyLossExceeded = "daily_loss_exceeded",
        /// Denied: trading is halted.
        TradingHalted = "trading_halted",
        /// Denied: only reductions are accepted, and the order would not only reduce the position.
        ReduceOnly = "reduce_only",
        /// Refused: the deadline has passed. The id stays free.
        IntentExpired = "intent_expired",
        /// Refused: too many orders within one second. The id stays free.
        RateLimited = "rate_limited",
        /// Refused: the value of the order or of a held position is unknown. The id stays free.
        ReferencePriceMissing = "reference_price_missing",
        /// Cancelled: a dry run. Every rule approved the order, and it was not sent.
        DryRun = "dry_run",
        /// A receipt: the order is in flight.
        InFlight = "in_flight",
        /// The order may have been sent; its outcome is unknown.
        OutcomeUnknown = "outcome_unknown",
        /// A receipt: the order was sent, and its report is not on the journal yet.
        NotJournaled = "not_journaled",
    }
}

impl ReasonCode {
    /// Reports whether a lock with this code is the final outcome of the client order id. After any other lock the same id
    /// may be retried.
    pub fn consumes_client_order_id(self) -> bool {
        !matches!(
            self,
            Self::IntentExpired | Self::RateLimited | Self::ReferencePriceMissing
        )
    }
}

/// Why an order was rejected, cancelled, expired or is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The code for programs.
    pub code: ReasonCode,
    /// A sentence for people.
    pub message: String,
    /// The measurements that explain the reason.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

impl Reason {
    /// Returns a reason without metadata.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            metadata: Metadata::new(),
        }
    }
}
