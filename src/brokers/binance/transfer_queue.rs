//! Deposits, withdrawals and transfers that the user data stream has reported, until the worker has journaled them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::brokers::binance::messages::account::BalanceUpdate;

/// The most transfers that wait. What is dropped beyond it shows as a difference of the balance.
const MAX_WAITING: usize = 1_024;

/// The transfers that wait, the oldest first.
#[derive(Debug, Default)]
pub struct TransferQueue {
    waiting: Mutex<VecDeque<BalanceUpdate>>,
    changed: Notify,
}

impl TransferQueue {
    /// Adds a transfer, and wakes the reader.
    pub fn push(&self, transfer: BalanceUpdate) {
        self.with(|waiting| {
            if waiting.len() < MAX_WAITING {
                waiting.push_back(transfer);
            } else {
                tracing::error!(
                    asset = transfer.asset,
                    "a transfer is dropped: too many wait for the journal"
                );
            }
        });
        self.wake();
    }

    /// Wakes the reader without a transfer: the stream was opened.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits for a transfer, or for the stream to be opened.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the transfers that wait.
    pub fn waiting(&self) -> Vec<BalanceUpdate> {
        self.with(|waiting| waiting.iter().cloned().collect())
    }

    /// Removes the first transfers, which are journaled.
    pub fn remove_first(&self, count: usize) {
        self.with(|waiting| drop(waiting.drain(..count.min(waiting.len()))));
    }

    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<BalanceUpdate>) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
