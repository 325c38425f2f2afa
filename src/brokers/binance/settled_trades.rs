//! The trades whose fills the worker has journaled: a reconciliation asks nothing about them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::Fill;

/// The most trades that are remembered; the oldest is forgotten first, and is then settled a second time without effect.
const MAX_REMEMBERED: usize = 200_000;

/// A trade: a test venue that is wiped begins with small ids again, so that its time belongs to it.
type SettledTrade = (Symbol, String, Timestamp);

/// The last trades that were settled.
#[derive(Debug, Default)]
pub struct SettledTrades(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    ids: HashSet<SettledTrade>,
    by_age: VecDeque<SettledTrade>,
}

impl SettledTrades {
    /// Remembers the trade of a fill.
    pub fn insert(&self, symbol: &Symbol, fill: &Fill) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trade = (symbol.clone(), fill.exec_id.clone(), fill.timestamp);
        if remembered.ids.insert(trade.clone()) {
            remembered.by_age.push_back(trade);
        }
        if remembered.by_age.len() > MAX_REMEMBERED
            && let Some(oldest) = remembered.by_age.pop_front()
        {
            remembered.ids.remove(&oldest);
        }
    }

    /// Reports whether a trade is settled, and remembered.
    pub fn contains(&self, symbol: &Symbol, trade_id: i64, at: Timestamp) -> bool {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.ids.contains(&(symbol.clone(), trade_id.to_string(), at))
    }
}
