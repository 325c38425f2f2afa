//! The hash that distinguishes a repeated request from a conflicting one under the same id.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The SHA-256 hash of a request's content, in hex. Two requests under one id are the same when their hashes are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentHash(pub Arc<str>);

impl ContentHash {
    /// Returns the hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(bytes))
    }

    fn from_digest(digest: &[u8]) -> Self {
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let hex: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        Self(hex.into())
    }
}

/// Hashes the fields of a request one by one. Each field is preceded by its length, so that no two sequences of fields
/// hash the same bytes.
#[derive(Default)]
pub(super) struct ContentHasher(Sha256);

impl ContentHasher {
    /// Adds a field.
    pub(super) fn add(&mut self, field: &str) {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field.as_bytes());
    }

    /// Returns the hash of the fields.
    pub(super) fn finish(self) -> ContentHash {
        ContentHash::from_digest(&self.0.finalize())
    }
}
