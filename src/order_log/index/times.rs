//! Points in time by ordinal, and which of them lie in a span: nearly in order, so that most of it is told by blocks.

use roaring::RoaringBitmap;

/// How many entries one block has.
const BLOCK_LENGTH: usize = 4_096;

/// Points in time, in µs since 1970, by ordinal.
#[derive(Debug, Default)]
pub(in crate::order_log) struct TimeIndex {
    timestamps: Vec<i64>,
    /// The earliest and the latest of each block.
    block_ranges: Vec<(i64, i64)>,
}

impl TimeIndex {
    /// Adds the next.
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

    /// Returns the ordinals from `start` to `end`, both included.
    pub(in crate::order_log) fn within(&self, start: Option<i64>, end: Option<i64>) -> RoaringBitmap {
        let (start, end) = (start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
        let mut taken = RoaringBitmap::new();
        for ((block, &(earliest, latest)), first) in self
            .timestamps
            .chunks(BLOCK_LENGTH)
            .zip(&self.block_ranges)
            .zip((0_u32..).step_by(BLOCK_LENGTH))
        {
            if start <= earliest && latest <= end {
                let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
                taken.insert_range(first..first.saturating_add(length));
            } else if start <= latest && earliest <= end {
                let inside = (first..).zip(block).filter(|&(_, &at)| start <= at && at <= end);
                taken.extend(inside.map(|(ordinal, _)| ordinal));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_span_has_just_what_lies_in_it(
            jitter in proptest::collection::vec(0_i64..5_000, 0..12_000),
            start in proptest::option::of(-10_i64..20_000),
            end in proptest::option::of(-10_i64..20_000),
        ) {
            let times: Vec<i64> = (0_i64..).zip(&jitter).map(|(at, jitter)| at + jitter).collect();
            let mut kept = TimeIndex::default();
            times.iter().for_each(|&at| kept.push(at));
            let expected: Vec<u32> = (0..)
                .zip(&times)
                .filter(|&(_, &at)| start.is_none_or(|start| start <= at) && end.is_none_or(|end| at <= end))
                .map(|(ordinal, _)| ordinal)
                .collect();
            prop_assert_eq!(kept.within(start, end).into_iter().collect::<Vec<_>>(), expected);
        }
    }
}
