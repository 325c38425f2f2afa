//! The input of a rule: an intent with its instrument, the limits, and the state of the account.

use crate::domain::control::ControlState;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::decimal::Decimal;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros, Rounding};
use crate::domain::order_terms::Side;
use crate::domain::quantity::{Price, QuantityUnits};
use crate::domain::reservation::Reservation;
use crate::domain::time::Timestamp;
use crate::risk::limits::{AccountLimits, RiskLimits};

/// What a rule evaluates.
#[derive(Debug, Clone, Copy)]
pub struct RuleInput<'a> {
    /// The intent.
    pub intent: &'a Intent,
    /// The intent's instrument.
    pub instrument: &'a Instrument,
    /// The intent's quantity in units of 1e-8.
    pub quantity_units: QuantityUnits,
    /// The reference price of the symbol; the limit price where the market price is missing or too old.
    pub reference_price: Price,
    /// Whether the reference price is a recent market price.
    pub has_market_price: bool,
    /// The share of the shared limits that the order would hold.
    pub reservation: &'a Reservation,
    /// Whether an order that is open gets new terms: quantity and share are what these add to it.
    pub is_replacement: bool,
    /// The limits of the settings.
    pub limits: &'a RiskLimits,
    /// The limits, locks and trading state that operators and rules have set.
    pub control: &'a ControlState,
    /// The profit and loss of the trading day.
    pub daily_pnl: &'a DailyPnl,
    /// The intent is not executed at or after this moment.
    pub deadline: Timestamp,
    /// The present moment.
    pub now: Timestamp,
}

/// The loss that a caller reports, in the base currency; `None` where it is too large for a decimal.
#[derive(Debug, Clone, Copy)]
pub(in crate::risk) struct ReportedLoss(Option<Decimal>);

impl ReportedLoss {
    /// Returns the loss in whole millionths. One too large to be counted is the greatest exact integer: it reaches every
    /// limit.
    pub(in crate::risk) fn to_micros(self, rounding: Rounding) -> i64 {
        let Some(loss) = self.0 else { return MAX_EXACT_INTEGER };
        match Micros::from_decimal(loss, rounding) {
            Some(loss) => loss.units(),
            None if loss.is_positive() => MAX_EXACT_INTEGER,
            None => -MAX_EXACT_INTEGER,
        }
    }

    /// Reports whether the loss is below a limit, without rounding.
    pub(in crate::risk) fn is_below(self, limit: Decimal) -> bool {
        self.0.is_some_and(|loss| loss < limit)
    }
}

impl<'a> RuleInput<'a> {
    /// Returns the price that exposure is valued at: the higher of limit price and reference price.
    pub fn exposure_price(&self) -> Price {
        self.intent
            .price
            .map_or(self.reference_price, |limit| limit.max(self.reference_price))
    }

    /// Returns the limits of the intent's account, where it has its own.
    pub(in crate::risk) fn account_limits(&self) -> Option<&'a AccountLimits> {
        self.limits.accounts.get(&self.intent.account_id)
    }

    /// Returns the label that distinguishes the caps of the two sides.
    pub(in crate::risk) fn side_label(&self) -> &'static str {
        match self.intent.side {
            Side::Buy => "long",
            Side::Sell => "short",
        }
    }

    /// Returns the loss that the caller reports; `None` where it reports none.
    pub(in crate::risk) fn caller_reported_loss(&self) -> Option<ReportedLoss> {
        let risk = &self.intent.risk;
        if risk.realized_pnl.is_none() && risk.unrealized_pnl.is_none() {
            return None;
        }
        let realized = risk.realized_pnl.unwrap_or(Decimal::ZERO);
        let profit = realized.checked_add(risk.unrealized_pnl.unwrap_or(Decimal::ZERO));
        Some(ReportedLoss(profit.map(Decimal::negated)))
    }
}
