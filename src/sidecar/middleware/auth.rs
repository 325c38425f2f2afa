//! Who sends a request, and whether it may: keys, capabilities, accounts, rates.
//!
//! Every path has its [`Access`]; what stands here is asked before a handler is, and before a body is read. A handler gets
//! the [`Caller`], and asks it about the accounts that only the handler can read out of the request.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::MethodRouter;
use governor::{DefaultDirectRateLimiter, Quota};
use subtle::ConstantTimeEq;

use crate::config::api_keys::{AccountScope, ApiKey, Capability, KeyHash, KeyList, KeySettings};
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::context::{RequestArrival, SidecarContext};
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;

/// The scheme of RFC 6750.
const BEARER_SCHEME: &str = "Bearer";

/// What it takes to use a path by a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum RequiredAccess {
    /// Nothing: signs of life, and what says how to use the API.
    Open,
    /// A key, whatever it allows: to be told that there is nothing here.
    AnyKey,
    /// `can.read`.
    Read,
    /// `can.read` or `can.route_orders`: whoever has placed an order may ask what became of it.
    ReadOrder,
    /// `can.route_orders`.
    RouteOrders,
    /// `can.manage_state`.
    ManageState,
}

impl RequiredAccess {
    /// Returns handlers that only those reach who may.
    pub(in crate::sidecar) fn guard(
        self,
        context: &Arc<SidecarContext>,
        route: MethodRouter<Arc<SidecarContext>>,
    ) -> MethodRouter<Arc<SidecarContext>> {
        route.route_layer(from_fn_with_state((Arc::clone(context), self), require_access))
    }

    /// Returns the capabilities one of which it takes; none where every key will do.
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

/// The keys that are known, each with what it has used up of its rate.
#[derive(Debug)]
pub(in crate::sidecar) struct KeyRing(Vec<RegisteredKey>);

struct RegisteredKey {
    hash: KeyHash,
    holder: Arc<KeyHolder>,
    rate_limiter: DefaultDirectRateLimiter,
}

impl fmt::Debug for RegisteredKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Key");
        shown.field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// Whoever holds a key.
#[derive(Debug)]
pub(in crate::sidecar) struct KeyHolder {
    id: String,
    customer: String,
    capabilities: Vec<Capability>,
    scope: AccountScope,
    requests_per_second: u32,
}

impl KeyRing {
    /// Returns the keys of the settings.
    pub(in crate::sidecar) fn new(settings: &KeyList) -> Self {
        Self(settings.0.iter().filter_map(RegisteredKey::new).collect())
    }

    /// Whether there are none: then whoever reaches the sidecar may do everything.
    pub(in crate::sidecar) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key that a request presents.
    fn presented_key(&self, headers: &HeaderMap) -> Result<&RegisteredKey, &'static str> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (Some(only), None) => only.to_str().unwrap_or_default(),
            (None, _) => return Err("the request has no key: send `Authorization: Bearer <key>`"),
            _ => return Err("the header Authorization must be given once"),
        };
        let (scheme, text) = value.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(BEARER_SCHEME) {
            return Err("the header Authorization must be `Bearer <key>`");
        }
        let unknown = "the key is not known here";
        let hash = ApiKey::parse(text.trim()).ok_or(unknown)?.hash();
        // All of them are looked at, each to its last byte: how long it takes says nothing of the keys.
        let same = self.0.iter().filter(|key| bool::from(key.hash.ct_eq(&hash)));
        same.fold(None, |_, key| Some(key)).ok_or(unknown)
    }
}

impl RegisteredKey {
    /// Returns the key of its settings; nothing where they have not been checked.
    fn new(settings: &KeySettings) -> Option<Self> {
        let rate = NonZeroU32::new(settings.requests_per_second)?;
        let quota = Quota::per_second(rate).allow_burst(NonZeroU32::new(settings.effective_burst())?);
        Some(Self {
            hash: settings.parse_hash()?,
            holder: Arc::new(KeyHolder {
                id: settings.id.clone(),
                customer: settings.customer.clone(),
                capabilities: settings.capabilities.clone(),
                scope: settings.account_scope(),
                requests_per_second: settings.requests_per_second,
            }),
            rate_limiter: DefaultDirectRateLimiter::direct(quota),
        })
    }
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub(in crate::sidecar) enum Principal {
    /// Whoever reaches this machine's loopback: there are no keys.
    Unrestricted,
    /// Somebody without a valid key, at a path that takes none.
    Anonymous,
    /// The holder of a key.
    KeyHolder(Arc<KeyHolder>),
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemResponse> {
        let caller = parts.extensions.get::<Self>().cloned();
        // A path without an access is nobody's, rather than everybody's.
        let unasked = || Fault::new(FaultCode::NotEntitled, "nobody has been asked for a key at this path");
        Ok(caller.ok_or_else(unasked)?)
    }
}

impl Principal {
    /// Whether the caller has a capability.
    pub(in crate::sidecar) fn has_capability(&self, capability: Capability) -> bool {
        match self {
            Self::Unrestricted => true,
            Self::Anonymous => false,
            Self::KeyHolder(holder) => holder.capabilities.contains(&capability),
        }
    }

