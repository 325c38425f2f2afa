//! The key of an order: what identifies it in the store.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::id::{AccountId, ClientOrderId, OrderId, OrderIdPrefix};
use crate::domain::order_terms::Mode;
use crate::domain::time::Timestamp;

/// The shortest time after an order's end in which its client order id cannot be used again, whatever the settings say, less
/// what the clocks of workers may differ: a second order that comes sooner is void.
pub const MIN_ID_RETENTION: Duration = Duration::from_secs(3_000);
/// The bits of a UUIDv7 that are not its time, its version or its variant.
const KEY_BITS: u32 = 74;
/// The bits of the UUID's last part, behind the variant.
const LOW_BITS: u32 = 62;
/// The characters of a name, six bits each.
const NAME_LENGTH: usize = 13;
const NAME_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The key of an order: the first 74 bits of the SHA-256 of its id space, account and client order id. Orders of dry runs
/// have an id space of their own.
///
/// An order id is `<prefix>-<UUIDv7 in hex>`, a UUIDv7 whose random bits are the key: the order id and the client order id lead to the same entry of
/// the store. Two client order ids with one key would have different contents: the later one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderKey(u128);

impl OrderKey {
    /// Returns the key of a client order id, in the id space of its mode.
    pub fn new(mode: Mode, account_id: &AccountId, client_order_id: &ClientOrderId) -> Self {
        let id_space: &[u8] = if mode == Mode::DryRun { b"d" } else { b"r" };
        let mut hasher = Sha256::new();
        // Neither an id space nor an account contains a colon.
        for part in [
            id_space,
            b":",
            account_id.as_str().as_bytes(),
            b":",
            client_order_id.as_str().as_bytes(),
        ] {
            hasher.update(part);
        }
        let digest = hasher.finalize();
        let first = digest
            .iter()
            .take(size_of::<u128>())
            .fold(0, |bits: u128, byte| bits << 8 | u128::from(*byte));
        Self(first >> (u128::BITS - KEY_BITS))
    }

    /// Returns the key in an order id; `None` for an id that this router has not made.
    pub fn of_order_id(order_id: &OrderId) -> Option<Self> {
        let bits = order_id.uuid()?.as_u128();
        let high = bits >> 64 & 0xfff;
        Some(Self(high << LOW_BITS | bits & ((1 << LOW_BITS) - 1)))
    }

    /// Returns a new order id of this moment and this key, with the broker's prefix.
    pub fn order_id(self, prefix: OrderIdPrefix, now: Timestamp) -> OrderId {
        OrderId::from_uuid(prefix, self.uuid(now.as_milliseconds().unsigned_abs()))
    }

    /// Returns the UUIDv7 of this key and a moment, in milliseconds since 1970.
    pub fn uuid(self, at_ms: u64) -> Uuid {
        let milliseconds = u128::from(at_ms) & 0xffff_ffff_ffff;
        let (high, low) = (self.0 >> LOW_BITS, self.0 & ((1 << LOW_BITS) - 1));
        Uuid::from_u128(milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << LOW_BITS | low)
    }

    /// Returns the order's name in the store: 13 characters of `A-Za-z0-9-_`.
    pub fn name(self) -> String {
        (0..NAME_LENGTH)
            .rev()
            .map(|place| char::from(NAME_ALPHABET[(self.0 >> (6 * place) & 63) as usize]))
            .collect()
    }

    /// Returns the last 30 bits: what the last five characters of the name stand for.
    pub fn low_bits(self) -> u64 {
        // Cannot fail: the mask leaves 30 bits.
        u64::try_from(self.0 & ((1 << 30) - 1)).unwrap_or(0)
    }

    /// Parses a name; returns `None` where it is not the name of an order.
    pub fn parse(name: &str) -> Option<Self> {
        let digit = |byte: u8| NAME_ALPHABET.iter().position(|other| *other == byte);
        let bits = name
            .bytes()
            .try_fold(0, |bits: u128, byte| Some(bits << 6 | digit(byte)? as u128))?;
        (name.len() == NAME_LENGTH && bits < 1 << KEY_BITS).then_some(Self(bits))
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(mode: Mode, account: &str, id: &str) -> OrderKey {
        OrderKey::new(
            mode,
            &AccountId::new(account).unwrap(),
            &ClientOrderId::new(id).unwrap(),
        )
    }

    #[test]
    fn names_parse_back() {
        for id in ["a", "a:b:c", "{or}:meta", "x*?[y]"] {
            let key = key(Mode::Paper, "fund_7", id);
            assert_eq!(OrderKey::parse(&key.name()), Some(key));
        }
        for text in ["", "AAAAAAAAAAAA", "AAAAAAAAAAAAAA", "AAAAAAAAAAAA*", "_____________"] {
            assert_eq!(OrderKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn order_ids_lead_to_the_key_of_the_client_order_id() {
        let key = key(Mode::Paper, "fund_7", "a1");
        let now = Timestamp::now();
        let id = key.order_id(OrderIdPrefix("BN"), now);
        assert_eq!(OrderKey::of_order_id(&id), Some(key));
        let uuid = Uuid::try_parse(&id.as_str()[3..]).unwrap();
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanoseconds) = uuid.get_timestamp().unwrap().to_unix();
        let milliseconds = seconds * 1_000 + u64::from(nanoseconds) / 1_000_000;
        assert_eq!(i64::try_from(milliseconds).unwrap(), now.as_milliseconds());
        let foreign = OrderId::new("BN-1").unwrap();
        assert_eq!(OrderKey::of_order_id(&foreign), None);
    }

    #[test]
    fn keys_differ_by_id_space_account_and_client_order_id() {
        let one = key(Mode::Paper, "fund_7", "a1");
        assert_eq!(one, key(Mode::Live, "fund_7", "a1"));
        for other in [
            key(Mode::DryRun, "fund_7", "a1"),
            key(Mode::Paper, "fund_8", "a1"),
            key(Mode::Paper, "fund_7", "a2"),
        ] {
            assert_ne!(one, other);
        }
    }
}
