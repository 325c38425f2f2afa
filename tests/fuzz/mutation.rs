//! Inputs made from a corpus by random changes, from a seed.

/// A source of inputs.
pub struct Mutator {
    state: u64,
    corpus: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

/// The longest input.
const MAX_LENGTH: usize = 16 * 1024;
/// The most inputs that join the corpus.
const MAX_CORPUS: usize = 4_096;

impl Mutator {
    /// Returns a source; the same seed gives the same inputs.
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>, words: &'static [&'static str]) -> Self {
        Self {
            state: seed | 1,
            corpus,
            words,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or(0) % end.max(1)
    }

    /// Returns the next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let from = self.below(self.corpus.len());
        let mut input = self.corpus.get(from).cloned().unwrap_or_default();
        for _ in 0..=self.below(6) {
            self.change(&mut input);
        }
        input.truncate(MAX_LENGTH);
        if self.corpus.len() < MAX_CORPUS && self.below(64) == 0 {
            self.corpus.push(input.clone());
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        match self.below(7) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256).to_le_bytes()[0],
            2 => {
                let end = (at + 1 + self.below(16)).min(input.len());
                input.drain(at.min(end)..end);
            }
            3 => {
                let end = (at + 1 + self.below(32)).min(input.len());
                let part = input[at.min(end)..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, part);
            }
            4 => {
                let other = self.below(self.corpus.len());
                let other = self.corpus.get(other).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                let end = (from + self.below(64)).min(other.len());
                input.splice(at..at, other[from..end].iter().copied());
            }
            5 if at < input.len() && input[at].is_ascii_digit() => input[at] = b'0' + self.below(10).to_le_bytes()[0],
            _ => {
                let word = self.below(self.words.len());
                input.splice(at..at, self.words[word].bytes());
            }
        }
    }
}
