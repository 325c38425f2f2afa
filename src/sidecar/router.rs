//! The whole API: every path, its methods, and what stands in front of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};

use super::api::describe::{self, holdings, log, orders, risk, service};
use super::api::operation::{Operation, get, post, put};
use super::auth::{self, Access};
use super::context::Context;
use super::handlers::{
    alerts, brokers, cancel, cancel_all, close, docs, events, health, locks, lookup, metrics, notes, order_log,
    positions, state, submit,
};
use super::{gate, problem};
use crate::fault::{Code, Fault, quoted};

/// The path that tells of the process alone; it is answered however much is under way.
pub(super) const LIVE: &str = "/health/live";

/// The path of the metrics; they are told however much is under way.
pub(super) const METRICS: &str = "/metrics";

/// Returns every operation: method, path, who may use it, its handler, and what it takes and answers.
#[rustfmt::skip] // A line each, however long.
pub(super) fn operations() -> Vec<Operation> {
    use Access::{ManageState, Open, Read, ReadOrder, RouteOrders};
    vec![
        post("/orders", RouteOrders, submit::submit, orders::submit()),
        get("/orders/{order_id}", ReadOrder, lookup::by_order_id, orders::by_order_id()),
        get("/orders/by-client-id/{client_order_id}", ReadOrder, lookup::by_client_order_id, orders::by_client_order_id()),
        post("/orders/{broker}/cancel", RouteOrders, cancel::cancel, orders::cancel()),
        post("/orders/{broker}/cancel-all", RouteOrders, cancel_all::cancel_all, orders::cancel_all()),
        get("/orders/log", Read, order_log::orders, log::orders()),
        post("/orders/{id}/notes", RouteOrders, notes::add, log::note()),
        get("/executions", Read, order_log::executions, log::executions()),
        get("/positions", Read, positions::list, holdings::positions()),
        post("/positions/{id}/close", RouteOrders, close::close, holdings::close()),
        get("/risk/alerts", Read, alerts::list, risk::alerts()),
        get("/risk/locks", Read, locks::list, risk::locks()),
        post("/risk/locks/{latch_id}/lift", ManageState, locks::lift, risk::lift()),
        get("/events", Read, events::follow, service::events()),
        get("/state", Read, state::show, describe::state::show()),
        put("/state", ManageState, state::change, describe::state::change()),
        get("/brokers", Read, brokers::list, service::brokers()),
        get("/health", Open, health::health, service::health()),
        get(LIVE, Open, health::live, service::live()),
        get(METRICS, Read, metrics::show, service::metrics()),
        get("/openapi.json", Open, docs::openapi, service::openapi()),
        get("/docs", Open, docs::page, service::page()),
        get("/docs/{file}", Open, docs::file, service::page_file()),
    ]
}

/// Returns the API behind its gate.
pub(super) fn router(context: Arc<Context>) -> Router {
    let router = operations()
        .into_iter()
        .fold(Router::new(), |router, operation| {
            let guarded = operation.access.over(&context, operation.route);
            router.route(operation.path, guarded)
        })
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&context), gate::run_admitted));
    let router = match context.cors.layer() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(from_fn_with_state(Arc::clone(&context), gate::pass))
        .with_state(context)
}

/// Which paths there are, and by which methods, is told to those who may use some.
async fn no_such_path(State(context): State<Arc<Context>>, mut request: Request) -> Response {
    if let Err(fault) = auth::admit(&context, Access::AnyKey, &mut request) {
        return problem::response(&fault);
    }
    let detail = format!("there is nothing at {}", quoted(request.uri().path()));
    problem::response(&Fault::new(Code::NotFound, detail))
}

/// The header `Allow` is set by the router.
async fn no_such_method(State(context): State<Arc<Context>>, mut request: Request) -> Response {
    if let Err(fault) = auth::admit(&context, Access::AnyKey, &mut request) {
        return problem::response(&fault);
    }
    let (method, path) = (request.method(), request.uri().path());
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("{} is not allowed at {}", quoted(method.as_str()), quoted(path));
    problem::response(&Fault::new(Code::MethodNotAllowed, detail))
}
