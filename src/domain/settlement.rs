//! The sums that all workers share in Redis, and how far one event moves them. All sums commute, so that the order of a
//! replay does not matter.

use crate::domain::id::{AccountId, VenueId};
use crate::domain::order_terms::Mode;
use crate::domain::symbol::Symbol;
use crate::domain::time::TradingDate;

/// The key of the shared sums that an order counts in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SumScope {
    /// The mode; the sums of two modes never mix.
    pub mode: Mode,
    /// The account.
    pub account_id: AccountId,
    /// The venue; quantities count in its lots.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// The trading day of the daily sums.
    pub trading_date: TradingDate,
}

/// One shared sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SharedSum {
    /// Position + open buys, in lots.
    Long,
    /// −position + open sells, in lots.
    Short,
    /// The net quantity of the fills, before fees in the base asset, in lots.
    Position,
    /// Proceeds of sells less cost of buys, in millionths of the base currency.
    CashFlow,
    /// Fees in other currencies than the base asset, in millionths of the base currency.
    Fees,
    /// Fees in the base asset, in units of 1e-8 of it. They reduce the position.
    BaseFees,
    /// Open orders of the account and symbol.
    OpenOrders,
    /// The expected loss of the account's open orders, in millionths of the base currency.
    AccountOpenLoss,
    /// The expected loss of all open orders, in millionths of the base currency.
    OpenLoss,
    /// Notional that the account routed on the scope's trading day, in millionths of the base currency.
    AccountDailyNotional,
    /// Notional that all accounts routed on the scope's trading day, in millionths of the base currency.
    DailyNotional,
}

impl SharedSum {
    /// Every sum.
    pub const ALL: [Self; 11] = [
        Self::Long,
        Self::Short,
        Self::Position,
        Self::CashFlow,
        Self::Fees,
        Self::BaseFees,
        Self::OpenOrders,
        Self::AccountOpenLoss,
        Self::OpenLoss,
        Self::AccountDailyNotional,
        Self::DailyNotional,
    ];

    /// Reports whether the sum counts one trading day; such a sum expires some days later.
    pub fn is_daily(self) -> bool {
        matches!(self, Self::AccountDailyNotional | Self::DailyNotional)
    }
}

macro_rules! deltas {
    ($($(#[$doc:meta])* $field:ident: $($sum:ident)|+;)+) => {
        /// How far one event moves each shared sum.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct SumDeltas {
            $($(#[$doc])* pub $field: i64,)+
        }

        impl SumDeltas {
            /// Returns how far one sum moves.
            pub fn get(&self, sum: SharedSum) -> i64 {
                match sum {
                    $($(SharedSum::$sum)|+ => self.$field,)+
                }
            }

            /// Returns the sum of both moves, or `None` on overflow.
            pub fn checked_add(&self, other: &Self) -> Option<Self> {
                Some(Self { $($field: self.$field.checked_add(other.$field)?,)+ })
            }

            /// Returns the moves that reverse these.
            pub fn reversed(&self) -> Self {
                Self { $($field: -self.$field,)+ }
            }
        }
    };
}

deltas! {
    /// See [`SharedSum::Long`].
    long: Long;
    /// See [`SharedSum::Short`].
    short: Short;
    /// See [`SharedSum::Position`].
    position: Position;
    /// See [`SharedSum::CashFlow`].
    cash_flow: CashFlow;
    /// See [`SharedSum::Fees`].
    fees: Fees;
    /// See [`SharedSum::BaseFees`].
    base_fees: BaseFees;
    /// See [`SharedSum::OpenOrders`].
    open_orders: OpenOrders;
    /// Moves the account's sum and the sum over all accounts: see [`SharedSum::OpenLoss`].
    open_loss: AccountOpenLoss | OpenLoss;
    /// Moves the account's sum and the sum over all accounts: see [`SharedSum::DailyNotional`].
    daily_notional: AccountDailyNotional | DailyNotional;
}
