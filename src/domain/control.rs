//! What is in force for all workers beyond the settings: what operators have set, and what risk rules have latched.

use std::fmt;
use std::sync::Arc;

use super::id::{AccountId, BrokerId, VenueId};
use super::intent::Symbol;
use super::metadata::Metadata;
use super::money::Micros;
use super::terms::{Mode, TradingState};
use super::time::{Timestamp, TradingDate};

/// Everything the shared state says of how orders are judged. It is the same for all workers: an order that was judged
/// under another generation than the one in force is judged anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Grows with every change of anything below.
    pub generation: u64,
    /// Counts what operators have set; 0 while the settings' values are in force.
    pub version: u64,
    /// Where orders' effects land.
    pub mode: Mode,
    /// What is let pass.
    pub trading_state: TradingState,
    /// The cap of a day's routed notional; none while the settings' is in force.
    pub daily_notional_limit: Option<Micros>,
    /// The loss of a day at which only reductions pass; none while the settings' is in force.
    pub daily_loss_limit: Option<Micros>,
    /// The day that daily figures count for; none until the first day has begun.
    pub trading_date: Option<TradingDate>,
    /// The latches in force.
    pub latches: Vec<Latch>,
}

impl Control {
    /// Returns a control under which nothing has been set: the settings' values are in force.
    pub fn unset() -> Self {
        Self {
            generation: 0,
            version: 0,
            mode: Mode::Paper,
            trading_state: TradingState::Active,
            daily_notional_limit: None,
            daily_loss_limit: None,
            trading_date: None,
            latches: Vec::new(),
        }
    }
}

/// What a latch closes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LatchScope {
    /// Everything.
    All,
    /// One account.
    Account(AccountId),
    /// One symbol of one venue, for all accounts.
    Symbol(VenueId, Symbol),
    /// One broker.
    Broker(BrokerId),
}

/// A lock that stays until somebody lifts it: in its scope only reductions pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latch {
    /// What it is lifted by: the scope and the rule, such as `account.fund-7.max_daily_loss`.
    pub latch_id: Arc<str>,
    /// What it closes.
    pub scope: LatchScope,
    /// The mode whose orders it stops.
    pub mode: Mode,
    /// The rule that closed it, or `operator`.
    pub rule_id: Arc<str>,
    /// A sentence for people.
    pub message: String,
    /// The figures it was closed by.
    pub metadata: Metadata,
    /// Since when.
    pub since: Timestamp,
    /// The day it was closed on.
    pub trading_date: Option<TradingDate>,
}

impl Latch {
    /// Returns the id of the latch that a rule closes in a scope.
    pub fn id_of(mode: Mode, scope: &LatchScope, rule_id: &str) -> Arc<str> {
        Arc::from(format!("{mode}.{scope}.{rule_id}"))
    }
}

impl LatchScope {
    /// Whether an order falls into the scope.
    pub fn concerns(&self, account_id: &AccountId, broker: &BrokerId, venue: &VenueId, symbol: &Symbol) -> bool {
        match self {
            Self::All => true,
            Self::Account(account) => account == account_id,
            Self::Symbol(of, name) => of == venue && name == symbol,
            Self::Broker(of) => of == broker,
        }
    }
}

impl fmt::Display for LatchScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Account(account) => write!(formatter, "account.{account}"),
            Self::Symbol(venue, symbol) => write!(formatter, "symbol.{venue}.{symbol}"),
            Self::Broker(broker) => write!(formatter, "broker.{broker}"),
        }
    }
}
