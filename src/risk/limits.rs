//! The limits of the settings, in the form that the rules need.

use std::collections::BTreeMap;

use crate::domain::id::{AccountId, VenueId};
use crate::domain::money::Micros;
use crate::domain::quantity::Quantity;
use crate::domain::rule_signal::SignalLevel;
use crate::domain::symbol::Symbol;

/// The limits of the settings. A limit that an operator has set in the shared state takes precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskLimits {
    /// The largest notional routed in one trading day over all accounts.
    pub daily_notional: Micros,
    /// The loss of a trading day at which an account, or all accounts together, may only reduce positions.
    pub daily_loss: Micros,
    /// The largest notional of one live order; without one no live order opens anything.
    pub live_order_notional: Option<Micros>,
    /// The loss of a trading day at which an account opens nothing more.
    pub account_stop_loss: Micros,
    /// The largest distance of a limit price beyond the reference price on the losing side, in per cent.
    pub price_collar_percent: i64,
    /// The most new orders per second, per account and per broker.
    pub order_rates: RateLimits,
    /// The most cancels per second, per account and per broker.
    pub cancel_rates: RateLimits,
    /// The most denials of an account that are recorded within an hour.
    pub denials_per_hour: i64,
    /// The most open orders per account and symbol.
    pub max_open_orders: i64,
    /// How duplicate orders are handled; `None` where they are allowed.
    pub duplicate_order: Option<DuplicateOrderRule>,
    /// When rules alert.
    pub alerts: AlertThresholds,
    /// The limits of single accounts, which may be tighter or wider.
    pub accounts: BTreeMap<AccountId, AccountLimits>,
}

/// The most calls per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Calls of one account.
    pub per_account: i64,
    /// Calls at one broker.
    pub per_broker: i64,
}

/// How duplicate orders are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateOrderRule {
    /// How long after an order an equal one counts as its duplicate, in milliseconds.
    pub window_ms: i64,
    /// Whether a duplicate alerts or is stopped.
    pub level: SignalLevel,
}

/// When a rule alerts, and when it alerts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlertThresholds {
    /// The share of a limit at which a rule alerts, in per cent.
    pub alert_percent: i64,
    /// The share below which a value must fall before the rule alerts again, in per cent.
    pub rearm_percent: i64,
    /// The time after which a rule alerts again while the value remains above the share, in milliseconds.
    pub repeat_after_ms: i64,
}

/// The limits of one account. `None` means that the general limit applies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountLimits {
    /// The largest notional that the account routes in one trading day.
    pub daily_notional: Option<Micros>,
    /// The loss of a trading day at which the account may only reduce positions; it applies where it is tighter.
    pub daily_loss: Option<Micros>,
    /// The loss of a trading day at which the account opens nothing more.
    pub stop_loss: Option<Micros>,
    /// The most open orders per symbol.
    pub max_open_orders: Option<i64>,
    /// The largest position per instrument, long or short.
    pub max_positions: BTreeMap<(VenueId, Symbol), Quantity>,
}
