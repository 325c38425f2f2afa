//! The sender of a request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::config::api_keys::{AccountScope, Capability};
use crate::domain::id::AccountId;
use crate::fault::{Fault, FaultCode};
use crate::sidecar::arrival::RequestArrival;
use crate::sidecar::middleware::auth::key_ring::KeyHolder;
use crate::sidecar::response::problem::InternalError;

/// The sender of a request.
#[derive(Debug, Clone)]
pub(in crate::sidecar) enum Principal {
    /// Any client that reaches the sidecar's loopback address: no keys are configured.
    Unrestricted,
    /// A client without a valid key, at a path that needs none.
    Anonymous,
    /// The holder of a key.
    KeyHolder(Arc<KeyHolder>),
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = InternalError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, InternalError> {
        // A path without an access guard is closed to all, not open to all.
        let principal = parts.extensions.get::<Self>().cloned();
        principal.ok_or(InternalError("a request bypassed the access guard"))
    }
}

impl Principal {
    /// Returns whether the sender has a capability.
    pub(in crate::sidecar) fn has_capability(&self, capability: Capability) -> bool {
        match self {
            Self::Unrestricted => true,
            Self::Anonymous => false,
            Self::KeyHolder(holder) => holder.capabilities.contains(&capability),
        }
    }

    /// Checks that the sender may act for an account. Handlers call it before they look up an order, so that a client
    /// learns nothing about accounts of others.
    ///
    /// # Errors
    /// `account_mismatch` if it may not.
    pub(in crate::sidecar) fn authorize_account(&self, account: &AccountId) -> Result<(), Fault> {
        let is_authorized = match self {
            Self::Unrestricted => true,
            Self::Anonymous => false,
            Self::KeyHolder(holder) => holder.scope.includes(account.as_str()),
        };
        if is_authorized {
            return Ok(());
        }
        let detail = format!(
            "the key is not authorized for account {account}; without account_id the account is {}",
            AccountId::default_account()
        );
        Err(Fault::new(FaultCode::AccountMismatch, detail))
    }

    /// Returns the accounts that a list may show to the sender.
    pub(in crate::sidecar) fn account_scope(&self) -> AccountScope {
        match self {
            Self::Unrestricted => AccountScope::All,
            Self::Anonymous => AccountScope::Only(Vec::new()),
            Self::KeyHolder(holder) => holder.scope.clone(),
        }
    }

    /// Returns once the sender may no longer act: its key was removed or changed.
    pub(in crate::sidecar) async fn wait_until_revoked(self) {
        match self {
            Self::KeyHolder(holder) => holder.revoked.cancelled().await,
            Self::Unrestricted | Self::Anonymous => std::future::pending().await,
        }
    }

    /// Returns the actor that a journal entry names for the sender.
    pub(in crate::sidecar) fn actor(&self, arrival: RequestArrival) -> String {
        match self {
            Self::KeyHolder(holder) => format!("rest key {} ({})", holder.id, holder.customer),
            Self::Unrestricted | Self::Anonymous => format!("rest {}", arrival.peer.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::Peer;

    #[test]
    fn sender_acts_for_its_accounts_and_is_named_without_its_key() {
        let [own, other] = ["fund-7", "fund-8"].map(|name| AccountId::new(name).unwrap());
        let sender = Principal::KeyHolder(Arc::new(KeyHolder {
            id: "desk".to_owned(),
            customer: "Fund 7".to_owned(),
            capabilities: vec![Capability::Read],
            scope: AccountScope::Only(vec![own.clone()]),
            requests_per_second: 1,
            revoked: CancellationToken::new(),
        }));
        assert_eq!(sender.authorize_account(&own), Ok(()));
        assert_eq!(
            sender.authorize_account(&other).unwrap_err().code,
            FaultCode::AccountMismatch
        );
        assert_eq!(Principal::Unrestricted.authorize_account(&other), Ok(()));
        assert!(Principal::Anonymous.authorize_account(&own).is_err());
        assert_eq!(sender.account_scope(), AccountScope::Only(vec![own]));
        let peer = Peer(([127, 0, 0, 1], 9).into());
        let arrival = RequestArrival {
            received_at: tokio::time::Instant::now(),
            peer,
        };
        assert_eq!(sender.actor(arrival), "rest key desk (Fund 7)");
        assert_eq!(Principal::Unrestricted.actor(arrival), "rest 127.0.0.1:9");
    }
}
