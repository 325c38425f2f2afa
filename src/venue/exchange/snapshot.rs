//! The state as the first record of a state log, so that a log does not grow for ever.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::venue::amount::Amount;
use crate::venue::balances::Account;
use crate::venue::exchange::state::{Counters, Exchange};
use crate::venue::order::{Order, Trade};
use crate::venue::settings::{CommissionSettings, SymbolSettings};
use crate::venue::words::SymbolStatus;

/// A symbol without its book, which follows from the orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MarketSnapshot {
    settings: SymbolSettings,
    status: SymbolStatus,
    last_price: Amount,
    next_trade_id: u64,
    update_id: u64,
}

/// The whole state without its indexes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    commissions: CommissionSettings,
    markets: Vec<MarketSnapshot>,
    accounts: BTreeMap<String, Account>,
    orders: Vec<Order>,
    ended: Vec<u64>,
    trades: Vec<Trade>,
    collected: BTreeMap<String, Amount>,
    deposited: BTreeMap<String, Amount>,
    counters: Counters,
    time: u64,
}

impl Exchange {
    /// Returns the state.
    pub fn snapshot(&self) -> Snapshot {
        let markets = self.markets.values().map(|market| MarketSnapshot {
            settings: market.settings.clone(),
            status: market.status,
            last_price: market.last_price,
            next_trade_id: market.next_trade_id,
            update_id: market.update_id,
        });
        Snapshot {
            commissions: self.commissions,
            markets: markets.collect(),
            accounts: self.accounts.clone(),
            orders: self.orders.values().cloned().collect(),
            ended: self.ended.iter().copied().collect(),
            trades: self.trades.clone(),
            collected: self.collected.clone(),
            deposited: self.deposited.clone(),
            counters: self.counters,
            time: self.time,
        }
    }

    /// Returns the exchange of a state.
    pub fn from_snapshot(snapshot: Snapshot) -> Self {
        let mut exchange = Self::default();
        let settings: Vec<SymbolSettings> = snapshot.markets.iter().map(|market| market.settings.clone()).collect();
        exchange.configure(&settings, snapshot.commissions);
        for saved in snapshot.markets {
            if let Some(market) = exchange.markets.get_mut(&saved.settings.name()) {
                market.status = saved.status;
                market.last_price = saved.last_price;
                market.next_trade_id = saved.next_trade_id;
                market.update_id = saved.update_id;
            }
        }
        // An open order is found before an ended one with the same client's id.
        let (open, ended): (Vec<_>, Vec<_>) = snapshot.orders.into_iter().partition(|order| order.status.is_open());
        for order in ended.into_iter().chain(open) {
            exchange.index(&order);
            exchange.orders.insert(order.id, order);
        }
        exchange.ended = snapshot.ended.into();
        exchange.accounts = snapshot.accounts;
        exchange.trades = snapshot.trades;
        exchange.collected = snapshot.collected;
        exchange.deposited = snapshot.deposited;
        exchange.counters = snapshot.counters;
        exchange.time = snapshot.time;
        exchange
    }
}
