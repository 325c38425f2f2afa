//! The limits in force, as the rules need them.

use std::collections::BTreeMap;

use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::Micros;
use crate::domain::quantity::Quantity;
use crate::domain::rule_signal::SignalLevel;

/// The limits of the settings. Where the shared state names another limit, that one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskLimits {
    /// The cap of the notional routed in one day over all accounts.
    pub daily_notional: Micros,
    /// The loss of a day at which an account, and all together, are closed to all but reductions.
    pub daily_loss: Micros,
    /// The loss at which an account stops.
    pub account_stop_loss: Micros,
    /// How far a limit price may lie beyond the reference price on the losing side, in per cent.
    pub price_collar_percent: i64,
    /// New orders in a second, per account and per broker.
    pub order_rates: RateLimits,
    /// Cancels in a second, per account and per broker.
    pub cancel_rates: RateLimits,
    /// Orders of one account and symbol that may be open.
    pub max_open_orders: i64,
    /// What a duplicate order is, and how long an order makes the next one like it a duplicate; none where that is
    /// allowed.
    pub duplicate_order: Option<DuplicateOrderRule>,
    /// When rules alert.
    pub alerts: AlertThresholds,
    /// What is tighter, or wider, for single accounts.
    pub accounts: BTreeMap<AccountId, AccountLimits>,
}

/// Calls in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Of one account.
    pub per_account: i64,
    /// At one broker.
    pub per_broker: i64,
}

/// What a duplicate order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateOrderRule {
    /// How long an order is remembered for it, in milliseconds.
    pub window_ms: i64,
    /// What becomes of the second order.
    pub level: SignalLevel,
}

/// When a rule alerts, and when again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertThresholds {
    /// From which share of a limit on, in per cent.
    pub alert_percent: i64,
    /// The share a value must fall below before the rule alerts anew, in per cent.
    pub rearm_percent: i64,
    /// How long a rule that still is above its share stays silent, in milliseconds.
    pub repeat_after_ms: i64,
}

/// What is set for one account; the general limits count where nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountLimits {
    /// The cap of the notional the account routes in one day.
    pub daily_notional: Option<Micros>,
    /// The loss of a day at which the account is closed to all but reductions; it counts where it is tighter.
    pub daily_loss: Option<Micros>,
    /// The loss at which the account stops.
    pub stop_loss: Option<Micros>,
    /// Orders of one symbol that may be open.
    pub max_open_orders: Option<i64>,
    /// The largest position per instrument, long or short.
    pub max_positions: BTreeMap<(VenueId, Symbol), Quantity>,
}
