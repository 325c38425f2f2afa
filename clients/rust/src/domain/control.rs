//! The control state that all workers share: the operators' overrides of the settings, and the locks in force.

use std::fmt;
use std::sync::Arc;

use crate::domain::id::{AccountId, BrokerId, VenueId};
use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};

/// The shared state that orders are evaluated against. It is the same for all workers: an order evaluated under another
/// generation than the current one is evaluated again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlState {
    /// The generation, which increases with every change of the fields below.
    pub generation: u64,
    /// The number of the operators' last change; 0 while the settings are in force.
    pub version: u64,
    /// Where orders take effect.
    pub mode: Mode,
    /// Which orders are accepted.
    pub trading_state: TradingState,
    /// The limit of a day's routed notional; `None` while the settings' limit is in force.
    pub daily_notional_limit: Option<Micros>,
    /// The loss of a day at which only reductions pass; `None` while the settings' limit is in force.
    pub daily_loss_limit: Option<Micros>,
    /// The current trading day; `None` until the first day is opened.
    pub trading_date: Option<TradingDate>,
    /// The locks in force.
    pub locks: Vec<Lock>,
}

/// The operators' overrides; `None` where the settings' value is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperatorOverrides {
    /// Where orders take effect.
    pub mode: Option<Mode>,
    /// Which orders are accepted.
    pub trading_state: Option<TradingState>,
    /// The limit of a day's routed notional.
    pub daily_notional_limit: Option<Micros>,
    /// The loss of a day at which only reductions pass.
    pub daily_loss_limit: Option<Micros>,
}

/// The values in force: the operators' overrides, and the settings elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveControls {
    /// Where orders take effect.
    pub mode: Mode,
    /// Which orders are accepted.
    pub trading_state: TradingState,
    /// The limit of a day's routed notional.
    pub daily_notional_limit: Micros,
    /// The loss of a day at which only reductions pass.
    pub daily_loss_limit: Micros,
}

impl OperatorOverrides {
    /// Returns the overrides after a change, which takes precedence.
    #[must_use]
    pub fn with_change(self, change: Self) -> Self {
        Self {
            mode: change.mode.or(self.mode),
            trading_state: change.trading_state.or(self.trading_state),
            daily_notional_limit: change.daily_notional_limit.or(self.daily_notional_limit),
            daily_loss_limit: change.daily_loss_limit.or(self.daily_loss_limit),
        }
    }

    /// Returns the tighter of both overrides for each value, and this one's mode. A missing override is compared by the
    /// settings' value.
    #[must_use]
    pub fn tightened_with(self, other: Self, settings: EffectiveControls) -> Self {
        fn tighter_of<T: Copy + PartialEq>(
            tighter: fn(T, T) -> T,
            a: Option<T>,
            b: Option<T>,
            settings: T,
        ) -> Option<T> {
            let tighter = tighter(a.unwrap_or(settings), b.unwrap_or(settings));
            // Where the settings' value is the tightest, there is no override.
            a.filter(|a| *a == tighter).or(b.filter(|b| *b == tighter))
        }
        Self {
            mode: self.mode,
            trading_state: tighter_of(
                TradingState::max,
                self.trading_state,
                other.trading_state,
                settings.trading_state,
            ),
            daily_notional_limit: tighter_of(
                Micros::min,
                self.daily_notional_limit,
                other.daily_notional_limit,
                settings.daily_notional_limit,
            ),
            daily_loss_limit: tighter_of(
                Micros::min,
                self.daily_loss_limit,
                other.daily_loss_limit,
                settings.daily_loss_limit,
            ),
        }
    }

    /// Returns the values in force, with those of the settings where there is no override.
    pub fn resolve(self, settings: EffectiveControls) -> EffectiveControls {
        EffectiveControls {
            mode: self.mode.unwrap_or(settings.mode),
            trading_state: self.trading_state.unwrap_or(settings.trading_state),
            daily_notional_limit: self.daily_notional_limit.unwrap_or(settings.daily_notional_limit),
            daily_loss_limit: self.daily_loss_limit.unwrap_or(settings.daily_loss_limit),
        }
    }
}

impl ControlState {
    /// Returns the control state of an empty store: the settings are in force, and nothing is locked.
    pub fn without_overrides() -> Self {
        Self {
            generation: 0,
            version: 0,
            mode: Mode::Paper,
            trading_state: TradingState::Active,
            daily_notional_limit: None,
            daily_loss_limit: None,
            trading_date: None,
            locks: Vec::new(),
        }
    }
}

impl EffectiveControls {
    /// Reports whether these values accept an order that `before` stops. Another mode counts as looser: orders count in
    /// other sums there.
    pub fn is_looser_than(&self, before: &Self) -> bool {
        self.mode != before.mode
            || self.trading_state < before.trading_state
            || self.daily_notional_limit > before.daily_notional_limit
            || self.daily_loss_limit > before.daily_loss_limit
    }
}

/// What a lock closes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockScope {
    /// All orders.
    All,
    /// One account.
    Account(AccountId),
    /// One symbol of one venue, for all accounts.
    Symbol(VenueId, Symbol),
    /// One symbol of one venue, for one account.
    AccountSymbol(AccountId, VenueId, Symbol),
    /// One broker.
    Broker(BrokerId),
}

