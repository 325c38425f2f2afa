//! `POST /orders/{id}/notes`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::order_log::order_number;
use super::state::with_actor_and_name;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId, Tag};
use crate::domain::note::Note;
use crate::fault::{Code, Fault, quoted};
use crate::sidecar::auth::Caller;
use crate::sidecar::body::JsonBody;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::order_log::{Filter, MAX_NOTES_BYTES, MAX_ORDER_TAGS, Window};
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::{self, Failure};
use crate::wire::note::decode_note;
use crate::wire::order_record::OrderRecord;

const ORDER_ID: &str = "order_id";
const NOTE_ID: &str = "note_id";
const UNANSWERED: &str = "no worker has answered in time: whether the note is kept is not known; look at the order, or \
                          note it again under the same note_id";

/// Notes something on an order, and tells the order.
pub(in crate::sidecar) async fn add(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let order = find(&context, &caller, &text).await?;
    let (request, note) = request(&body, &order.external_order_id, terms.actor())?;
    has_room(&order, &note)?;
    let unreadable = |_| {
        Fault::new(
            Code::StoreUnavailable,
            "the order log names no broker or account of the order",
        )
    };
    let broker = BrokerId::new(&order.broker).map_err(unreadable)?;
    let account = AccountId::new(&order.account_id).map_err(unreadable)?;
    let reply = bridge::call(&context, &subjects::note(&broker, &account), request, &terms).await;
    // Whoever asks again does so under the same id, also where this side gave it.
    let named = |Failure(mut fault): Failure| {
        fault.metadata = fault.metadata.with(NOTE_ID, note.note_id.to_string());
        Failure(fault)
    };
    reply.map_err(|error| named(problem::harmless(error, UNANSWERED)))?;
    let noted = find(&context, &caller, &text).await.map_err(named)?;
    Ok(json::of(StatusCode::OK, &noted))
}

/// Returns the order with a number; one of a foreign account is as if it were not there.
async fn find(context: &Context, caller: &Caller, text: &str) -> Result<OrderRecord, Failure> {
    let no_order = || {
        Fault::new(
            Code::UnknownOrder,
            format!("no order of the log has the number {:?}", quoted(text)),
        )
    };
    let filter = Filter {
        accounts: caller.accounts(),
        order_id: Some(order_number(text).map_err(|_| no_order())?),
        ..Filter::default()
    };
    let one = Window { limit: 1, offset: 0 };
    let page = context.log.orders(filter, one, context.read_until()).await?;
    Ok(page.items.into_iter().next().ok_or_else(no_order)?)
}

/// Returns the request on the bus, and what it says: the order is the path's, and the actor is ours to name.
fn request(body: &Bytes, order_id: &str, actor: &str) -> Result<(Bytes, Note), Fault> {
    let named = with_actor_and_name(body, actor, ORDER_ID, order_id)?;
    let note = decode_note(&named)?;
    // Sent again by this side or by the client, it is noted once.
    let named = json::with_text(&named, NOTE_ID, &note.note_id.to_string()).unwrap_or(named);
    Ok((named, note))
}

/// Refuses what the order log would not keep any more.
fn has_room(order: &OrderRecord, note: &Note) -> Result<(), Fault> {
    let text = note.text.as_ref().map_or(0, |text| text.as_str().len() + 1);
    if order.notes.as_ref().map_or(0, String::len) + text > MAX_NOTES_BYTES {
        let rule = format!("would make the order's notes longer than {MAX_NOTES_BYTES} bytes");
        return Err(Fault::field(Code::InvalidField, "notes", rule));
    }
    let is_new = |tag: &&Tag| {
        let is_it = |known: &String| known.to_lowercase() == tag.as_str().to_lowercase();
        !order.tags.iter().any(is_it)
    };
    if order.tags.len() + note.tags.iter().filter(is_new).count() > MAX_ORDER_TAGS {
        let rule = format!("would give the order more than {MAX_ORDER_TAGS} tags");
        return Err(Fault::field(Code::InvalidField, "tags", rule));
    }
    Ok(())
}
