//! When a request arrived, and from where.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::time::Instant;

use crate::http::Peer;
use crate::sidecar::response::problem::InternalError;

/// The arrival of a request. [`admission`](crate::sidecar::middleware::admission) adds it to every request.
#[derive(Debug, Clone, Copy)]
pub(in crate::sidecar) struct RequestArrival {
    /// When the request's head was read.
    pub(in crate::sidecar) received_at: Instant,
    /// The client's address.
    pub(in crate::sidecar) peer: Peer,
}

impl<S: Send + Sync> FromRequestParts<S> for RequestArrival {
    type Rejection = InternalError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, InternalError> {
        let arrival = parts.extensions.get::<Self>().copied();
        arrival.ok_or(InternalError("a request bypassed admission"))
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use axum::response::IntoResponse;

    use super::*;
    use crate::sidecar::response::media_type::PROBLEM_JSON;

    #[tokio::test]
    async fn request_that_bypasses_admission_is_an_internal_error() {
        let (mut parts, _) = Request::new(axum::body::Body::empty()).into_parts();
        let rejection = RequestArrival::from_request_parts(&mut parts, &()).await.unwrap_err();
        let response = rejection.into_response();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: crate::wire::problem::Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, "internal_error");
        let peer = Peer(([127, 0, 0, 1], 1).into());
        let received_at = Instant::now();
        parts.extensions.insert(RequestArrival { received_at, peer });
        let arrival = RequestArrival::from_request_parts(&mut parts, &()).await.unwrap();
        assert_eq!(arrival.received_at, received_at);
    }
}
