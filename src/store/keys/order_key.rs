//! The idempotency key of an order.

use crate::domain::id::{AccountId, ClientOrderId};
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;

/// The idempotency key of an order: what identifies it in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrderKey {
    id_space: ClientIdSpace,
    account_id: AccountId,
    client_order_id: ClientOrderId,
}

/// The space a client order id belongs to: dry runs have one of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ClientIdSpace {
    Routed,
    DryRun,
}

impl OrderKey {
    /// Returns the key of a client order id, in the space of its mode.
    pub fn new(mode: Mode, account_id: &AccountId, client_order_id: &ClientOrderId) -> Self {
        let id_space = if mode == Mode::DryRun {
            ClientIdSpace::DryRun
        } else {
            ClientIdSpace::Routed
        };
        Self {
            id_space,
            account_id: account_id.clone(),
            client_order_id: client_order_id.clone(),
        }
    }

    /// Returns the key of an order.
    pub fn of(order: &Order) -> Self {
        Self::new(order.mode, &order.account_id, &order.client_order_id)
    }

    /// Returns the order's name in sets: `<space>:<account>:<client order id>`, with the space `r` (routed) or `d` (dry
    /// run).
    pub fn name(&self) -> String {
        let space = match self.id_space {
            ClientIdSpace::Routed => 'r',
            ClientIdSpace::DryRun => 'd',
        };
        format!("{space}:{}:{}", self.account_id, self.client_order_id)
    }

    /// Parses a name; returns `None` where it is not the name of an order.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, ':');
        let id_space = match parts.next()? {
            "r" => ClientIdSpace::Routed,
            "d" => ClientIdSpace::DryRun,
            _ => return None,
        };
        let account_id = AccountId::new(parts.next()?).ok()?;
        let client_order_id = ClientOrderId::new(parts.next()?).ok()?;
        Some(Self {
            id_space,
            account_id,
            client_order_id,
        })
    }

    /// Returns the account.
    pub fn account_id(&self) -> &AccountId {
        &self.account_id
    }

    /// Returns the client order id.
    pub fn client_order_id(&self) -> &ClientOrderId {
        &self.client_order_id
    }
}
