//! This worker's copy of what orders are judged by beyond the settings. The reserve script compares its generation: an
//! order that was judged by an older one is judged anew, so that a change works on all workers from the next order on.

use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::control::ControlState;
use crate::domain::order_terms::Mode;
use crate::store::control::snapshot::StoredControl;
use crate::store::{Store, StoreError};
use crate::wire::lock::LockEvent;

/// The copy.
#[derive(Debug, Clone)]
pub struct ControlCache {
    store: Store,
    current: Arc<RwLock<Arc<ControlState>>>,
}

impl ControlCache {
    /// Returns a copy of nothing: the settings' values are in force, until it is refreshed.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            current: Arc::new(RwLock::new(Arc::new(ControlState::without_overrides()))),
        }
    }

    /// Returns the copy as it is.
    pub fn current(&self) -> Arc<ControlState> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the mode in force.
    pub fn mode(&self) -> Mode {
        self.current().mode
    }

    /// Reads it anew.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn refresh(&self) -> Result<Arc<ControlState>, StoreError> {
        self.update_from(self.store.read_control().await?)
    }

    /// Takes what a look at the store has shown for the copy.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn update_from(&self, stored: StoredControl) -> Result<Arc<ControlState>, StoreError> {
        let mut control = stored.control;
        for document in &stored.lock_documents {
            let event: Option<LockEvent> = serde_json::from_slice(document).ok();
            let latch = event.and_then(|event| event.lock.to_lock());
            // A lock that cannot be read may be one that concerns the next order.
            let latch = latch.ok_or_else(|| StoreError::Corrupt("a lock that cannot be read".to_owned()))?;
            control.locks.push(latch);
        }
        control.locks.sort_by(|one, other| one.lock_id.cmp(&other.lock_id));
        let control = Arc::new(control);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // A look that was slower than another one must not take it back.
        if control.generation >= current.generation {
            *current = control.clone();
        }
        Ok(control)
    }
}
