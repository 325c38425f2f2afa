//! Why an order is in the state it is in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::metadata::Metadata;

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
    /// Returns the word that stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimeInForce => "time_in_force",
            Self::CancelRequested => "cancel_requested",
            Self::EndOfDay => "end_of_day",
            Self::BrokerRejected => "broker_rejected",
            Self::NotPlaced => "not_placed",
            Self::OrderSizeExceeded => "order_size_exceeded",
            Self::RiskLocked => "risk_locked",
            Self::DailyNotionalExceeded => "daily_notional_exceeded",
            Self::DailyLossExceeded => "daily_loss_exceeded",
            Self::TradingHalted => "trading_halted",
            Self::ReduceOnly => "reduce_only",
            Self::IntentExpired => "intent_expired",
            Self::RateLimited => "rate_limited",
            Self::ReferencePriceMissing => "reference_price_missing",
            Self::DryRun => "dry_run",
            Self::InFlight => "in_flight",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NotJournaled => "not_journaled",
        }
    }

    /// Whether a lock with this code is the id's final outcome; after another one the same id may be tried again.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_that_of_reports() {
        let schema = serde_json::to_value(schemars::schema_for!(ReasonCode)).unwrap();
        let cases = schema["oneOf"].as_array().unwrap();
        let words = cases.iter().filter_map(|case| case["const"].as_str());
        let mut count = 0;
        for word in words {
            let code: ReasonCode = serde_json::from_value(word.into()).unwrap();
            assert_eq!(code.as_str(), word);
            count += 1;
        }
        assert!(count > 10 && count == cases.len(), "{schema}");
    }
}
