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

use super::context::{Arrival, Context};
use super::problem::{self, Failure};
use crate::config::keys::{ApiKey, Capability, KeyHash, KeyList, KeySettings, Scope};
use crate::domain::id::AccountId;
use crate::fault::{Code, Fault};

/// The scheme of RFC 6750.
const SCHEME: &str = "Bearer";

/// What it takes to use a path by a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
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

impl Access {
    /// Returns handlers that only those reach who may.
    pub(super) fn over(
        self,
        context: &Arc<Context>,
        handlers: MethodRouter<Arc<Context>>,
    ) -> MethodRouter<Arc<Context>> {
        handlers.route_layer(from_fn_with_state((Arc::clone(context), self), enter))
    }

    /// Returns the capabilities one of which it takes; none where every key will do.
    pub(super) fn needs(self) -> &'static [Capability] {
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
pub(super) struct Keys(Vec<Key>);

struct Key {
    hash: KeyHash,
    holder: Arc<Holder>,
    rate: DefaultDirectRateLimiter,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Key");
        shown.field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// Whoever holds a key.
#[derive(Debug)]
pub(super) struct Holder {
    id: String,
    customer: String,
    capabilities: Vec<Capability>,
    scope: Scope,
    requests_per_second: u32,
}

impl Keys {
    /// Returns the keys of the settings.
    pub(super) fn new(settings: &KeyList) -> Self {
        Self(settings.0.iter().filter_map(Key::new).collect())
    }

    /// Whether there are none: then whoever reaches the sidecar may do everything.
    pub(super) fn is_off(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key that a request presents.
    fn presented(&self, headers: &HeaderMap) -> Result<&Key, &'static str> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (Some(only), None) => only.to_str().unwrap_or_default(),
            (None, _) => return Err("the request has no key: send `Authorization: Bearer <key>`"),
            _ => return Err("the header Authorization must be given once"),
        };
        let (scheme, text) = value.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err("the header Authorization must be `Bearer <key>`");
        }
        let unknown = "the key is not known here";
        let hash = ApiKey::parse(text.trim()).ok_or(unknown)?.hash();
        // All of them are looked at, each to its last byte: how long it takes says nothing of the keys.
        let same = self.0.iter().filter(|key| bool::from(key.hash.ct_eq(&hash)));
        same.fold(None, |_, key| Some(key)).ok_or(unknown)
    }
}

impl Key {
    /// Returns the key of its settings; nothing where they have not been checked.
    fn new(settings: &KeySettings) -> Option<Self> {
        let rate = NonZeroU32::new(settings.requests_per_second)?;
        let quota = Quota::per_second(rate).allow_burst(NonZeroU32::new(settings.burst())?);
        Some(Self {
            hash: settings.hash()?,
            holder: Arc::new(Holder {
                id: settings.id.clone(),
                customer: settings.customer.clone(),
                capabilities: settings.capabilities.clone(),
                scope: settings.scope(),
                requests_per_second: settings.requests_per_second,
            }),
            rate: DefaultDirectRateLimiter::direct(quota),
        })
    }
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Whoever reaches this machine's loopback: there are no keys.
    Anyone,
    /// Somebody without a valid key, at a path that takes none.
    Stranger,
    /// The holder of a key.
    Holder(Arc<Holder>),
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let caller = parts.extensions.get::<Self>().cloned();
        // A path without an access is nobody's, rather than everybody's.
        let unasked = || Fault::new(Code::NotEntitled, "nobody has been asked for a key at this path");
        Ok(caller.ok_or_else(unasked)?)
    }
}

impl Caller {
    /// Whether the caller has a capability.
    pub(super) fn has(&self, capability: Capability) -> bool {
        match self {
            Self::Anyone => true,
            Self::Stranger => false,
            Self::Holder(holder) => holder.capabilities.contains(&capability),
        }
    }

    /// Checks that the caller may speak for an account. It is asked before an order is looked for, so that nobody learns
    /// what another's account holds.
    ///
    /// # Errors
    /// `account_mismatch` when it may not.
    pub(super) fn may_use(&self, account: &AccountId) -> Result<(), Fault> {
        let speaks_for = match self {
            Self::Anyone => true,
            Self::Stranger => false,
            Self::Holder(holder) => holder.scope.takes(account.as_str()),
        };
        if speaks_for {
            return Ok(());
        }
        let detail = format!(
            "the key does not speak for the account {account}; account_id names the account, and without it that is {}",
            AccountId::default_account()
        );
        Err(Fault::new(Code::AccountMismatch, detail))
    }

    /// Returns the accounts whose things a list may tell the caller.
    pub(super) fn accounts(&self) -> Scope {
        match self {
            Self::Anyone => Scope::All,
            Self::Stranger => Scope::Only(Vec::new()),
            Self::Holder(holder) => holder.scope.clone(),
        }
    }

    /// Returns who it is, as a journal entry names its actor.
    pub(super) fn actor(&self, arrival: Arrival) -> String {
        match self {
            Self::Holder(holder) => format!("rest key {} ({})", holder.id, holder.customer),
            Self::Anyone | Self::Stranger => format!("rest {}", arrival.peer.0),
        }
    }
}

/// Lets a request on that may use the path, with its caller.
async fn enter(State((context, access)): State<(Arc<Context>, Access)>, mut request: Request, next: Next) -> Response {
    match admit(&context, access, &mut request) {
        Ok(()) => next.run(request).await,
        Err(fault) => problem::response(&fault),
    }
}

/// Finds out who sends a request, and whether it may; the handler finds the [`Caller`], and no key any more.
///
/// # Errors
/// `unauthenticated`, `rate_limited`, `not_entitled`.
pub(super) fn admit(context: &Context, access: Access, request: &mut Request) -> Result<(), Fault> {
    let caller = identify(&context.keys, access, request)?;
    let needs = access.needs();
    if !needs.is_empty() && !needs.iter().any(|&capability| caller.has(capability)) {
        let names: Vec<&str> = needs.iter().map(|capability| capability.as_str()).collect();
        let detail = format!("the key does not have the capability {}", names.join(" or "));
        return Err(Fault::new(Code::NotEntitled, detail));
    }
    // Nothing behind this can show what it does not have.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(caller);
    Ok(())
}

fn identify(keys: &Keys, access: Access, request: &Request) -> Result<Caller, Fault> {
    if keys.is_off() {
        return Ok(Caller::Anyone);
    }
    let key = match (keys.presented(request.headers()), access) {
        (Ok(key), _) => key,
        (Err(_), Access::Open) => return Ok(Caller::Stranger),
        (Err(why), _) => {
            let peer = request.extensions().get::<Arrival>().map(|arrival| arrival.peer.0);
            tracing::info!(?peer, why, "a request without a valid key");
            return Err(Fault::new(Code::Unauthenticated, why));
        }
    };
    let holder = &key.holder;
    tracing::Span::current().record("key", holder.id.as_str());
    // A second gives room for one request at least, which is what `Retry-After` promises.
    if access != Access::Open && key.rate.check().is_err() {
        let detail = format!(
            "the key {} has {} requests a second, and they are used up",
            holder.id, holder.requests_per_second
        );
        return Err(Fault::new(Code::RateLimited, detail));
    }
    Ok(Caller::Holder(Arc::clone(holder)))
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
