//! The entry of a remembered id: what stays of an order that has ended and is journaled (`lua/prelude.lua`).

use crate::domain::id::OrderId;
use crate::domain::order_key::OrderKey;
use crate::store::error::StoreError;
use crate::store::orders::record::{KnownOrder, RecordStage};
use crate::store::rebuild::fold::remembered::{ENTRY_BYTES, RememberedId};

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

/// Splits an entry into its packed fields, and the order id where the key is no part of it; `None` for other bytes.
pub(in crate::store) fn split_entry(entry: &[u8]) -> Option<(RememberedId, String)> {
    let (packed, tail) = entry.split_at_checked(ENTRY_BYTES)?;
    Some((
        RememberedId::from_bytes(packed)?,
        std::str::from_utf8(tail).ok()?.to_owned(),
    ))
}

fn read_entry(key: OrderKey, entry: &[u8]) -> Option<KnownOrder> {
    let (id, tail) = split_entry(entry)?;
    let order_id = if tail.is_empty() {
        id.order_id(key)?
    } else {
        OrderId::new(&tail).ok()?
    };
    Some(KnownOrder {
        stage: if id.is_denied()? {
            RecordStage::Denied
        } else {
            RecordStage::Ended
        },
        content: id.content()?,
        order_id,
        version: id.version(),
        journaled_version: id.version(),
        journal_sequence: id.sequence(),
    })
}
