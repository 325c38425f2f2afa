//! The input of a rule: an intent with its instrument, the limits, and the state of the account.

use crate::domain::control::ControlState;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::decimal::Decimal;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros, Rounding};
use crate::domain::order_terms::Side;
use crate::domain::quantity::Price;
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
    /// The intent's quantity in lots.
    pub quantity_lots: i64,
    /// The reference price of the symbol; the limit price where the market price is missing or too old.
    pub reference_price: Price,
    /// Whether the reference price is a recent market price.
    pub has_market_price: bool,
    /// The share of the shared limits that the order would hold.
    pub reservation: &'a Reservation,
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

    /// Returns the account's loss of the day as the router computes it or as the caller reports it, whichever is worse;
    /// `None` where one of them is unknown.
    pub(in crate::risk) fn account_loss(&self) -> Option<AccountLoss> {
        let computed = -self.daily_pnl.account_pnl(&self.intent.account_id)?.units();
        let reported = self.caller_reported_loss()?;
        Some(if reported > computed {
            AccountLoss::CallerReported(reported)
        } else {
            AccountLoss::Computed(computed)
        })
    }

    /// Returns the loss that the caller reports, in millionths of the base currency, rounded up. It is the lowest exact
    /// integer where the caller reports none, and `None` where the loss is too large to be counted.
    fn caller_reported_loss(&self) -> Option<i64> {
        let risk = &self.intent.risk;
        if risk.realized_pnl.is_none() && risk.unrealized_pnl.is_none() {
            return Some(-MAX_EXACT_INTEGER);
        }
        let realized = risk.realized_pnl.unwrap_or(Decimal::ZERO);
        let loss = realized
            .checked_add(risk.unrealized_pnl.unwrap_or(Decimal::ZERO))?
            .negated();
        match Micros::from_decimal(loss, Rounding::Up) {
            Some(loss) => Some(loss.units()),
            None if loss.is_positive() => None,
            None => Some(-MAX_EXACT_INTEGER),
        }
    }
}

/// An account's loss in millionths of the base currency, with its source: alerts of the two sources are separate.
#[derive(Debug, Clone, Copy)]
pub(in crate::risk) enum AccountLoss {
    /// The router computed it.
    Computed(i64),
    /// The caller reported it with the intent.
    CallerReported(i64),
}

impl AccountLoss {
    /// Returns the loss in millionths of the base currency.
    pub(in crate::risk) fn units(self) -> i64 {
        match self {
            Self::Computed(units) | Self::CallerReported(units) => units,
        }
    }

    /// Returns the label of the loss's source.
    pub(in crate::risk) fn select_label(self, computed: &'static str, caller_reported: &'static str) -> &'static str {
        match self {
            Self::Computed(_) => computed,
            Self::CallerReported(_) => caller_reported,
        }
    }
}
