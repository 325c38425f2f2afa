//! How an order moves the shared sums. All of them commute, so replay order does not matter.

use std::sync::Arc;

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;

/// What an order holds of the shared limits, fixed when it was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The lot the quantities below count in.
    pub lot_size: Decimal,
    /// What a unit of the quote currency was worth in the base currency.
    pub base_rate: Decimal,
    /// The asset that is bought or sold, where fees may be paid in it.
    pub base_asset: Option<Arc<str>>,
    /// Lots still reserved: neither filled nor given back.
    pub reserved_lots: i64,
    /// What the order was valued at when it was reserved.
    pub notional: Micros,
    /// What of it the order counts for in the day's routed notional: all, or nothing once it was given back.
    pub daily_notional: Micros,
    /// The loss its caller expects of it: reserved while it is open, and anew where it is reopened.
    pub expected_loss: Micros,
    /// Whether it counts as an open order.
    pub is_open: bool,
    /// The day it counts for.
    pub trading_date: TradingDate,
}

/// Which shared sums an order belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SumScope {
    /// The mode, whose sums never mix with another's.
    pub mode: Mode,
    /// The account.
    pub account_id: AccountId,
    /// The venue, whose lot the quantities count in.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// The day of the daily sums.
    pub trading_date: TradingDate,
}

/// One shared sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SharedSum {
    /// Position + open buys, in lots.
    Long,
    /// −position + open sells, in lots.
    Short,
    /// What fills have left, before fees in the base asset, in lots.
    Position,
    /// What trading brought in less what it paid, in millionths of the base currency.
    CashFlow,
    /// Fees that were not paid in the base asset, in millionths of the base currency.
    Fees,
    /// Fees that were paid in the base asset, in units of 1e-8 of it: the position is smaller by them.
    BaseFees,
    /// Orders of the account and symbol that have not ended.
    OpenOrders,
    /// The expected loss of the account's open orders, in millionths of the base currency.
    AccountOpenLoss,
    /// The expected loss of all open orders, in millionths of the base currency.
    OpenLoss,
    /// Notional routed on the scope's day by the account, in millionths of the base currency.
    AccountDailyNotional,
    /// Notional routed on the scope's day over all accounts, in millionths of the base currency.
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

    /// Whether the sum counts for one day, and is gone some days after it.
    pub fn is_daily(self) -> bool {
        matches!(self, Self::AccountDailyNotional | Self::DailyNotional)
    }
}

macro_rules! deltas {
    ($($(#[$doc:meta])* $field:ident: $($counter:ident)|+;)+) => {
        /// How far one event moves each sum.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct SumDeltas {
            $($(#[$doc])* pub $field: i64,)+
        }

        impl SumDeltas {
            /// Returns the move of one sum.
            pub fn get(&self, sum: SharedSum) -> i64 {
                match sum {
                    $($(SharedSum::$counter)|+ => self.$field,)+
                }
            }

            /// Returns the moves of both, or `None` on overflow.
            pub fn checked_add(&self, other: &Self) -> Option<Self> {
                Some(Self { $($field: self.$field.checked_add(other.$field)?,)+ })
            }

            /// Returns the moves that undo these.
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
    /// Moves the account's sum and that over all accounts: see [`SharedSum::OpenLoss`].
    open_loss: AccountOpenLoss | OpenLoss;
    /// Moves the account's sum and that over all accounts: see [`SharedSum::DailyNotional`].
    daily_notional: AccountDailyNotional | DailyNotional;
}
