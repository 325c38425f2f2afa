//! What this process measures.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::sidecar::context::SidecarContext;
use crate::telemetry;

/// Answers in the text format of Prometheus.
pub(in crate::sidecar) async fn get_metrics(State(context): State<Arc<SidecarContext>>) -> Response {
    let head = [(CONTENT_TYPE, telemetry::CONTENT_TYPE)];
    (head, context.metrics.render(&context.order_log.status())).into_response()
}