/// A persistent closure of a scope: only reductions pass until an operator lifts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The lock's id, composed of mode, scope and rule: `paper.account.fund-7.max_daily_loss`.
    pub lock_id: Arc<str>,
    /// The closed scope.
    pub scope: LockScope,
    /// The mode whose orders the lock stops.
    pub mode: Mode,
    /// The rule that set the lock, or `operator`.
    pub rule_id: Arc<str>,
    /// A sentence for people.
    pub message: String,
    /// The measurements that led to the lock.
    pub metadata: Metadata,
    /// When the lock was set.
    pub locked_at: Timestamp,
    /// The trading day on which the lock was set.
    pub trading_date: Option<TradingDate>,
}

impl Lock {
    /// Returns the id of the lock that a rule sets on a scope.
    pub fn compose_id(mode: Mode, scope: &LockScope, rule_id: &str) -> Arc<str> {
        Arc::from(format!("{mode}.{scope}.{rule_id}"))
    }
}

impl LockScope {
    /// Returns the account whose orders alone are in the scope; none where it has those of all accounts.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Account(account) | Self::AccountSymbol(account, ..) => Some(account),
            Self::All | Self::Symbol(..) | Self::Broker(_) => None,
        }
    }

    /// Reports whether an order is in the scope.
    pub fn applies_to(&self, account_id: &AccountId, broker: &BrokerId, venue: &VenueId, symbol: &Symbol) -> bool {
        match self {
            Self::All => true,
            Self::Account(locked) => locked == account_id,
            Self::Symbol(locked_venue, locked_symbol) => locked_venue == venue && locked_symbol == symbol,
            Self::AccountSymbol(locked, locked_venue, locked_symbol) => {
                locked == account_id && locked_venue == venue && locked_symbol == symbol
            }
            Self::Broker(locked) => locked == broker,
        }
    }
}

impl fmt::Display for LockScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Account(account) => write!(formatter, "account.{account}"),
            Self::Symbol(venue, symbol) => write!(formatter, "symbol.{venue}.{symbol}"),
            Self::AccountSymbol(account, venue, symbol) => {
                write!(formatter, "account_symbol.{account}.{venue}.{symbol}")
            }
            Self::Broker(broker) => write!(formatter, "broker.{broker}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(units: i64) -> Micros {
        Micros::new(units).unwrap()
    }

    #[test]
    fn change_is_looser_when_one_of_its_values_is() {
        let before = EffectiveControls {
            mode: Mode::Paper,
            trading_state: TradingState::ReduceOnly,
            daily_notional_limit: micros(100),
            daily_loss_limit: micros(50),
        };
        let change = OperatorOverrides::default();
        for (change, is_looser) in [
            (change, false),
            (
                OperatorOverrides {
                    mode: Some(Mode::Paper),
                    ..change
                },
                false,
            ),
            (
                OperatorOverrides {
                    mode: Some(Mode::DryRun),
                    ..change
                },
                true,
            ),
            (
                OperatorOverrides {
                    trading_state: Some(TradingState::Halted),
                    ..change
                },
                false,
            ),
            (
                OperatorOverrides {
                    trading_state: Some(TradingState::ReduceOnly),
                    ..change
                },
                false,
            ),
            (
                OperatorOverrides {
                    trading_state: Some(TradingState::Active),
                    ..change
                },
                true,
            ),
            (
                OperatorOverrides {
                    daily_notional_limit: Some(micros(99)),
                    ..change
                },
                false,
            ),
            (
                OperatorOverrides {
                    daily_notional_limit: Some(micros(101)),
                    ..change
                },
                true,
            ),
            (
                OperatorOverrides {
                    daily_loss_limit: Some(micros(49)),
                    ..change
                },
                false,
            ),
            (
                OperatorOverrides {
                    daily_loss_limit: Some(micros(51)),
                    ..change
                },
                true,
            ),
            (
                OperatorOverrides {
                    trading_state: Some(TradingState::Halted),
                    daily_loss_limit: Some(micros(51)),
                    ..change
                },
                true,
            ),
        ] {
            assert_eq!(change.resolve(before).is_looser_than(&before), is_looser, "{change:?}");
        }
    }

    #[test]
    fn tighter_of_each_value_is_kept() {
        let ours = OperatorOverrides {
            trading_state: Some(TradingState::ReduceOnly),
            daily_notional_limit: Some(micros(5)),
            ..OperatorOverrides::default()
        };
        let theirs = OperatorOverrides {
            mode: Some(Mode::DryRun),
            trading_state: Some(TradingState::Halted),
            daily_notional_limit: Some(micros(9)),
            daily_loss_limit: Some(micros(7)),
        };
        let expected = OperatorOverrides {
            mode: None,
            trading_state: Some(TradingState::Halted),
            daily_notional_limit: Some(micros(5)),
            daily_loss_limit: Some(micros(7)),
        };
        let settings = |loss: i64| EffectiveControls {
            mode: Mode::Paper,
            trading_state: TradingState::Active,
            daily_notional_limit: micros(8),
            daily_loss_limit: micros(loss),
        };
        assert_eq!(ours.tightened_with(theirs, settings(8)), expected);
        // A single override that is looser than the settings is dropped.
        let with_settings = OperatorOverrides {
            daily_loss_limit: None,
            ..expected
        };
        assert_eq!(ours.tightened_with(theirs, settings(6)), with_settings);
    }
}
