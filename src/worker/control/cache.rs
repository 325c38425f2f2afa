//! This worker's copy of the operators' overrides and the locks. The reserve script compares its generation: an order
//! that was evaluated under an older one is evaluated again, so that a change applies on all workers from the next
//! order on.

use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::control::ControlState;
use crate::domain::order_terms::Mode;
use crate::store::control::snapshot::StoredControl;
use crate::store::{Store, StoreError};
use crate::wire::lock::LockEvent;

/// The copy. Clones share it.
#[derive(Debug, Clone)]
pub struct ControlCache {
    store: Store,
    current: Arc<RwLock<Arc<ControlState>>>,
}

impl ControlCache {
    /// Returns an empty copy: the values of the settings apply until it is refreshed.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            current: Arc::new(RwLock::new(Arc::new(ControlState::without_overrides()))),
        }
    }

    /// Returns the copy as of the last refresh.
    pub fn current(&self) -> Arc<ControlState> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the active mode.
    pub fn mode(&self) -> Mode {
        self.current().mode
    }

    /// Reads the copy from the store again.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn refresh(&self) -> Result<Arc<ControlState>, StoreError> {
        self.update_from(self.store.read_control().await?)
    }

    /// Replaces the copy by what was read from the store, unless the copy is newer. Returns what was read.
    ///
    /// # Errors
    /// If a lock cannot be decoded.
    pub fn update_from(&self, stored: StoredControl) -> Result<Arc<ControlState>, StoreError> {
        let mut control = stored.control;
        for document in &stored.lock_documents {
            let event: Option<LockEvent> = serde_json::from_slice(document).ok();
            let lock = event.and_then(|event| event.lock.to_lock());
            // A lock that cannot be decoded may be one that stops the next order.
            let lock = lock.ok_or_else(|| StoreError::Corrupt("a lock cannot be decoded".to_owned()))?;
            control.locks.push(lock);
        }
        control.locks.sort_by(|one, other| one.lock_id.cmp(&other.lock_id));
        let control = Arc::new(control);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // A slow read must not replace the result of a later one.
        if control.generation >= current.generation {
            *current = control.clone();
        }
        Ok(control)
    }
}
