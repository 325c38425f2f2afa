//! The API keys of the settings, and the key that a request presents.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use governor::{DefaultDirectRateLimiter, Quota};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::config::api_keys::{AccountScope, ApiKey, Capability, KeyHash, KeyList, KeySettings};
use crate::sidecar::extract::header::single_header;

/// The authentication scheme of RFC 6750.
const BEARER_SCHEME: &str = "Bearer";
/// The refusal of a key that is not configured.
pub(super) const UNKNOWN_KEY: &str = "unknown API key";

/// The keys in force. They are replaced as a whole.
#[derive(Debug)]
pub(in crate::sidecar) struct ActiveKeys(RwLock<Arc<KeyRing>>);

/// The configured keys, each with its rate limiter.
#[derive(Debug)]
pub(in crate::sidecar) struct KeyRing {
    keys: Vec<Arc<RegisteredKey>>,
    /// Whether a request needs no key.
    is_open: bool,
}

/// One configured key. Only the key's hash is known.
pub(super) struct RegisteredKey {
    settings: KeySettings,
    hash: KeyHash,
    pub(super) holder: Arc<KeyHolder>,
    pub(super) rate_limiter: DefaultDirectRateLimiter,
}

impl fmt::Debug for RegisteredKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("RegisteredKey");
        shown.field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// The holder of a key, and what the key allows.
#[derive(Debug)]
pub(in crate::sidecar) struct KeyHolder {
    pub(super) id: String,
    pub(super) customer: String,
    pub(super) capabilities: Vec<Capability>,
    pub(super) scope: AccountScope,
    pub(super) requests_per_second: u32,
    /// Cancelled when the key is removed or changed: its event streams end.
    pub(super) revoked: CancellationToken,
}

impl ActiveKeys {
    /// Returns the keys of the settings. Without any, requests need none.
    pub(in crate::sidecar) fn new(settings: &KeyList) -> Self {
        let ring = KeyRing::new(settings, &[], settings.0.is_empty());
        Self(RwLock::new(Arc::new(ring)))
    }

    /// Returns the keys that are in force now.
    pub(in crate::sidecar) fn current(&self) -> Arc<KeyRing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the keys and logs each change by the key's id. An unchanged key keeps the state of its rate. Once requests
    /// have needed a key they always do: without any key, none is served until the next start.
    pub(in crate::sidecar) fn replace(&self, settings: &KeyList) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_open = current.is_open && settings.0.is_empty();
        let next = KeyRing::new(settings, &current.keys, is_open);
        let find = |keys: &[Arc<RegisteredKey>], id: &str| keys.iter().find(|key| key.holder.id == id).cloned();
        for old in &current.keys {
            let key = &old.holder.id;
            match find(&next.keys, key) {
                Some(new) if Arc::ptr_eq(old, &new) => continue,
                Some(_) => tracing::warn!(key, "API key changed"),
                None => tracing::warn!(key, "API key revoked"),
            }
            old.holder.revoked.cancel();
        }
        for new in &next.keys {
            if find(&current.keys, &new.holder.id).is_none() {
                tracing::warn!(key = new.holder.id, customer = new.holder.customer, "API key added");
            }
        }
        if next.keys.is_empty() && !is_open {
            tracing::warn!("no API key is left: every request is refused until one is added");
        }
        *current = Arc::new(next);
    }
}

impl KeyRing {
    /// Returns the keys of the settings. Unchanged ones are taken from `known`.
    fn new(settings: &KeyList, known: &[Arc<RegisteredKey>], is_open: bool) -> Self {
        let keys = settings.0.iter().filter_map(|one| {
            let same = known.iter().find(|key| key.settings == *one).cloned();
            same.or_else(|| RegisteredKey::new(one).map(Arc::new))
        });
        Self {
            keys: keys.collect(),
            is_open,
        }
    }

