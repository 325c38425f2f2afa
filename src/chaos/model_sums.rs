//! The sums that the fills of the journal's orders make, computed from the fills alone.

use std::collections::BTreeMap;

use crate::chaos::journal_model::JournalModel;
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::Side;
use crate::domain::time::TradingDate;
use crate::wire::report::ExecutionReport;

/// Account, venue and symbol.
pub(in crate::chaos) type HoldingKey = (String, String, String);

/// What one account holds of one instrument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::chaos) struct ModelHolding {
    /// The position, fees in the traded asset deducted.
    pub(in crate::chaos) position: Decimal,
    /// The open quantity of its buys.
    pub(in crate::chaos) open_buys: Decimal,
    /// The open quantity of its sells.
    pub(in crate::chaos) open_sells: Decimal,
    /// The number of its open orders.
    pub(in crate::chaos) open_orders: i64,
}

/// The sums of all orders.
#[derive(Debug, Clone, Default)]
pub(in crate::chaos) struct ModelSums {
    /// The holdings.
    pub(in crate::chaos) holdings: BTreeMap<HoldingKey, ModelHolding>,
    /// The notional that an account routed on a trading day, in the base currency.
    pub(in crate::chaos) notional: BTreeMap<(TradingDate, String), Decimal>,
    /// The part of it that orders routed which are no reductions: those pass no limit.
    pub(in crate::chaos) limited_notional: BTreeMap<(TradingDate, String), Decimal>,
}

impl ModelSums {
    /// Returns the sums of the journal's orders; `None` for numbers that cannot be added exactly.
    pub(in crate::chaos) fn of(model: &JournalModel) -> Option<Self> {
        let mut sums = Self::default();
        for order in model.orders.values().filter(|order| !order.is_denied()) {
            sums.add(&order.newest, order.has_passed_as_reduction())?;
        }
        Some(sums)
    }

    fn add(&mut self, report: &ExecutionReport, is_reduction: bool) -> Option<()> {
        let key = (report.account_id.clone(), report.venue.clone(), report.symbol.clone());
        let holding = self.holdings.entry(key).or_default();
        holding.position = holding.position.checked_add(filled_position(report)?)?;
        let open = match report.side {
            Side::Buy => &mut holding.open_buys,
            Side::Sell => &mut holding.open_sells,
        };
        *open = open.checked_add(report.leaves_quantity)?;
        holding.open_orders += i64::from(!report.leaves_quantity.is_zero());
        let settlement = report.settlement.as_deref()?;
        let routed = Decimal::from_parts(i128::from(settlement.daily_notional), 6)?;
        let key = (settlement.trading_date, report.account_id.clone());
        if !is_reduction {
            let day = self.limited_notional.entry(key.clone()).or_default();
            *day = day.checked_add(routed)?;
        }
        let day = self.notional.entry(key).or_default();
        *day = day.checked_add(routed)?;
        Some(())
    }

    /// Returns the notional that all accounts routed on a trading day.
    pub(in crate::chaos) fn total_notional(&self, date: TradingDate) -> Option<Decimal> {
        let of_day = self.notional.iter().filter(|((day, _), _)| *day == date);
        of_day
            .map(|(_, routed)| *routed)
            .try_fold(Decimal::ZERO, Decimal::checked_add)
    }
}

impl ModelHolding {
    /// Returns the long exposure: the position and the open buys.
    pub(in crate::chaos) fn long(&self) -> Option<Decimal> {
        self.position.checked_add(self.open_buys)
    }

    /// Returns the short exposure: the open sells less the position.
    pub(in crate::chaos) fn short(&self) -> Option<Decimal> {
        self.open_sells.checked_sub(self.position)
    }
}

/// Returns what an order's fills add to the position: bought less sold, less fees in the traded asset.
pub(in crate::chaos) fn filled_position(report: &ExecutionReport) -> Option<Decimal> {
    let base_asset = report.settlement.as_deref()?.base_asset.as_deref();
    report.fills.iter().try_fold(Decimal::ZERO, |sum, fill| {
        let sum = match report.side {
            Side::Buy => sum.checked_add(fill.quantity)?,
            Side::Sell => sum.checked_sub(fill.quantity)?,
        };
        match base_asset == Some(fill.fee_currency.as_str()) {
            true => sum.checked_sub(fill.fee),
            false => Some(sum),
        }
    })
}
