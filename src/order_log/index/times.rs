//! Times by ordinal, and which of them are in a range. The times are nearly sorted, so most blocks are decided whole.

use roaring::RoaringBitmap;

/// How many times one block has.
const BLOCK_LENGTH: usize = 4_096;

/// Times by ordinal, in µs since 1970.
#[derive(Debug, Default)]
pub(in crate::order_log) struct TimeIndex {
    timestamps: Vec<i64>,
    /// Bounds of the times of each block: none is earlier or later.
    block_ranges: Vec<(i64, i64)>,
}

impl TimeIndex {
    /// Appends the time of the next ordinal.
    pub(in crate::order_log) fn push(&mut self, at: i64) {
        if self.timestamps.len().is_multiple_of(BLOCK_LENGTH) {
            self.block_ranges.push((at, at));
        }
        if let Some((earliest, latest)) = self.block_ranges.last_mut() {
            *earliest = at.min(*earliest);
            *latest = at.max(*latest);
        }
        self.timestamps.push(at);
    }

    /// Replaces the time of an ordinal. The bounds of its block only widen.
    pub(in crate::order_log) fn set(&mut self, ordinal: u32, at: i64) {
        let place = ordinal as usize;
        if let (Some(known), Some((earliest, latest))) = (
            self.timestamps.get_mut(place),
            self.block_ranges.get_mut(place / BLOCK_LENGTH),
        ) {
            *known = at;
            *earliest = at.min(*earliest);
            *latest = at.max(*latest);
        }
    }

    /// Returns the ordinals whose times are from `start` to `end`, both included; `None` is no limit.
    pub(in crate::order_log) fn within(&self, start: Option<i64>, end: Option<i64>) -> RoaringBitmap {
        let (start, end) = (start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
        let mut matched = RoaringBitmap::new();
        for ((block, &(earliest, latest)), first) in self
            .timestamps
            .chunks(BLOCK_LENGTH)
            .zip(&self.block_ranges)
            .zip((0_u32..).step_by(BLOCK_LENGTH))
        {
            if start <= earliest && latest <= end {
                let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
                matched.insert_range(first..first.saturating_add(length));
            } else if start <= latest && earliest <= end {
                let inside = (first..).zip(block).filter(|&(_, &at)| start <= at && at <= end);
                matched.extend(inside.map(|(ordinal, _)| ordinal));
            }
        }
        matched
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn range_has_exactly_the_times_within_it(
            jitter in proptest::collection::vec(0_i64..5_000, 0..12_000),
            start in proptest::option::of(-10_i64..20_000),
            end in proptest::option::of(-10_i64..20_000),
            later in proptest::collection::vec((0_u32..12_000, 0_i64..25_000), 0..50),
        ) {
            let mut times: Vec<i64> = (0_i64..).zip(&jitter).map(|(at, jitter)| at + jitter).collect();
            let mut index = TimeIndex::default();
            times.iter().for_each(|&at| index.push(at));
            for (ordinal, at) in later {
                index.set(ordinal, at);
                if let Some(time) = times.get_mut(ordinal as usize) {
                    *time = at;
                }
            }
            let expected: Vec<u32> = (0..)
                .zip(&times)
                .filter(|&(_, &at)| start.is_none_or(|start| start <= at) && end.is_none_or(|end| at <= end))
                .map(|(ordinal, _)| ordinal)
                .collect();
            prop_assert_eq!(index.within(start, end).into_iter().collect::<Vec<_>>(), expected);
        }
    }
}
