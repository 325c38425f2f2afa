//! The whole API: every path, its methods, and what stands in front of them.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::context::Context;
use super::gate;
use super::handlers::{alerts, brokers, cancel, health, locks, lookup, metrics, state, submit};
use super::problem;
use crate::fault::{Code, Fault, quoted};

/// The path that tells of the process alone; it is answered however much is under way.
pub(super) const LIVE: &str = "/health/live";

/// The path of the metrics; they are told however much is under way.
pub(super) const METRICS: &str = "/metrics";

/// Returns the API behind its gate.
pub(super) fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route(LIVE, get(health::live))
        .route(METRICS, get(metrics::show))
        .route("/brokers", get(brokers::list))
        .route("/orders", post(submit::submit))
        .route("/orders/{order_id}", get(lookup::by_order_id))
        .route(
            "/orders/by-client-id/{client_order_id}",
            get(lookup::by_client_order_id),
        )
        .route("/orders/{broker}/cancel", post(cancel::cancel))
        .route("/risk/alerts", get(alerts::list))
        .route("/state", get(state::show).put(state::change))
        .route("/risk/locks", get(locks::list))
        .route("/risk/locks/{latch_id}/lift", post(locks::lift))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&context), gate::pass))
        .with_state(context)
}

async fn no_such_path(uri: Uri) -> Response {
    let detail = format!("there is nothing at {}", quoted(uri.path()));
    problem::response(&Fault::new(Code::NotFound, detail))
}

/// The header `Allow` is set by the router.
async fn no_such_method(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("{} is not allowed at {}", quoted(method.as_str()), quoted(uri.path()));
    problem::response(&Fault::new(Code::MethodNotAllowed, detail))
}
