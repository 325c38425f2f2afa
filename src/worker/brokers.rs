//! Which brokers this worker routes to: each configured one with its adapter behind its task.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::book::StoreBook;
use crate::brokers::adapter::Effects;
use crate::brokers::handle::BrokerHandle;
use crate::brokers::paper::{binance, ibkr};
use crate::brokers::task::BrokerTask;
use crate::config::brokers::BrokersSettings;
use crate::domain::calendar::TradingCalendar;
use crate::domain::id::{BrokerId, IdError};
use crate::domain::rates::Rates;
use crate::store::Store;

/// Starts the task of each configured broker. A task ends when its handles are gone and what it took is done.
pub(super) fn start(
    settings: &BrokersSettings,
    store: &Store,
    rates: &Arc<Rates>,
    calendar: &TradingCalendar,
) -> Result<BTreeMap<BrokerId, BrokerHandle>, IdError> {
    let book = Arc::new(StoreBook::new(store.clone(), rates.clone()));
    let mut handles = BTreeMap::new();
    for name in &settings.enabled {
        let (handle, _task) = match name.as_str() {
            binance::BROKER => {
                let venue = binance::venue(book.clone())?.with_calendar(calendar.clone());
                BrokerTask::spawn(venue, &settings.task)
            }
            ibkr::BROKER => {
                let venue = ibkr::venue(book.clone(), &settings.paper_ibkr)?.with_calendar(calendar.clone());
                BrokerTask::spawn(venue, &settings.task)
            }
            // The settings were checked against the same names.
            _ => return Err(IdError("a broker this router knows")),
        };
        if handle.capabilities().effects != Effects::InStore {
            // Its orders would need an event on the journal before the first byte; this pipeline does not write one.
            return Err(IdError("a broker whose book is kept in the store"));
        }
        handles.insert(BrokerId::new(name)?, handle);
    }
    Ok(handles)
}
