//! This worker's copy of what orders are judged by beyond the settings. The reserve script compares its generation: an
//! order that was judged by an older one is judged anew, so that a change works on all workers from the next order on.

use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::control::Control;
use crate::domain::terms::{Mode, TradingState};
use crate::store::control::StoredControl;
use crate::store::{Store, StoreError};

/// The copy.
#[derive(Debug, Clone)]
pub struct ControlCell {
    store: Store,
    current: Arc<RwLock<Arc<Control>>>,
}

impl ControlCell {
    /// Returns a copy of nothing: the settings' values are in force, until it is refreshed.
    pub fn new(store: Store) -> Self {
        let nothing = Control {
            generation: 0,
            version: 0,
            mode: Mode::Paper,
            trading_state: TradingState::Active,
            daily_notional_limit: None,
            daily_loss_limit: None,
            trading_date: None,
            latches: Vec::new(),
        };
        Self {
            store,
            current: Arc::new(RwLock::new(Arc::new(nothing))),
        }
    }

    /// Returns the copy as it is.
    pub fn current(&self) -> Arc<Control> {
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
    pub async fn refresh(&self) -> Result<Arc<Control>, StoreError> {
        self.adopt(self.store.control().await?)
    }

    /// Takes what a look at the store has shown for the copy.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn adopt(&self, stored: StoredControl) -> Result<Arc<Control>, StoreError> {
        let control = Arc::new(stored.control);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = control.clone();
        Ok(control)
    }
}
