//! Flags that identify an existing order.

use clap::Args;

use crate::cli::error::CommandError;
use crate::client::order_key::OrderKey;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};

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
    /// Returns the order. An order id without an account names an order of any account.
    ///
    /// # Errors
    /// When neither id is given, which the flags require.
    pub(crate) fn order_key(&self) -> Result<OrderKey, CommandError> {
        let (broker, account) = (self.broker.clone(), self.account.clone());
        match (&self.order_id, &self.id) {
            (Some(id), _) => Ok(OrderKey::by_order_id(broker, account, id.clone())),
            (None, Some(id)) => {
                let account = account.unwrap_or_else(AccountId::default_account);
                Ok(OrderKey::by_client_order_id(broker, account, id.clone()))
            }
            (None, None) => Err(CommandError::Usage("--id or --order-id is required".to_owned())),
        }
    }
}
