//! The body of a request: JSON by its content type, within its size, in time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::fault::{Fault, FaultCode};
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::response::json::APPLICATION_JSON;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::strict_object::MAX_BODY_BYTES;

/// How much of a body that is too large is read on: a client in the middle of sending would not see the answer.
const MAX_DISCARDED_BYTES: usize = 8 * MAX_BODY_BYTES;
/// How long a body that is too large is read on.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A body that says it is JSON.
#[derive(Debug)]
pub(in crate::sidecar) struct JsonBody(pub(in crate::sidecar) Bytes);

impl FromRequest<Arc<SidecarContext>> for JsonBody {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, context: &Arc<SidecarContext>) -> Result<Self, ProblemResponse> {
        let (mut parts, body) = request.into_parts();
        let terms = CallContext::from_request_parts(&mut parts, context).await?;
        check_media_type(&parts.headers)?;
        let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if declared.is_some_and(|text| text.parse().is_ok_and(|length: u64| length > MAX_BODY_BYTES as u64)) {
            discard_body(body.into_data_stream()).await;
            return Err(payload_too_large().into());
        }
        Ok(Self(read_body(body, terms.body_deadline()).await?))
    }
}

/// A body that says it is JSON, or none: then it is empty.
#[derive(Debug)]
pub(in crate::sidecar) struct OptionalJsonBody(pub(in crate::sidecar) Bytes);

impl FromRequest<Arc<SidecarContext>> for OptionalJsonBody {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, context: &Arc<SidecarContext>) -> Result<Self, ProblemResponse> {
        if request.body().is_end_stream() {
            return Ok(Self(Bytes::new()));
        }
        let JsonBody(body) = JsonBody::from_request(request, context).await?;
        Ok(Self(body))
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Fault> {
    let unsupported = |detail: &str| Err(Fault::new(FaultCode::UnsupportedMediaType, detail));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (types.next(), types.next()) {
        (Some(only), None) => only.to_str().is_ok_and(is_json_media_type),
        _ => false,
    };
    if !is_json {
        return unsupported("the header Content-Type must be application/json, in UTF-8");
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => unsupported("the body must not be compressed"),
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
    let mut pieces = body.into_data_stream();
    let mut read = BytesMut::new();
    loop {
        match timeout_at(deadline, pieces.next()).await {
            Err(_) => return Err(Fault::new(FaultCode::Malformed, "the body did not arrive in time")),
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a body broke off");
                return Err(Fault::new(
                    FaultCode::Malformed,
                    "the body ends before its announced end",
                ));
            }
            Ok(Some(Ok(piece))) => {
                if read.len() + piece.len() > MAX_BODY_BYTES {
                    discard_body(pieces).await;
                    return Err(payload_too_large());
                }
                read.extend_from_slice(&piece);
            }
        }
    }
}

async fn discard_body(mut chunks: BodyDataStream) {
    let mut discarded = 0;
    let all = async {
        while let Some(Ok(piece)) = chunks.next().await {
            discarded += piece.len();
            if discarded > MAX_DISCARDED_BYTES {
                break;
            }
        }
    };
    // Whoever sends more, or more slowly, has to do without the answer.
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
    fn only_json_in_utf_8_is_json() {
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
