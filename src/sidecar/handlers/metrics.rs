//! What this process measures.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::sidecar::context::Context;
use crate::telemetry;

/// Answers in the text format of Prometheus.
pub(in crate::sidecar) async fn show(State(context): State<Arc<Context>>) -> Response {
    let head = [(CONTENT_TYPE, telemetry::CONTENT_TYPE)];
    (head, context.measures.render(&context.log.status())).into_response()
}
