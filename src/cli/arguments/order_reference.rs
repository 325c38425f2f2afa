//! Naming one order that exists.

use clap::Args;

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};
use crate::wire::order_reference::OrderReference;

/// Which order is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct OrderReferenceArgs {
    /// The broker it was routed to, such as `binance` or `ibkr`.
    #[arg(long, value_parser = BrokerId::new)]
    pub(crate) broker: BrokerId,
    /// The account it belongs to.
    #[arg(long, value_parser = AccountId::new, default_value = "default")]
    pub(crate) account: AccountId,
    /// The router's id of the order; this or `--id` is needed.
    #[arg(long, value_parser = OrderId::new, required_unless_present = "id", conflicts_with = "id")]
    order_id: Option<OrderId>,
    /// Your own id of the order (`client_order_id`); this or `--order-id` is needed.
    #[arg(long, value_parser = ClientOrderId::new)]
    id: Option<ClientOrderId>,
}

impl OrderReferenceArgs {
    /// Returns the request's body.
    ///
    /// # Errors
    /// Never: the ids are plain texts.
    pub(crate) fn encode(&self) -> anyhow::Result<Vec<u8>> {
        let reference = OrderReference {
            order_id: self.order_id.as_ref().map(ToString::to_string),
            client_order_id: self.id.as_ref().map(ToString::to_string),
        };
        Ok(serde_json::to_vec(&reference)?)
    }
}
