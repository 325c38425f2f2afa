//! `GET /events`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::event_stream::{EventCursor, EventSubscription};
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::problem::ProblemResponse;

/// The media type of server-sent events.
pub(in crate::sidecar) const TEXT_EVENT_STREAM: &str = "text/event-stream";
/// What a client has seen, as it says itself when it connects anew.
const LAST_EVENT_ID_HEADER: &str = "Last-Event-ID";
/// Keeps a proxy (nginx, and those that follow it) from holding events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long the first look at the streams is waited for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// Tells what happens, as long as the client listens.
pub(in crate::sidecar) async fn follow_events(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    headers: HeaderMap,
    mut parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    let account = parameters.take("account_id", AccountId::new)?;
    let named = parameters.take("last_event_id", EventCursor::parse)?;
    parameters.reject_remaining()?;
    let accounts = match (account, caller.account_scope()) {
        (Some(account), _) => {
            caller.authorize_account(&account)?;
            Some(vec![account])
        }
        (None, AccountScope::Only(accounts)) => Some(accounts),
        (None, AccountScope::All) => None,
    };
    let wanted = EventSubscription {
        accounts,
        // The address stays what it was when a client connects anew, and the header tells what it has seen since.
        resume_after: last_event_id(&headers)?.or(named),
    };
    let patience = OPEN_TIMEOUT.min(context.request_timeout / 2);
    let told = context
        .event_streams
        .open(context.bus_client.bus(), wanted, patience)
        .await?;
    let mut response = Response::new(Body::from_stream(told));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<EventCursor>, Fault> {
    let invalid = |rule: &str| Fault::for_field(FaultCode::InvalidField, LAST_EVENT_ID_HEADER, rule);
    let mut values = headers.get_all(LAST_EVENT_ID_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => {
            let place = EventCursor::parse(only.to_str().unwrap_or_default());
            place.map(Some).map_err(invalid)
        }
        _ => Err(invalid("must be given once")),
    }
}
