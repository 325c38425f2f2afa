//! `GET /risk/limits`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::bus::subjects;
use crate::config::api_keys::AccountScope;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge::{self, EMPTY_OBJECT, READ_TIMEOUT_DETAIL};
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::limits::{LimitsDocument, LimitsEvent, LimitsInForce};

/// The field of an account's limits that names it.
const ACCOUNT_FIELD: &str = "account_id";

/// Returns the limits in force; of the limits of single accounts, those of the sender's accounts.
pub(in crate::sidecar) async fn get_limits(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let reply = bus_bridge::call(&context, subjects::LIMITS_GET, EMPTY_OBJECT, &call_context).await;
    let reply = reply.map_err(|error| problem::timeout_as_unavailable(error, READ_TIMEOUT_DETAIL))?;
    let limits = visible_limits(&reply.body, &principal.account_scope())?;
    Ok(json::encode_response(StatusCode::OK, &limits))
}

/// Returns the limits of a worker's reply without those of accounts outside the scope.
fn visible_limits(body: &[u8], scope: &AccountScope) -> Result<LimitsInForce, Fault> {
    let invalid = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "invalid reply: a worker's limits");
        Fault::new(FaultCode::NoWorker, "the worker's limits are invalid; retry")
    };
    let event: LimitsEvent = serde_json::from_slice(body).map_err(|error| invalid(&error))?;
    let document = event.packed.unpack().map_err(|error| invalid(&error))?;
    let mut limits: LimitsDocument = serde_json::from_slice(&document).map_err(|error| invalid(&error))?;
    limits.accounts.retain(|account| {
        let name = account.get(ACCOUNT_FIELD).and_then(Value::as_str);
        name.is_some_and(|name| scope.includes(name))
    });
    Ok(LimitsInForce {
        version: event.version,
        limits,
        actor: event.actor,
        reason: event.reason,
        timestamp: event.timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AccountId;

    #[test]
    fn limits_of_other_accounts_are_left_out() {
        let body = r#"{"version": 2, "hash": "", "limits": {"risk": {"base_currency": "USD"}, "instruments": [],
            "accounts": [{"account_id": "fund-7", "stop_loss": "10"}, {"account_id": "fund-8"}]},
            "changes": [], "change_count": 0, "actor": "mira", "reason": "r", "timestamp": "2026-03-02T09:00:00.000000Z"}"#;
        let names = |scope: &AccountScope| {
            let limits = visible_limits(body.as_bytes(), scope).unwrap().limits;
            let name = |account: &std::collections::BTreeMap<String, Value>| account[ACCOUNT_FIELD].to_string();
            limits.accounts.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&AccountScope::All), [r#""fund-7""#, r#""fund-8""#]);
        let own = AccountScope::Only(vec![AccountId::new("fund-7").unwrap()]);
        assert_eq!(names(&own), [r#""fund-7""#]);
        assert_eq!(visible_limits(b"{}", &own).unwrap_err().code, FaultCode::NoWorker);
    }
}
