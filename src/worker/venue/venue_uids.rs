//! The accounts at the venue that the keys of this worker belong to: two keys of one account share its balances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The keys of each account. Clones share it; there is one entry a key at most.
#[derive(Debug, Clone, Default)]
pub(in crate::worker) struct VenueUids(Arc<Mutex<BTreeMap<u64, BTreeSet<usize>>>>);

impl VenueUids {
    /// Records a key of an account. Returns another key of the same account, if one is recorded.
    pub(in crate::worker) fn other_key(&self, uid: u64, key_number: usize) -> Option<usize> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = accounts.entry(uid).or_default();
        keys.insert(key_number);
        keys.iter().copied().find(|key| *key != key_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_keys_of_one_account_knows_the_other() {
        let uids = VenueUids::default();
        assert_eq!(uids.other_key(7, 1), None);
        assert_eq!(uids.other_key(8, 2), None);
        assert_eq!(uids.other_key(7, 1), None);
        assert_eq!(uids.other_key(7, 3), Some(1));
        assert_eq!(uids.other_key(7, 1), Some(3));
    }
}
