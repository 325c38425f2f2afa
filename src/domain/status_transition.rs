//! The one table of order states: which event leads from which state to which.

use crate::domain::order_terms::OrderStatus;
use crate::domain::order_terms::OrderStatus::{
    Accepted, Cancelled, Expired, Filled, PartiallyFilled, Rejected, Unknown,
};

/// What can happen to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEvent {
    /// The venue has it.
    Acknowledged,
    /// A part was filled and some of it is left.
    PartialFill,
    /// The last of it was filled, or more than was ordered.
    Fill,
    /// The rest was cancelled.
    Cancelled,
    /// The rest ran out of time.
    Expired,
    /// The venue or a risk rule refused it.
    Rejected,
    /// It may have been sent, and the venue has not said what became of it.
    OutcomeUnknown,
}

/// Returns the state after `event`, or `None` where the event changes nothing. `from` is `None` for an order that has
/// been claimed and of which nothing has been told yet.
///
/// The rows follow the state-change matrices of FIX 5.0 SP2, Appendix D.
pub fn next_status(from: Option<OrderStatus>, event: OrderEvent) -> Option<OrderStatus> {
    use OrderEvent as E;
    let to = match (from, event) {
        (None, E::Acknowledged) => Accepted,
        (None, E::PartialFill) => PartiallyFilled,
        (None, E::Fill) => Filled,
        (None, E::Cancelled) => Cancelled,
        (None, E::Expired) => Expired,
        (None, E::Rejected) => Rejected,
        (None, E::OutcomeUnknown) => Unknown,

        (Some(Accepted), E::PartialFill) => PartiallyFilled,
        (Some(Accepted), E::Fill) => Filled,
        (Some(Accepted), E::Cancelled) => Cancelled,
        (Some(Accepted), E::Expired) => Expired,
        // A venue may take an order and refuse it a moment later.
        (Some(Accepted), E::Rejected) => Rejected,

        (Some(PartiallyFilled), E::PartialFill) => PartiallyFilled,
        (Some(PartiallyFilled), E::Fill) => Filled,
        (Some(PartiallyFilled), E::Cancelled) => Cancelled,
        (Some(PartiallyFilled), E::Expired) => Expired,
        // What is filled stays filled: the venue refuses to go on, and the rest is gone.
        (Some(PartiallyFilled), E::Rejected) => Cancelled,

        // Any word of the venue ends the uncertainty.
        (Some(Unknown), E::Acknowledged) => Accepted,
        (Some(Unknown), E::PartialFill) => PartiallyFilled,
        (Some(Unknown), E::Fill) => Filled,
        (Some(Unknown), E::Cancelled) => Cancelled,
        (Some(Unknown), E::Expired) => Expired,
        (Some(Unknown), E::Rejected) => Rejected,

        // Fills may come after the end: they are booked, and the order stays ended.
        (Some(Filled), E::PartialFill | E::Fill) => Filled,
        (Some(Cancelled), E::PartialFill) => Cancelled,
        (Some(Cancelled), E::Fill) => Filled,
        (Some(Expired), E::PartialFill) => Expired,
        (Some(Expired), E::Fill) => Filled,
        // A fill of an order that was taken for refused: the venue's evidence reopens it.
        (Some(Rejected), E::PartialFill) => PartiallyFilled,
        (Some(Rejected), E::Fill) => Filled,

        // A stale acknowledgement, a second end, an end of what has ended: nothing new.
        _ => return None,
    };
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_as_fix_has_it() {
        use OrderEvent as E;
        // from, event, after: the rows of Appendix D that this router can meet.
        let rows: &[(Option<OrderStatus>, OrderEvent, Option<OrderStatus>)] = &[
            (None, E::Acknowledged, Some(Accepted)),                 // D1 new
            (Some(Accepted), E::PartialFill, Some(PartiallyFilled)), // D1 part fill
            (Some(PartiallyFilled), E::Fill, Some(Filled)),          // D1 filled
            (Some(PartiallyFilled), E::Expired, Some(Expired)),      // D2 part-filled day order
            (None, E::Rejected, Some(Rejected)),                     // D4 rejected by the venue
            (Some(Accepted), E::Rejected, Some(Rejected)),           // D5 rejected after new
            (Some(Accepted), E::Cancelled, Some(Cancelled)),         // D6 cancelled
            (Some(PartiallyFilled), E::Cancelled, Some(Cancelled)),  // D7 part-filled, cancelled
            (Some(Filled), E::Cancelled, None),                      // D8 filled before the cancel
            (Some(Filled), E::Acknowledged, None),                   // stale acknowledgement
            (Some(PartiallyFilled), E::Rejected, Some(Cancelled)),   // the rest was refused
            (Some(Cancelled), E::PartialFill, Some(Cancelled)),      // late fill
            (Some(Unknown), E::Acknowledged, Some(Accepted)),        // resolved
            (Some(Accepted), E::OutcomeUnknown, None),               // the venue's word stands
            (Some(Cancelled), E::Cancelled, None),                   // told twice
        ];
        for (from, event, after) in rows {
            assert_eq!(next_status(*from, *event), *after, "{from:?} + {event:?}");
        }
    }

    #[test]
    fn an_ended_order_is_left_only_by_fills() {
        use OrderEvent as E;
        for from in OrderStatus::ALL.iter().filter(|status| status.is_terminal()) {
            for event in [
                E::Acknowledged,
                E::Cancelled,
                E::Expired,
                E::Rejected,
                E::OutcomeUnknown,
            ] {
                assert_eq!(next_status(Some(*from), event), None, "{from:?} + {event:?}");
            }
        }
    }
}
