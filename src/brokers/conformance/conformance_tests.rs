use std::sync::Arc;

use crate::brokers::adapter::{
    CancelOutcome, DueOutcome, InquiryOutcome, NotSentReason, PlaceOutcome, ReplaceCallOutcome,
};
use crate::brokers::conformance::*;
use crate::brokers::memory_book::{BookFault, BookGuarantee, MemoryBook, fixtures};
use crate::brokers::paper::{PaperVenue, binance, ibkr};
use crate::brokers::port::{BookError, PaperBook};
use crate::config::brokers::{PaperIbkrSettings, RestFill};
use crate::domain::id::LeaseToken;
use crate::domain::quantity::QuantityUnits;
use crate::domain::reason::Reason;
use crate::domain::replace::LegWord;
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::risk::approved::{approve_unchecked, approve_under_caps_unchecked};

const NOON: &str = "2026-03-02T12:00:00Z";

/// Every case of the suite.
const ALL_CASES: &[&str] = &[
    "P01", "P02", "P03", "P04", "P05", "P06", "P07", "S01", "S02", "S03", "S04", "S05", "S06", "C01", "C02", "C03",
    "C04", "C05", "C06", "C07", "D01", "D02", "D03", "D04", "D05", "D06", "D07", "R01", "R02",
];
/// The cases of a venue outside the store.
const VENUE_CASES: &[&str] = &["R03", "R04", "R05", "R06", "R07", "R08", "R09"];

/// A fault in an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AdapterFlaw {
    None,
    LostReplyIsRejected,
    LostReplyIsNotSent,
    RepeatIsNotSent,
    ClosedIsCancelled,
    UnreachableIsUnknown,
    DueDropsUnknown,
    ClosedIsUnknown,
    AcceptsEveryTimeInForce,
    PlansNothing,
    CancelsForReplace,
}

/// A paper venue, with a flaw if one is given.
struct FlawedAdapter {
    venue: PaperVenue<MemoryBook>,
    flaw: AdapterFlaw,
}

impl BrokerAdapter for FlawedAdapter {
    fn capabilities(&self) -> &BrokerCapabilities {
        self.venue.capabilities()
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let mut placement = placement.into_inner();
        if self.flaw == AdapterFlaw::AcceptsEveryTimeInForce
            && !supports_time_in_force(self.capabilities(), placement.order.time_in_force)
        {
            placement.order.time_in_force = TimeInForce::Gtc;
        }
        match (self.flaw, self.venue.place(approve_unchecked(placement)).await) {
            (AdapterFlaw::LostReplyIsRejected, PlaceOutcome::OutcomeUnknown(why)) if is_reply_lost(&why) => {
                PlaceOutcome::Rejected(crate::brokers::paper::fills::rejection(why))
            }
            (AdapterFlaw::LostReplyIsNotSent, PlaceOutcome::OutcomeUnknown(why)) if is_reply_lost(&why) => {
                PlaceOutcome::NotSent(NotSentReason::Unavailable(why))
            }
            (AdapterFlaw::RepeatIsNotSent, PlaceOutcome::OutcomeUnknown(why)) if !is_reply_lost(&why) => {
                PlaceOutcome::NotSent(NotSentReason::LeaseLost)
            }
            (
                AdapterFlaw::UnreachableIsUnknown,
                PlaceOutcome::NotSent(NotSentReason::NotAccepted(why) | NotSentReason::Unavailable(why)),
            ) => PlaceOutcome::OutcomeUnknown(why),
            (_, outcome) => outcome,
        }
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
        match (self.flaw, self.venue.cancel(order).await) {
            (AdapterFlaw::ClosedIsCancelled, CancelOutcome::AlreadyEnded(order)) => {
                CancelOutcome::Reported(crate::brokers::paper::fills::cancel_report(&order))
            }
            (AdapterFlaw::ClosedIsUnknown, CancelOutcome::AlreadyEnded(_)) => {
                CancelOutcome::OutcomeUnknown("closed".into())
            }
            (_, outcome) => outcome,
        }
    }

