//! `GET /risk/locks` and `POST /risk/locks/{latch_id}/lift`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::bus::subjects;
use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge::{self, EMPTY_OBJECT, READ_TIMEOUT_DETAIL};
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::signed_body::sign_with_path_field;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::lock::{LockList, LockScopeDocument, decode_lift_request};

const LOCK_ID_FIELD: &str = "latch_id";
const LIFT_TIMEOUT_DETAIL: &str =
    "no worker replied in time: the lock may have been lifted; list the locks, or lift it again";

/// Returns the active locks of the sender's accounts, and those without an account.
pub(in crate::sidecar) async fn list_locks(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let reply = bus_bridge::call(&context, subjects::LOCKS_LIST, EMPTY_OBJECT, &call_context).await;
    let reply = reply.map_err(|error| problem::timeout_as_unavailable(error, READ_TIMEOUT_DETAIL))?;
    Ok(json::raw_response(
        StatusCode::OK,
        retain_visible_locks(reply.body, &principal.account_scope())?,
    ))
}

/// Returns a worker's list of locks without those of accounts outside the scope.
fn retain_visible_locks(body: Vec<u8>, scope: &AccountScope) -> Result<Vec<u8>, Fault> {
    if *scope == AccountScope::All {
        return Ok(body);
    }
    let mut list: LockList = serde_json::from_slice(&body).map_err(|error| {
        tracing::error!(%error, "invalid reply: a worker's list of locks");
        Fault::new(FaultCode::NoWorker, "the worker's list of locks is invalid; retry")
    })?;
    list.items.retain(|lock| match &lock.scope {
        LockScopeDocument::Account { account_id } | LockScopeDocument::AccountSymbol { account_id, .. } => {
            scope.includes(account_id)
        }
        LockScopeDocument::All | LockScopeDocument::Symbol { .. } | LockScopeDocument::Broker { .. } => true,
    });
    list.total = u64::try_from(list.items.len()).unwrap_or(u64::MAX);
    Ok(json::encode(&list))
}

/// Returns the account that a lock applies to, from the lock's id: `<mode>.account.<account>.<rule>`, and
/// `<mode>.account_symbol.<account>.<venue>.<symbol>.<rule>`.
fn account_of_lock(lock_id: &str) -> Option<AccountId> {
    let mut parts = lock_id.split('.').skip(1);
    let is_of_account = matches!(parts.next()?, "account" | "account_symbol");
    AccountId::new(parts.next()?).ok().filter(|_| is_of_account)
}

/// Lifts a lock and returns it.
pub(in crate::sidecar) async fn lift_lock(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(lock_id): PathSegment,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    if lock_id.is_empty() {
        return Err(Fault::new(FaultCode::NotFound, "no such lock").into());
    }
    if let Some(account) = account_of_lock(&lock_id) {
        principal.authorize_account(&account)?;
    }
    let body = build_lift_request(&body, &lock_id, call_context.actor())?;
    let reply = bus_bridge::call(&context, subjects::LOCKS_LIFT, body, &call_context).await;
    let reply = reply.map_err(|error| problem::timeout_as_unavailable(error, LIFT_TIMEOUT_DETAIL))?;
    tracing::info!(lock_id, actor = call_context.actor(), "lock lifted");
    Ok(json::raw_response(StatusCode::OK, reply.body))
}

/// Returns the request on the bus. The lock is the path's, and the actor is the sender.
fn build_lift_request(body: &Bytes, lock_id: &str, actor: &str) -> Result<Bytes, Fault> {
    let signed = sign_with_path_field(body, actor, (LOCK_ID_FIELD, lock_id), None)?;
    decode_lift_request(&signed)?;
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_id_names_its_account() {
        for (lock_id, account) in [
            ("paper.account.fund-7.operator", Some("fund-7")),
            ("paper.account.fund-7", Some("fund-7")),
            ("paper.broker.account.operator", None),
            ("paper.symbol.account.BTCUSDT.operator", None),
            ("paper.all.operator", None),
            ("account", None),
            ("", None),
        ] {
            let found = account_of_lock(lock_id);
            assert_eq!(found.as_ref().map(AccountId::as_str), account, "{lock_id}");
        }
    }

    #[test]
    fn lock_is_the_paths_and_the_reason_is_the_bodys() {
        let request =
            |text: &str| build_lift_request(&Bytes::copy_from_slice(text.as_bytes()), "paper.all.operator", "rest x");
        let lift = decode_lift_request(&request(r#"{"reason":"over"}"#).unwrap()).unwrap();
        assert_eq!(
            (lift.latch_id.as_str(), lift.actor.as_str()),
            ("paper.all.operator", "rest x")
        );
        for (text, field) in [
            ("{}", "reason"),
            (r#"{"reason":"r","actor":"me"}"#, "actor"),
            (r#"{"reason":"r","latch_id":"other"}"#, "latch_id"),
            (r#"{"reason":"r","colour":1}"#, "colour"),
        ] {
            assert_eq!(request(text).unwrap_err().field.as_deref(), Some(field), "{text}");
        }
    }
}
