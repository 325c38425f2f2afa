//! The receipt of a cancel whose outcome is unknown.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::id::{AccountId, BrokerId};
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::wire::order_reference::OrderSelector;
use crate::wire::schema_patterns::UtcTimestamp;

/// The fields of an execution report that are known without one: of one order, or of all orders of an account.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CancelReceipt")]
pub(in crate::sidecar) struct CancelReceipt<'a> {
    /// The order id assigned by the router; empty if not known.
    order_id: &'a str,
    /// The client order id; null if not known.
    client_order_id: Option<&'a str>,
    /// The account.
    account_id: &'a str,
    /// The broker.
    broker: &'a str,
    /// Always `unknown`.
    status: OrderStatus,
    /// When the receipt was created.
    #[schemars(with = "UtcTimestamp")]
    updated_at: Timestamp,
    /// Always 0.
    version: u32,
    /// Why the outcome is unknown.
    reason: Reason,
}

impl<'a> CancelReceipt<'a> {
    /// Returns the receipt for the cancel of one order.
    pub(super) fn for_order(
        order: &'a OrderSelector,
        broker: &'a BrokerId,
        account: &'a AccountId,
        message: &str,
    ) -> Self {
        let (order_id, client_order_id) = match order {
            OrderSelector::OrderId(id) => (id.as_str(), None),
            OrderSelector::ClientOrderId(id) => ("", Some(id.as_str())),
        };
        Self {
            order_id,
            client_order_id,
            ..Self::for_all_orders(broker, account, message)
        }
    }

    /// Returns the receipt for the cancel of all orders of an account.
    pub(super) fn for_all_orders(broker: &'a BrokerId, account: &'a AccountId, message: &str) -> Self {
        Self {
            order_id: "",
            client_order_id: None,
            account_id: account.as_str(),
            broker: broker.as_str(),
            status: OrderStatus::Unknown,
            updated_at: Timestamp::now(),
            version: 0,
            reason: Reason::new(ReasonCode::OutcomeUnknown, message),
        }
    }
}
