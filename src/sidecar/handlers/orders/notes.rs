//! `POST /orders/{id}/notes`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId, Tag};
use crate::domain::note::Note;
use crate::fault::{Fault, FaultCode, quoted};
use crate::order_log::{MAX_NOTES_BYTES, MAX_ORDER_TAGS, OrderLogFilter, PageWindow};
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::order_log::parse_order_number;
use crate::sidecar::handlers::service::state::with_actor_and_field;
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::note::decode_note_request;
use crate::wire::order_record::OrderRecord;

const ORDER_ID_FIELD: &str = "order_id";
const NOTE_ID_FIELD: &str = "note_id";
const TIMEOUT_DETAIL: &str = "no worker has answered in time: whether the note is kept is not known; look at the order, or \
                          note it again under the same note_id";

/// Notes something on an order, and tells the order.
pub(in crate::sidecar) async fn add_order_note(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    path: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let order = load_order(&context, &caller, &text).await?;
    let (request, note) = build_note_request(&body, &order.external_order_id, call_context.actor())?;
    check_room(&order, &note)?;
    let unreadable = |_| {
        Fault::new(
            FaultCode::StoreUnavailable,
            "the order log names no broker or account of the order",
        )
    };
    let broker = BrokerId::new(&order.broker).map_err(unreadable)?;
    let account = AccountId::new(&order.account_id).map_err(unreadable)?;
    let reply = bus_bridge::call(&context, &subjects::note(&broker, &account), request, &call_context).await;
    // Whoever asks again does so under the same id, also where this side gave it.
    let named = |ProblemResponse(mut fault): ProblemResponse| {
        fault.metadata = fault.metadata.with(NOTE_ID_FIELD, note.note_id.to_string());
        ProblemResponse(fault)
    };
    reply.map_err(|error| named(problem::timeout_as_unavailable(error, TIMEOUT_DETAIL)))?;
    let noted = load_order(&context, &caller, &text).await.map_err(named)?;
    Ok(json::encode_response(StatusCode::OK, &noted))
}

/// Returns the order with a number; one of a foreign account is as if it were not there.
async fn load_order(context: &SidecarContext, caller: &Principal, text: &str) -> Result<OrderRecord, ProblemResponse> {
    let no_order = || {
        Fault::new(
            FaultCode::UnknownOrder,
            format!("no order of the log has the number {:?}", quoted(text)),
        )
    };
    let filter = OrderLogFilter {
        visible_accounts: caller.account_scope(),
        order_id: Some(parse_order_number(text).map_err(|_| no_order())?),
        ..OrderLogFilter::default()
    };
    let one = PageWindow { limit: 1, offset: 0 };
    let page = context
        .order_log
        .list_orders(filter, one, context.read_deadline())
        .await?;
    Ok(page.items.into_iter().next().ok_or_else(no_order)?)
}

/// Returns the request on the bus, and what it says: the order is the path's, and the actor is ours to name.
fn build_note_request(body: &Bytes, order_id: &str, actor: &str) -> Result<(Bytes, Note), Fault> {
    let named = with_actor_and_field(body, actor, ORDER_ID_FIELD, order_id)?;
    let note = decode_note_request(&named)?;
    // Sent again by this side or by the client, it is noted once.
    let named = json::with_text_field(&named, NOTE_ID_FIELD, &note.note_id.to_string()).unwrap_or(named);
    Ok((named, note))
}

/// Refuses what the order log would not keep any more.
fn check_room(order: &OrderRecord, note: &Note) -> Result<(), Fault> {
    let text = note.text.as_ref().map_or(0, |text| text.as_str().len() + 1);
    if order.notes.as_ref().map_or(0, String::len) + text > MAX_NOTES_BYTES {
        let rule = format!("would make the order's notes longer than {MAX_NOTES_BYTES} bytes");
        return Err(Fault::for_field(FaultCode::InvalidField, "notes", rule));
    }
    let is_new = |tag: &&Tag| {
        let is_it = |known: &String| known.to_lowercase() == tag.as_str().to_lowercase();
        !order.tags.iter().any(is_it)
    };
    if order.tags.len() + note.tags.iter().filter(is_new).count() > MAX_ORDER_TAGS {
        let rule = format!("would give the order more than {MAX_ORDER_TAGS} tags");
        return Err(Fault::for_field(FaultCode::InvalidField, "tags", rule));
    }
    Ok(())
}
