//! Replacing: how new terms and the reports about them change an order and the shared sums. Pure, as
//! [`crate::domain::booking`].
//!
//! While a replace is open, the order reserves what the greater of both quantities leaves: either terms can be the ones that
//! fill. What the other terms need alone is released with the outcome, and not before.

use crate::domain::booking::{BookedReport, require_exact};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::id::{OrderId, ReplaceId};
use crate::domain::leg::LegNumber;
use crate::domain::money::{Micros, Rounding};
use crate::domain::order::{ApplyReportError, BookingAnomaly, Order, OrderUpdate};
use crate::domain::order_terms::{OrderStatus, Side};
use crate::domain::quantity::{Price, Quantity, QuantityUnits, to_quantity_units};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::{
    LegPlace, LegWord, OrderLegs, OrderReplace, ReplaceMethod, ReplaceOutcome, ReplaceState, ReplaceTerms, TermsShare,
};
use crate::domain::reservation::price_loss;
use crate::domain::status_transition::{self, OrderEvent};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{DueTask, VenueOrderState, VenueReport};

impl Order {
    /// Returns a report that says only what became of the open replace; nothing where none is open.
    pub fn report_of_replace(&self, outcome: ReplaceOutcome) -> VenueReport {
        let word = |replace: &OrderReplace| LegWord::of_replace(replace.leg, outcome);
        VenueReport {
            broker_order_id: None,
            fills: Vec::new(),
            state: VenueOrderState::Working,
            cumulative_quantity: None,
            legs: self.open_replace().map_or_else(LegWord::default, word),
            due: None,
        }
    }

    /// Returns the leg that works at the venue.
    pub fn working_leg(&self) -> LegNumber {
        self.legs.as_ref().map_or(LegNumber::FIRST, |legs| legs.working)
    }

    /// Returns the client order id of the working leg at the venue.
    pub fn venue_id(&self) -> OrderId {
        self.working_leg().venue_id(&self.order_id)
    }

    /// Returns the quantity of the working leg at the venue; `None` where nothing is left for it.
    pub fn leg_quantity(&self) -> Option<Quantity> {
        let rest = self.quantity.decimal().checked_sub(self.filled_before())?;
        Quantity::new(rest).ok()
    }

    /// Returns the quantity of a leg at the venue; `None` for one that has ended, or that the order does not have.
    pub fn quantity_of_leg(&self, leg: LegNumber) -> Option<Quantity> {
        if leg == self.working_leg() {
            return self.leg_quantity();
        }
        let replace = self.replace_of(leg).filter(|replace| replace.state.is_open())?;
        replace.leg_quantity()
    }

    /// Reports whether a fill of the working leg is booked.
    pub fn is_leg_filled(&self) -> bool {
        self.filled_quantity > self.filled_before()
    }

    /// Returns the latest replace.
    pub fn latest_replace(&self) -> Option<&OrderReplace> {
        self.legs.as_ref()?.replaces.last()
    }

    /// Returns the replace whose outcome is open.
    pub fn open_replace(&self) -> Option<&OrderReplace> {
        self.latest_replace().filter(|replace| replace.state.is_open())
    }

    /// Returns the replace with an id.
    pub fn find_replace(&self, replace_id: &ReplaceId) -> Option<&OrderReplace> {
        let mut replaces = self.legs.iter().flat_map(|legs| &legs.replaces);
        replaces.find(|replace| replace.replace_id == *replace_id)
    }

    /// Returns the leg that the next replace makes; `None` where the order has had its last.
    pub fn next_leg(&self) -> Option<LegNumber> {
        let replaces = self.legs.as_ref().map_or(0, |legs| legs.replaces.len());
        LegNumber::new(u8::try_from(replaces).ok()?.checked_add(LegNumber::FIRST.get() + 1)?)
    }

    /// Returns the order with a replace whose outcome is open. `due` is when the venue is asked about it; without it, what is
    /// due of the order stays.
    ///
    /// # Errors
    /// When an amount cannot be counted exactly, or the order has had its last leg.
    pub fn begin_replace(
        &self,
        terms: &ReplaceTerms,
        due: Option<DueTask>,
        now: Timestamp,
    ) -> Result<OrderUpdate, ApplyReportError> {
        let (mut order, mut booked) = (self.clone(), BookedReport::default());
        order.add_replace(terms, &mut booked)?;
        order.due = due.or(order.due);
        self.update_to(order, booked, now)
    }

