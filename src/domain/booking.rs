//! Booking: how a venue report changes an order and the shared sums. Pure: the same report applied to the same order
//! gives the same result. Start at [`Order::apply_report`].
//!
//! Law 5 in docs/architecture.md: fills may arrive late, twice, out of order, before the acknowledgement, after a cancel
//! or beyond the quantity. Each is booked exactly once.

use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding, round_to_units};
use crate::domain::order::{
    ApplyReportError, BookingAnomaly, MAX_FILLS, MAX_REPORTED_FILLS, Order, OrderUpdate, UnpricedFee,
};
use crate::domain::order_terms::{OrderStatus, Side};
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, QuantityUnits, from_quantity_units, to_quantity_units};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::{LegPlace, ReplaceOutcome};
use crate::domain::settlement::SumDeltas;
use crate::domain::status_transition::{self, OrderEvent};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{Fill, VenueOrderState, VenueReport};

/// What the fee of one fill moves: one of the three.
#[derive(Debug, Clone, Copy, Default)]
struct BookedFee {
    /// In millionths of the base currency.
    in_money: i64,
    /// In units of 1e-8 of the traded asset.
    in_asset: QuantityUnits,
    /// The currency has no rate.
    is_unpriced: bool,
}

/// What a report has changed so far.
#[derive(Debug, Default)]
pub(super) struct BookedReport {
    /// How far the shared sums have moved.
    pub(super) deltas: SumDeltas,
    /// Findings to publish as risk alerts.
    pub(super) anomalies: Vec<BookingAnomaly>,
    /// Whether anything has changed.
    pub(super) has_changed: bool,
}

impl BookedReport {
    /// Adds a change with its moves.
    pub(super) fn add(&mut self, deltas: SumDeltas) -> Result<(), ApplyReportError> {
        self.deltas = require_exact(self.deltas.checked_add(&deltas))?;
        self.has_changed = true;
        Ok(())
    }
}

impl Order {
    /// Returns the order after a venue report, with each new fill booked once.
    ///
    /// # Errors
    /// When the report changes nothing, an amount cannot be counted exactly, or the order has too many fills.
    pub fn apply_report(
        &self,
        report: &VenueReport,
        rates: &CurrencyRates,
        now: Timestamp,
    ) -> Result<OrderUpdate, ApplyReportError> {
        let mut order = self.clone();
        let mut booked = BookedReport::default();
        order.take_report(report, rates, &mut booked)?;
        self.update_to(order, booked, now)
    }

    /// Returns the update to an order that this one has become, with the next version.
    pub(super) fn update_to(
        &self,
        mut order: Self,
        booked: BookedReport,
        now: Timestamp,
    ) -> Result<OrderUpdate, ApplyReportError> {
        if !booked.has_changed {
            return Err(ApplyReportError::NoChange);
        }
        order.total_deltas = require_exact(self.total_deltas.checked_add(&booked.deltas))?;
        order.version = require_exact(self.version.checked_add(1))?;
        order.updated_at = now.max(self.updated_at);
        Ok(OrderUpdate {
            order,
            deltas: booked.deltas,
            anomalies: booked.anomalies,
        })
    }

    /// Books what a report says.
    pub(super) fn take_report(
        &mut self,
        report: &VenueReport,
        rates: &CurrencyRates,
        booked: &mut BookedReport,
    ) -> Result<(), ApplyReportError> {
        let place = self.place_of(report.legs.leg);
        if let LegPlace::Next(leg) = place
            && !matches!(report.state, VenueOrderState::Rejected(_))
        {
            self.adopt_leg(leg, booked)?;
        }
        for fill in &report.fills {
            if self.has_booked_fill(&fill.exec_id) {
                continue;
            }
            let deltas = self.book_fill(fill, rates, &mut booked.anomalies)?;
            booked.add(deltas)?;
        }
        let cumulative_quantity = self.cumulative_of_order(place, report.cumulative_quantity);
        match (&report.state, place) {
            // An earlier leg has ended already: only its fills count.
            (_, LegPlace::Earlier) => {}
            (VenueOrderState::Rejected(reason), LegPlace::Next(leg)) => {
                let reason = Reason::new(ReasonCode::NotReplaced, &reason.message);
                self.take_replace_outcome(leg, &ReplaceOutcome::NotReplaced(reason), booked)?;
            }
            (VenueOrderState::Cancelled(_), LegPlace::Working) if self.open_replace().is_some() => {
                self.note_ended_leg(cumulative_quantity, booked);
            }
            (state, _) => self.take_state(state, booked)?,
        }
        if let Some((leg, outcome)) = report.legs.replace.as_deref() {
            self.take_replace_outcome(*leg, outcome, booked)?;
        }
        self.end_open_replace(booked)?;
        // A repeated end releases nothing a second time, unless the venue's cumulative quantity has changed.
        let cumulative_quantity = cumulative_quantity.or_else(|| self.counted_by_cancelled_leg());
        if self.is_terminal() && (self.reservation.is_open || cumulative_quantity.is_some()) {
            let released = self.release_reservation(cumulative_quantity)?;
            booked.has_changed |= released != SumDeltas::default();
            booked.deltas = require_exact(booked.deltas.checked_add(&released))?;
        }
        let is_of_working_leg = match place {
            LegPlace::Earlier => false,
            LegPlace::Working => true,
            LegPlace::Next(_) => !matches!(report.state, VenueOrderState::Rejected(_)),
        };
        if report.broker_order_id.is_some() && is_of_working_leg {
            self.broker_order_id.clone_from(&report.broker_order_id);
        }
        self.due = match (self.is_terminal(), self.open_replace()) {
            (true, _) => None,
            // The inquiry about an open replace stays due, whatever is reported in the meantime.
            (false, Some(_)) => report.due.or(self.due),
            (false, None) => report.due,
        };
        Ok(())
    }

