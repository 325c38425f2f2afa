//! `GET /events`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::config::keys::Scope;
use crate::domain::id::AccountId;
use crate::fault::{Code, Fault};
use crate::sidecar::auth::Caller;
use crate::sidecar::context::Context;
use crate::sidecar::event_stream::{Place, Wanted};
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;

/// The media type of server-sent events.
pub(in crate::sidecar) const TEXT_EVENT_STREAM: &str = "text/event-stream";
/// What a client has seen, as it says itself when it connects anew.
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// Keeps a proxy (nginx, and those that follow it) from holding events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long the first look at the streams is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells what happens, as long as the client listens.
pub(in crate::sidecar) async fn follow(
    State(context): State<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let account = parameters.take("account_id", AccountId::new)?;
    let named = parameters.take("last_event_id", Place::parse)?;
    parameters.finish()?;
    let accounts = match (account, caller.accounts()) {
        (Some(account), _) => {
            caller.may_use(&account)?;
            Some(vec![account])
        }
        (None, Scope::Only(accounts)) => Some(accounts),
        (None, Scope::All) => None,
    };
    let wanted = Wanted {
        accounts,
        // The address stays what it was when a client connects anew, and the header tells what it has seen since.
        seen: last_event(&headers)?.or(named),
    };
    let patience = PATIENCE.min(context.request_timeout / 2);
    let told = context.events.open(context.caller.bus(), wanted, patience).await?;
    let mut response = Response::new(Body::from_stream(told));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event(headers: &HeaderMap) -> Result<Option<Place>, Fault> {
    let invalid = |rule: &str| Fault::field(Code::InvalidField, LAST_EVENT_ID, rule);
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => {
            let place = Place::parse(only.to_str().unwrap_or_default());
            place.map(Some).map_err(invalid)
        }
        _ => Err(invalid("must be given once")),
    }
}