    /// Returns the order with new terms in force, and what its venue reports of the new leg: where the venue is the store,
    /// nothing stands between the two.
    ///
    /// # Errors
    /// As [`Order::begin_replace`], and as [`Order::apply_report`].
    pub fn replace_at_once(
        &self,
        terms: &ReplaceTerms,
        report: &VenueReport,
        rates: &CurrencyRates,
        now: Timestamp,
    ) -> Result<OrderUpdate, ApplyReportError> {
        let (mut order, mut booked) = (self.clone(), BookedReport::default());
        let leg = order.add_replace(terms, &mut booked)?;
        order.adopt_leg(leg, &mut booked)?;
        order.take_report(report, rates, &mut booked)?;
        self.update_to(order, booked, now)
    }

    /// Returns the order as it is once its venue has new terms, and before anything of them fills.
    ///
    /// # Errors
    /// As [`Order::begin_replace`].
    pub fn under_terms(&self, terms: &ReplaceTerms) -> Result<Self, ApplyReportError> {
        let (mut order, mut booked) = (self.clone(), BookedReport::default());
        let leg = order.add_replace(terms, &mut booked)?;
        order.adopt_leg(leg, &mut booked)?;
        Ok(order)
    }

    /// Returns what earlier legs have filled, by the venue's count.
    fn filled_before(&self) -> Decimal {
        self.legs.as_ref().map_or(Decimal::ZERO, |legs| legs.filled_before)
    }

    /// Returns the quantity that the order's share of the limits is for.
    pub(super) fn reserved_for(&self) -> Decimal {
        let quantity = self.quantity;
        let greater = self
            .open_replace()
            .map_or(quantity, |replace| replace.quantity.max(quantity));
        greater.decimal()
    }

    /// Returns where a leg is among the order's legs.
    pub(super) fn place_of(&self, leg: Option<LegNumber>) -> LegPlace {
        let working = self.working_leg();
        match leg {
            None => LegPlace::Working,
            Some(leg) if leg == working => LegPlace::Working,
            Some(leg) if leg > working && self.replace_of(leg).is_some() => LegPlace::Next(leg),
            Some(_) => LegPlace::Earlier,
        }
    }

    fn replace_of(&self, leg: LegNumber) -> Option<&OrderReplace> {
        let mut replaces = self.legs.iter().flat_map(|legs| &legs.replaces);
        replaces.find(|replace| replace.leg == leg)
    }

    fn latest_replace_mut(&mut self) -> Option<&mut OrderReplace> {
        self.legs.as_mut()?.replaces.last_mut()
    }

    /// Returns a venue's cumulative quantity of a leg as one of the whole order.
    pub(super) fn cumulative_of_order(&self, place: LegPlace, of_leg: Option<Decimal>) -> Option<Decimal> {
        let is_counted = match place {
            LegPlace::Earlier => false,
            LegPlace::Working => true,
            LegPlace::Next(leg) => self.working_leg() == leg,
        };
        of_leg.filter(|_| is_counted)?.checked_add(self.filled_before())
    }

    /// Returns what the venue has counted of an order that its replace has cancelled.
    pub(super) fn counted_by_cancelled_leg(&self) -> Option<Decimal> {
        let latest = self.latest_replace();
        let latest = latest.filter(|replace| replace.state == ReplaceState::CancelledNotPlaced)?;
        latest.ended_leg
    }