    fn plan(
        &self,
        placement: &ApprovedUnderCaps<Placement>,
        position: Option<QuantityUnits>,
    ) -> Option<Result<VenueReport, Reason>> {
        let planned = self.venue.plan(placement, position);
        planned.filter(|_| self.flaw != AdapterFlaw::PlansNothing)
    }

    async fn replace(&self, order: Order) -> ReplaceCallOutcome {
        if self.flaw == AdapterFlaw::CancelsForReplace {
            self.venue.cancel(order.clone()).await;
        }
        self.venue.replace(order).await
    }

    async fn execute_due(&self, order: Order) -> DueOutcome {
        match (self.flaw, self.venue.execute_due(order).await) {
            (AdapterFlaw::DueDropsUnknown, DueOutcome::OutcomeUnknown(_)) => DueOutcome::NothingDue,
            (_, outcome) => outcome,
        }
    }

    async fn inquire(&self, order: Order) -> InquiryOutcome {
        self.venue.inquire(order).await
    }
}

fn is_reply_lost(why: &str) -> bool {
    why == BookError::Unknown("the reply was lost".into()).to_string()
}

struct PaperHarness {
    book: Arc<MemoryBook>,
    adapter: FlawedAdapter,
}

fn paper_harness(
    flaw: AdapterFlaw,
    book: MemoryBook,
    venue: impl FnOnce(Arc<MemoryBook>) -> PaperVenue<MemoryBook>,
) -> PaperHarness {
    let book = Arc::new(book);
    book.set_now(Timestamp::parse(NOON).unwrap());
    let clock = Arc::clone(&book);
    let venue = venue(Arc::clone(&book)).with_clock(Arc::new(move || clock.now()));
    PaperHarness {
        book,
        adapter: FlawedAdapter { venue, flaw },
    }
}

impl ConformanceHarness for PaperHarness {
    type Adapter = FlawedAdapter;

    fn adapter(&self) -> &FlawedAdapter {
        &self.adapter
    }

    async fn claim_order(&self, terms: CaseTerms) -> HarnessResult<Approved<Placement>> {
        let now = self.book.now();
        let amount = format!("{}.{:02}", terms.lots / 100, terms.lots % 100);
        let limit = (terms.order_type == OrderType::Limit).then_some("179.5");
        let mut order = fixtures::order(&amount, limit, terms.time_in_force, now);
        order.side = terms.side;
        order.broker = self.adapter.capabilities().broker.clone();
        order.venue = self.adapter.capabilities().venues[0].clone();
        let mut placement = fixtures::placement(order.clone(), now);
        self.book.claim(order, placement.lease.clone());
        if terms.lease == PlacementLease::Lost {
            placement.lease = LeaseToken("another's".into());
        }
        if terms.deadline == PlacementDeadline::Passed {
            placement.deadline = Timestamp::from_milliseconds(now.as_milliseconds() - 1);
        }
        Ok(approve_unchecked(placement))
    }

    async fn open_order(&self, terms: CaseTerms) -> HarnessResult<Order> {
        let placement = self.claim_order(terms).await?;
        let order_id = placement.inner().order.order_id.clone();
        if self.adapter.capabilities().broker.as_str() == ibkr::BROKER {
            self.adapter.venue.place(placement).await;
        } else {
            let acknowledgement = VenueReport {
                broker_order_id: Some("paper-open".into()),
                fills: vec![],
                state: VenueOrderState::Working,
                cumulative_quantity: None,
                legs: LegWord::default(),
                due: None,
            };
            let booked = self.book.book_placement(placement.inner(), acknowledgement).await;
            booked.map_err(|error| error.to_string())?;
        }
        self.read_order(&order_id).await
    }

    async fn read_order(&self, order_id: &OrderId) -> HarnessResult<Order> {
        self.book.order(order_id).ok_or_else(|| "no such order".into())
    }

    async fn inject_fault(&self, fault: VenueFault) -> HarnessResult<()> {
        self.book.inject_fault(match fault {
            VenueFault::Unreachable => BookFault::FailBeforeBooking(BookError::Unavailable("cut off".into())),
            VenueFault::ReplyLost => BookFault::LoseReply,
        });
        Ok(())
    }

