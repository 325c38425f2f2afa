//! The whole API: every path, its methods, and what stands in front of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};

use super::auth::{self, Access};
use super::context::Context;
use super::gate;
use super::handlers::{alerts, brokers, cancel, health, locks, lookup, state, submit};
use super::problem;
use crate::fault::{Code, Fault, quoted};

/// The path that tells of the process alone; it is answered however much is under way.
pub(super) const LIVE: &str = "/health/live";

/// Every path with what it takes to use it and who answers.
fn operations() -> Vec<(&'static str, Access, MethodRouter<Arc<Context>>)> {
    vec![
        ("/health", Access::Open, get(health::health)),
        (LIVE, Access::Open, get(health::live)),
        ("/brokers", Access::Read, get(brokers::list)),
        ("/orders", Access::RouteOrders, post(submit::submit)),
        ("/orders/{order_id}", Access::ReadOrder, get(lookup::by_order_id)),
        (
            "/orders/by-client-id/{client_order_id}",
            Access::ReadOrder,
            get(lookup::by_client_order_id),
        ),
        ("/orders/{broker}/cancel", Access::RouteOrders, post(cancel::cancel)),
        ("/risk/alerts", Access::Read, get(alerts::list)),
        ("/state", Access::Read, get(state::show)),
        ("/state", Access::ManageState, put(state::change)),
        ("/risk/locks", Access::Read, get(locks::list)),
        ("/risk/locks/{latch_id}/lift", Access::ManageState, post(locks::lift)),
    ]
}

/// Returns the API behind its gate.
pub(super) fn router(context: Arc<Context>) -> Router {
    let served = operations()
        .into_iter()
        .fold(Router::new(), |router, (path, access, handlers)| {
            router.route(path, access.over(&context, handlers))
        });
    served
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
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
