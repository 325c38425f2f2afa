//! The sums that all workers share in Redis, and how far one event moves them. All sums commute, so that the order of a
//! replay does not matter.

use crate::domain::id::{AccountId, VenueId};
use crate::domain::order_terms::Mode;
use crate::domain::quantity::QuantityUnits;
use crate::domain::symbol::Symbol;
use crate::domain::time::TradingDate;

/// The key of the shared sums that an order counts in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SumScope {
    /// The mode; the sums of two modes never mix.
    pub mode: Mode,
    /// The account.
    pub account_id: AccountId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// The trading day of the daily sums.
    pub trading_date: TradingDate,
}

/// What an order's events moved on one trading day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayDeltas {
    /// The trading day that they are booked on.
    pub booked_on: TradingDate,
    /// How far they moved the sums.
    pub deltas: SumDeltas,
}

macro_rules! deltas {
    ($($(#[$doc:meta])* $field:ident: $type:ty;)+) => {
        /// How far one event moves each shared sum, of its account and of all accounts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct SumDeltas {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl SumDeltas {
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
    /// Position + open buys, in units of 1e-8.
    long: QuantityUnits;
    /// −position + open sells, in units of 1e-8.
    short: QuantityUnits;
    /// The net quantity of the fills, less fees in the traded asset, in units of 1e-8.
    position: QuantityUnits;
    /// Proceeds of sells less cost of buys, in millionths of the base currency.
    cash_flow: i64;
    /// Fees in other currencies than the traded asset, in millionths of the base currency.
    fees: i64;
    /// Open orders.
    open_orders: i64;
    /// The loss that open orders expect, in millionths of the base currency.
    open_loss: i64;
    /// Notional routed on the order's trading day, in millionths of the base currency.
    daily_notional: i64;
    /// What fills made against the mark that their order was reserved at, fees deducted, in millionths of the base
    /// currency.
    fill_result: i64;
    /// Fills whose fee has no price yet: its currency has no rate, and no adjustment has priced it.
    unpriced_fees: i64;
}
