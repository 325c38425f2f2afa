//! Who sends a request: API keys, signatures and timestamps (binance-spot-api-docs, rest-api.md, "Request Security").

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use ring::{hmac, signature};

use crate::venue::error::VenueError;
use crate::venue::settings::{KeySecret, KeySettings};

/// How long a request is valid without a window of its own, in milliseconds.
pub const DEFAULT_WINDOW_MS: u64 = 5_000;
/// The longest window, in milliseconds.
pub const MAX_WINDOW_MS: u64 = 60_000;
/// How far a request may be ahead of the venue's clock, in milliseconds.
const MAX_AHEAD_MS: u64 = 1_000;

/// The API keys.
pub struct KeyRing(BTreeMap<String, KeySettings>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyRing of {}", self.0.len())
    }
}

impl KeyRing {
    /// Returns the ring of these keys; the last of one name counts.
    pub fn new(keys: &[KeySettings]) -> Self {
        Self(keys.iter().map(|key| (key.key.clone(), key.clone())).collect())
    }

    /// Returns a key.
    ///
    /// # Errors
    /// When it is missing, has a character that no key has, or is unknown.
    pub fn find(&self, key: Option<&str>) -> Result<&KeySettings, VenueError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let key = key.filter(|key| !key.is_empty() && key.bytes().all(is_word));
        let key = key.ok_or_else(VenueError::bad_key_format)?;
        self.0.get(key).ok_or_else(VenueError::unknown_key)
    }

    /// Returns the accounts of the keys.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|key| key.account.as_str())
    }
}

/// Verifies the signature of a payload.
///
/// # Errors
/// When it does not fit.
pub fn verify(key: &KeySettings, payload: &str, given: &str) -> Result<(), VenueError> {
    let is_valid = match &key.secret {
        KeySecret::Hmac(secret) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            decode_hex(given).is_some_and(|tag| hmac::verify(&key, payload.as_bytes(), &tag).is_ok())
        }
        KeySecret::Ed25519(public) => {
            let public = signature::UnparsedPublicKey::new(&signature::ED25519, public);
            let given = base64::engine::general_purpose::STANDARD.decode(given);
            given.is_ok_and(|given| public.verify(payload.as_bytes(), &given).is_ok())
        }
    };
    match is_valid {
        true => Ok(()),
        false => Err(VenueError::invalid_signature()),
    }
}

/// Judges the time of a request, in milliseconds since 1970.
///
/// # Errors
/// When it is too old, or too far ahead.
pub fn check_time(timestamp: u64, window: u64, server_time: u64) -> Result<(), VenueError> {
    if timestamp >= server_time.saturating_add(MAX_AHEAD_MS) {
        return Err(VenueError::ahead_of_server());
    }
    match server_time.saturating_sub(timestamp) <= window {
        true => Ok(()),
        false => Err(VenueError::outside_window()),
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the venue's documentation: key, secret, payload and signature.
    #[test]
    fn documented_signature_is_verified() {
        let key: KeySettings = "k:NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
            .parse()
            .unwrap();
        let payload = "apiKey=vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A&newOrderRespType=ACK\
                       &price=52000.00&quantity=0.01000000&recvWindow=100&side=SELL&symbol=BTCUSDT&timeInForce=GTC\
                       &timestamp=1645423376532&type=LIMIT";
        let signature = "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a";
        assert_eq!(verify(&key, payload, signature), Ok(()));
        assert_eq!(verify(&key, payload, &signature.to_uppercase()), Ok(()));
        for wrong in ["", "cc", "zz", &signature.replace('c', "d")] {
            assert_eq!(
                verify(&key, payload, wrong),
                Err(VenueError::invalid_signature()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn times_outside_of_the_window_are_refused() {
        for (timestamp, expected) in [
            (10_000, Ok(())),
            (5_000, Ok(())),
            (4_999, Err(VenueError::outside_window())),
            (10_999, Ok(())),
            (11_000, Err(VenueError::ahead_of_server())),
        ] {
            assert_eq!(check_time(timestamp, 5_000, 10_000), expected, "{timestamp}");
        }
    }
}
