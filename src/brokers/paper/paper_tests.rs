use crate::brokers::memory_book::fixtures::{order, placement};
use crate::brokers::memory_book::{BookFault, MemoryBook};
use crate::brokers::paper::*;
use crate::config::brokers::PaperIbkrSettings;
use crate::domain::order_terms::{OrderStatus, Side};
use crate::domain::quantity::{QuantityUnits, from_quantity_units};
use crate::domain::reason::ReasonCode;
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

/// Returns a book at noon with a position (1e-8), a venue that fills a share at once, and a claimed order of 10 that only
/// reduces.
fn reducing_order(
    side: Side,
    position: QuantityUnits,
    (first_fill_percent, time_in_force): (u8, TimeInForce),
) -> (Arc<MemoryBook>, PaperVenue<MemoryBook>, Placement) {
    let (book, _, mut placement) = claimed_order(time_in_force);
    placement.order.side = side;
    placement.order.reduce_only = true;
    book.claim(placement.order.clone(), placement.lease.clone());
    book.set_position(&placement.order, position);
    let settings = PaperIbkrSettings {
        first_fill_percent,
        ..PaperIbkrSettings::default()
    };
    let clock = Arc::clone(&book);
    let venue = ibkr::venue(Arc::clone(&book), &settings).unwrap();
    (book, venue.with_clock(Arc::new(move || clock.now())), placement)
}

#[tokio::test]
async fn reducing_order_never_takes_a_position_through_zero() {
    use TimeInForce::{Fok, Gtc};
    const LOT: QuantityUnits = 1_000_000;
    // side, position in lots of 0.01, (filled at once, time in force) → filled in lots, position after it
    for (side, position, terms, filled, after) in [
        (Side::Sell, 1_000, (95, Gtc), 1_000, 0),
        (Side::Buy, -1_000, (95, Gtc), 1_000, 0),
        // The first fill fits, and the remainder does not.
        (Side::Sell, 970, (95, Gtc), 970, 0),
        (Side::Buy, -970, (95, Gtc), 970, 0),
        (Side::Sell, 950, (95, Gtc), 950, 0),
        (Side::Sell, 400, (95, Gtc), 400, 0),
        (Side::Buy, -400, (100, Gtc), 400, 0),
        (Side::Sell, 0, (95, Gtc), 0, 0),
        (Side::Sell, -300, (95, Gtc), 0, -300),
        (Side::Buy, 300, (95, Gtc), 0, 300),
        (Side::Sell, 400, (100, Fok), 0, 400),
        (Side::Sell, 1_200, (100, Fok), 1_000, 200),
    ] {
        let row = format!("{side} {position} {terms:?}");
        let (book, venue, placement) = reducing_order(side, position * LOT, terms);
        let order_id = placement.order.order_id.clone();
        let outcome = venue.place(approve_unchecked(placement)).await;
        assert!(matches!(outcome, PlaceOutcome::Acknowledged(_)), "{row}: {outcome:?}");
        let mut order = book.order(&order_id).unwrap();
        if let Some(due) = order.due {
            book.set_now(due.at);
            let outcome = venue.execute_due(order).await;
            assert!(matches!(outcome, DueOutcome::Booked(_)), "{row}: {outcome:?}");
            order = book.order(&order_id).unwrap();
        }
        assert_eq!(order.filled_quantity, from_quantity_units(filled * LOT), "{row}");
        assert_eq!(book.position(&order), after * LOT, "{row}");
        let reason = order.reason.as_ref().map(|reason| reason.code);
        if filled == 1_000 {
            assert_eq!((order.status, reason), (Some(OrderStatus::Filled), None), "{row}");
        } else {
            let cancelled = (Some(OrderStatus::Cancelled), Some(ReasonCode::ReduceOnly));
            assert_eq!((order.status, reason), cancelled, "{row}");
        }
        assert_eq!(order.reservation.reserved, 0, "{row}");
    }
}

#[tokio::test]
async fn fill_is_capped_at_the_position_of_the_last_attempt_and_a_bounded_number_of_times() {
    let moved = BookFault::FailBeforeBooking(BookError::CrossesZero(700_000_000));
    for attempts in 1..MAX_ATTEMPTS {
        let (book, venue, placement) = reducing_order(Side::Sell, 300_000_000, (100, TimeInForce::Gtc));
        (1..attempts).for_each(|_| book.inject_fault(moved.clone()));
        let outcome = venue.place(approve_unchecked(placement.clone())).await;
        assert!(
            matches!(outcome, PlaceOutcome::Acknowledged(_)),
            "{attempts}: {outcome:?}"
        );
        assert_eq!(book.position(&placement.order), 0, "{attempts}");
    }
    let (book, venue, placement) = reducing_order(Side::Sell, 300_000_000, (100, TimeInForce::Gtc));
    (0..MAX_ATTEMPTS).for_each(|_| book.inject_fault(moved.clone()));
    let outcome = venue.place(approve_unchecked(placement)).await;
    assert!(
        matches!(outcome, PlaceOutcome::NotSent(NotSentReason::Unavailable(_))),
        "{outcome:?}"
    );
    assert_eq!(book.booking_count(), 0);
}
