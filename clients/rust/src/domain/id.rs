//! Identifiers. Each is checked once, when it is created.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The error of a text that is not a valid identifier. It states the identifier's grammar.
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
            /// When the text does not match the identifier's grammar.
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
    /// A broker's name: one token of a NATS subject.
    BrokerId, is_token, "1-64 characters of [A-Za-z0-9_-]"
);
text_id!(
    /// An account: one token of a NATS subject, so that subjects and permissions can name it. The token `_` alone means no
    /// account there.
    AccountId, is_account_id, "1-64 characters of [A-Za-z0-9_-], and not _ alone"
);
text_id!(
    /// A venue of a broker, such as `binance.spot`.
    VenueId, is_venue_id, "1-64 characters of [A-Za-z0-9_.-]"
);
text_id!(
    /// The caller's id of an order (`ClOrdID`, FIX tag 11). With the account it is the idempotency key.
    ClientOrderId, is_client_order_id, "1-36 printable ASCII characters without a space"
);
text_id!(
    /// The router's stable id of an order, `<prefix>-<UUIDv7 hex>` (`OrderID`, FIX tag 37). Venues receive it as the
    /// client order id.
    OrderId, is_order_id, "1-36 characters of [A-Za-z0-9_-]"
);
text_id!(
    /// The caller's id of an adjustment, which is booked once per id.
    AdjustmentId, is_adjustment_id, "1-64 printable ASCII characters without a space"
);
text_id!(
    /// The caller's id of a replace: within its order it is the idempotency key.
    ReplaceId, is_client_order_id, "1-36 printable ASCII characters without a space"
);
text_id!(
    /// A tag of an intent; `strategy:<name>` names the strategy.
    Tag, is_tag, "1-64 characters without control characters"
);

impl AccountId {
    /// Returns `default`, the account of an intent that names none.
    pub fn default_account() -> Self {
        Self(Arc::from("default"))
    }
}

impl ClientOrderId {
    /// Returns a new UUIDv7, for an intent without an id.
    pub fn generate() -> Self {
        Self(Arc::from(Uuid::now_v7().to_string()))
    }
}

impl ReplaceId {
    /// Returns a new UUIDv7, for a replace without an id.
    pub fn generate() -> Self {
        Self(Arc::from(Uuid::now_v7().to_string()))
    }
}

impl AdjustmentId {
    /// Returns a new UUIDv7, for an adjustment without an id.
    pub fn generate() -> Self {
        Self(Arc::from(Uuid::now_v7().to_string()))
    }
}

impl OrderId {
    /// Returns the id of a UUID with the broker's two-letter prefix.
    pub fn from_uuid(prefix: OrderIdPrefix, uuid: Uuid) -> Self {
        Self(Arc::from(format!("{}-{}", prefix.0, uuid.simple())))
    }

    /// Returns the UUID in the id; `None` for an id that no router has made.
    pub fn uuid(&self) -> Option<Uuid> {
        let (_, digits) = self.0.split_once('-')?;
        Uuid::try_parse(digits).ok().filter(|_| digits.len() == 32)
    }
}

/// The two letters that a broker's order ids begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderIdPrefix(pub &'static str);

/// The fencing token of a worker's lease on a claimed order. A script with another token than the current one changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseToken(pub Arc<str>);

impl LeaseToken {
    /// Returns a new, unique token.
    pub fn generate() -> Self {
        Self(Arc::from(Uuid::now_v7().simple().to_string()))
    }

    /// Returns the token's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn is_account_id(text: &str) -> bool {
    is_token(text) && text != "_"
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
    fn identifiers_follow_their_grammar() {
        assert!(AccountId::new("fund_7-a").is_ok());
        for text in ["", "_", "a.b", "a b", "a*", "ä", &"x".repeat(65)] {
            assert!(AccountId::new(text).is_err(), "{text:?}");
        }
        for text in ["__", "-", "_a"] {
            assert!(AccountId::new(text).is_ok(), "{text:?}");
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
    fn generated_ids_follow_their_grammar() {
        let id = OrderId::from_uuid(OrderIdPrefix("BN"), Uuid::now_v7());
        assert_eq!(id.as_str().len(), 35);
        assert!(OrderId::new(id.as_str()).is_ok());
        assert!(ClientOrderId::new(ClientOrderId::generate().as_str()).is_ok());
    }
}
