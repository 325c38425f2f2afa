//! The state of the exchange and its bookkeeping: orders, indexes, balances, reports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::venue::amount::Amount;
use crate::venue::balances::Account;
use crate::venue::book::OrderBook;
use crate::venue::error::VenueError;
use crate::venue::exchange::effects::{Effects, ExecutionReport, ReportedFill};
use crate::venue::order::{Order, Trade};
use crate::venue::settings::{CommissionSettings, RESERVED_ACCOUNTS, SymbolSettings};
use crate::venue::words::{ExecutionType, OrderStatus, Side, SymbolStatus};

/// The most ended orders that are kept; the oldest go first.
pub const MAX_ENDED_ORDERS: usize = 200_000;
/// The most trades that are kept. With so many, no order is accepted: no execution is ever forgotten.
pub const MAX_TRADES: usize = 2_000_000;

/// A symbol: its settings and its book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Market {
    /// The settings.
    pub settings: SymbolSettings,
    /// Whether it trades.
    pub status: SymbolStatus,
    /// The open orders that can trade.
    pub book: OrderBook,
    /// The orders that wait for their stop price.
    pub stops: BTreeSet<u64>,
    /// The price of the last trade; at first the reference price.
    pub last_price: Amount,
    /// The id of the next trade.
    pub next_trade_id: u64,
    /// Grows with every change of the book.
    pub update_id: u64,
}

/// The next ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Of the next order.
    pub order: u64,
    /// Of the next execution report.
    pub execution: u64,
    /// Of the next prevented match.
    pub prevented_match: u64,
    /// The priority of the next order that enters a book.
    pub priority: u64,
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub(super) commissions: CommissionSettings,
    pub(super) markets: BTreeMap<String, Market>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) orders: BTreeMap<u64, Order>,
    /// The open orders of each account and symbol.
    pub(super) open: BTreeMap<(String, String), BTreeSet<u64>>,
    /// The newest order of each account, symbol and client's id.
    pub(super) by_client_id: BTreeMap<(String, String, String), u64>,
    /// The ended orders, the oldest end first.
    pub(super) ended: VecDeque<u64>,
    pub(super) trades: Vec<Trade>,
    /// The commissions that the venue has taken, by asset.
    pub(super) collected: BTreeMap<String, Amount>,
    /// What has been paid in, less what has been paid out, by asset: what all accounts and the commissions sum up to.
    pub(super) deposited: BTreeMap<String, Amount>,
    pub(super) counters: Counters,
    /// The time of the last command, in milliseconds since 1970.
    pub(super) time: u64,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            commissions: CommissionSettings {
                maker: Amount::ZERO,
                taker: Amount::ZERO,
            },
            markets: BTreeMap::new(),
            accounts: BTreeMap::new(),
            orders: BTreeMap::new(),
            open: BTreeMap::new(),
            by_client_id: BTreeMap::new(),
            ended: VecDeque::new(),
            trades: Vec::new(),
            collected: BTreeMap::new(),
            deposited: BTreeMap::new(),
            counters: Counters {
                order: 1,
                execution: 1,
                prevented_match: 1,
                priority: 1,
            },
            time: 0,
        }
    }
}

impl Exchange {
    /// Returns a market.
    ///
    /// # Errors
    /// When there is no such symbol.
    pub fn market(&self, symbol: &str) -> Result<&Market, VenueError> {
        self.markets.get(symbol).ok_or_else(VenueError::invalid_symbol)
    }

    /// Adds symbols and changes the settings of those that exist.
    pub(super) fn configure(&mut self, symbols: &[SymbolSettings], commissions: CommissionSettings) {
        self.commissions = commissions;
        for settings in symbols {
            let name = settings.name();
            match self.markets.get_mut(&name) {
                Some(market) => market.settings = settings.clone(),
                None => {
                    let market = Market {
                        settings: settings.clone(),
                        status: SymbolStatus::Trading,
                        book: OrderBook::default(),
                        stops: BTreeSet::new(),
                        last_price: settings.reference_price,
                        next_trade_id: 1,
                        update_id: 1,
                    };
                    self.markets.insert(name, market);
                }
            }
        }
    }

    /// Reports whether the settings differ from those in force.
    pub fn differs_from(&self, symbols: &[SymbolSettings], commissions: CommissionSettings) -> bool {
        let is_known = |settings: &SymbolSettings| {
            let market = self.markets.get(&settings.name());
            market.is_some_and(|market| market.settings == *settings)
        };
        self.commissions != commissions || !symbols.iter().all(is_known)
    }

    /// Enters an order into the indexes, and into the book or the stops.
    pub(super) fn index(&mut self, order: &Order) {
        let terms = &order.terms;
        let client_id = client_key(order);
        self.by_client_id.insert(client_id, order.id);
        if !order.status.is_open() {
            self.ended.push_back(order.id);
            return;
        }
        let key = (terms.account.clone(), terms.symbol.clone());
        self.open.entry(key).or_default().insert(order.id);
        if let Some(market) = self.markets.get_mut(&terms.symbol) {
            if order.is_on_book() {
                market.book.insert(order);
            } else if order.waits_for_stop() {
                market.stops.insert(order.id);
            }
        }
    }

