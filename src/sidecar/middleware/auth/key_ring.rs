//! The API keys of the settings, and the key that a request presents.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use governor::{DefaultDirectRateLimiter, Quota};
use subtle::ConstantTimeEq;

use crate::config::api_keys::{AccountScope, ApiKey, Capability, KeyHash, KeyList, KeySettings};
use crate::sidecar::extract::header::single_header;

/// The authentication scheme of RFC 6750.
const BEARER_SCHEME: &str = "Bearer";

/// The configured keys, each with its rate limiter.
#[derive(Debug)]
pub(in crate::sidecar) struct KeyRing(Vec<RegisteredKey>);

/// One configured key. Only the key's hash is known.
pub(super) struct RegisteredKey {
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
}

impl KeyRing {
    /// Returns the keys of the settings.
    pub(in crate::sidecar) fn new(settings: &KeyList) -> Self {
        Self(settings.0.iter().filter_map(RegisteredKey::new).collect())
    }

    /// Returns whether no key is configured: then every client that reaches the sidecar may do everything.
    pub(in crate::sidecar) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let unknown = "unknown API key";
        let hash = ApiKey::parse(text.trim()).ok_or(unknown)?.hash();
        // Every key is compared to its last byte, so that the duration reveals nothing about the keys.
        let matching = self.0.iter().filter(|key| bool::from(key.hash.ct_eq(&hash)));
        matching.fold(None, |_, key| Some(key)).ok_or(unknown)
    }
}

impl RegisteredKey {
    /// Returns the key of its settings, or `None` if they are invalid. Loading the settings has checked them.
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn key_is_found_among_all_and_any_other_value_is_refused() {
        let (one, other, unknown) = (ApiKey::generate(), ApiKey::generate(), ApiKey::generate());
        let settings = [(&one, "one"), (&other, "other")]
            .map(|(key, id)| KeySettings::new(key, id, "Fund 7", &[Capability::Read], &["fund-7"]));
        let keys = KeyRing::new(&KeyList(settings.into()));
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
}
