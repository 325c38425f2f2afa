use std::sync::Arc;

use super::*;
use crate::brokers::adapter::{CancelOutcome, DueOutcome, Inquiry, NotSent, PlaceOutcome};
use crate::brokers::memory_book::{Breakage, MemoryBook, Promise, make};
use crate::brokers::paper::{PaperVenue, binance, ibkr};
use crate::brokers::port::{BookError, PaperBook};
use crate::config::brokers::{PaperIbkrSettings, RestFill};
use crate::domain::execution::{VenueReport, VenueState};
use crate::domain::id::LeaseToken;
use crate::risk::approved::unchecked;

const NOON: &str = "2026-03-02T12:00:00Z";

/// Every case of the suite.
const ALL: &[&str] = &[
    "P01", "P02", "P03", "P04", "P05", "P06", "P07", "S01", "S02", "S03", "S04", "S05", "S06", "C01", "C02", "C03",
    "C04", "C05", "C06", "C07", "D01", "D02", "D03", "D04", "D05", "D06", "D07",
];

/// What a faulty adapter gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    LostAnswerIsARefusal,
    LostAnswerIsNotSent,
    RepeatIsNotSent,
    ClosedIsCancelled,
    UnreachableIsUnknown,
    DueForgetsItsAnswer,
    CancelGivesUp,
    TakesEveryTimeInForce,
}

/// A paper venue, with a flaw where one is wanted.
struct Flawed {
    venue: PaperVenue<MemoryBook>,
    flaw: Flaw,
}

impl Adapter for Flawed {
    fn capabilities(&self) -> &Capabilities {
        self.venue.capabilities()
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let mut placement = placement.into_inner();
        if self.flaw == Flaw::TakesEveryTimeInForce && !takes(self.capabilities(), placement.order.time_in_force) {
            placement.order.time_in_force = TimeInForce::Gtc;
        }
        match (self.flaw, self.venue.place(unchecked(placement)).await) {
            (Flaw::LostAnswerIsARefusal, PlaceOutcome::OutcomeUnknown(why)) if is_lost(&why) => {
                PlaceOutcome::Rejected(crate::brokers::paper::fills::refusal(why))
            }
            (Flaw::LostAnswerIsNotSent, PlaceOutcome::OutcomeUnknown(why)) if is_lost(&why) => {
                PlaceOutcome::NotSent(NotSent::Unavailable(why))
            }
            (Flaw::RepeatIsNotSent, PlaceOutcome::OutcomeUnknown(why)) if !is_lost(&why) => {
                PlaceOutcome::NotSent(NotSent::LeaseLost)
            }
            (Flaw::UnreachableIsUnknown, PlaceOutcome::NotSent(NotSent::Unavailable(why))) => {
                PlaceOutcome::OutcomeUnknown(why)
            }
            (_, outcome) => outcome,
        }
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
        match (self.flaw, self.venue.cancel(order).await) {
            (Flaw::ClosedIsCancelled, CancelOutcome::Closed(order)) => {
                CancelOutcome::Reported(crate::brokers::paper::fills::cancelled(&order))
            }
            (Flaw::CancelGivesUp, CancelOutcome::Closed(_)) => CancelOutcome::OutcomeUnknown("closed".into()),
            (_, outcome) => outcome,
        }
    }

    async fn due(&self, order: Order) -> DueOutcome {
        match (self.flaw, self.venue.due(order).await) {
            (Flaw::DueForgetsItsAnswer, DueOutcome::OutcomeUnknown(_)) => DueOutcome::NothingDue,
            (_, outcome) => outcome,
        }
    }

    async fn inquire(&self, order: Order) -> Inquiry {
        self.venue.inquire(order).await
    }
}

fn is_lost(why: &str) -> bool {
    why == BookError::Unknown("the answer was lost".into()).to_string()
}

struct PaperHarness {
    book: Arc<MemoryBook>,
    adapter: Flawed,
}

fn harness(
    flaw: Flaw,
    book: MemoryBook,
    venue: impl FnOnce(Arc<MemoryBook>) -> PaperVenue<MemoryBook>,
) -> PaperHarness {
    let book = Arc::new(book);
    book.set_now(Timestamp::parse(NOON).unwrap());
    let clock = Arc::clone(&book);
    let venue = venue(Arc::clone(&book)).with_clock(Arc::new(move || clock.now()));
    PaperHarness {
        book,
        adapter: Flawed { venue, flaw },
    }
}

impl Harness for PaperHarness {
    type Adapter = Flawed;

    fn adapter(&self) -> &Flawed {
        &self.adapter
    }

