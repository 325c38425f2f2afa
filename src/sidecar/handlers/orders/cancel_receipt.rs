//! The receipt of a cancel: what can be told of orders that nobody has told us of.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::id::{AccountId, BrokerId};
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::wire::order_reference::OrderSelector;
use crate::wire::schema_patterns::UtcTimestamp;

/// Those fields of an `ExecutionReport` that are known of an order by its name alone, or of all of an account.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CancelReceipt")]
pub(in crate::sidecar) struct CancelReceipt<'a> {
    /// The router's stable id of the order; empty where it is not known.
    order_id: &'a str,
    /// The caller's id; null where it is not known.
    client_order_id: Option<&'a str>,
    /// The account.
    account_id: &'a str,
    /// The broker.
    broker: &'a str,
    /// Always `unknown`.
    status: OrderStatus,
    /// When it was written.
    #[schemars(with = "UtcTimestamp")]
    updated_at: Timestamp,
    /// Always 0: a receipt.
    version: u32,
    /// Why there is no more to tell.
    reason: Reason,
}

impl<'a> CancelReceipt<'a> {
    /// Returns the receipt of a request that was sent and not answered.
    pub(in crate::sidecar) fn for_order(
        name: &'a OrderSelector,
        broker: &'a BrokerId,
        account: &'a AccountId,
        why: &str,
    ) -> Self {
        let (order_id, client_order_id) = match name {
            OrderSelector::OrderId(id) => (id.as_str(), None),
            OrderSelector::ClientOrderId(id) => ("", Some(id.as_str())),
        };
        Self {
            order_id,
            client_order_id,
            ..Self::for_all_orders(broker, account, why)
        }
    }

    /// Returns the receipt of a request about all orders of an account that was sent and not answered.
    pub(in crate::sidecar) fn for_all_orders(broker: &'a BrokerId, account: &'a AccountId, why: &str) -> Self {
        Self {
            order_id: "",
            client_order_id: None,
            account_id: account.as_str(),
            broker: broker.as_str(),
            status: OrderStatus::Unknown,
            updated_at: Timestamp::now(),
            version: 0,
            reason: Reason::new(ReasonCode::OutcomeUnknown, why),
        }
    }

    /// Returns the receipt's JSON.
    pub(in crate::sidecar) fn encode(&self) -> Vec<u8> {
        // Strings and whole numbers only: there is nothing in it that JSON cannot hold.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
