use crate::brokers::memory_book::fixtures::{order, placement};
use crate::brokers::memory_book::{BookFault, MemoryBook};
use crate::brokers::paper::*;
use crate::config::brokers::PaperIbkrSettings;
use crate::domain::order_terms::OrderStatus;
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::risk::approved::approve_unchecked;

const NOON: &str = "2026-03-02T12:00:00Z";

fn venue(book: &Arc<MemoryBook>) -> PaperVenue<MemoryBook> {
    let clock = Arc::clone(book);
    ibkr::venue(Arc::clone(book), &PaperIbkrSettings::default())
        .unwrap()
        .with_clock(Arc::new(move || clock.now()))
}

/// Returns a book at noon, a venue with it, and a claimed order.
fn claimed_order(time_in_force: TimeInForce) -> (Arc<MemoryBook>, PaperVenue<MemoryBook>, Placement) {
    let book = Arc::new(MemoryBook::default());
    book.set_now(Timestamp::parse(NOON).unwrap());
    let order = order("10", Some("180"), time_in_force, book.now());
    let placement = placement(order.clone(), book.now());
    book.claim(order, placement.lease.clone());
    (Arc::clone(&book), venue(&book), placement)
}

/// Returns the same, with the order placed and most of it filled.
async fn open_order() -> (Arc<MemoryBook>, PaperVenue<MemoryBook>, Order) {
    let (book, venue, placement) = claimed_order(TimeInForce::Gtc);
    let order_id = placement.order.order_id.clone();
    let outcome = venue.place(approve_unchecked(placement)).await;
    assert!(matches!(outcome, PlaceOutcome::Acknowledged(_)), "{outcome:?}");
    let order = book.order(&order_id).unwrap();
    (book, venue, order)
}

/// Returns a report of one more fill: it raises the version and leaves the order open.
fn report_of_another_fill(fill: u8, order: &Order) -> VenueReport {
    let mut report = fills::cancel_report(order);
    report.state = VenueOrderState::Working;
    report.due = order.due;
    let mut trade = order.fills[0].clone();
    trade.exec_id = format!("x-{fill}");
    trade.quantity = crate::brokers::memory_book::fixtures::quantity("0.01");
    report.fills.push(trade);
    report
}

#[tokio::test]
async fn every_book_error_has_its_own_outcome() {
    let lost = PlaceOutcome::NotSent(NotSentReason::LeaseLost);
    for (error, expected) in [
        (
            BookError::DeadlinePassed,
            Some(PlaceOutcome::NotSent(NotSentReason::DeadlinePassed)),
        ),
        (BookError::LeaseLost, Some(lost.clone())),
        (BookError::OrderNotFound, Some(lost)),
        (
            BookError::Unavailable("away".into()),
            Some(PlaceOutcome::NotSent(NotSentReason::Unavailable("away".into()))),
        ),
        (BookError::Unknown("lost".into()), None),
        (BookError::NothingNew, None),
    ] {
        let (book, venue, placement) = claimed_order(TimeInForce::Gtc);
        book.inject_fault(BookFault::FailBeforeBooking(error.clone()));
        let outcome = venue.place(approve_unchecked(placement)).await;
        match expected {
            Some(expected) => assert_eq!(outcome, expected),
            None => assert!(
                matches!(outcome, PlaceOutcome::OutcomeUnknown(_)),
                "{error:?}: {outcome:?}"
            ),
        }
    }
}

#[tokio::test]
async fn booked_effect_is_not_due() {
    let (book, venue, order) = open_order().await;
    book.set_now(order.due.unwrap().at);
    book.inject_fault(BookFault::FailBeforeBooking(BookError::NothingNew));
    assert_eq!(venue.execute_due(order).await, DueOutcome::NothingDue);
}

#[tokio::test]
async fn superseded_effect_is_computed_again_a_bounded_number_of_times() {
    let (book, venue, order) = open_order().await;
    for fill in 1..MAX_ATTEMPTS {
        book.inject_fault(BookFault::BookOtherFirst(report_of_another_fill(
            u8::try_from(fill).unwrap(),
            &order,
        )));
    }
    let outcome = venue.cancel(order).await;
    assert!(
        matches!(&outcome, CancelOutcome::Booked(booked) if booked.order.status == Some(OrderStatus::Cancelled)),
        "{outcome:?}"
    );

    let (book, venue, order) = open_order().await;
    for fill in 0..MAX_ATTEMPTS {
        book.inject_fault(BookFault::BookOtherFirst(report_of_another_fill(
            u8::try_from(fill).unwrap(),
            &order,
        )));
    }
    let outcome = venue.cancel(order.clone()).await;
    assert!(matches!(outcome, CancelOutcome::OutcomeUnknown(_)), "{outcome:?}");
    assert!(!book.order(&order.order_id).unwrap().is_terminal());
}

#[tokio::test]
async fn superseded_remainder_fills_the_current_open_quantity() {
    let (book, venue, order) = open_order().await;
    book.set_now(order.due.unwrap().at);
    book.inject_fault(BookFault::BookOtherFirst(report_of_another_fill(1, &order)));
    let outcome = venue.execute_due(order.clone()).await;
    let DueOutcome::Booked(booked) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(booked.order.filled_quantity, order.quantity.decimal());
}

#[tokio::test]
async fn remainder_fills_in_another_process() {
    let (book, first, order) = open_order().await;
    drop(first);
    book.set_now(order.due.unwrap().at);
    let outcome = venue(&book).execute_due(order).await;
    assert!(
        matches!(&outcome, DueOutcome::Booked(booked) if booked.order.status == Some(OrderStatus::Filled)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn order_of_another_venue_has_no_effect() {
    let (book, venue, placement) = claimed_order(TimeInForce::Gtc);
    let mut live = placement.clone();
    live.order.mode = Mode::Live;
    let mut elsewhere = placement.clone();
    elsewhere.order.venue = VenueId::new("binance.spot").unwrap();
    for misrouted in [live, elsewhere] {
        let outcome = venue.place(approve_unchecked(misrouted)).await;
        assert!(matches!(outcome, PlaceOutcome::Rejected(_)), "{outcome:?}");
    }
    assert_eq!(book.booking_count(), 0);
}
