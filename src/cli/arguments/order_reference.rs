//! Flags that identify an existing order.

use clap::Args;

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};
use crate::wire::order_reference::OrderReference;

/// An existing order.
#[derive(Debug, Clone, Args)]
pub(crate) struct OrderReferenceArgs {
    /// The broker of the order, such as `binance` or `ibkr`.
    #[arg(long, value_parser = BrokerId::new)]
    pub(crate) broker: BrokerId,
    /// The account of the order [default: with --order-id any account, with --id `default`].
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// The router's order id; this or `--id` is required.
    #[arg(long, value_parser = OrderId::new, required_unless_present = "id", conflicts_with = "id")]
    order_id: Option<OrderId>,
    /// Your client order id; this or `--order-id` is required.
    #[arg(long, value_parser = ClientOrderId::new)]
    id: Option<ClientOrderId>,
}

impl OrderReferenceArgs {
    /// Returns the account of the order; `None` for an order of any account, which its order id names.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match (&self.account, &self.order_id) {
            (None, None) => Some(AccountId::default_account()),
            (account, _) => account.clone(),
        }
    }

    /// Returns the request's body.
    ///
    /// # Errors
    /// None is known: the ids are plain texts.
    pub(crate) fn encode(&self) -> anyhow::Result<Vec<u8>> {
        let reference = OrderReference {
            order_id: self.order_id.as_ref().map(ToString::to_string),
            client_order_id: self.id.as_ref().map(ToString::to_string),
        };
        Ok(serde_json::to_vec(&reference)?)
    }
}
