//! Identifiers: each checked once, when it is made.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Why a text is not a valid identifier: what it must be instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct IdError(pub &'static str);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the identifier after checking it.
            ///
            /// # Errors
            /// Says what the text must be when it is not.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if $check(text) { Ok(Self(Arc::from(text))) } else { Err(IdError($rule)) }
            }

            /// Returns the identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", &*self.0)
            }
        }
    };
}

text_id!(
    /// A broker's name as it stands in subjects: one token.
    BrokerId, is_token, "1-64 characters of [A-Za-z0-9_-]"
);
text_id!(
    /// An account: one token, so that subjects and permissions can name it.
    AccountId, is_token, "1-64 characters of [A-Za-z0-9_-]"
);
text_id!(
    /// A venue of a broker, such as `binance.spot`.
    VenueId, is_venue_id, "1-64 characters of [A-Za-z0-9_.-]"
);
text_id!(
    /// The caller's own id of an order; with the account, the key of idempotency.
    ClientOrderId, is_client_order_id, "1-36 printable ASCII characters without a space"
);
text_id!(
    /// The router's stable id of an order, `<prefix>-<UUIDv7 hex>`; sent to the venue as its client order id.
    OrderId, is_order_id, "1-36 characters of [A-Za-z0-9_-]"
);
text_id!(
    /// The caller's own id of an adjustment: what it is booked once by.
    AdjustmentId, is_adjustment_id, "1-64 printable ASCII characters without a space"
);
text_id!(
    /// A tag of an intent; `strategy:<name>` names the strategy.
    Tag, is_tag, "1-64 characters without control characters"
);

impl AccountId {
    /// Returns the account of an intent that names none.
    pub fn default_account() -> Self {
        Self(Arc::from("default"))
    }
}

impl ClientOrderId {
    /// Returns a new id, a UUIDv7, for an intent that brought none.
    pub fn generate() -> Self {
        Self(Arc::from(Uuid::now_v7().to_string()))
    }
}

impl AdjustmentId {
    /// Returns a new id, a UUIDv7, for an adjustment that brought none.
    pub fn generate() -> Self {
        Self(Arc::from(Uuid::now_v7().to_string()))
    }
}

impl OrderId {
    /// Returns a new id under the broker's two-letter prefix.
    pub fn generate(prefix: OrderIdPrefix) -> Self {
        Self(Arc::from(format!("{}-{}", prefix.0, Uuid::now_v7().simple())))
    }
}

/// The two letters that open a broker's order ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderIdPrefix(pub &'static str);

/// The token of a worker's lease on a claimed order: whoever does not hold the current one changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseToken(pub Arc<str>);

impl LeaseToken {
    /// Returns a token nobody else has.
    pub fn generate() -> Self {
        Self(Arc::from(Uuid::now_v7().simple().to_string()))
    }

    /// Returns the token's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The hash of an intent's content: what a repeated id is compared by (SHA-256, hex).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentHash(pub Arc<str>);

impl ContentHash {
    /// Returns the hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(bytes))
    }

    /// Returns a digest as the hash it is compared by, in hex.
    pub(super) fn from_digest(digest: &[u8]) -> Self {
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let hex: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        Self(hex.into())
    }
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn is_venue_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn is_client_order_id(text: &str) -> bool {
    (1..=36).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_adjustment_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_order_id(text: &str) -> bool {
    text.len() <= 36 && is_token(text)
}

fn is_tag(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_hold_to_their_grammar() {
        assert!(AccountId::new("fund_7-a").is_ok());
        for text in ["", "a.b", "a b", "a*", "ä", &"x".repeat(65)] {
            assert!(AccountId::new(text).is_err(), "{text:?}");
        }
        assert!(ClientOrderId::new("algo:7/{x}|#1").is_ok());
        for text in ["", "with space", "tab\t", "ümlaut", &"x".repeat(37)] {
            assert!(ClientOrderId::new(text).is_err(), "{text:?}");
        }
        assert!(AdjustmentId::new(&"x".repeat(64)).is_ok());
        for text in ["", "with space", "line\nbreak", "ümlaut", &"x".repeat(65)] {
            assert!(AdjustmentId::new(text).is_err(), "{text:?}");
        }
        assert!(Tag::new(&"x".repeat(64)).is_ok());
        assert!(Tag::new(&"x".repeat(65)).is_err());
        assert!(Tag::new("line\nbreak").is_err());
    }

    #[test]
    fn assigned_order_ids_fit_the_venue() {
        let id = OrderId::generate(OrderIdPrefix("BN"));
        assert_eq!(id.as_str().len(), 35);
        assert!(OrderId::new(id.as_str()).is_ok());
        assert!(ClientOrderId::new(ClientOrderId::generate().as_str()).is_ok());
    }
}
