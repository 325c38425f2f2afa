//! This worker's copy of what orders are evaluated by: the operators' overrides, the locks, and the limits in force. The
//! reserve script compares its generation: an order that was evaluated under an older one is evaluated again, so that a
//! change applies on all workers from the next order on.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::domain::control::ControlState;
use crate::domain::order_terms::Mode;
use crate::store::control::snapshot::StoredControl;
use crate::store::{Store, StoreError};
use crate::wire::limits::LimitsEvent;
use crate::wire::lock::LockEvent;
use crate::worker::control::limits::EnforcedLimits;

/// What orders are evaluated by, of one generation. It derefs to the control state.
#[derive(Debug, Clone)]
pub struct ControlSnapshot {
    state: ControlState,
    /// The limits in force.
    pub limits: Arc<EnforcedLimits>,
}

impl Deref for ControlSnapshot {
    type Target = ControlState;

    fn deref(&self) -> &ControlState {
        &self.state
    }
}

/// The copy. Clones share it.
#[derive(Debug, Clone)]
pub struct ControlCache {
    store: Store,
    current: Arc<RwLock<Arc<ControlSnapshot>>>,
    limits: Arc<watch::Sender<Arc<EnforcedLimits>>>,
    decoded_limits: Arc<tokio::sync::Mutex<Option<Arc<EnforcedLimits>>>>,
}

impl ControlCache {
    /// Returns a copy without overrides and locks. The limits of this worker's own settings are in it until the first
    /// refresh, before which no order is taken.
    pub fn new(store: Store, own_limits: Arc<EnforcedLimits>) -> Self {
        let snapshot = ControlSnapshot {
            state: ControlState::without_overrides(),
            limits: own_limits.clone(),
        };
        Self {
            store,
            current: Arc::new(RwLock::new(Arc::new(snapshot))),
            limits: Arc::new(watch::Sender::new(own_limits)),
            decoded_limits: Arc::default(),
        }
    }

    /// Returns the copy as of the last refresh.
    pub fn current(&self) -> Arc<ControlSnapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the active mode.
    pub fn mode(&self) -> Mode {
        self.current().mode
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> Arc<EnforcedLimits> {
        self.current().limits.clone()
    }

    /// Returns a channel that holds the limits in force, and reports each change of them.
    pub fn watch_limits(&self) -> watch::Receiver<Arc<EnforcedLimits>> {
        self.limits.subscribe()
    }

    /// Reads the copy from the store again.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn refresh(&self) -> Result<Arc<ControlSnapshot>, StoreError> {
        let known = self.limits();
        let stored = self.store.read_control(&known.hash).await?;
        let limits = match stored.limits_hash == known.hash {
            true => known,
            // Boxed: limits change seldom.
            false => Box::pin(self.decode_limits(&stored)).await?,
        };
        self.update_from(stored, limits)
    }

    /// Returns the limits of a document that was read. Of the orders that meet a change together, one decodes it.
    async fn decode_limits(&self, stored: &StoredControl) -> Result<Arc<EnforcedLimits>, StoreError> {
        if stored.limits_hash.is_empty() {
            let detail = "no limits are in force: a worker puts those of the journal in force at its next check";
            return Err(StoreError::NotExecuted(detail.to_owned()));
        }
        let mut decoded = self.decoded_limits.lock().await;
        if let Some(limits) = decoded.as_ref().filter(|limits| limits.hash == stored.limits_hash) {
            return Ok(limits.clone());
        }
        let document = stored.limits_document.clone();
        // The limits of some thousand instruments take some time, in which other calls must go on.
        let limits = tokio::task::spawn_blocking(move || decode_limits(&document)).await;
        let limits = limits.map_err(|error| StoreError::NotExecuted(error.to_string()))??;
        Ok(decoded.insert(Arc::new(limits)).clone())
    }

    /// Replaces the copy by what was read from the store, unless the copy is newer. Returns what was read.
    fn update_from(
        &self,
        stored: StoredControl,
        limits: Arc<EnforcedLimits>,
    ) -> Result<Arc<ControlSnapshot>, StoreError> {
        let mut state = stored.control;
        for document in &stored.lock_documents {
            let event: Option<LockEvent> = serde_json::from_slice(document).ok();
            let lock = event.and_then(|event| event.lock.to_lock());
            // A lock that cannot be decoded may be one that stops the next order.
            let lock = lock.ok_or_else(|| StoreError::Corrupt("a lock cannot be decoded".to_owned()))?;
            state.locks.push(lock);
        }
        state.locks.sort_by(|one, other| one.lock_id.cmp(&other.lock_id));
        let snapshot = Arc::new(ControlSnapshot { state, limits });
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // A slow read must not replace the result of a later one.
        if snapshot.generation >= current.generation {
            self.limits.send_if_modified(|watched| {
                let is_changed = watched.hash != snapshot.limits.hash;
                watched.clone_from(&snapshot.limits);
                is_changed
            });
            *current = snapshot.clone();
        }
        Ok(snapshot)
    }
}

fn decode_limits(document: &[u8]) -> Result<EnforcedLimits, StoreError> {
    let event: LimitsEvent = serde_json::from_slice(document)
        .map_err(|error| StoreError::Corrupt(format!("the limits in force cannot be decoded: {error}")))?;
    EnforcedLimits::of_event(&event).map_err(|errors| {
        StoreError::Corrupt(format!(
            "this release cannot enforce the limits in force (version {}): {errors}",
            event.version
        ))
    })
}