    async fn claim(&self, terms: Terms) -> Arranged<Approved<Placement>> {
        let now = self.book.now();
        let amount = format!("{}.{:02}", terms.lots / 100, terms.lots % 100);
        let limit = (terms.order_type == OrderType::Limit).then_some("179.5");
        let mut order = make::order(&amount, limit, terms.time_in_force, now);
        order.side = terms.side;
        order.broker = self.adapter.capabilities().broker.clone();
        order.venue = self.adapter.capabilities().venues[0].clone();
        let mut placement = make::placement(order.clone(), now);
        self.book.claim(order, placement.lease.clone());
        if terms.lease == Lease::Lost {
            placement.lease = LeaseToken("another's".into());
        }
        if terms.deadline == Deadline::Passed {
            placement.deadline = Timestamp::from_milliseconds(now.milliseconds() - 1);
        }
        Ok(unchecked(placement))
    }

    async fn open(&self, terms: Terms) -> Arranged<Order> {
        let placement = self.claim(terms).await?;
        let order_id = placement.get().order.order_id.clone();
        if self.adapter.capabilities().broker.as_str() == ibkr::BROKER {
            self.adapter.venue.place(placement).await;
        } else {
            let acknowledgement = VenueReport {
                broker_order_id: Some("paper-open".into()),
                fills: vec![],
                state: VenueState::Working,
                cumulative_quantity: None,
                due: None,
            };
            let booked = self.book.place(placement.get(), acknowledgement).await;
            booked.map_err(|error| error.to_string())?;
        }
        self.order(&order_id).await
    }

    async fn order(&self, order_id: &OrderId) -> Arranged<Order> {
        self.book.order(order_id).ok_or_else(|| "no such order".into())
    }

    async fn break_next(&self, trouble: Trouble) -> Arranged<()> {
        self.book.break_next(match trouble {
            Trouble::Unreachable => Breakage::Before(BookError::Unavailable("cut off".into())),
            Trouble::AnswerLost => Breakage::After,
        });
        Ok(())
    }

    async fn reach(&self, at: Timestamp) {
        self.book.set_now(at.max(self.book.now()));
    }
}

fn paper_ibkr(flaw: Flaw, settings: &PaperIbkrSettings) -> PaperHarness {
    harness(flaw, MemoryBook::default(), |book| ibkr::venue(book, settings).unwrap())
}

fn paper_binance(flaw: Flaw) -> PaperHarness {
    harness(flaw, MemoryBook::default(), |book| binance::venue(book).unwrap())
}

#[tokio::test]
async fn paper_binance_conforms() {
    let passed = run(async || Ok(paper_binance(Flaw::None))).await.unwrap();
    assert_eq!(passed, ALL);
}

#[tokio::test]
async fn paper_ibkr_conforms_however_it_is_set() {
    let never = RestFill::Never;
    let rest_fill = PaperIbkrSettings::default().rest_fill;
    for (first_fill_percent, rest_fill) in [(95, rest_fill), (95, never), (1, rest_fill), (1, never)] {
        let settings = PaperIbkrSettings {
            first_fill_percent,
            rest_fill,
        };
        let passed = run(async || Ok(paper_ibkr(Flaw::None, &settings))).await;
        assert_eq!(passed.as_deref(), Ok(ALL), "{settings:?}");
    }
}

#[tokio::test]
async fn every_flaw_fails_the_case_that_is_there_for_it() {
    for (flaw, case) in [
        (Flaw::LostAnswerIsARefusal, "S06"),
        (Flaw::LostAnswerIsNotSent, "S06"),
        (Flaw::RepeatIsNotSent, "S01"),
        (Flaw::UnreachableIsUnknown, "S05"),
        (Flaw::ClosedIsCancelled, "C02"),
        (Flaw::CancelGivesUp, "C02"),
        (Flaw::DueForgetsItsAnswer, "D06"),
    ] {
        let failure = run(async || Ok(paper_ibkr(flaw, &PaperIbkrSettings::default()))).await;
        assert_eq!(failure.map_err(|failure| failure.case), Err(case), "{flaw:?}");
    }
    let failure = run(async || Ok(paper_binance(Flaw::TakesEveryTimeInForce))).await;
    assert_eq!(failure.map_err(|failure| failure.case), Err("P02"));
}

#[tokio::test]
async fn a_book_that_breaks_one_promise_fails_the_case_that_is_there_for_it() {
    let settings = PaperIbkrSettings::default();
    for (promise, case) in [
        (Promise::Deadline, "S03"),
        (Promise::Lease, "S04"),
        (Promise::Version, "C03"),
    ] {
        let book = || MemoryBook::without(Some(promise));
        let failure = run(async || {
            Ok(harness(Flaw::None, book(), |book| {
                ibkr::venue(book, &settings).unwrap()
            }))
        })
        .await;
        assert_eq!(failure.map_err(|failure| failure.case), Err(case), "{promise:?}");
    }
}

#[test]
fn the_numbers_of_the_cases_are_unique_and_in_order() {
    let numbers: Vec<_> = cases::<PaperHarness>().map(|case| case.id).collect();
    assert_eq!(numbers, ALL);
}