    /// Reports whether no key is needed: then every client that reaches the sidecar may do everything.
    pub(in crate::sidecar) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Returns the key that a request presents.
    ///
    /// # Errors
    /// A sentence for the client, if the request presents no key, an unknown key, or several.
    pub(super) fn presented_key(&self, headers: &HeaderMap) -> Result<&RegisteredKey, &'static str> {
        let value = match single_header(headers, AUTHORIZATION.as_str()) {
            Ok(Some(value)) => value.to_str().unwrap_or_default(),
            Ok(None) => return Err("missing API key: send `Authorization: Bearer <key>`"),
            Err(_) => return Err("the header Authorization must not be repeated"),
        };
        let (scheme, text) = value.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(BEARER_SCHEME) {
            return Err("the header Authorization must be `Bearer <key>`");
        }
        let hash = ApiKey::parse(text.trim()).ok_or(UNKNOWN_KEY)?.hash();
        // Every key is compared to its last byte, so that the duration reveals nothing about the keys.
        let matching = self.keys.iter().filter(|key| bool::from(key.hash.ct_eq(&hash)));
        matching.fold(None, |_, key| Some(key.as_ref())).ok_or(UNKNOWN_KEY)
    }
}

impl RegisteredKey {
    /// Returns the key of its settings, or `None` if they are invalid. Loading the settings has checked them.
    fn new(settings: &KeySettings) -> Option<Self> {
        let rate = NonZeroU32::new(settings.requests_per_second)?;
        let quota = Quota::per_second(rate).allow_burst(NonZeroU32::new(settings.effective_burst())?);
        Some(Self {
            settings: settings.clone(),
            hash: settings.parse_hash()?,
            holder: Arc::new(KeyHolder {
                id: settings.id.clone(),
                customer: settings.customer.clone(),
                capabilities: settings.capabilities.clone(),
                scope: settings.account_scope(),
                requests_per_second: settings.requests_per_second,
                revoked: CancellationToken::new(),
            }),
            rate_limiter: DefaultDirectRateLimiter::direct(quota),
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn key_is_found_among_all_and_any_other_value_is_refused() {
        let (one, other, unknown) = (ApiKey::generate(), ApiKey::generate(), ApiKey::generate());
        let settings = [(&one, "one"), (&other, "other")]
            .map(|(key, id)| KeySettings::new(key, id, "Fund 7", &[Capability::Read], &["fund-7"]));
        let keys = ActiveKeys::new(&KeyList(settings.into())).current();
        let presented = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            keys.presented_key(&headers).map(|key| key.holder.id.as_str())
        };
        let bearer = |key: &ApiKey| format!("Bearer {}", key.reveal());
        assert_eq!(presented(&[&bearer(&one)]), Ok("one"));
        assert_eq!(presented(&[&bearer(&other)]), Ok("other"));
        assert_eq!(presented(&[&format!("bearer  {}", other.reveal())]), Ok("other"));
        let hash: String = one.hash().iter().map(|byte| format!("{byte:02x}")).collect();
        for values in [
            &[][..],
            &[&*bearer(&unknown)],
            &[&*bearer(&one), &*bearer(&one)],
            &[one.reveal()],
            &[&*format!("Basic {}", one.reveal())],
            &[&*format!("Bearer {hash}")],
            &[&*format!("Bearer ork_{hash}")],
            &[&bearer(&one)[..70]],
            &["Bearer "],
            &["Bearer"],
            &[""],
        ] {
            assert!(presented(values).is_err(), "{}", values.len());
        }
        let shown = format!("{keys:?}");
        assert!(!shown.contains(&format!("{:?}", one.hash())), "{shown}");
        assert!(!shown.contains(&one.reveal()[4..]));
    }

    #[test]
    fn replaced_keys_are_revoked_and_unchanged_ones_are_kept() {
        let [kept, gone, changed] = ["kept", "gone", "changed"]
            .map(|id| KeySettings::new(&ApiKey::generate(), id, "Fund 7", &[Capability::Read], &["fund-7"]));
        let keys = ActiveKeys::new(&KeyList(vec![kept.clone(), gone, changed.clone()]));
        let before = keys.current();
        let wider = KeySettings {
            accounts: vec!["*".to_owned()],
            ..changed
        };
        keys.replace(&KeyList(vec![wider, kept]));
        let revoked: Vec<bool> = before
            .keys
            .iter()
            .map(|key| key.holder.revoked.is_cancelled())
            .collect();
        assert_eq!(revoked, [false, true, true]);
        let after = keys.current();
        assert!(
            Arc::ptr_eq(&before.keys[0], &after.keys[1]),
            "the state of its rate is kept"
        );
        // The last key does not open the sidecar.
        keys.replace(&KeyList(Vec::new()));
        assert!(!keys.current().is_open());
        let open = ActiveKeys::new(&KeyList(Vec::new()));
        open.replace(&KeyList(Vec::new()));
        assert!(open.current().is_open());
    }
}
