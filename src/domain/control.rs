//! What is in force for all workers beyond the settings: what operators have set, and what risk rules have latched.

use std::fmt;
use std::sync::Arc;

use crate::domain::id::{AccountId, BrokerId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::{Timestamp, TradingDate};

/// Everything the shared state says of how orders are judged. It is the same for all workers: an order that was judged
/// under another generation than the one in force is judged anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlState {
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
    pub locks: Vec<Lock>,
}

/// What operators have set; nothing where the settings' value is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperatorOverrides {
    /// Where orders' effects land.
    pub mode: Option<Mode>,
    /// What is let pass.
    pub trading_state: Option<TradingState>,
    /// The cap of a day's routed notional, in millionths of the base currency.
    pub daily_notional_limit: Option<Micros>,
    /// The loss of a day at which only reductions pass, in millionths of the base currency.
    pub daily_loss_limit: Option<Micros>,
}

/// What is in force: what operators have set, over the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveControls {
    /// Where orders' effects land.
    pub mode: Mode,
    /// What is let pass.
    pub trading_state: TradingState,
    /// The cap of a day's routed notional.
    pub daily_notional_limit: Micros,
    /// The loss of a day at which only reductions pass.
    pub daily_loss_limit: Micros,
}

impl OperatorOverrides {
    /// Returns the values with those of a change over them.
    #[must_use]
    pub fn with_change(self, change: Self) -> Self {
        Self {
            mode: change.mode.or(self.mode),
            trading_state: change.trading_state.or(self.trading_state),
            daily_notional_limit: change.daily_notional_limit.or(self.daily_notional_limit),
            daily_loss_limit: change.daily_loss_limit.or(self.daily_loss_limit),
        }
    }

    /// Returns the values with the tighter of each of the two, and this one's mode. Where one of them has none, that of the
    /// settings is what it is compared by.
    #[must_use]
    pub fn tightened_with(self, other: Self, settings: EffectiveControls) -> Self {
        fn tighter_of<T: Copy + PartialEq>(
            tighter: fn(T, T) -> T,
            a: Option<T>,
            b: Option<T>,
            settings: T,
        ) -> Option<T> {
            let tighter = tighter(a.unwrap_or(settings), b.unwrap_or(settings));
            // A value nobody has set stays that of the settings.
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

    /// Returns what is in force, `settings` being what is where nobody has set anything.
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
    /// Returns a control under which nothing has been set: the settings' values are in force.
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
    /// Whether a change from `before` to this lets anything pass that was stopped before. Another mode counts as such:
    /// other sums are counted there.
    pub fn is_looser_than(&self, before: &Self) -> bool {
        self.mode != before.mode
            || self.trading_state < before.trading_state
            || self.daily_notional_limit > before.daily_notional_limit
            || self.daily_loss_limit > before.daily_loss_limit
    }
}

/// What a latch closes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockScope {
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
pub struct Lock {
    /// What it is lifted by: the scope and the rule, such as `account.fund-7.max_daily_loss`.
    pub lock_id: Arc<str>,
    /// What it closes.
    pub scope: LockScope,
    /// The mode whose orders it stops.
    pub mode: Mode,
    /// The rule that closed it, or `operator`.
    pub rule_id: Arc<str>,
    /// A sentence for people.
    pub message: String,
    /// The figures it was closed by.
    pub metadata: Metadata,
    /// Since when.
    pub locked_at: Timestamp,
    /// The day it was closed on.
    pub trading_date: Option<TradingDate>,
}

impl Lock {
    /// Returns the id of the latch that a rule closes in a scope.
    pub fn compose_id(mode: Mode, scope: &LockScope, rule_id: &str) -> Arc<str> {
        Arc::from(format!("{mode}.{scope}.{rule_id}"))
    }
}

impl LockScope {
    /// Whether an order falls into the scope.
    pub fn applies_to(&self, account_id: &AccountId, broker: &BrokerId, venue: &VenueId, symbol: &Symbol) -> bool {
        match self {
            Self::All => true,
            Self::Account(account) => account == account_id,
            Self::Symbol(of, name) => of == venue && name == symbol,
            Self::Broker(of) => of == broker,
        }
    }
}

impl fmt::Display for LockScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Account(account) => write!(formatter, "account.{account}"),
            Self::Symbol(venue, symbol) => write!(formatter, "symbol.{venue}.{symbol}"),
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
    fn each_change_tightens_or_loosens() {
        let before = EffectiveControls {
            mode: Mode::Paper,
            trading_state: TradingState::ReduceOnly,
            daily_notional_limit: micros(100),
            daily_loss_limit: micros(50),
        };
        let change = OperatorOverrides::default();
        for (change, loosens) in [
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
            assert_eq!(change.resolve(before).is_looser_than(&before), loosens, "{change:?}");
        }
    }

    #[test]
    fn of_two_changes_the_tighter_of_each_value_is_kept() {
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
        // A limit that only one has set, and that is looser than the settings', is not taken.
        let with_settings = OperatorOverrides {
            daily_loss_limit: None,
            ..expected
        };
        assert_eq!(ours.tightened_with(theirs, settings(6)), with_settings);
    }
}