    fn take_state(&mut self, state: &VenueOrderState, booked: &mut BookedReport) -> Result<(), ApplyReportError> {
        let (event, reason) = event_and_reason(state);
        if let Some(status) = status_transition::next_status(self.status, event) {
            self.status = Some(status);
            self.reason = reason.cloned();
            booked.has_changed = true;
        } else if event == OrderEvent::Acknowledged && self.is_presumed_not_placed() {
            // The venue has the order after all (law 3 in docs/architecture.md).
            self.status = Some(OrderStatus::Accepted);
            booked.anomalies.push(BookingAnomaly::Reopened);
            let restored = self.restore_reservation()?;
            booked.add(restored)?;
        }
        Ok(())
    }

    /// Reports whether the order was ended because its venue repeatedly did not find it.
    fn is_presumed_not_placed(&self) -> bool {
        let reason = self.reason.as_ref().map(|reason| reason.code);
        self.status == Some(OrderStatus::Rejected) && reason == Some(ReasonCode::NotPlaced)
    }

    /// Reports whether a fill is booked with the order.
    pub fn has_booked_fill(&self, exec_id: &str) -> bool {
        self.fills.iter().any(|fill| fill.exec_id == exec_id) || self.older_exec_ids.iter().any(|id| id == exec_id)
    }

    /// Books a new fill of f. With r = min(f, what is reserved), a buy moves the long exposure by f − r and the short
    /// exposure by −f; a sell is mirrored. A fee of c in the traded asset then moves long and position by −c, short by +c.
    fn book_fill(
        &mut self,
        fill: &Fill,
        rates: &CurrencyRates,
        anomalies: &mut Vec<BookingAnomaly>,
    ) -> Result<SumDeltas, ApplyReportError> {
        if self.fill_count() >= MAX_FILLS {
            return Err(ApplyReportError::TooManyFills);
        }
        let filled = require_exact(to_quantity_units(fill.quantity.decimal()))?;
        let reserved_part = filled.min(self.reservation.reserved);
        let excess = filled - reserved_part;
        let cash_flow = self.fill_cash_flow(fill)?;
        let cost = fill.price.decimal().checked_mul(fill.quantity.decimal());
        self.filled_cost = require_exact(cost.and_then(|cost| self.filled_cost.checked_add(cost)))?;
        self.filled_quantity = require_exact(self.filled_quantity.checked_add(fill.quantity.decimal()))?;
        self.reservation.reserved -= reserved_part;
        let open_loss = require_exact(self.reservation.release_price_loss(self.reserved_for()))?;
        if self.fills.len() >= MAX_REPORTED_FILLS {
            let oldest = self.fills.remove(0);
            self.older_exec_ids.push(oldest.exec_id);
        }
        self.fills.push(fill.clone());
        let (long, short, position) = match self.side {
            Side::Buy => (excess, -filled, filled),
            Side::Sell => (-filled, excess, -filled),
        };
        let fee = self.compute_fee(fill, rates)?;
        if fee.is_unpriced {
            anomalies.push(BookingAnomaly::UnpricedFee(UnpricedFee {
                exec_id: fill.exec_id.clone(),
                fee: fill.fee,
                currency: fill.fee_currency.clone(),
            }));
        }
        let position = position - fee.in_asset;
        let booked = SumDeltas {
            long: long - fee.in_asset,
            short: short + fee.in_asset,
            position,
            cash_flow,
            fees: fee.in_money,
            open_loss,
            fill_result: self.fill_result(position, cash_flow, fee.in_money)?,
            unpriced_fees: fee.is_unpriced.into(),
            ..SumDeltas::default()
        };
        let previous_status = self.status;
        let is_filled = self.filled_quantity >= self.quantity.decimal();
        let event = if is_filled {
            OrderEvent::Fill
        } else {
            OrderEvent::PartialFill
        };
        self.status = status_transition::next_status(self.status, event).or(self.status);
        let restored = if previous_status == Some(OrderStatus::Rejected) {
            anomalies.push(BookingAnomaly::Reopened);
            self.restore_reservation()?
        } else {
            if excess > 0 {
                anomalies.push(BookingAnomaly::Overfill(excess));
            }
            SumDeltas::default()
        };
        require_exact(booked.checked_add(&restored))
    }