    fn add_replace(&mut self, terms: &ReplaceTerms, booked: &mut BookedReport) -> Result<LegNumber, ApplyReportError> {
        let leg = self.next_leg().ok_or(ApplyReportError::TooManyLegs)?;
        let filled_before = match terms.method {
            // It stays the same order at the venue, with its fills.
            ReplaceMethod::Amend => self.filled_before(),
            ReplaceMethod::CancelReplace | ReplaceMethod::CancelFirst => self.filled_quantity.max(self.filled_before()),
        };
        self.reservation.mark = terms.mark.unwrap_or(self.reservation.mark);
        let earlier_price = self.price.unwrap_or(terms.price);
        let earlier_share = TermsShare {
            notional: self.reservation.notional,
            price_loss: self.price_loss_at(earlier_price, self.quantity)?,
        };
        let value = require_exact(self.value_under(terms))?;
        let new_share = TermsShare {
            notional: self.reservation.notional.max(value),
            price_loss: self.price_loss_at(terms.price, terms.quantity)?,
        };
        let legs = self.legs.get_or_insert_with(|| {
            Box::new(OrderLegs {
                working: LegNumber::FIRST,
                filled_before: Decimal::ZERO,
                replaces: Vec::new(),
            })
        });
        legs.replaces.push(OrderReplace {
            replace_id: terms.replace_id.clone(),
            state: ReplaceState::Pending,
            leg,
            method: terms.method,
            price: terms.price,
            quantity: terms.quantity,
            reason: None,
            requested_at: terms.requested_at,
            filled_before,
            ended_leg: None,
            is_placing: false,
            earlier_share,
            new_share,
        });
        self.reserve_under(earlier_share, booked)?;
        Ok(leg)
    }

    /// Returns the order's value under new terms: what is filled at its cost, the rest at the new price.
    fn value_under(&self, terms: &ReplaceTerms) -> Option<Micros> {
        let rest = terms.quantity.decimal().checked_sub(self.filled_quantity)?;
        let value = self.filled_cost.checked_add(rest.checked_mul(terms.price.decimal())?)?;
        Micros::from_product([value, self.reservation.base_rate, Decimal::from(1)], Rounding::Up)
    }

    fn price_loss_at(&self, price: Price, quantity: Quantity) -> Result<Micros, ApplyReportError> {
        let reservation = &self.reservation;
        require_exact(price_loss(
            self.side,
            price,
            quantity,
            reservation.mark,
            reservation.base_rate,
        ))
    }

    /// Returns what a quantity leaves open, in units of 1e-8.
    fn open_of(&self, quantity: Quantity) -> Result<QuantityUnits, ApplyReportError> {
        let ordered = require_exact(to_quantity_units(quantity.decimal()))?;
        let filled = require_exact(to_quantity_units(self.filled_quantity))?;
        Ok((ordered - filled).max(0))
    }

    /// Puts the terms of a leg in force: the venue has it. An order that has ended is open again.
    pub(super) fn adopt_leg(&mut self, leg: LegNumber, booked: &mut BookedReport) -> Result<(), ApplyReportError> {
        let place = self.legs.as_deref_mut().and_then(|legs| {
            let place = legs.replaces.iter().position(|replace| replace.leg == leg)?;
            let replace = legs.replaces.get_mut(place)?;
            let was_open = replace.state.is_open();
            (replace.state, replace.reason) = (ReplaceState::Done, None);
            (legs.working, legs.filled_before) = (leg, replace.filled_before);
            Some((replace.price, replace.quantity, replace.new_share, was_open))
        });
        let Some((price, quantity, share, was_open)) = place else {
            return Ok(());
        };
        (self.price, self.quantity) = (Some(price), quantity);
        let has_ended = self.is_terminal();
        if self.filled_quantity >= quantity.decimal() {
            self.status = Some(OrderStatus::Filled);
        } else if has_ended {
            let is_filled_in_part = self.filled_quantity.is_positive();
            self.status = Some(match is_filled_in_part {
                true => OrderStatus::PartiallyFilled,
                false => OrderStatus::Accepted,
            });
        }
        // Other orders may have taken the room of terms that were recorded as not placed.
        if has_ended || !was_open {
            booked.anomalies.push(BookingAnomaly::Reopened);
        }
        if has_ended {
            self.reason = None;
        }
        if let Some(open) = self.latest_replace_mut().filter(|replace| replace.state.is_open()) {
            open.earlier_share = share;
        }
        self.reserve_under(share, booked)
    }

