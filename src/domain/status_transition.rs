//! The transition table of order statuses: one line per legal transition.

use crate::domain::order_terms::OrderStatus;
use crate::domain::order_terms::OrderStatus::{
    Accepted, Cancelled, Expired, Filled, PartiallyFilled, Rejected, Unknown,
};

/// An event of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEvent {
    /// The venue acknowledged the order.
    Acknowledged,
    /// A fill that leaves an open quantity.
    PartialFill,
    /// A fill that completes or exceeds the quantity.
    Fill,
    /// The open quantity was cancelled.
    Cancelled,
    /// The open quantity expired.
    Expired,
    /// The venue rejected the order, or a risk rule denied it.
    Rejected,
    /// The order may have been sent, and its outcome is unknown.
    OutcomeUnknown,
}

/// Returns the status after `event`, or `None` when the event changes nothing. `from` is `None` for a claimed order
/// without a report.
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
        // A venue may acknowledge an order and reject it a moment later (FIX matrix D5).
        (Some(Accepted), E::Rejected) => Rejected,

        (Some(PartiallyFilled), E::PartialFill) => PartiallyFilled,
        (Some(PartiallyFilled), E::Fill) => Filled,
        (Some(PartiallyFilled), E::Cancelled) => Cancelled,
        (Some(PartiallyFilled), E::Expired) => Expired,
        // Fills are final: when the venue rejects the remainder, the order ends as cancelled.
        (Some(PartiallyFilled), E::Rejected) => Cancelled,

        // Any report of the venue resolves an unknown outcome.
        (Some(Unknown), E::Acknowledged) => Accepted,
        (Some(Unknown), E::PartialFill) => PartiallyFilled,
        (Some(Unknown), E::Fill) => Filled,
        (Some(Unknown), E::Cancelled) => Cancelled,
        (Some(Unknown), E::Expired) => Expired,
        (Some(Unknown), E::Rejected) => Rejected,

        // Late fills are booked, and the order stays ended.
        (Some(Filled), E::PartialFill | E::Fill) => Filled,
        (Some(Cancelled), E::PartialFill) => Cancelled,
        (Some(Cancelled), E::Fill) => Filled,
        (Some(Expired), E::PartialFill) => Expired,
        (Some(Expired), E::Fill) => Filled,
        // A fill of an order recorded as rejected: the venue's evidence reopens it.
        (Some(Rejected), E::PartialFill) => PartiallyFilled,
        (Some(Rejected), E::Fill) => Filled,

        // A stale acknowledgement, or a second end: nothing changes.
        _ => return None,
    };
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_follow_the_fix_matrices() {
        use OrderEvent as E;
        // from, event, after: the rows of Appendix D that apply to this router.
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
            (Some(PartiallyFilled), E::Rejected, Some(Cancelled)),   // remainder rejected
            (Some(Cancelled), E::PartialFill, Some(Cancelled)),      // late fill
            (Some(Unknown), E::Acknowledged, Some(Accepted)),        // resolved
            (Some(Accepted), E::OutcomeUnknown, None),               // acknowledged before
            (Some(Cancelled), E::Cancelled, None),                   // repeated
        ];
        for (from, event, after) in rows {
            assert_eq!(next_status(*from, *event), *after, "{from:?} + {event:?}");
        }
    }

    #[test]
    fn only_fills_change_a_terminal_status() {
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
