//! The `Problem` document (RFC 9457), the same on the bus and over REST.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::metadata::Metadata;
use crate::fault::{Fault, FaultCode};

/// An error: what went wrong, and what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A URI reference that identifies the kind of problem: `/problems/{code}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short summary, the same for every problem of this `code`.
    pub title: String,
    /// The HTTP status, 400-599. A 5xx means that this call sent nothing to a broker.
    pub status: u16,
    /// A sentence about this occurrence that a person can act on.
    pub detail: String,
    /// The stable error code, for programs.
    pub code: String,
    /// The request field that the problem is about. Absent if it is about no single field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The risk rule that denied the order. Absent if no rule did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// The values behind the problem, such as a measured value and its limit, by name. Absent if there are none.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// The caller's id of the order that the problem is about. Absent if it is about no order.
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
    /// Returns the fault of a received problem document. An unknown code, which a newer worker may send, becomes the first
    /// known code of the same status, or else `persistence_failed`: a client never mistakes a refusal for success.
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
    // Cannot fail: the document holds only strings and exact numbers.
    serde_json::to_vec(&Problem::from(fault)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_survives_the_bus() {
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
