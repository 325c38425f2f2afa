//! The highest sequence a journal is known to have acknowledged: a new entry that is given one at or below it shows that
//! the stream has lost its newest entries (restored from a copy, or cut by a power failure).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bus::journal::append::AppendError;

/// The watermark of one stream.
#[derive(Debug, Default)]
pub(super) struct JournalWatermark {
    highest_sequence: AtomicU64,
    is_behind: AtomicBool,
}

impl JournalWatermark {
    /// Takes note of a sequence that somebody has seen.
    pub(super) fn raise_to(&self, sequence: u64) {
        self.highest_sequence.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Returns the highest sequence seen so far.
    pub(super) fn highest_sequence(&self) -> u64 {
        self.highest_sequence.load(Ordering::Acquire)
    }

    /// Whether an entry was given a sequence that had been another's. It stays so for the life of the process: entries
    /// told of before are gone, and others stand in their places.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Returns what every entry sent from now on must be given more than.
    ///
    /// # Errors
    /// When the stream is known to be behind: nothing is sent any more.
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

    /// Checks the first sequence an entry, or a batch of them, was newly given that was sent above a floor, and takes note
    /// of the last. Entries travel side by side: one is not held against what was acknowledged after it was sent.
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
            "the journal is behind: a new entry was given a sequence that had been another's"
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
    fn a_sequence_that_was_anothers_ends_it_and_one_that_was_overtaken_does_not() {
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
