//! `GET /risk/locks` and `POST /risk/locks/{latch_id}/lift`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::state::with_actor;
use crate::bus::subjects;
use crate::fault::{Code, Fault};
use crate::sidecar::body::JsonBody;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::{self, Failure};
use crate::wire::latch::decode_lift;
use crate::wire::object::Object;

const LATCH_ID: &str = "latch_id";
const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");
const UNANSWERED: &str = "no worker has answered in time; ask again";
const LIFT_UNANSWERED: &str = "no worker has answered in time: whether the lock is lifted is not known; look at the \
                               locks, or lift it again";

/// Tells the locks in force.
pub(in crate::sidecar) async fn list(
    State(context): State<Arc<Context>>,
    terms: Terms,
    parameters: Parameters,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let reply = bridge::call(&context, subjects::LOCKS_LIST, EMPTY_OBJECT, &terms).await;
    let reply = reply.map_err(|error| problem::harmless(error, UNANSWERED))?;
    Ok(json::response(StatusCode::OK, reply.body))
}

/// Lifts a lock, and tells it as it was.
pub(in crate::sidecar) async fn lift(
    State(context): State<Arc<Context>>,
    terms: Terms,
    parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let no_lock = |_| Fault::new(Code::NotFound, "there is no lock of this name");
    let Path(latch_id) = path.map_err(no_lock)?;
    let body = request(&body, &latch_id, &terms.actor())?;
    let reply = bridge::call(&context, subjects::LOCKS_LIFT, body, &terms).await;
    let reply = reply.map_err(|error| problem::harmless(error, LIFT_UNANSWERED))?;
    tracing::info!(latch_id, actor = terms.actor(), "a lock was lifted");
    Ok(json::response(StatusCode::OK, reply.body))
}

/// Returns the request on the bus: the lock is the path's, and the actor is ours to name.
fn request(body: &Bytes, latch_id: &str, actor: &str) -> Result<Bytes, Fault> {
    let signed = with_actor(body, actor)?;
    Object::read(&signed)?;
    let own_id = || {
        Fault::field(
            Code::UnknownField,
            LATCH_ID,
            "is not a field of this request: the path names it",
        )
    };
    let named = json::with_text(&signed, LATCH_ID, latch_id).ok_or_else(own_id)?;
    decode_lift(&named)?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

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
