//! Authentication and authorization: keys, capabilities, accounts, rate limits.
//!
//! Every path has its [`RequiredAccess`], which is checked before the handler runs and before the body is read. The
//! handler gets the [`Principal`] and checks with it the accounts that only the handler can read from the request.

pub(in crate::sidecar) mod key_ring;
pub(in crate::sidecar) mod principal;
pub(in crate::sidecar) mod refusals;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::MethodRouter;

use crate::config::api_keys::Capability;
use crate::fault::{Fault, FaultCode};
use crate::http::ConnectionPlace;
use crate::sidecar::arrival::RequestArrival;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::paths::LIVENESS_PATH;
use crate::sidecar::response::problem;

/// What a path and method require of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum RequiredAccess {
    /// Nothing: health checks and the documentation of the API.
    Open,
    /// Any key. Enough to learn that a path does not exist.
    AnyKey,
    /// `can.read`.
    Read,
    /// `can.read` or `can.route_orders`: a client that submits an order may read its report.
    ReadOrder,
    /// `can.route_orders`.
    RouteOrders,
    /// `can.manage_state`.
    ManageState,
}

impl RequiredAccess {
    /// Returns handlers behind this access check.
    pub(in crate::sidecar) fn guard(
        self,
        context: &Arc<SidecarContext>,
        route: MethodRouter<Arc<SidecarContext>>,
    ) -> MethodRouter<Arc<SidecarContext>> {
        route.route_layer(from_fn_with_state((Arc::clone(context), self), require_access))
    }

    /// Returns the capabilities of which the key needs one. Empty if any key, or none, suffices.
    pub(in crate::sidecar) fn required_capabilities(self) -> &'static [Capability] {
        match self {
            Self::Open | Self::AnyKey => &[],
            Self::Read => &[Capability::Read],
            Self::ReadOrder => &[Capability::Read, Capability::RouteOrders],
            Self::RouteOrders => &[Capability::RouteOrders],
            Self::ManageState => &[Capability::ManageState],
        }
    }
}

/// Runs the handler if the sender has the access.
async fn require_access(
    State((context, access)): State<(Arc<SidecarContext>, RequiredAccess)>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(fault) = authorize(&context, access, &mut request) {
        return problem::fault_response(&fault);
    }
    if request
        .extensions()
        .get()
        .is_some_and(|sender| has_limited_places(sender, &request))
    {
        let Ok(_permit) = context.anonymous_permits.try_acquire() else {
            return problem::fault_response(&reserved_fault());
        };
        return next.run(request).await;
    }
    next.run(request).await
}

/// Reports whether a sender's requests share a part of the places: those without a key, but for the check of liveness.
fn has_limited_places(sender: &Principal, request: &Request) -> bool {
    matches!(sender, Principal::Anonymous) && request.uri().path() != LIVENESS_PATH
}

/// Returns the fault of a request without a key while only places for callers with a key are free.
fn reserved_fault() -> Fault {
    let detail = "the places for requests without an API key are taken; send a key, or retry";
    Fault::new(FaultCode::QueueFull, detail)
}

/// Authenticates the sender, checks its access, and adds its [`Principal`] to the request. Removes the key.
///
/// # Errors
/// `unauthenticated`, `rate_limited`, `not_entitled`.
pub(in crate::sidecar) fn authorize(
    context: &SidecarContext,
    access: RequiredAccess,
    request: &mut Request,
) -> Result<(), Fault> {
    let principal = authenticate(context, access, request)?;
    let place = request.extensions().get::<ConnectionPlace>();
    match (&principal, place) {
        (sender, Some(place)) if place.is_reserved() && has_limited_places(sender, request) => {
            return Err(reserved_fault());
        }
        (Principal::Anonymous, _) | (_, None) => {}
        (Principal::KeyHolder(_) | Principal::Unrestricted, Some(place)) => place.identify(),
    }
    let needed = access.required_capabilities();
    if !needed.is_empty() && !needed.iter().any(|&capability| principal.has_capability(capability)) {
        let names: Vec<&str> = needed.iter().map(|capability| capability.as_str()).collect();
        let detail = format!("the key lacks the capability {}", names.join(" or "));
        return Err(Fault::new(FaultCode::NotEntitled, detail));
    }
    // Later code cannot log or return a key that the request no longer has.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(principal);
    Ok(())
}

fn authenticate(context: &SidecarContext, access: RequiredAccess, request: &Request) -> Result<Principal, Fault> {
    let keys = context.keys.current();
    if keys.is_open() {
        return Ok(Principal::Unrestricted);
    }
    let key = match (keys.presented_key(request.headers()), access) {
        (Ok(key), _) => key,
        (Err(_), RequiredAccess::Open) => return Ok(Principal::Anonymous),
        (Err(reason), _) => {
            let arrival = request.extensions().get::<RequestArrival>();
            return Err(context
                .refused_callers
                .refuse(arrival.map(|arrival| arrival.peer), reason));
        }
    };
    let holder = &key.holder;
    tracing::Span::current().record("key", holder.id.as_str());
    // Within one second at least one more request is allowed, as `Retry-After` promises.
    if access != RequiredAccess::Open && key.rate_limiter.check().is_err() {
        let detail = format!(
            "the key {} exceeded its limit of {} requests per second",
            holder.id, holder.requests_per_second
        );
        return Err(Fault::new(FaultCode::RateLimited, detail));
    }
    Ok(Principal::KeyHolder(Arc::clone(holder)))
}
