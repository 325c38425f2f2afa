//! Which brokers this worker routes to: each configured one with its adapter behind its task.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::book::StoreBook;
use super::gate::JournaledGate;
use crate::brokers::handle::BrokerHandle;
use crate::brokers::paper::fills::Fees;
use crate::brokers::paper::{binance, ibkr};
use crate::brokers::task::BrokerTask;
use crate::config::brokers::{BrokerTaskSettings, BrokersSettings};
use crate::domain::calendar::TradingCalendar;
use crate::domain::id::{BrokerId, IdError};
use crate::domain::rates::Rates;
use crate::store::Store;

/// What an adapter for a venue that outlives us is given.
#[derive(Debug, Clone)]
pub struct Ports {
    /// The leave to send.
    pub gate: Arc<JournaledGate>,
    /// What its task may hold.
    pub task: BrokerTaskSettings,
}

/// Starts brokers that the settings do not name.
pub type Further = Box<dyn FnOnce(&Ports) -> Vec<BrokerHandle> + Send>;

/// Starts the task of each configured broker, and the further ones. A task ends when its handles are gone and what it
/// took is done.
pub(super) fn start(
    settings: &BrokersSettings,
    store: &Store,
    rates: &Arc<Rates>,
    calendar: &TradingCalendar,
    gate: JournaledGate,
    further: Further,
) -> Result<BTreeMap<BrokerId, BrokerHandle>, IdError> {
    let book = Arc::new(StoreBook::new(store.clone(), rates.clone()));
    // The settings were checked for these.
    let fees = Fees {
        rate: settings.paper_fees.rate().ok_or(IdError("a fee rate"))?,
        paid_in: settings.paper_fees.paid_in().ok_or(IdError("what fees are paid in"))?,
    };
    let mut handles = BTreeMap::new();
    for name in &settings.enabled {
        let (handle, _task) = match name.as_str() {
            binance::BROKER => {
                let venue = binance::venue(book.clone())?
                    .with_calendar(calendar.clone())
                    .with_fees(fees);
                BrokerTask::spawn(venue, &settings.task)
            }
            ibkr::BROKER => {
                let venue = ibkr::venue(book.clone(), &settings.paper_ibkr)?
                    .with_calendar(calendar.clone())
                    .with_fees(fees);
                BrokerTask::spawn(venue, &settings.task)
            }
            // The settings were checked against the same names.
            _ => return Err(IdError("a broker this router knows")),
        };
        handles.insert(BrokerId::new(name)?, handle);
    }
    let ports = Ports {
        gate: Arc::new(gate),
        task: settings.task.clone(),
    };
    for handle in further(&ports) {
        handles.insert(handle.capabilities().broker.clone(), handle);
    }
    Ok(handles)
}
