//! The paper venues. Their book is the store, reached through a port: the death of a worker changes nothing in it.

use std::sync::Arc;

use crate::brokers::adapter::{
    BrokerAdapter, BrokerCapabilities, CancelOutcome, DueOutcome, Effects, InquiryOutcome, NotSentReason, PlaceOutcome,
    Placement, VenueAcknowledgement,
};
use crate::brokers::paper::fills::{PaperFees, PaperFillRules};
use crate::brokers::port::{BookError, PaperBook};
use crate::domain::calendar::{CalendarSource, TradingCalendar};
use crate::domain::id::{BrokerId, IdError, OrderIdPrefix, VenueId};
use crate::domain::order::Order;
use crate::domain::order_terms::{Mode, TimeInForce};
use crate::domain::quantity::QuantityUnits;
use crate::domain::reason::Reason;
use crate::domain::time::Clock;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;
use crate::risk::{Approved, ApprovedUnderCaps};

pub mod binance;
pub mod fills;
pub mod ibkr;

/// The maximum number of attempts to book an effect while other effects come first. A paper order has at most three
/// effects, so more attempts mean that the book is faulty.
pub const MAX_ATTEMPTS: usize = 4;

const TOO_MANY_ATTEMPTS: &str =
    "other effects were booked first in every attempt, more often than an order has effects";

/// A paper venue and its book.
pub struct PaperVenue<B> {
    capabilities: BrokerCapabilities,
    rules: PaperFillRules,
    book: Arc<B>,
    calendar: CalendarSource,
    clock: Clock,
}

impl<B: PaperBook> PaperVenue<B> {
    /// Returns the venue, with this machine's clock and trading days in UTC.
    pub fn new(capabilities: BrokerCapabilities, rules: PaperFillRules, book: Arc<B>) -> Self {
        Self {
            capabilities,
            rules,
            book,
            calendar: Arc::new(TradingCalendar::utc),
            clock: Arc::new(Timestamp::now),
        }
    }

    /// Returns the venue with another trading calendar: day orders expire at the end of their day.
    #[must_use]
    pub fn with_calendar(mut self, calendar: CalendarSource) -> Self {
        self.calendar = calendar;
        self
    }

    /// Returns the venue with fees.
    #[must_use]
    pub fn with_fees(mut self, fees: PaperFees) -> Self {
        self.rules.fees = fees;
        self
    }

    /// Returns the venue with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns what the venue reports of an order that reaches it now.
    ///
    /// # Errors
    /// Why it rejects the order.
    fn first_report(&self, placement: &Placement) -> Result<VenueReport, Reason> {
        match self.rejection_of(&placement.order) {
            Some(reason) => Err(reason),
            None => fills::initial_report(placement, self.rules, &(self.calendar)(), (self.clock)()),
        }
    }

    /// Returns why the venue rejects an order that it cannot execute as ordered. Nothing is translated silently, and an order
    /// of another mode never has a paper effect.
    fn rejection_of(&self, order: &Order) -> Option<Reason> {
        if order.mode != Mode::Paper {
            return Some(fills::rejection(format!(
                "a paper venue accepts no {} orders",
                order.mode
            )));
        }
        if !self.capabilities.venues.contains(&order.venue) {
            return Some(fills::rejection(format!(
                "{} is not a venue of this broker",
                order.venue
            )));
        }
        if !self.capabilities.times_in_force.contains(&order.time_in_force) {
            return Some(fills::rejection(format!(
                "the venue does not support {} orders",
                order.time_in_force
            )));
        }
        None
    }
}

impl<B: PaperBook> BrokerAdapter for PaperVenue<B> {
    fn capabilities(&self) -> &BrokerCapabilities {
        &self.capabilities
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let placement = placement.into_inner();
        let mut report = match self.first_report(&placement) {
            Ok(report) => report,
            Err(reason) => return PlaceOutcome::Rejected(reason),
        };
        for _ in 0..MAX_ATTEMPTS {
            match self.book.book_placement(&placement, report.clone()).await {
                Ok(booked) => return PlaceOutcome::Acknowledged(VenueAcknowledgement::Booked(booked)),
                // What the position leaves of the fill is filled, and the rest is cancelled.
                Err(BookError::CrossesZero(position)) => {
                    report = fills::cap_report(&placement.order, &report, position, self.rules);
                }
                // An order with an effect was placed by an earlier call; this call does not know its outcome.
                Err(error) => return failed_booking(error, PlaceOutcome::NotSent, PlaceOutcome::OutcomeUnknown),
            }
        }
        PlaceOutcome::NotSent(NotSentReason::Unavailable(TOO_MANY_ATTEMPTS.into()))
    }