    /// Ends an order: out of the book, its lock released, its end reported.
    pub(super) fn end(&mut self, id: u64, status: OrderStatus, report: EndReport, effects: &mut Effects) {
        let Some(mut order) = self.orders.remove(&id) else {
            return;
        };
        let terms = order.terms.clone();
        if let Some(market) = self.markets.get_mut(&terms.symbol) {
            market.book.remove(&order);
            market.stops.remove(&id);
            market.update_id += 1;
        }
        if order.locked.is_positive() {
            let asset = self.spent_asset(&terms.symbol, terms.side);
            let locked = std::mem::take(&mut order.locked);
            self.change_account(&terms.account, &asset, effects, |account| {
                account.release(&asset, locked)
            });
        }
        let key = (terms.account.clone(), terms.symbol.clone());
        if let Some(open) = self.open.get_mut(&key) {
            open.remove(&id);
            if open.is_empty() {
                self.open.remove(&key);
            }
        }
        order.status = status;
        order.updated_at = self.time;
        effects.symbols.insert(terms.symbol);
        if let Some(execution) = report.execution {
            self.report(&order, execution, report, effects);
        }
        if RESERVED_ACCOUNTS.contains(&terms.account.as_str()) {
            // No client asks for these again; their trades are kept.
            self.by_client_id.remove(&client_key(&order));
            return;
        }
        self.orders.insert(id, order);
        self.ended.push_back(id);
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        while self.ended.len() > MAX_ENDED_ORDERS {
            let Some(order) = self.ended.pop_front().and_then(|id| self.orders.remove(&id)) else {
                continue;
            };
            let key = client_key(&order);
            if self.by_client_id.get(&key) == Some(&order.id) {
                self.by_client_id.remove(&key);
            }
        }
    }

    /// Adds an execution report; the accounts of the venue itself have none.
    pub(super) fn report(
        &mut self,
        order: &Order,
        execution: ExecutionType,
        details: EndReport,
        effects: &mut Effects,
    ) -> u64 {
        let execution_id = self.counters.execution;
        self.counters.execution += 1;
        if !RESERVED_ACCOUNTS.contains(&order.terms.account.as_str()) {
            effects.reports.push(ExecutionReport {
                order: order.clone(),
                execution,
                execution_id,
                fill: details.fill,
                request_id: details.request_id,
                previous_client_order_id: details.previous_client_order_id,
                prevented: details.prevented,
            });
        }
        execution_id
    }

    /// Changes the balance of one asset of an account.
    pub(super) fn change_account(
        &mut self,
        account: &str,
        asset: &str,
        effects: &mut Effects,
        change: impl FnOnce(&mut Account),
    ) {
        let time = self.time;
        let entry = self.accounts.entry(account.to_owned()).or_default();
        change(entry);
        entry.updated_at = time;
        effects.balances.insert((account.to_owned(), asset.to_owned()));
    }

    /// Pays an amount into an account, or a negative one out of it.
    pub(super) fn deposit(&mut self, account: &str, asset: &str, amount: Amount, effects: &mut Effects) {
        *self.deposited.entry(asset.to_owned()).or_default() += amount;
        self.change_account(account, asset, effects, |account| account.credit(asset, amount));
    }

    /// Returns the asset that an order of a side gives away.
    pub(super) fn spent_asset(&self, symbol: &str, side: Side) -> String {
        self.asset(symbol, side == Side::Sell)
    }

    /// Returns the asset that an order of a side receives.
    pub(super) fn received_asset(&self, symbol: &str, side: Side) -> String {
        self.asset(symbol, side == Side::Buy)
    }

    fn asset(&self, symbol: &str, is_base: bool) -> String {
        let settings = self.markets.get(symbol).map(|market| &market.settings);
        let asset = settings.map(|settings| if is_base { &settings.base } else { &settings.quote });
        asset.cloned().unwrap_or_default()
    }
}

/// What an execution report says beside the order.
#[derive(Debug, Clone, Default)]
pub(super) struct EndReport {
    /// The type; `None` to report nothing.
    pub execution: Option<ExecutionType>,
    /// See [`ExecutionReport`].
    pub fill: Option<ReportedFill>,
    /// See [`ExecutionReport`].
    pub request_id: Option<String>,
    /// See [`ExecutionReport`].
    pub previous_client_order_id: Option<String>,
    /// See [`ExecutionReport`].
    pub prevented: Amount,
}

impl EndReport {
    /// Returns a report of a type and nothing else.
    pub(super) fn of(execution: ExecutionType) -> Self {
        Self {
            execution: Some(execution),
            ..Self::default()
        }
    }
}

/// Returns the key under which an order is found by its client's id.
pub(super) fn client_key(order: &Order) -> (String, String, String) {
    let terms = &order.terms;
    (
        terms.account.clone(),
        terms.symbol.clone(),
        terms.client_order_id.clone(),
    )
}