    /// Returns the cash flow of a fill in millionths of the base currency, rounded against us: below zero for a buy.
    fn fill_cash_flow(&self, fill: &Fill) -> Result<i64, ApplyReportError> {
        let factors = [
            fill.price.decimal(),
            fill.quantity.decimal(),
            self.reservation.base_rate,
        ];
        let (rounding, sign) = match self.side {
            Side::Buy => (Rounding::Up, -1),
            Side::Sell => (Rounding::Down, 1),
        };
        Ok(require_exact(Micros::from_product(factors, rounding))?.units() * sign)
    }

    /// Returns what a fill makes at the mark of the reservation, in millionths of the base currency, rounded against us:
    /// the change of equity while the mark stays.
    fn fill_result(&self, position: QuantityUnits, cash_flow: i64, fees: i64) -> Result<i64, ApplyReportError> {
        let factors = [
            from_quantity_units(position),
            self.reservation.mark.decimal(),
            self.reservation.base_rate,
        ];
        let value = require_exact(Micros::from_product(factors, Rounding::Down))?;
        Ok(value.units() + cash_flow - fees)
    }

    /// Returns what a fill's fee moves, rounded against us.
    fn compute_fee(&self, fill: &Fill, rates: &CurrencyRates) -> Result<BookedFee, ApplyReportError> {
        if fill.fee.is_zero() {
            return Ok(BookedFee::default());
        }
        if self.reservation.base_asset.as_deref() == Some(fill.fee_currency.as_str()) {
            let fee = round_to_units(fill.fee, MAX_AMOUNT_DECIMALS, Rounding::Up);
            return Ok(BookedFee {
                in_asset: require_exact(fee)?.into(),
                ..BookedFee::default()
            });
        }
        let Some(rate) = rates.get(&fill.fee_currency) else {
            return Ok(BookedFee {
                is_unpriced: true,
                ..BookedFee::default()
            });
        };
        let fee = Micros::from_product([fill.fee, rate, Decimal::from(1)], Rounding::Up);
        Ok(BookedFee {
            in_money: require_exact(fee)?.units(),
            ..BookedFee::default()
        })
    }

    /// Reserves again what the order released when it was recorded as rejected: its venue has it after all.
    fn restore_reservation(&mut self) -> Result<SumDeltas, ApplyReportError> {
        let restored = self.reservation.restore_notional();
        self.reason = None;
        if self.is_terminal() {
            return Ok(restored);
        }
        let open = require_exact(self.quantity.decimal().checked_sub(self.filled_quantity))?;
        let open = require_exact(to_quantity_units(open))?;
        let reopened = self
            .reservation
            .restore_quantity(self.side, open, self.quantity.decimal());
        require_exact(restored.checked_add(&require_exact(reopened)?))
    }

    /// Releases the reservation of an ended order, except what the venue counts as filled and has not reported as fills
    /// yet. The day's notional is released only when the venue rejected the order before any fill.
    fn release_reservation(
        &mut self,
        venue_cumulative_quantity: Option<Decimal>,
    ) -> Result<SumDeltas, ApplyReportError> {
        let unreported = venue_cumulative_quantity.and_then(|quantity| quantity.checked_sub(self.filled_quantity));
        let unreported = match unreported.filter(|unreported| unreported.is_positive()) {
            Some(unreported) => require_exact(to_quantity_units(unreported))?.min(self.reservation.reserved),
            None => 0,
        };
        let never_traded = self.status == Some(OrderStatus::Rejected) && self.fill_count() == 0 && unreported == 0;
        Ok(self.reservation.release(self.side, unreported, never_traded))
    }
}

fn event_and_reason(state: &VenueOrderState) -> (OrderEvent, Option<&Reason>) {
    match state {
        VenueOrderState::Working => (OrderEvent::Acknowledged, None),
        VenueOrderState::Cancelled(reason) => (OrderEvent::Cancelled, Some(reason)),
        VenueOrderState::Expired(reason) => (OrderEvent::Expired, Some(reason)),
        VenueOrderState::Rejected(reason) => (OrderEvent::Rejected, Some(reason)),
        VenueOrderState::Unknown(reason) => (OrderEvent::OutcomeUnknown, Some(reason)),
    }
}

/// Turns a missing result of exact arithmetic into the error of a report.
pub(super) fn require_exact<T>(result: Option<T>) -> Result<T, ApplyReportError> {
    result.ok_or(ApplyReportError::ExceedsExactRange)
}

#[cfg(test)]
#[path = "booking_tests.rs"]
mod tests;
