//! The entry of a remembered id, as `lua/prelude.lua` packs it. The fold keeps nothing else of an order that has ended, and
//! replies of scripts are read with it.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::content_hash::ContentDigest;
use crate::domain::id::OrderId;
use crate::domain::order_key::OrderKey;
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::time::Timestamp;

/// The bytes of an entry, but for the order id that stands behind it where the key is no part of that.
pub const ENTRY_BYTES: usize = 41;
const HOUR_MS: i64 = 60 * 60 * 1_000;
const ENDED: u8 = 1;
const DENIED: u8 = 2;

/// The entry of an order that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedId([u8; ENTRY_BYTES]);

/// What an entry holds.
#[derive(Debug, Clone, Copy)]
pub struct RememberedFields<'a> {
    /// When it may be dropped.
    pub remembered_until: Timestamp,
    /// Whether the order was denied by a risk rule, or was a dry run.
    pub is_denied: bool,
    /// The order id, where the key is a part of it.
    pub order_id: Option<&'a OrderId>,
    /// What the order's content is recognised by.
    pub content: ContentDigest,
    /// The version of its last report.
    pub version: u32,
    /// The journal sequence of that report.
    pub sequence: u64,
    /// The journal sequence of the first report.
    pub first_sequence: u64,
    /// The id of the settlement of the last report.
    pub settlement_id: Option<Uuid>,
}

impl RememberedId {
    /// Returns the entry of an order.
    pub fn new(fields: &RememberedFields<'_>) -> Self {
        let (prefix, time) = fields.order_id.and_then(split_order_id).unwrap_or((*b"  ", 0));
        let before = fields
            .sequence
            .saturating_sub(fields.first_sequence)
            .min(u64::from(u32::MAX));
        let SettlementEnd(settlement) = SettlementEnd::of(fields.settlement_id);
        let stage = if fields.is_denied { DENIED } else { ENDED };
        let mut entry = [0; ENTRY_BYTES];
        let (hour, rest) = entry.split_at_mut(3);
        let (stage_byte, rest) = rest.split_at_mut(1);
        let (prefix_bytes, rest) = rest.split_at_mut(2);
        let (time_bytes, rest) = rest.split_at_mut(6);
        let (content, rest) = rest.split_at_mut(ContentDigest::LENGTH);
        let (version, rest) = rest.split_at_mut(3);
        let (sequence, rest) = rest.split_at_mut(6);
        let (before_bytes, settlement_bytes) = rest.split_at_mut(4);
        write_big_endian(hour, hour_from(fields.remembered_until).into());
        stage_byte.fill(stage);
        prefix_bytes.copy_from_slice(&prefix);
        write_big_endian(time_bytes, time.into());
        content.copy_from_slice(&fields.content.0);
        write_big_endian(version, fields.version.into());
        write_big_endian(sequence, fields.sequence.into());
        write_big_endian(before_bytes, before.into());
        write_big_endian(settlement_bytes, settlement.into());
        Self(entry)
    }

    /// Returns the entry of these bytes; `None` if there are not as many as an entry has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns its bytes with a life of at least `least` from `now` on.
    pub fn bytes_living(mut self, now: Timestamp, least: Duration) -> Vec<u8> {
        let hour = hour_from(now.saturating_add(least)).max(self.hour());
        if let Some(bytes) = self.0.first_chunk_mut::<3>() {
            write_big_endian(bytes, hour.into());
        }
        self.0.to_vec()
    }

    /// Returns when it may be dropped.
    pub fn remembered_until(&self) -> Timestamp {
        Timestamp::from_milliseconds(i64::try_from(self.hour()).unwrap_or(i64::MAX).saturating_mul(HOUR_MS))
    }

    /// Returns the order id, where the key is a part of it.
    pub fn order_id(&self, key: OrderKey) -> Option<OrderId> {
        let prefix = std::str::from_utf8(self.0.get(4..6)?).ok()?;
        OrderId::new(&format!("{prefix}-{}", key.uuid(self.number(6, 6)).simple())).ok()
    }

    /// Returns whether the order was denied, or `None` where the entry names no stage.
    pub(in crate::store) fn is_denied(&self) -> Option<bool> {
        match self.number(3, 1) {
            stage if stage == u64::from(ENDED) => Some(false),
            stage if stage == u64::from(DENIED) => Some(true),
            _ => None,
        }
    }

    /// Returns what the order's content is recognised by.
    pub(in crate::store) fn content(&self) -> Option<ContentDigest> {
        self.0.get(12..24)?.try_into().ok().map(ContentDigest)
    }

    /// Returns the version of its last report.
    pub fn version(&self) -> u32 {
        u32::try_from(self.number(24, 3)).unwrap_or(u32::MAX)
    }

    /// Returns the journal sequence of that report.
    pub fn sequence(&self) -> u64 {
        self.number(27, 6)
    }

    /// Returns the journal sequence of the first report.
    pub fn first_sequence(&self) -> u64 {
        self.sequence().saturating_sub(self.number(33, 4))
    }

    /// Returns the end of the id of the settlement of the last report.
    pub(in crate::store) fn settlement_end(&self) -> SettlementEnd {
        SettlementEnd(u32::try_from(self.number(37, 4)).unwrap_or(u32::MAX))
    }

    fn hour(&self) -> u64 {
        self.number(0, 3)
    }

    fn number(&self, from: usize, length: usize) -> u64 {
        let bytes = self.0.iter().skip(from).take(length);
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Returns the number of the bucket of a key among so many (`bucket_of` in `lua/prelude.lua`).
pub fn bucket_of(key: OrderKey, buckets: u64) -> u64 {
    let low = buckets.checked_ilog2().map_or(1, |exponent| 1 << exponent);
    let bits = key.low_bits();
    let bucket = bits % (2 * low);
    if bucket < buckets { bucket } else { bucket - low }
}

/// Returns the hour, counted from 1970, that a moment is in or begins.
fn hour_from(at: Timestamp) -> u64 {
    let milliseconds = at.as_milliseconds().max(0);
    u64::try_from((milliseconds + HOUR_MS - 1) / HOUR_MS).unwrap_or(0)
}

/// Returns prefix and milliseconds of an order id.
fn split_order_id(order_id: &OrderId) -> Option<([u8; 2], u64)> {
    let (prefix, digits) = order_id.as_str().split_once('-')?;
    let time = u64::from_str_radix(digits.get(..12)?, 16).ok()?;
    Some((prefix.as_bytes().try_into().ok()?, time))
}

fn write_big_endian(bytes: &mut [u8], number: u128) {
    let all = number.to_be_bytes();
    let from = all.len() - bytes.len();
    bytes.copy_from_slice(all.get(from..).unwrap_or_default());
}
