//! The table against the venue's pages, row by row.

use crate::brokers::binance::verdicts::*;

fn error(code: i32) -> VenueError {
    VenueError {
        code,
        msg: "as documented".into(),
    }
}

fn verdicts(status: u16, code: i32) -> Verdicts {
    verdicts_of(status, Some(&error(code)))
}

#[test]
fn every_status_and_code_has_its_documented_verdict() {
    use CancelVerdict as C;
    use Consequence as After;
    use PlaceVerdict as P;
    use QueryVerdict as Q;
    // status, code → placement, cancel, query, consequence
    for (status, code, place, cancel, query, after) in [
        (400, -1013, P::Rejected, C::NotCancelled, Q::Unanswered, After::None),
        (400, -1014, P::Rejected, C::NotCancelled, Q::Unanswered, After::None),
        (400, -1020, P::Rejected, C::NotCancelled, Q::Unanswered, After::None),
        (400, -1100, P::Rejected, C::NotCancelled, Q::Unanswered, After::None),
        (400, -1111, P::Rejected, C::NotCancelled, Q::Unanswered, After::None),
        (400, -1121, P::Rejected, C::NotCancelled, Q::Unanswered, After::None),
        (400, -2010, P::Rejected, C::OutcomeUnknown, Q::Unanswered, After::None),
        (
            400,
            -1021,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::SynchronizeClock,
        ),
        (
            429,
            -1015,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::StopOrders,
        ),
        (
            429,
            -1003,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::StopRequests,
        ),
        (
            418,
            -1003,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::StopRequests,
        ),
        (
            400,
            -1022,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::LockCredentials,
        ),
        (
            401,
            -2014,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::LockCredentials,
        ),
        (
            401,
            -2015,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::LockCredentials,
        ),
        (
            401,
            -1002,
            P::NotPlaced,
            C::NotCancelled,
            Q::Unanswered,
            After::LockCredentials,
        ),
        (400, -2011, P::OutcomeUnknown, C::QueryOrder, Q::Unanswered, After::None),
        (400, -2039, P::OutcomeUnknown, C::QueryOrder, Q::Unanswered, After::None),
        (400, -2013, P::OutcomeUnknown, C::QueryOrder, Q::NotFound, After::None),
        (400, -2026, P::OutcomeUnknown, C::QueryOrder, Q::Archived, After::None),
        (
            409,
            -2021,
            P::OutcomeUnknown,
            C::OutcomeUnknown,
            Q::Unanswered,
            After::None,
        ),
        (
            400,
            -2022,
            P::OutcomeUnknown,
            C::OutcomeUnknown,
            Q::Unanswered,
            After::None,
        ),
    ] {
        let expected = Verdicts {
            place,
            cancel,
            query,
            consequence: after,
        };
        assert_eq!(verdicts(status, code), expected, "{status} {code}");
    }
}

#[test]
fn codes_of_an_unknown_execution_prove_nothing_under_any_status() {
    for code in [-1000, -1001, -1006, -1007, -1008] {
        for status in 400..=599 {
            let read = verdicts(status, code);
            assert_eq!(read.place, PlaceVerdict::OutcomeUnknown, "{status} {code}");
            assert_eq!(read.cancel, CancelVerdict::OutcomeUnknown, "{status} {code}");
            assert_eq!(read.query, QueryVerdict::Unanswered, "{status} {code}");
        }
    }
}

#[test]
fn a_5xx_proves_nothing_whatever_its_body_says() {
    for status in 500..=599 {
        for (code, ..) in ERROR_CODES {
            assert_eq!(verdicts(status, *code), UNKNOWN, "{status} {code}");
        }
        assert_eq!(verdicts_of(status, None), UNKNOWN, "{status}");
    }
}

#[test]
fn only_200_acknowledges_and_only_listed_codes_reject() {
    for status in (100..=999).filter(|status| status % 50 < 5 || (400..=429).contains(status)) {
        for code in (-2_100..=0).chain([i32::MIN, -9_999, i32::MAX]) {
            let read = verdicts(status, code);
            if read.place == PlaceVerdict::Acknowledged {
                assert_eq!(status, 200);
            }
            if read.place == PlaceVerdict::Rejected {
                assert!(error_name(code).is_some(), "{status} {code} is not documented");
                assert!((400..=499).contains(&status), "{status} {code}");
            }
            if read.query == QueryVerdict::NotFound {
                assert!((400..=499).contains(&status) && code == -2013, "{status} {code}");
            }
        }
        if status != 200 {
            let read = verdicts_of(status, None);
            assert!(
                matches!(read.place, PlaceVerdict::OutcomeUnknown | PlaceVerdict::NotPlaced),
                "{status} without an error code"
            );
            assert_eq!(
                read.place == PlaceVerdict::NotPlaced,
                [403, 418, 429].contains(&status),
                "{status}"
            );
            assert_eq!(read.query, QueryVerdict::Unanswered, "{status}");
        }
    }
}

#[test]
fn redirects_and_other_successes_prove_nothing() {
    for status in [201, 202, 204, 301, 302, 307, 308] {
        assert_eq!(verdicts_of(status, None), UNKNOWN, "{status}");
    }
}

#[test]
fn a_duplicate_order_is_an_order_that_is_there() {
    let duplicate = VenueError {
        code: -2010,
        msg: "Duplicate order sent.".into(),
    };
    assert_eq!(verdicts_of(400, Some(&duplicate)).place, PlaceVerdict::OutcomeUnknown);
    let other = VenueError {
        code: -2010,
        msg: "Account has insufficient balance for requested action.".into(),
    };
    assert_eq!(verdicts_of(400, Some(&other)).place, PlaceVerdict::Rejected);
}

#[test]
fn the_rows_are_sorted_and_each_code_has_one() {
    assert!(ERROR_CODES.windows(2).all(|rows| rows[0].0 > rows[1].0));
    assert_eq!(error_name(-2013), Some("NO_SUCH_ORDER"));
    assert_eq!(error_name(-1), None);
}
