//! Reading an open order that a background task works on.

use crate::brokers::handle::BrokerHandle;
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::repeated_log::log_at_intervals;
use crate::store::orders::record::RecordStage;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::router::Router;

/// Returns an open order and its broker; `None` if the order is not open, cannot be read, or belongs to a venue that
/// this worker does not have.
pub(super) async fn load_open_order<'a>(router: &'a Router, key: &OrderKey) -> Option<(Order, &'a BrokerHandle)> {
    let record = router.store.read_order(key).await.ok().flatten()?;
    if record.known.stage != RecordStage::Open {
        return None;
    }
    match order_from_document(&record.document) {
        Ok(order) => {
            let broker = router.brokers.of_order(&order)?;
            Some((order, broker))
        }
        Err(fault) => {
            log_at_intervals!(error, order = key.name(), %fault, "an open order cannot be decoded");
            None
        }
    }
}
