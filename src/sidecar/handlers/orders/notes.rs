//! `POST /orders/{id}/notes`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use uuid::Uuid;

use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId, Tag};
use crate::domain::note::Note;
use crate::fault::{Fault, FaultCode};
use crate::order_log::{MAX_NOTES_BYTES, MAX_ORDER_TAGS};
use crate::sidecar::bus_bridge;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::logged_order::load_order;
use crate::sidecar::handlers::signed_body::sign_with_path_field;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::note::decode_note_request;
use crate::wire::order_record::OrderRecord;

const ORDER_ID_FIELD: &str = "order_id";
const NOTE_ID_FIELD: &str = "note_id";
const TIMEOUT_DETAIL: &str = "no worker replied in time: the note may have been stored; read the order, or send it again \
                              with the same note_id";

/// Adds a note to an order and returns the order.
pub(in crate::sidecar) async fn add_order_note(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(number): PathSegment,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let order = load_order(&context, &principal, &number).await?;
    let (request, note) = build_note_request(&body, &order.external_order_id, call_context.actor())?;
    check_space(&order, &note)?;
    let incomplete = |_| {
        Fault::new(
            FaultCode::StoreUnavailable,
            "the order log has no broker or account for the order",
        )
    };
    let broker = BrokerId::new(&order.broker).map_err(incomplete)?;
    let account = AccountId::new(&order.account_id).map_err(incomplete)?;
    let reply = bus_bridge::call(&context, &subjects::note(&broker, &account), request, &call_context).await;
    // The client retries with the same note_id, also if the sidecar generated it.
    let with_note_id = |ProblemResponse(mut fault): ProblemResponse| {
        fault.metadata = fault.metadata.with(NOTE_ID_FIELD, note.note_id.to_string());
        ProblemResponse(fault)
    };
    reply.map_err(|error| with_note_id(problem::timeout_as_unavailable(error, TIMEOUT_DETAIL)))?;
    let updated = load_order(&context, &principal, &number).await.map_err(with_note_id)?;
    Ok(json::encode_response(StatusCode::OK, &updated))
}

/// Returns the request on the bus, and its note. The order is the path's, and the actor is the sender.
fn build_note_request(body: &[u8], order_id: &str, actor: &str) -> Result<(Bytes, Note), Fault> {
    // With its id in the request, a note that is sent twice is stored once.
    let note_id = Uuid::now_v7().to_string();
    let path_field = (ORDER_ID_FIELD, order_id);
    let signed = sign_with_path_field(body, actor, path_field, Some((NOTE_ID_FIELD, &note_id)))?;
    let note = decode_note_request(&signed)?;
    Ok((signed, note))
}

/// Checks that the order log has space for the note.
///
/// # Errors
/// `invalid_field` if the order's notes or tags would exceed their limits.
fn check_space(order: &OrderRecord, note: &Note) -> Result<(), Fault> {
    let added_bytes = note.text.as_ref().map_or(0, |text| text.as_str().len() + 1);
    if order.notes.as_ref().map_or(0, String::len) + added_bytes > MAX_NOTES_BYTES {
        let rule = format!("would exceed {MAX_NOTES_BYTES} bytes of notes for the order");
        return Err(Fault::for_field(FaultCode::InvalidField, "notes", rule));
    }
    let is_new = |tag: &&Tag| {
        let is_same = |known: &String| known.to_lowercase() == tag.as_str().to_lowercase();
        !order.tags.iter().any(is_same)
    };
    if order.tags.len() + note.tags.iter().filter(is_new).count() > MAX_ORDER_TAGS {
        let rule = format!("would exceed {MAX_ORDER_TAGS} tags for the order");
        return Err(Fault::for_field(FaultCode::InvalidField, "tags", rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_request_carries_actor_order_and_note_id() {
        let given = "01955612-f2a0-7c3e-9d1b-2f4a6c8e0d12";
        for (body, note_id) in [
            (r#"{"notes":"reviewed"}"#.to_owned(), None),
            (format!(r#"{{"note_id":"{given}","tags":["reviewed"]}}"#), Some(given)),
        ] {
            let (request, note) = build_note_request(body.as_bytes(), "BN-1", "rest x").unwrap();
            let sent = decode_note_request(&request).unwrap();
            assert_eq!(sent, note);
            assert_eq!((sent.order_id.as_str(), sent.actor.as_str()), ("BN-1", "rest x"));
            assert!(note_id.is_none_or(|id| sent.note_id.to_string() == id));
        }
    }
}
