//! The problem document (RFC 9457): one shape for bus and REST.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::metadata::Metadata;
use crate::fault::{Fault, FaultCode};

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A URI reference of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same sentence for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A sentence a person can act on.
    pub detail: String,
    /// What programs decide by.
    pub code: String,
    /// The field it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The risk rule it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// Figures.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// The order it is about, as the caller calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_order_id: Option<String>,
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Self {
        Self {
            kind: format!("/problems/{}", fault.code.as_str()),
            title: fault.code.title().to_owned(),
            status: fault.code.status(),
            detail: fault.detail.clone(),
            code: fault.code.as_str().to_owned(),
            field: fault.field.clone(),
            rule_id: fault.rule_id.clone(),
            metadata: fault.metadata.clone(),
            client_order_id: fault.client_order_id.clone(),
        }
    }
}

impl Problem {
    /// Returns the fault a received problem document tells of; a code of a newer version counts as `not_found`'s
    /// neighbour by status, so that a client never mistakes a refusal for success.
    pub fn into_fault(self) -> Fault {
        let by_status = || FaultCode::ALL.iter().copied().find(|code| code.status() == self.status);
        let code = FaultCode::parse(&self.code)
            .or_else(by_status)
            .unwrap_or(FaultCode::PersistenceFailed);
        Fault {
            code,
            detail: self.detail,
            field: self.field,
            rule_id: self.rule_id,
            metadata: self.metadata,
            client_order_id: self.client_order_id,
            journal_sequence: None,
        }
    }
}

/// Returns the JSON of a fault's problem document.
pub fn encode_problem(fault: &Fault) -> Vec<u8> {
    // Strings and exact numbers only: there is nothing in it that JSON cannot hold.
    serde_json::to_vec(&Problem::from(fault)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_bus() {
        let fault = Fault {
            rule_id: Some("max_notional".into()),
            metadata: Metadata::new().with("limit", 60_000),
            ..Fault::for_field(FaultCode::RiskLocked, "quantity", "is too much")
        }
        .with_client_order_id("a1");
        let problem: Problem = serde_json::from_slice(&encode_problem(&fault)).unwrap();
        assert_eq!(problem.status, 400);
        assert_eq!(problem.into_fault(), fault);
    }
}
