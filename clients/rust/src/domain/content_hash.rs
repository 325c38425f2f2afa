//! The hash that distinguishes a repeated request from a conflicting one under the same id.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::domain::hex;

/// The SHA-256 hash of a request's content, in hex. Two requests under one id are the same when their hashes are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentHash(pub Arc<str>);

impl ContentHash {
    /// Returns the hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(&Sha256::digest(bytes)).into())
    }

    /// Returns the digest of the content.
    pub fn digest(&self) -> ContentDigest {
        ContentDigest(hex::decode_first(&self.0).unwrap_or_default())
    }
}

/// The first 96 bits of a content hash: what an order's content is recognised by, where every byte counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest(pub [u8; Self::LENGTH]);

impl ContentDigest {
    /// Its length in bytes.
    pub const LENGTH: usize = 12;
}

/// Hashes the fields of a request one by one. Each field is preceded by its length, so that no two sequences of fields
/// hash the same bytes.
#[derive(Default)]
pub struct ContentHasher(Sha256);

impl ContentHasher {
    /// Adds a field.
    pub fn add(&mut self, field: &str) {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field.as_bytes());
    }

    /// Returns the hash of the fields.
    pub fn finish(self) -> ContentHash {
        ContentHash(hex::encode(&self.0.finalize()).into())
    }
}
