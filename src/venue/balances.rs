//! The balances of an account: what is free, and what its open orders lock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::venue::amount::Amount;

/// The balance of one asset. Neither part is ever negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    /// What can be used.
    pub free: Amount,
    /// What open orders hold.
    pub locked: Amount,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// The balances by asset.
    pub balances: BTreeMap<String, Balance>,
    /// When a balance last changed, in milliseconds since 1970.
    pub updated_at: u64,
}

impl Account {
    /// Returns the balance of an asset.
    pub fn balance(&self, asset: &str) -> Balance {
        self.balances.get(asset).copied().unwrap_or_default()
    }

    /// Adds to what is free; a negative amount is taken from it.
    pub fn credit(&mut self, asset: &str, amount: Amount) {
        self.entry(asset).free += amount;
    }

    /// Moves an amount from free to locked.
    pub fn lock(&mut self, asset: &str, amount: Amount) {
        let balance = self.entry(asset);
        balance.free -= amount;
        balance.locked += amount;
    }

    /// Moves an amount from locked to free.
    pub fn release(&mut self, asset: &str, amount: Amount) {
        let balance = self.entry(asset);
        balance.locked -= amount;
        balance.free += amount;
    }

    fn entry(&mut self, asset: &str) -> &mut Balance {
        self.balances.entry(asset.to_owned()).or_default()
    }
}
