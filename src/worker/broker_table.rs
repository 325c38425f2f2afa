//! The brokers of this worker: for each its paper venue, and its live venue where the settings allow one.

use std::collections::BTreeMap;

use crate::brokers::adapter::Effects;
use crate::brokers::handle::BrokerHandle;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;

/// The handles of the brokers' tasks. An order keeps the mode that it was submitted in, and the mode decides which task it
/// belongs to: no switch of the mode moves an order from one venue to another.
#[derive(Debug, Default)]
pub struct BrokerTable {
    paper: BTreeMap<BrokerId, BrokerHandle>,
    live: BTreeMap<BrokerId, BTreeMap<AccountId, BrokerHandle>>,
}

impl BrokerTable {
    /// Adds the venue of a broker for paper orders, and for dry runs.
    pub fn add_paper(&mut self, handle: BrokerHandle) {
        self.paper.insert(handle.capabilities().broker.clone(), handle);
    }

    /// Adds the venue for the live orders of some accounts. Its broker has a paper venue as well.
    pub fn add_live(&mut self, handle: &BrokerHandle, accounts: &[AccountId]) {
        let of_broker = self.live.entry(handle.capabilities().broker.clone()).or_default();
        of_broker.extend(accounts.iter().map(|account_id| (account_id.clone(), handle.clone())));
    }

    /// Returns the brokers.
    pub fn ids(&self) -> impl Iterator<Item = &BrokerId> + Clone {
        self.paper.keys()
    }

    /// Reports whether this worker has a broker.
    pub fn contains(&self, broker: &BrokerId) -> bool {
        self.paper.contains_key(broker)
    }

    /// Reports whether any broker takes live orders.
    pub fn has_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// Returns the task for an account's orders of a mode; `None` where this worker has none.
    pub fn get(&self, broker: &BrokerId, mode: Mode, account_id: &AccountId) -> Option<&BrokerHandle> {
        match mode {
            Mode::Live => self.live.get(broker)?.get(account_id),
            Mode::Paper | Mode::DryRun => self.paper.get(broker),
        }
    }

    /// Returns the task that an order belongs to.
    pub fn of_order(&self, order: &Order) -> Option<&BrokerHandle> {
        self.get(&order.broker, order.mode, &order.account_id)
    }

    /// Returns the tasks of a broker with the modes of their orders; a task that several accounts share is repeated.
    pub fn of_broker(&self, broker: &BrokerId) -> impl Iterator<Item = (Mode, &BrokerHandle)> {
        let paper = self.paper.get(broker).into_iter().map(|handle| (Mode::Paper, handle));
        let live = self.live.get(broker).into_iter().flat_map(BTreeMap::values);
        paper.chain(live.map(|handle| (Mode::Live, handle)))
    }

    /// Reports whether the effects of an order take place at a venue outside the store. So they do where this worker does
    /// not have the order's task: another worker may have sent the order.
    pub fn is_at_venue(&self, order: &Order) -> bool {
        let handle = self.of_order(order);
        handle.is_none_or(|handle| handle.capabilities().effects != Effects::InStore)
    }

    /// Returns the brokers that have a venue with these effects.
    pub fn with_effects(&self, effects: Effects) -> Vec<BrokerId> {
        let has = |broker: &&BrokerId| {
            let mut tasks = self.of_broker(broker);
            tasks.any(|(_, handle)| handle.capabilities().effects == effects)
        };
        self.ids().filter(has).cloned().collect()
    }
}
