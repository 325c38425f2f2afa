//! The highest journal sequence known to be acknowledged.
//!
//! A new entry that is assigned a sequence at or below it proves that the stream has lost its newest entries: it was
//! restored from a copy, or truncated by a power failure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bus::journal::entry::AppendError;

/// The watermark of one stream.
#[derive(Debug, Default)]
pub(super) struct JournalWatermark {
    highest_sequence: AtomicU64,
    is_behind: AtomicBool,
}

impl JournalWatermark {
    /// Raises the watermark to a sequence that was observed.
    pub(super) fn raise_to(&self, sequence: u64) {
        self.highest_sequence.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Returns the highest sequence observed so far.
    pub(super) fn highest_sequence(&self) -> u64 {
        self.highest_sequence.load(Ordering::Acquire)
    }

    /// Reports whether an entry was assigned a sequence that an earlier entry had. It remains true for the life of the
    /// process: acknowledged entries are lost, and others have their sequences.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Returns the sequence that every entry sent from now on must exceed.
    ///
    /// # Errors
    /// When the stream is known to be behind: nothing more is sent.
    pub(super) fn floor(&self) -> Result<u64, AppendError> {
        let highest = self.highest_sequence();
        if self.is_behind() {
            return Err(AppendError::Behind {
                sequence: 0,
                seen: highest,
            });
        }
        Ok(highest)
    }

    /// Checks the first new sequence of an entry, or of a batch, against the floor at the time it was sent, and raises the
    /// watermark to the last one. Appends run concurrently: an entry is not compared with those acknowledged after it was
    /// sent.
    ///
    /// # Errors
    /// When the stream is behind.
    pub(super) fn record_assigned(&self, floor: u64, first: u64, last: u64) -> Result<(), AppendError> {
        if first > floor {
            self.raise_to(last);
            return Ok(());
        }
        self.is_behind.store(true, Ordering::Release);
        tracing::error!(
            sequence = first,
            seen = floor,
            "the journal is behind: a new entry was assigned the sequence of an acknowledged one; nothing more is appended"
        );
        Err(AppendError::Behind {
            sequence: first,
            seen: floor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reused_sequence_is_behind_and_overtaken_append_is_not() {
        let watermark = JournalWatermark::default();
        let (early, late) = (watermark.floor().unwrap(), watermark.floor().unwrap());
        assert_eq!(watermark.record_assigned(late, 2, 2), Ok(()));
        assert_eq!(watermark.record_assigned(early, 1, 1), Ok(()));
        assert_eq!(watermark.highest_sequence(), 2);
        watermark.raise_to(9);
        let floor = watermark.floor().unwrap();
        let behind = AppendError::Behind { sequence: 9, seen: 9 };
        assert_eq!(watermark.record_assigned(floor, 9, 11), Err(behind));
        assert!(watermark.is_behind() && watermark.floor().is_err());
        assert_eq!(watermark.highest_sequence(), 9);
    }
}
