//! Which brokers this worker routes to: each configured one with its adapter behind its task.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::book::StoreBook;
use crate::brokers::handle::BrokerHandle;
use crate::brokers::paper::{binance, ibkr};
use crate::brokers::task::BrokerTask;
use crate::config::brokers::BrokersSettings;
use crate::domain::id::{BrokerId, IdError};
use crate::store::Store;

/// Starts the task of each configured broker. A task ends when its handles are gone and what it took is done.
pub(super) fn start(settings: &BrokersSettings, store: &Store) -> Result<BTreeMap<BrokerId, BrokerHandle>, IdError> {
    let book = Arc::new(StoreBook::new(store.clone()));
    let mut handles = BTreeMap::new();
    for name in &settings.enabled {
        let (handle, _task) = match name.as_str() {
            binance::BROKER => BrokerTask::spawn(binance::venue(book.clone())?, &settings.task),
            ibkr::BROKER => BrokerTask::spawn(ibkr::venue(book.clone(), &settings.paper_ibkr)?, &settings.task),
            // The settings were checked against the same names.
            _ => return Err(IdError("a broker this router knows")),
        };
        handles.insert(BrokerId::new(name)?, handle);
    }
    Ok(handles)
}