    /// Reserves what the terms in force leave open, which hold `share`; while a replace is open, what either terms can need.
    fn reserve_under(&mut self, share: TermsShare, booked: &mut BookedReport) -> Result<(), ApplyReportError> {
        let (mut ordered, mut share) = (self.quantity, share);
        if let Some((price, quantity, notional)) = self
            .open_replace()
            .map(|open| (open.price, open.quantity, open.new_share.notional))
        {
            let in_force = self.price.unwrap_or(price);
            let worse_price = match self.side {
                Side::Buy => price.max(in_force),
                Side::Sell => price.min(in_force),
            };
            ordered = quantity.max(ordered);
            share = TermsShare {
                notional: notional.max(share.notional),
                price_loss: self.price_loss_at(worse_price, ordered)?,
            };
        }
        let open = self.open_of(ordered)?;
        let moved = self.reservation.change_terms(self.side, open, ordered.decimal(), share);
        booked.add(require_exact(moved)?)
    }

    /// Notes that the working leg has ended while the outcome of a replace is open: the next leg may be at the venue.
    pub(super) fn note_ended_leg(&mut self, cumulative_quantity: Option<Decimal>, booked: &mut BookedReport) {
        let counted = cumulative_quantity.unwrap_or(self.filled_quantity);
        if let Some(replace) = self.latest_replace_mut().filter(|replace| replace.ended_leg.is_none()) {
            replace.ended_leg = Some(counted);
            booked.has_changed = true;
        }
    }

    /// Applies the venue's word about the replace that made `leg`. A word about one that is closed changes nothing: a slow
    /// worker's word about an earlier replace must not close a later one.
    pub(super) fn take_replace_outcome(
        &mut self,
        leg: LegNumber,
        outcome: &ReplaceOutcome,
        booked: &mut BookedReport,
    ) -> Result<(), ApplyReportError> {
        let is_meant = |replace: &&mut OrderReplace| replace.state.is_open() && replace.leg == leg;
        let Some(replace) = self.latest_replace_mut().filter(is_meant) else {
            return Ok(());
        };
        let outcome = match outcome {
            // The earlier terms cannot be in force: their leg has ended.
            ReplaceOutcome::NotReplaced(reason) if replace.ended_leg.is_some() => {
                &ReplaceOutcome::CancelledNotPlaced(reason.clone())
            }
            outcome => outcome,
        };
        match outcome {
            ReplaceOutcome::Done => {
                let leg = replace.leg;
                return self.adopt_leg(leg, booked);
            }
            ReplaceOutcome::Unknown(reason) => {
                if replace.state == ReplaceState::Pending {
                    (replace.state, replace.reason) = (ReplaceState::Unknown, Some(reason.clone()));
                    booked.has_changed = true;
                }
                return Ok(());
            }
            ReplaceOutcome::Placing(requested_at) => {
                if let Some(counted) = replace.ended_leg.filter(|_| !replace.is_placing) {
                    (replace.is_placing, replace.requested_at) = (true, *requested_at);
                    replace.filled_before = counted;
                    booked.has_changed = true;
                }
                return Ok(());
            }
            ReplaceOutcome::NotReplaced(reason) => {
                (replace.state, replace.reason) = (ReplaceState::NotReplaced, Some(reason.clone()));
            }
            ReplaceOutcome::CancelledNotPlaced(reason) => {
                (replace.state, replace.reason) = (ReplaceState::CancelledNotPlaced, Some(reason.clone()));
                if let Some(status) = status_transition::next_status(self.status, OrderEvent::Cancelled) {
                    let reason = Reason {
                        code: ReasonCode::CancelledNotPlaced,
                        ..reason.clone()
                    };
                    (self.status, self.reason) = (Some(status), Some(reason));
                }
            }
        }
        self.keep_earlier_terms(booked)
    }

    /// Closes a replace that its order's end has overtaken.
    pub(super) fn end_open_replace(&mut self, booked: &mut BookedReport) -> Result<(), ApplyReportError> {
        if !self.is_terminal() || self.open_replace().is_none() {
            return Ok(());
        }
        if let Some(replace) = self.latest_replace_mut() {
            let message = "the order ended under its earlier terms before it was replaced";
            replace.state = ReplaceState::NotReplaced;
            replace.reason = Some(Reason::new(ReasonCode::NotReplaced, message));
        }
        self.keep_earlier_terms(booked)
    }

    fn keep_earlier_terms(&mut self, booked: &mut BookedReport) -> Result<(), ApplyReportError> {
        booked.has_changed = true;
        match self.latest_replace().map(|replace| replace.earlier_share) {
            Some(share) if self.reservation.is_open => self.reserve_under(share, booked),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "replacing_tests.rs"]
mod tests;
