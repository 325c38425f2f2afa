//! The paper brokers of this worker: each configured one has its adapter behind a task.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::brokers::handle::BrokerHandle;
use crate::brokers::paper::fills::PaperFees;
use crate::brokers::paper::{binance, ibkr};
use crate::brokers::task::BrokerTask;
use crate::config::brokers::{BrokerTaskSettings, BrokersSettings};
use crate::domain::calendar::CalendarSource;
use crate::domain::id::{BrokerId, IdError};
use crate::worker::broker_table::BrokerTable;
use crate::worker::journaling::settlement::{Settler, StorePaperBook};
use crate::worker::submission::send_gate::JournaledSendGate;

/// What an adapter for an external venue needs.
#[derive(Debug, Clone)]
pub struct VenueAdapterPorts {
    /// The gate that every submission passes.
    pub send_gate: Arc<JournaledSendGate>,
    /// The queues and timeouts of its task.
    pub task_settings: BrokerTaskSettings,
}

/// Starts the brokers that the settings do not name.
pub type AdditionalBrokers = Box<dyn FnOnce(&VenueAdapterPorts) -> Vec<BrokerHandle> + Send>;

/// Returns the configured brokers whose paper orders take effect in the store: all that [`start_brokers`] starts by name.
pub fn brokers_in_store(settings: &BrokersSettings) -> BTreeSet<BrokerId> {
    let names = settings.enabled.iter();
    names.filter_map(|name| BrokerId::new(name).ok()).collect()
}

/// Starts the task of each configured broker, and the additional ones. A task ends when its handles are dropped and its
/// queue is empty.
///
/// # Errors
/// A setting that the check of the settings excludes.
pub(in crate::worker) fn start_brokers(
    settings: &BrokersSettings,
    settler: &Settler,
    calendar: &CalendarSource,
    send_gate: &Arc<JournaledSendGate>,
    additional_brokers: AdditionalBrokers,
) -> Result<BrokerTable, IdError> {
    let book = Arc::new(StorePaperBook::new(settler.clone()));
    // The check of the settings excludes these errors.
    let fees = PaperFees {
        fee_rate: settings.paper_fees.fee_rate().ok_or(IdError("a fee rate"))?,
        fee_asset: settings
            .paper_fees
            .fee_asset()
            .ok_or(IdError("the asset that fees are paid in"))?,
    };
    let mut brokers = BrokerTable::default();
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
            // The check of the settings knows the same names.
            _ => return Err(IdError("a broker this router knows")),
        };
        brokers.add_paper(handle);
    }
    let ports = VenueAdapterPorts {
        send_gate: send_gate.clone(),
        task_settings: settings.task.clone(),
    };
    for handle in additional_brokers(&ports) {
        brokers.add_paper(handle);
    }
    Ok(brokers)
}
