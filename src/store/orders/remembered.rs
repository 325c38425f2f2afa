//! The entry of a remembered id: what stays of an order that has ended and is journaled (`lua/prelude.lua`).

use uuid::Uuid;

use crate::domain::content_hash::ContentDigest;
use crate::domain::id::OrderId;
use crate::domain::order_key::OrderKey;
use crate::store::error::StoreError;
use crate::store::orders::record::{KnownOrder, RecordStage};

/// Returns the order id where the key is no part of it, or an empty text: what an entry has to hold of it.
pub(in crate::store) fn order_id_tail(key: OrderKey, order_id: &OrderId) -> &str {
    if OrderKey::of_order_id(order_id) == Some(key) {
        ""
    } else {
        order_id.as_str()
    }
}

/// Decodes the entry of an order. All its versions are journaled.
pub(in crate::store) fn decode_entry(key: OrderKey, entry: &[u8]) -> Result<KnownOrder, StoreError> {
    read_entry(key, entry).ok_or_else(|| StoreError::corrupt(format!("the remembered id {key} is unreadable")))
}

fn read_entry(key: OrderKey, entry: &[u8]) -> Option<KnownOrder> {
    let (_hour, rest) = entry.split_at_checked(3)?;
    let (stage, rest) = rest.split_first()?;
    let (prefix, rest) = rest.split_at_checked(2)?;
    let (time, rest) = rest.split_at_checked(6)?;
    let (content, rest) = rest.split_first_chunk::<{ ContentDigest::LENGTH }>()?;
    let (version, rest) = rest.split_at_checked(3)?;
    let (sequence, rest) = rest.split_at_checked(6)?;
    let (_first_and_settlement, tail) = rest.split_at_checked(8)?;
    let order_id = if tail.is_empty() {
        let uuid: Uuid = key.uuid(big_endian(time));
        format!("{}-{}", std::str::from_utf8(prefix).ok()?, uuid.simple())
    } else {
        std::str::from_utf8(tail).ok()?.to_owned()
    };
    let version = u32::try_from(big_endian(version)).ok()?;
    Some(KnownOrder {
        stage: match stage {
            1 => RecordStage::Ended,
            2 => RecordStage::Denied,
            _ => return None,
        },
        content: ContentDigest(*content),
        order_id: OrderId::new(&order_id).ok()?,
        version,
        journaled_version: version,
        journal_sequence: big_endian(sequence),
    })
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
