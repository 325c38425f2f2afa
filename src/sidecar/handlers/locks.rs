//! `GET /risk/locks` and `POST /risk/locks/{latch_id}/lift`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::state::with_actor_and_name;
use crate::bus::subjects;
use crate::config::keys::Scope;
use crate::domain::id::AccountId;
use crate::fault::{Code, Fault};
use crate::sidecar::auth::Caller;
use crate::sidecar::body::JsonBody;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::{self, Failure};
use crate::wire::latch::{LockScope, LocksAnswer, decode_lift};

const LATCH_ID: &str = "latch_id";
const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");
const UNANSWERED: &str = "no worker has answered in time; ask again";
const LIFT_UNANSWERED: &str = "no worker has answered in time: whether the lock is lifted is not known; look at the \
                               locks, or lift it again";

/// Tells the locks in force: those of the caller's accounts, and those that are of none.
pub(in crate::sidecar) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    parameters: Parameters,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let reply = bridge::call(&context, subjects::LOCKS_LIST, EMPTY_OBJECT, &terms).await;
    let reply = reply.map_err(|error| problem::harmless(error, UNANSWERED))?;
    Ok(json::response(StatusCode::OK, told(reply.body, &caller.accounts())?))
}

/// Returns the locks that may be told.
fn told(body: Vec<u8>, scope: &Scope) -> Result<Vec<u8>, Fault> {
    if *scope == Scope::All {
        return Ok(body);
    }
    let unreadable = |error| {
        tracing::error!(%error, "a worker's list of locks cannot be read");
        Fault::new(Code::NoWorker, "the worker's list of locks cannot be read")
    };
    let mut answer: LocksAnswer = serde_json::from_slice(&body).map_err(unreadable)?;
    answer.items.retain(|lock| match &lock.scope {
        LockScope::Account { account_id } => scope.takes(account_id),
        LockScope::All | LockScope::Symbol { .. } | LockScope::Broker { .. } => true,
    });
    answer.total = u64::try_from(answer.items.len()).unwrap_or(u64::MAX);
    serde_json::to_vec(&answer).map_err(unreadable)
}

/// Returns the account that a lock closes, by the lock's name: `<mode>.account.<account>.<rule>`.
fn account_of(latch_id: &str) -> Option<AccountId> {
    let mut parts = latch_id.split('.').skip(1);
    let is_accounts = parts.next()? == "account";
    AccountId::new(parts.next()?).ok().filter(|_| is_accounts)
}

/// Lifts a lock, and tells it as it was.
pub(in crate::sidecar) async fn lift(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let no_lock = |_| Fault::new(Code::NotFound, "there is no lock of this name");
    let Path(latch_id) = path.map_err(no_lock)?;
    if let Some(account) = account_of(&latch_id) {
        caller.may_use(&account)?;
    }
    let body = request(&body, &latch_id, terms.actor())?;
    let reply = bridge::call(&context, subjects::LOCKS_LIFT, body, &terms).await;
    let reply = reply.map_err(|error| problem::harmless(error, LIFT_UNANSWERED))?;
    tracing::info!(latch_id, actor = terms.actor(), "a lock was lifted");
    Ok(json::response(StatusCode::OK, reply.body))
}

/// Returns the request on the bus: the lock is the path's, and the actor is ours to name.
fn request(body: &Bytes, latch_id: &str, actor: &str) -> Result<Bytes, Fault> {
    let named = with_actor_and_name(body, actor, LATCH_ID, latch_id)?;
    decode_lift(&named)?;
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
            let found = account_of(latch_id);
            assert_eq!(found.as_ref().map(AccountId::as_str), account, "{latch_id}");
        }
    }

    #[test]
    fn the_path_names_the_lock_and_the_body_the_reason() {
        let read = |text: &str| request(&Bytes::copy_from_slice(text.as_bytes()), "paper.all.operator", "rest x");
        let lift = decode_lift(&read(r#"{"reason":"over"}"#).unwrap()).unwrap();
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
