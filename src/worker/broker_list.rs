//! The request for the brokers and their capabilities.

use crate::brokers::handle::BrokerHandle;
use crate::bus::request::BusReply;
use crate::domain::id::BrokerId;
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
    let detail = |(broker, handle): (&BrokerId, &BrokerHandle)| {
        let capabilities = handle.capabilities();
        BrokerDetail {
            broker: broker.to_string(),
            venues: capabilities.venues.iter().map(ToString::to_string).collect(),
            symbols: limits
                .instruments
                .for_broker(broker)
                .map(|one| one.symbol.to_string())
                .collect(),
            times_in_force: capabilities.times_in_force.clone(),
        }
    };
    encode_reply(&BrokerList {
        brokers: router.brokers.keys().map(ToString::to_string).collect(),
        details: router.brokers.iter().map(detail).collect(),
    })
}