    /// Checks that the caller may speak for an account. It is asked before an order is looked for, so that nobody learns
    /// what another's account holds.
    ///
    /// # Errors
    /// `account_mismatch` when it may not.
    pub(in crate::sidecar) fn authorize_account(&self, account: &AccountId) -> Result<(), Fault> {
        let speaks_for = match self {
            Self::Unrestricted => true,
            Self::Anonymous => false,
            Self::KeyHolder(holder) => holder.scope.includes(account.as_str()),
        };
        if speaks_for {
            return Ok(());
        }
        let detail = format!(
            "the key does not speak for the account {account}; account_id names the account, and without it that is {}",
            AccountId::default_account()
        );
        Err(Fault::new(FaultCode::AccountMismatch, detail))
    }

    /// Returns the accounts whose things a list may tell the caller.
    pub(in crate::sidecar) fn account_scope(&self) -> AccountScope {
        match self {
            Self::Unrestricted => AccountScope::All,
            Self::Anonymous => AccountScope::Only(Vec::new()),
            Self::KeyHolder(holder) => holder.scope.clone(),
        }
    }

    /// Returns who it is, as a journal entry names its actor.
    pub(in crate::sidecar) fn actor(&self, arrival: RequestArrival) -> String {
        match self {
            Self::KeyHolder(holder) => format!("rest key {} ({})", holder.id, holder.customer),
            Self::Unrestricted | Self::Anonymous => format!("rest {}", arrival.peer.0),
        }
    }
}

/// Lets a request on that may use the path, with its caller.
async fn require_access(
    State((context, access)): State<(Arc<SidecarContext>, RequiredAccess)>,
    mut request: Request,
    next: Next,
) -> Response {
    match authorize(&context, access, &mut request) {
        Ok(()) => next.run(request).await,
        Err(fault) => problem::fault_response(&fault),
    }
}

/// Finds out who sends a request, and whether it may; the handler finds the [`Caller`], and no key any more.
///
/// # Errors
/// `unauthenticated`, `rate_limited`, `not_entitled`.
pub(in crate::sidecar) fn authorize(
    context: &SidecarContext,
    access: RequiredAccess,
    request: &mut Request,
) -> Result<(), Fault> {
    let caller = authenticate(&context.key_ring, access, request)?;
    let needs = access.required_capabilities();
    if !needs.is_empty() && !needs.iter().any(|&capability| caller.has_capability(capability)) {
        let names: Vec<&str> = needs.iter().map(|capability| capability.as_str()).collect();
        let detail = format!("the key does not have the capability {}", names.join(" or "));
        return Err(Fault::new(FaultCode::NotEntitled, detail));
    }
    // Nothing behind this can show what it does not have.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(caller);
    Ok(())
}

fn authenticate(keys: &KeyRing, access: RequiredAccess, request: &Request) -> Result<Principal, Fault> {
    if keys.is_empty() {
        return Ok(Principal::Unrestricted);
    }
    let key = match (keys.presented_key(request.headers()), access) {
        (Ok(key), _) => key,
        (Err(_), RequiredAccess::Open) => return Ok(Principal::Anonymous),
        (Err(why), _) => {
            let peer = request
                .extensions()
                .get::<RequestArrival>()
                .map(|arrival| arrival.peer.0);
            tracing::info!(?peer, why, "a request without a valid key");
            return Err(Fault::new(FaultCode::Unauthenticated, why));
        }
    };
    let holder = &key.holder;
    tracing::Span::current().record("key", holder.id.as_str());
    // A second gives room for one request at least, which is what `Retry-After` promises.
    if access != RequiredAccess::Open && key.rate_limiter.check().is_err() {
        let detail = format!(
            "the key {} has {} requests a second, and they are used up",
            holder.id, holder.requests_per_second
        );
        return Err(Fault::new(FaultCode::RateLimited, detail));
    }
    Ok(Principal::KeyHolder(Arc::clone(holder)))
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
