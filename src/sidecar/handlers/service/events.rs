//! `GET /events`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::StreamExt;

use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::event_stream::cursor::EventCursor;
use crate::sidecar::event_stream::subscription::EventSubscription;
use crate::sidecar::extract::header::parse_header;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::media_type::TEXT_EVENT_STREAM;
use crate::sidecar::response::problem::ProblemResponse;

/// The header with the last event id that a client has received, which it sends when it reconnects.
const LAST_EVENT_ID_HEADER: &str = "Last-Event-ID";
/// Keeps a proxy (nginx and others that read this header) from buffering events.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The maximum time to open both streams.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// Streams events until the client disconnects or its key is revoked.
pub(in crate::sidecar) async fn follow_events(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    headers: HeaderMap,
    mut parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    let account = parameters.take("account_id", AccountId::new)?;
    let query_event_id = parameters.take("last_event_id", EventCursor::parse)?;
    parameters.reject_remaining()?;
    let accounts = match (account, principal.account_scope()) {
        (Some(account), _) => {
            principal.authorize_account(&account)?;
            Some(vec![account])
        }
        (None, AccountScope::Only(accounts)) => Some(accounts),
        (None, AccountScope::All) => None,
    };
    let last_event_id = parse_header(&headers, LAST_EVENT_ID_HEADER, EventCursor::parse)?;
    let subscription = EventSubscription {
        accounts,
        // A client that reconnects sends the same URL: the header has the newer event id.
        resume_after: last_event_id.or(query_event_id),
    };
    let timeout = OPEN_TIMEOUT.min(context.request_timeout / 2);
    let events = context
        .event_streams
        .open(context.bus_client.bus(), subscription, timeout)
        .await?;
    let events = events.take_until(Box::pin(principal.wait_until_revoked()));
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}
