//! The exclusive right to rebuild the store.

/// How long a rebuild may make no progress before another worker takes over, in milliseconds.
pub const REBUILD_LEASE_MS: u64 = 5_000;

/// The right to rebuild the store, until the rebuild is finished or its lease ends.
#[derive(Debug)]
pub struct StoreRebuild {
    pub(in crate::store) epoch: String,
    /// The highest journal sequence up to which the store knows every event.
    pub journal_sequence: u64,
    /// The creation time of the journal that the store belonged to; empty where it belonged to none.
    pub journal_created: String,
    /// Whether the store was empty, or an earlier rebuild has loaded a part of it: it is cleared and loaded as a whole.
    pub is_from_nothing: bool,
}