    async fn approve_terms(&self, order: &Order, terms: &ReplaceTerms) -> HarnessResult<ApprovedUnderCaps<Placement>> {
        let order = order.under_terms(terms).map_err(|error| error.to_string())?;
        Ok(approve_under_caps_unchecked(fixtures::placement(
            order,
            self.book.now(),
        )))
    }

    async fn open_legs(&self, _: &OrderId) -> HarnessResult<Vec<VenueLeg>> {
        Err("the venue has its book in the store".into())
    }

    async fn advance_clock_to(&self, at: Timestamp) {
        self.book.set_now(at.max(self.book.now()));
    }
}

fn paper_ibkr(flaw: AdapterFlaw, settings: &PaperIbkrSettings) -> PaperHarness {
    paper_harness(flaw, MemoryBook::default(), |book| ibkr::venue(book, settings).unwrap())
}

fn paper_binance(flaw: AdapterFlaw) -> PaperHarness {
    paper_harness(flaw, MemoryBook::default(), |book| binance::venue(book).unwrap())
}

#[tokio::test]
async fn paper_binance_conforms() {
    let passed = run_suite(async || Ok(paper_binance(AdapterFlaw::None))).await.unwrap();
    assert_eq!(passed, ALL_CASES);
}

#[tokio::test]
async fn paper_ibkr_conforms_with_any_settings() {
    let never = RestFill::Never;
    let rest_fill = PaperIbkrSettings::default().rest_fill;
    for (first_fill_percent, rest_fill) in [(95, rest_fill), (95, never), (1, rest_fill), (1, never)] {
        let settings = PaperIbkrSettings {
            first_fill_percent,
            rest_fill,
        };
        let passed = run_suite(async || Ok(paper_ibkr(AdapterFlaw::None, &settings))).await;
        assert_eq!(passed.as_deref(), Ok(ALL_CASES), "{settings:?}");
    }
}

#[tokio::test]
async fn every_flaw_fails_its_case() {
    for (flaw, case) in [
        (AdapterFlaw::LostReplyIsRejected, "S06"),
        (AdapterFlaw::LostReplyIsNotSent, "S06"),
        (AdapterFlaw::RepeatIsNotSent, "S01"),
        (AdapterFlaw::UnreachableIsUnknown, "S05"),
        (AdapterFlaw::ClosedIsCancelled, "C02"),
        (AdapterFlaw::ClosedIsUnknown, "C02"),
        (AdapterFlaw::DueDropsUnknown, "D06"),
        (AdapterFlaw::PlansNothing, "R01"),
        (AdapterFlaw::CancelsForReplace, "R02"),
    ] {
        let failure = run_suite(async || Ok(paper_ibkr(flaw, &PaperIbkrSettings::default()))).await;
        assert_eq!(failure.map_err(|failure| failure.case), Err(case), "{flaw:?}");
    }
    let failure = run_suite(async || Ok(paper_binance(AdapterFlaw::AcceptsEveryTimeInForce))).await;
    assert_eq!(failure.map_err(|failure| failure.case), Err("P02"));
}

#[tokio::test]
async fn book_without_a_guarantee_fails_its_case() {
    let settings = PaperIbkrSettings::default();
    for (guarantee, case) in [
        (BookGuarantee::Deadline, "S03"),
        (BookGuarantee::Lease, "S04"),
        (BookGuarantee::Version, "C03"),
    ] {
        let book = || MemoryBook::without_guarantee(Some(guarantee));
        let failure = run_suite(async || {
            Ok(paper_harness(AdapterFlaw::None, book(), |book| {
                ibkr::venue(book, &settings).unwrap()
            }))
        })
        .await;
        assert_eq!(failure.map_err(|failure| failure.case), Err(case), "{guarantee:?}");
    }
}

#[test]
fn case_numbers_are_unique_and_in_order() {
    let numbers: Vec<_> = cases::<PaperHarness>().map(|case| case.id).collect();
    assert_eq!(numbers, [ALL_CASES, VENUE_CASES].concat());
}
