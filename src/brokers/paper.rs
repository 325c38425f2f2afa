//! The paper venues. Their book is the store, reached through a port: a worker's death changes nothing in it.

use std::sync::Arc;

use self::fills::{Fees, FillRules};
use super::adapter::{
    Acknowledgement, Adapter, CancelOutcome, Capabilities, DueOutcome, Effects, Inquiry, NotSent, PlaceOutcome,
    Placement,
};
use super::port::{BookError, PaperBook};
use crate::domain::calendar::TradingCalendar;
use crate::domain::id::{BrokerId, BrokerPrefix, IdError, VenueId};
use crate::domain::order::Order;
use crate::domain::reason::Reason;
use crate::domain::terms::{Mode, TimeInForce};
pub use crate::domain::time::Clock;
use crate::domain::time::Timestamp;
use crate::risk::Approved;

pub mod binance;
pub mod fills;
pub mod ibkr;

/// How often an effect is tried anew because another one came first. A paper order has at most three effects in all,
/// so that more tries than this mean a book that does not keep its promise.
pub const MAX_TRIES: usize = 4;

const TOO_MANY_TRIES: &str = "other effects came first more often than an order can have any";

/// A paper venue over its book.
pub struct PaperVenue<B> {
    capabilities: Capabilities,
    rules: FillRules,
    book: Arc<B>,
    calendar: TradingCalendar,
    clock: Clock,
}

impl<B: PaperBook> PaperVenue<B> {
    /// Returns the venue, with this machine's clock and the days of UTC.
    pub fn new(capabilities: Capabilities, rules: FillRules, book: Arc<B>) -> Self {
        Self {
            capabilities,
            rules,
            book,
            calendar: TradingCalendar::utc(),
            clock: Arc::new(Timestamp::now),
        }
    }

    /// Returns the venue with other days: orders of the day expire at their end.
    #[must_use]
    pub fn with_calendar(mut self, calendar: TradingCalendar) -> Self {
        self.calendar = calendar;
        self
    }

    /// Returns the venue with what it charges.
    #[must_use]
    pub fn with_fees(mut self, fees: Fees) -> Self {
        self.rules.fees = fees;
        self
    }

    /// Returns the venue with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns why the venue refuses an order it cannot execute as ordered: nothing is translated silently, and an
    /// order of another mode never has a paper effect.
    fn refusal(&self, order: &Order) -> Option<Reason> {
        if order.mode != Mode::Paper {
            return Some(fills::refusal(format!("a paper venue takes no {} orders", order.mode)));
        }
        if !self.capabilities.venues.contains(&order.venue) {
            return Some(fills::refusal(format!("{} is no venue of this broker", order.venue)));
        }
        if !self.capabilities.times_in_force.contains(&order.time_in_force) {
            return Some(fills::refusal(format!(
                "the venue does not take {} orders",
                order.time_in_force
            )));
        }
        None
    }
}

impl<B: PaperBook> Adapter for PaperVenue<B> {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let placement = placement.into_inner();
        if let Some(reason) = self.refusal(&placement.order) {
            return PlaceOutcome::Rejected(reason);
        }
        let report = match fills::first(&placement, self.rules, &self.calendar, (self.clock)()) {
            Ok(report) => report,
            Err(reason) => return PlaceOutcome::Rejected(reason),
        };
        match self.book.place(&placement, report).await {
            Ok(booked) => PlaceOutcome::Acknowledged(Acknowledgement::Booked(booked)),
            // An order that has an effect already was placed by an earlier call: this one cannot tell what came of it.
            Err(error) => match failure(error) {
                Failure::NotSent(why) => PlaceOutcome::NotSent(why),
                Failure::Unknown(why) => PlaceOutcome::OutcomeUnknown(why),
            },
        }
    }

    async fn cancel(&self, mut order: Order) -> CancelOutcome {
        for _ in 0..MAX_TRIES {
            if order.is_ended() {
                return CancelOutcome::Closed(order);
            }
            if order.status.is_none() {
                // Its placement may be on the way: a cancel that overtook it would be told of an order the venue
                // has not seen.
                return CancelOutcome::NotSent(NotSent::Unavailable("the venue does not have the order yet".into()));
            }
            match self.book.amend(&order, fills::cancelled(&order)).await {
                Ok(booked) => return CancelOutcome::Booked(booked),
                Err(BookError::Superseded(now)) => order = *now,
                Err(BookError::Ended) => return CancelOutcome::Closed(order),
                Err(error) => {
                    return match failure(error) {
                        Failure::NotSent(why) => CancelOutcome::NotSent(why),
                        Failure::Unknown(why) => CancelOutcome::OutcomeUnknown(why),
                    };
                }
            }
        }
        CancelOutcome::OutcomeUnknown(TOO_MANY_TRIES.into())
    }

    async fn due(&self, mut order: Order) -> DueOutcome {
        for _ in 0..MAX_TRIES {
            let report = match fills::due(&order, self.rules, (self.clock)()) {
                Ok(Some(report)) => report,
                Ok(None) => return DueOutcome::NothingDue,
                Err(error) => return DueOutcome::NotSent(NotSent::Unavailable(error.to_string())),
            };
            match self.book.amend(&order, report).await {
                Ok(booked) => return DueOutcome::Booked(booked),
                Err(BookError::Superseded(now)) => order = *now,
                Err(BookError::NothingNew | BookError::Ended) => return DueOutcome::NothingDue,
                Err(error) => {
                    return match failure(error) {
                        Failure::NotSent(why) => DueOutcome::NotSent(why),
                        Failure::Unknown(why) => DueOutcome::OutcomeUnknown(why),
                    };
                }
            }
        }
        DueOutcome::OutcomeUnknown(TOO_MANY_TRIES.into())
    }

    async fn inquire(&self, _order: Order) -> Inquiry {
        Inquiry::Unanswered("a paper venue's word is the store".into())
    }
}

/// What a book's error says of the effect.
enum Failure {
    NotSent(NotSent),
    Unknown(String),
}

fn failure(error: BookError) -> Failure {
    match error {
        BookError::Expired => Failure::NotSent(NotSent::Expired),
        BookError::Halted => Failure::NotSent(NotSent::Halted),
        BookError::LeaseLost | BookError::Missing => Failure::NotSent(NotSent::LeaseLost),
        BookError::Unavailable(why) => Failure::NotSent(NotSent::Unavailable(why)),
        BookError::Superseded(_) | BookError::Ended | BookError::NothingNew | BookError::Unknown(_) => {
            Failure::Unknown(error.to_string())
        }
    }
}

fn capabilities(
    broker: &str,
    venue: &str,
    prefix: BrokerPrefix,
    times_in_force: &[TimeInForce],
) -> Result<Capabilities, IdError> {
    Ok(Capabilities {
        broker: BrokerId::new(broker)?,
        prefix,
        venues: vec![VenueId::new(venue)?],
        times_in_force: times_in_force.to_vec(),
        effects: Effects::InStore,
    })
}

#[cfg(test)]
#[path = "paper/paper_tests.rs"]
mod tests;