    fn plan(
        &self,
        placement: &ApprovedUnderCaps<Placement>,
        position: Option<QuantityUnits>,
    ) -> Option<Result<VenueReport, Reason>> {
        let placement = placement.inner();
        let report = self.first_report(placement);
        Some(match position {
            None => report,
            Some(position) => report.map(|report| fills::cap_report(&placement.order, &report, position, self.rules)),
        })
    }

    async fn cancel(&self, mut order: Order) -> CancelOutcome {
        for _ in 0..MAX_ATTEMPTS {
            if order.is_terminal() {
                return CancelOutcome::AlreadyEnded(order);
            }
            if order.status.is_none() {
                // Its placement may be in flight: a cancel ahead of it would cancel an order that the venue has not
                // seen.
                return CancelOutcome::NotSent(NotSentReason::Unavailable(
                    "the venue does not have the order yet".into(),
                ));
            }
            match self.book.book_effect(&order, fills::cancel_report(&order)).await {
                Ok(booked) => return CancelOutcome::Booked(booked),
                Err(BookError::Superseded(now)) => order = *now,
                Err(BookError::Ended) => return CancelOutcome::AlreadyEnded(order),
                Err(error) => return failed_booking(error, CancelOutcome::NotSent, CancelOutcome::OutcomeUnknown),
            }
        }
        CancelOutcome::OutcomeUnknown(TOO_MANY_ATTEMPTS.into())
    }

    async fn execute_due(&self, mut order: Order) -> DueOutcome {
        let mut position_seen = None;
        for _ in 0..MAX_ATTEMPTS {
            let report = match fills::due_report(&order, self.rules, (self.clock)()) {
                Ok(Some(report)) => report,
                Ok(None) => return DueOutcome::NothingDue,
                Err(error) => return DueOutcome::NotSent(NotSentReason::Unavailable(error.to_string())),
            };
            let report = position_seen.map_or_else(
                || report.clone(),
                |position| fills::cap_report(&order, &report, position, self.rules),
            );
            match self.book.book_effect(&order, report).await {
                Ok(booked) => return DueOutcome::Booked(booked),
                Err(BookError::CrossesZero(position)) => position_seen = Some(position),
                Err(BookError::Superseded(now)) => order = *now,
                Err(BookError::NothingNew | BookError::Ended) => return DueOutcome::NothingDue,
                Err(error) => return failed_booking(error, DueOutcome::NotSent, DueOutcome::OutcomeUnknown),
            }
        }
        DueOutcome::OutcomeUnknown(TOO_MANY_ATTEMPTS.into())
    }

    async fn inquire(&self, _order: Order) -> InquiryOutcome {
        InquiryOutcome::Unanswered("a paper venue needs no inquiry: the store has the order".into())
    }
}

/// Returns the outcome of a booking that failed: not sent if certainly nothing was booked, else unknown.
fn failed_booking<O>(error: BookError, not_sent: fn(NotSentReason) -> O, unknown: fn(String) -> O) -> O {
    match error {
        BookError::DeadlinePassed => not_sent(NotSentReason::DeadlinePassed),
        BookError::Halted => not_sent(NotSentReason::Halted),
        BookError::CrossesZero(_) => not_sent(NotSentReason::Unavailable(TOO_MANY_ATTEMPTS.into())),
        BookError::LeaseLost | BookError::OrderNotFound => not_sent(NotSentReason::LeaseLost),
        BookError::Unavailable(why) => not_sent(NotSentReason::Unavailable(why)),
        BookError::Uncountable(_) => not_sent(NotSentReason::Unavailable(error.to_string())),
        BookError::Superseded(_) | BookError::Ended | BookError::NothingNew | BookError::Unknown(_) => {
            unknown(error.to_string())
        }
    }
}

fn capabilities(
    broker: &str,
    venue: &str,
    prefix: OrderIdPrefix,
    times_in_force: &[TimeInForce],
) -> Result<BrokerCapabilities, IdError> {
    Ok(BrokerCapabilities {
        broker: BrokerId::new(broker)?,
        order_id_prefix: prefix,
        venues: vec![VenueId::new(venue)?],
        times_in_force: times_in_force.to_vec(),
        effects: Effects::InStore,
    })
}

#[cfg(test)]
#[path = "paper/paper_tests.rs"]
mod tests;
