//! Numbers that follow from a seed: the faults and the intents of a run.

/// The step of SplitMix64 (Steele, Lea and Flood, 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers that a seed determines.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct SeededDraws(u64);

impl SeededDraws {
    /// Returns the sequence number `stream` of a seed: two streams of one seed are independent.
    pub(in crate::chaos) fn new(seed: u64, stream: u64) -> Self {
        let mut draws = Self(seed);
        let begin = draws.draw() ^ stream.wrapping_mul(STEP);
        Self(begin)
    }

    /// Returns the next number.
    pub(in crate::chaos) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below a bound; 0 for the bound 0.
    pub(in crate::chaos) fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// Returns a number between two numbers, both included.
    pub(in crate::chaos) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// Returns true in this share of the calls, in percent.
    pub(in crate::chaos) fn in_percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns one of the choices; `None` where there are none.
    pub(in crate::chaos) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len()).unwrap_or(u64::MAX);
        choices.get(usize::try_from(self.below(count)).ok()?)
    }
}
