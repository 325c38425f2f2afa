//! The request for the brokers and their capabilities.

use crate::bus::request::BusReply;
use crate::domain::id::BrokerId;
use crate::domain::order_terms::Mode;
use crate::fault::Fault;
use crate::wire::brokers::{BrokerDetail, BrokerList};
use crate::worker::reply::encode_reply;
use crate::worker::router::Router;

/// Replies with the brokers and what each of them can do.
///
/// # Errors
/// None: this worker has everything at hand.
pub fn list_brokers(router: &Router) -> Result<BusReply, Fault> {
    let limits = router.limits();
    let detail = |broker: &BrokerId| {
        let mut tasks = router.brokers.of_broker(broker).peekable();
        let (_, handle) = tasks.peek()?;
        let capabilities = handle.capabilities();
        let mut modes: Vec<Mode> = tasks.map(|(mode, _)| mode).collect();
        modes.dedup();
        Some(BrokerDetail {
            broker: broker.to_string(),
            venues: capabilities.venues.iter().map(ToString::to_string).collect(),
            symbols: limits
                .instruments
                .for_broker(broker)
                .map(|one| one.symbol.to_string())
                .collect(),
            times_in_force: capabilities.times_in_force.clone(),
            modes,
        })
    };
    encode_reply(&BrokerList {
        brokers: router.brokers.ids().map(ToString::to_string).collect(),
        details: router.brokers.ids().filter_map(detail).collect(),
    })
}
