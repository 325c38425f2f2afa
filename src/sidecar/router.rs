//! The API: one line for each operation, and the middleware in front of all.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::handlers::order_log;
use crate::sidecar::handlers::orders::{cancel, cancel_all, history, lookup, notes, replace, submit};
use crate::sidecar::handlers::positions::{close, list};
use crate::sidecar::handlers::risk::{alerts, heartbeat, limits, locks};
use crate::sidecar::handlers::service::{brokers, console, docs, events, health, metrics, mode, state};
use crate::sidecar::middleware::admission;
use crate::sidecar::middleware::auth;
use crate::sidecar::middleware::auth::RequiredAccess;
use crate::sidecar::middleware::number_format;
use crate::sidecar::openapi::describe;
use crate::sidecar::openapi::describe::{orders, positions, risk, service};
use crate::sidecar::openapi::document::build_document;
use crate::sidecar::openapi::operation::{Operation, get, post, put};
use crate::sidecar::paths::{LIVENESS_PATH, METRICS_PATH, OPENAPI_PATH};
use crate::sidecar::response::{json, problem};

/// The OpenAPI document, as JSON. It is the same for every sidecar of the process.
static OPENAPI_DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| json::encode(&build_document(&operations())).into());

/// Returns every operation: its method, path, required access, handler and description.
#[rustfmt::skip] // One line for each operation, of any length.
pub(super) fn operations() -> Vec<Operation> {
    use RequiredAccess::{ManageState, Open, Read, ReadOrder, RouteOrders};
    vec![
        post("/orders", RouteOrders, submit::submit_order, orders::submit_order()),
        get("/orders/{order_id}", ReadOrder, lookup::get_order, orders::get_order()),
        get("/orders/by-client-id/{client_order_id}", ReadOrder, lookup::get_order_by_client_order_id, orders::get_order_by_client_order_id()),
        post("/orders/{broker}/cancel", RouteOrders, cancel::cancel_order, orders::cancel_order()),
        post("/orders/{broker}/replace", RouteOrders, replace::replace_order, orders::replace_order()),
        post("/orders/{broker}/cancel-all", RouteOrders, cancel_all::cancel_all_orders, orders::cancel_all_orders()),
        get("/orders/log", Read, order_log::list_orders, describe::order_log::list_orders()),
        get("/orders/{id}/history", Read, history::get_order_history, describe::order_log::get_order_history()),
        post("/orders/{id}/notes", RouteOrders, notes::add_order_note, describe::order_log::add_order_note()),
        get("/executions", Read, order_log::list_executions, describe::order_log::list_executions()),
        get("/positions", Read, list::list_positions, positions::list_positions()),
        post("/positions/{id}/close", RouteOrders, close::close_position, positions::close_position()),
        get("/risk/alerts", Read, alerts::list_alerts, risk::list_alerts()),
        get("/risk/limits", Read, limits::get_limits, risk::get_limits()),
        get("/risk/locks", Read, locks::list_locks, risk::list_locks()),
        post("/risk/locks/{latch_id}/lift", ManageState, locks::lift_lock, risk::lift_lock()),
        post("/accounts/{account_id}/heartbeat", RouteOrders, heartbeat::send_heartbeat, risk::send_heartbeat()),
        get("/events", Read, events::follow_events, service::follow_events()),
        get("/state", Read, state::get_state, describe::state::get_state()),
        put("/state", ManageState, state::change_state, describe::state::change_state()),
        get("/mode", Read, mode::get_mode, describe::state::get_mode()),
        post("/mode", ManageState, mode::change_mode, describe::state::change_mode()),
        get("/brokers", Read, brokers::list_brokers, service::list_brokers()),
        get("/health", Open, health::get_health, service::get_health()),
        get(LIVENESS_PATH, Open, health::get_liveness, service::get_liveness()),
        get(METRICS_PATH, Read, metrics::get_metrics, service::get_metrics()),
        get(OPENAPI_PATH, Open, docs::get_openapi, service::get_openapi()),
        get("/", Open, console::get_console, service::get_console()),
        get("/console/{file}", Open, console::get_console_file, service::get_console_file()),
        get("/docs", Open, docs::get_docs, service::get_docs()),
        get("/docs/{file}", Open, docs::get_docs_file, service::get_docs_file()),
    ]
}

/// Returns the OpenAPI document of [`operations`], as JSON.
pub(super) fn openapi_document() -> Bytes {
    OPENAPI_DOCUMENT.clone()
}

/// Returns the API behind its middleware.
pub(super) fn build_router(context: Arc<SidecarContext>) -> Router {
    let router = operations()
        .into_iter()
        .fold(Router::new(), |router, operation| {
            let guarded = operation.access.guard(&context, operation.method_router);
            router.route(operation.path, guarded)
        })
        .fallback(path_not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&context), admission::run_admitted));
    let router = match context.cors.layer() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(from_fn_with_state(Arc::clone(&context), admission::handle_in_task))
        .layer(from_fn(number_format::write_numbers_as_accepted))
        .with_state(context)
}

/// Responds to an unknown path. Only a client with a key learns which paths and methods exist.
async fn path_not_found(State(context): State<Arc<SidecarContext>>, mut request: Request) -> Response {
    if let Err(fault) = auth::authorize(&context, RequiredAccess::AnyKey, &mut request) {
        return problem::fault_response(&fault);
    }
    let detail = format!("no resource at {}", quoted(request.uri().path()));
    problem::fault_response(&Fault::new(FaultCode::NotFound, detail))
}

/// Responds to a method that the path does not support. axum sets the header `Allow`.
async fn method_not_allowed(State(context): State<Arc<SidecarContext>>, mut request: Request) -> Response {
    if let Err(fault) = auth::authorize(&context, RequiredAccess::AnyKey, &mut request) {
        return problem::fault_response(&fault);
    }
    let (method, path) = (request.method(), request.uri().path());
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("method {} is not allowed at {}", quoted(method.as_str()), quoted(path));
    problem::fault_response(&Fault::new(FaultCode::MethodNotAllowed, detail))
}
