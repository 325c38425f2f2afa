//! `GET /risk/locks` and `POST /risk/locks/{latch_id}/lift`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::bus::subjects;
use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::service::state::with_actor_and_field;
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::lock::{LockList, LockScopeDocument, decode_lift_request};

const LOCK_ID_FIELD: &str = "latch_id";
const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");
const TIMEOUT_DETAIL: &str = "no worker has answered in time; ask again";
const LIFT_TIMEOUT_DETAIL: &str = "no worker has answered in time: whether the lock is lifted is not known; look at the \
                               locks, or lift it again";

/// Tells the locks in force: those of the caller's accounts, and those that are of none.
pub(in crate::sidecar) async fn list_locks(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let reply = bus_bridge::call(&context, subjects::LOCKS_LIST, EMPTY_OBJECT, &call_context).await;
    let reply = reply.map_err(|error| problem::timeout_as_unavailable(error, TIMEOUT_DETAIL))?;
    Ok(json::raw_response(
        StatusCode::OK,
        retain_visible_locks(reply.body, &caller.account_scope())?,
    ))
}

/// Returns the locks that may be told.
fn retain_visible_locks(body: Vec<u8>, scope: &AccountScope) -> Result<Vec<u8>, Fault> {
    if *scope == AccountScope::All {
        return Ok(body);
    }
    let unreadable = |error| {
        tracing::error!(%error, "a worker's list of locks cannot be read");
        Fault::new(FaultCode::NoWorker, "the worker's list of locks cannot be read")
    };
    let mut answer: LockList = serde_json::from_slice(&body).map_err(unreadable)?;
    answer.items.retain(|lock| match &lock.scope {
        LockScopeDocument::Account { account_id } => scope.includes(account_id),
        LockScopeDocument::All | LockScopeDocument::Symbol { .. } | LockScopeDocument::Broker { .. } => true,
    });
    answer.total = u64::try_from(answer.items.len()).unwrap_or(u64::MAX);
    serde_json::to_vec(&answer).map_err(unreadable)
}

/// Returns the account that a lock closes, by the lock's name: `<mode>.account.<account>.<rule>`.
fn account_of_lock(lock_id: &str) -> Option<AccountId> {
    let mut parts = lock_id.split('.').skip(1);
    let is_accounts = parts.next()? == "account";
    AccountId::new(parts.next()?).ok().filter(|_| is_accounts)
}

/// Lifts a lock, and tells it as it was.
pub(in crate::sidecar) async fn lift_lock(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    path: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let no_lock = |_| Fault::new(FaultCode::NotFound, "there is no lock of this name");
    let Path(latch_id) = path.map_err(no_lock)?;
    if let Some(account) = account_of_lock(&latch_id) {
        caller.authorize_account(&account)?;
    }
    let body = build_lift_request(&body, &latch_id, call_context.actor())?;
    let reply = bus_bridge::call(&context, subjects::LOCKS_LIFT, body, &call_context).await;
    let reply = reply.map_err(|error| problem::timeout_as_unavailable(error, LIFT_TIMEOUT_DETAIL))?;
    tracing::info!(latch_id, actor = call_context.actor(), "a lock was lifted");
    Ok(json::raw_response(StatusCode::OK, reply.body))
}

/// Returns the request on the bus: the lock is the path's, and the actor is ours to name.
fn build_lift_request(body: &Bytes, lock_id: &str, actor: &str) -> Result<Bytes, Fault> {
    let named = with_actor_and_field(body, actor, LOCK_ID_FIELD, lock_id)?;
    decode_lift_request(&named)?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locks_name_tells_its_account() {
        for (latch_id, account) in [
            ("paper.account.fund-7.operator", Some("fund-7")),
            ("paper.account.fund-7", Some("fund-7")),
            ("paper.broker.account.operator", None),
            ("paper.symbol.account.BTCUSDT.operator", None),
            ("paper.all.operator", None),
            ("account", None),
            ("", None),
        ] {
            let found = account_of_lock(latch_id);
            assert_eq!(found.as_ref().map(AccountId::as_str), account, "{latch_id}");
        }
    }

    #[test]
    fn the_path_names_the_lock_and_the_body_the_reason() {
        let read =
            |text: &str| build_lift_request(&Bytes::copy_from_slice(text.as_bytes()), "paper.all.operator", "rest x");
        let lift = decode_lift_request(&read(r#"{"reason":"over"}"#).unwrap()).unwrap();
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
            assert_eq!(read(text).unwrap_err().field.as_deref(), Some(field), "{text}");
        }
    }
}
