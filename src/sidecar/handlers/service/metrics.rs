//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::sidecar::context::SidecarContext;
use crate::telemetry;

/// Returns this process's metrics in the Prometheus text format.
pub(in crate::sidecar) async fn get_metrics(State(context): State<Arc<SidecarContext>>) -> Response {
    let headers = [(CONTENT_TYPE, telemetry::CONTENT_TYPE)];
    (headers, context.metrics.render(&context.order_log.status())).into_response()
}
