//! The JSON body of a request: its content type, its size, its deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::fault::{Fault, FaultCode};
use crate::sidecar::arrival::RequestArrival;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::header::single_header;
use crate::sidecar::response::media_type::APPLICATION_JSON;
use crate::sidecar::response::problem;
use crate::sidecar::time_budget::TimeBudget;
use crate::wire::strict_object::MAX_BODY_BYTES;

/// The maximum number of bytes read and discarded of a body that is too large: a client that is still sending would not
/// see the response.
const MAX_DISCARDED_BYTES: usize = 8 * MAX_BODY_BYTES;
/// The maximum time to read and discard such a body.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A body whose content type is JSON. Handlers decode it.
#[derive(Debug)]
pub(in crate::sidecar) struct JsonBody(pub(in crate::sidecar) Bytes);

impl FromRequest<Arc<SidecarContext>> for JsonBody {
    type Rejection = Response;

    async fn from_request(request: Request, context: &Arc<SidecarContext>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let arrival = RequestArrival::from_request_parts(&mut parts, context)
            .await
            .map_err(IntoResponse::into_response)?;
        let deadline = TimeBudget::new(arrival.received_at, context.request_timeout).body_deadline;
        let body = read_json_body(&parts.headers, body, deadline).await;
        body.map(Self).map_err(|fault| problem::fault_response(&fault))
    }
}

/// A body whose content type is JSON, or an empty one.
#[derive(Debug)]
pub(in crate::sidecar) struct OptionalJsonBody(pub(in crate::sidecar) Bytes);

impl FromRequest<Arc<SidecarContext>> for OptionalJsonBody {
    type Rejection = Response;

    async fn from_request(request: Request, context: &Arc<SidecarContext>) -> Result<Self, Response> {
        if request.body().is_end_stream() {
            return Ok(Self(Bytes::new()));
        }
        let JsonBody(body) = JsonBody::from_request(request, context).await?;
        Ok(Self(body))
    }
}

async fn read_json_body(headers: &HeaderMap, body: Body, deadline: Instant) -> Result<Bytes, Fault> {
    check_media_type(headers)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.is_some_and(|text| text.parse().is_ok_and(|length: u64| length > MAX_BODY_BYTES as u64)) {
        discard_body(body.into_data_stream()).await;
        return Err(payload_too_large());
    }
    read_body(body, deadline).await
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Fault> {
    let unsupported = |detail: &str| Err(Fault::new(FaultCode::UnsupportedMediaType, detail));
    let is_json = match single_header(headers, CONTENT_TYPE.as_str()) {
        Ok(Some(value)) => value.to_str().is_ok_and(is_json_media_type),
        _ => false,
    };
    if !is_json {
        return unsupported("Content-Type must be application/json with charset utf-8");
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            unsupported("Content-Encoding is not supported: send the body uncompressed")
        }
        _ => Ok(()),
    }
}

fn is_json_media_type(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let is_utf8 = |charset: &str| charset.trim_matches('"').eq_ignore_ascii_case("utf-8");
    parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case(APPLICATION_JSON))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => is_utf8(value.trim()),
            _ => true,
        })
}

async fn read_body(body: Body, deadline: Instant) -> Result<Bytes, Fault> {
    let mut chunks = body.into_data_stream();
    let mut received = BytesMut::new();
    loop {
        match timeout_at(deadline, chunks.next()).await {
            Err(_) => return Err(Fault::new(FaultCode::Malformed, "the body was not received in time")),
            Ok(None) => return Ok(received.freeze()),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "the connection failed before the end of the body");
                return Err(Fault::new(FaultCode::Malformed, "the body is incomplete"));
            }
            Ok(Some(Ok(chunk))) => {
                if received.len() + chunk.len() > MAX_BODY_BYTES {
                    discard_body(chunks).await;
                    return Err(payload_too_large());
                }
                received.extend_from_slice(&chunk);
            }
        }
    }
}

async fn discard_body(mut chunks: BodyDataStream) {
    let mut discarded = 0;
    let all = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            discarded += chunk.len();
            if discarded > MAX_DISCARDED_BYTES {
                break;
            }
        }
    };
    // A client that sends more, or more slowly, does not see the response.
    let _ = timeout(DISCARD_TIMEOUT, all).await;
}

fn payload_too_large() -> Fault {
    Fault::new(
        FaultCode::PayloadTooLarge,
        format!("the body is larger than {MAX_BODY_BYTES} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_utf_8_is_the_only_media_type() {
        for (text, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/problem+json", false),
            ("application/jsonx", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json_media_type(text), expected, "{text}");
        }
    }
}
