//! The laws of outcomes: what an adapter may report of a venue outside the store, whatever the venue does. Pure: each compares
//! a report with what the venue holds.
//!
//! An unknown outcome breaks no law. Every other one is a claim, and the venue's own orders and executions decide whether it
//! is true.

use std::collections::BTreeSet;

use crate::brokers::adapter::{CancelOutcome, InquiryOutcome, PlaceOutcome, ReplaceCallOutcome, VenueAcknowledgement};
use crate::brokers::conformance::assertions::{apply_report, check_quantities, ensure};
use crate::brokers::conformance::held_leg::{HeldLeg, HeldState};
use crate::brokers::conformance::{CaseVerdict, HarnessResult, unexpected_outcome};
use crate::domain::decimal::Decimal;
use crate::domain::leg::LegNumber;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderStatus, OrderType};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::replace::ReplaceState;
use crate::domain::venue_report::Fill;

/// Checks the outcome of a placement, and returns the order after it.
pub(super) fn check_placed(claimed: &Order, outcome: &PlaceOutcome, held: &[HeldLeg]) -> HarnessResult<Order> {
    check_held_once(claimed, held)?;
    match outcome {
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) => {
            let placed = apply_report(claimed, report)?;
            check_quantities(&placed)?;
            check_claims(&placed, held)?;
            Ok(placed)
        }
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Booked(_)) => {
            unexpected_outcome("a report of a venue outside the store", outcome)
        }
        PlaceOutcome::Rejected(_) | PlaceOutcome::NotSent(_) => {
            check_not_held(held).map_err(|detail| format!("{outcome:?}, but {detail}"))?;
            Ok(claimed.clone())
        }
        PlaceOutcome::OutcomeUnknown(_) => Ok(claimed.clone()),
    }
}

/// Checks the outcome of a repeated placement of an order that was acknowledged, or may have been sent: "rejected" and "not
/// sent" would release what an open order reserves.
pub(super) fn check_placed_again(order: &Order, outcome: &PlaceOutcome, held: &[HeldLeg]) -> CaseVerdict {
    check_held_once(order, held)?;
    match outcome {
        PlaceOutcome::Acknowledged(_) | PlaceOutcome::OutcomeUnknown(_) => Ok(()),
        other => unexpected_outcome("an acknowledgement or unknown from a repeated placement", other),
    }
}

/// Checks the outcome of a cancel, and returns the order after it. `was_asked` says whether an earlier cancel may have taken
/// effect.
pub(super) fn check_cancelled(
    order: &Order,
    outcome: &CancelOutcome,
    held: &[HeldLeg],
    was_asked: bool,
) -> HarnessResult<Order> {
    check_held_once(order, held)?;
    match outcome {
        CancelOutcome::Reported(report) => {
            let after = apply_report(order, report)?;
            ensure(after.status == Some(OrderStatus::Cancelled), || {
                format!("the cancel was acknowledged, but the order is {:?}", after.status)
            })?;
            check_quantities(&after)?;
            check_claims(&after, held)?;
            Ok(after)
        }
        CancelOutcome::AlreadyEnded(after) => {
            ensure(after.is_terminal(), || "an open order was reported as ended".into())?;
            check_quantities(after)?;
            check_claims(after, held)?;
            Ok(after.clone())
        }
        CancelOutcome::NotSent(_) => {
            let is_cancelled = held.iter().any(|leg| leg.state == HeldState::Ended);
            ensure(was_asked || order.is_terminal() || !is_cancelled, || {
                format!("{outcome:?}, but the venue cancelled the order: {held:?}")
            })?;
            Ok(order.clone())
        }
        CancelOutcome::OutcomeUnknown(_) => Ok(order.clone()),
        CancelOutcome::Booked(_) => unexpected_outcome("a report of a venue outside the store", outcome),
    }
}

/// Checks the outcome of a step of a replace, and returns the order after it.
pub(super) fn check_replaced(pending: &Order, outcome: &ReplaceCallOutcome, held: &[HeldLeg]) -> HarnessResult<Order> {
    check_held_once(pending, held)?;
    match outcome {
        ReplaceCallOutcome::Reported(reports) => {
            let after = reports
                .iter()
                .try_fold(pending.clone(), |order, report| apply_report(&order, report))?;
            check_claims(&after, held)?;
            Ok(after)
        }
        ReplaceCallOutcome::NotSent(_) => {
            let leg = pending.open_replace().map(|replace| replace.leg);
            ensure(held.iter().all(|held| Some(held.leg) != leg), || {
                format!("{outcome:?}, but the venue has the new leg: {held:?}")
            })?;
            Ok(pending.clone())
        }
        ReplaceCallOutcome::OutcomeUnknown(_) => Ok(pending.clone()),
    }
}

/// Checks the reply to an inquiry, and returns the order after it. That the venue finds nothing claims nothing yet.
pub(super) fn check_inquired(order: &Order, outcome: &InquiryOutcome, held: &[HeldLeg]) -> HarnessResult<Order> {
    check_held_once(order, held)?;
    let InquiryOutcome::Reported(report) = outcome else {
        return Ok(order.clone());
    };
    // A report without news leaves the order as it is.
    let after = apply_report(order, report).unwrap_or_else(|_| order.clone());
    check_claims(&after, held)?;
    Ok(after)
}

/// Checks that the venue has each leg of an order at most once, at most one of them open, and no more executions than the
/// order has quantity.
pub(super) fn check_held_once(order: &Order, held: &[HeldLeg]) -> CaseVerdict {
    let legs: BTreeSet<LegNumber> = held.iter().map(|leg| leg.leg).collect();
    ensure(legs.len() == held.len(), || {
        format!("the venue has a leg of the order twice: {held:?}")
    })?;
    let open = held.iter().filter(|leg| leg.state == HeldState::Open);
    ensure(open.count() <= 1, || {
        format!("the venue has two legs of the order open: {held:?}")
    })?;
    let executions = || held.iter().flat_map(|leg| &leg.executions);
    let executed = executions().try_fold(Decimal::ZERO, |sum, one| sum.checked_add(one.quantity.decimal()));
    let replaces = order.legs.iter().flat_map(|legs| &legs.replaces);
    let largest = replaces
        .map(|replace| replace.quantity)
        .fold(order.quantity, Quantity::max);
    ensure(executed.is_some_and(|executed| executed <= largest.decimal()), || {
        format!("the venue executed {executed:?} of {largest}: {held:?}")
    })
}

/// Checks that the venue holds nothing of an order: no open leg, and no execution.
pub(super) fn check_not_held(held: &[HeldLeg]) -> CaseVerdict {
    let is_held = |leg: &HeldLeg| leg.state == HeldState::Open || !leg.executions.is_empty();
    ensure(!held.iter().any(is_held), || {
        format!("the venue has the order: {held:?}")
    })
}

/// Checks that everything an order says of its venue is true there. The venue may have more: what it has done since.
pub(super) fn check_claims(order: &Order, held: &[HeldLeg]) -> CaseVerdict {
    let executions = || held.iter().flat_map(|leg| &leg.executions);
    let is_executed = |fill: &&Fill| {
        executions().any(|one| (&one.exec_id, one.quantity, one.price) == (&fill.exec_id, fill.quantity, fill.price))
    };
    let untrue = order.fills.iter().find(|fill| !is_executed(fill));
    ensure(untrue.is_none(), || {
        format!("the venue has no execution {untrue:?}: {held:?}")
    })?;
    let is_open = held.iter().any(|leg| leg.state == HeldState::Open);
    ensure(!(order.is_terminal() && is_open), || {
        format!("the order is {:?}, and the venue has it open: {held:?}", order.status)
    })?;
    if let Some(replace) = order.latest_replace() {
        let has_new_leg = held.iter().any(|leg| leg.leg == replace.leg);
        let is_claim_true = match replace.state {
            ReplaceState::Done => has_new_leg,
            ReplaceState::NotReplaced | ReplaceState::CancelledNotPlaced => !has_new_leg,
            ReplaceState::Pending | ReplaceState::Unknown => replace.ended_leg.is_none() || has_new_leg || !is_open,
        };
        ensure(is_claim_true, || {
            format!("the replace is {:?}, and the venue has {held:?}", replace.state)
        })?;
    }
    match order.status {
        Some(OrderStatus::Accepted | OrderStatus::PartiallyFilled | OrderStatus::Filled) => check_terms(order, held),
        _ => Ok(()),
    }
}

/// Checks that the venue has the working leg of an order, with the order's own terms.
fn check_terms(order: &Order, held: &[HeldLeg]) -> CaseVerdict {
    let working = held.iter().find(|leg| leg.leg == order.working_leg());
    let holds = working.is_some_and(|leg| {
        let terms = (leg.side, leg.order_type, leg.price, leg.quantity);
        let own: (_, _, Option<Price>, _) = (order.side, order.order_type, order.price, order.leg_quantity());
        let has_time_in_force = order.order_type == OrderType::Market || leg.time_in_force == order.time_in_force;
        has_time_in_force && (terms.0, terms.1, terms.2, Some(terms.3)) == own
    });
    ensure(holds, || {
        let (side, price, quantity) = (order.side, order.price, order.quantity);
        format!("the order is {side} {quantity} at {price:?}, and the venue has {held:?}")
    })
}

/// Checks that an order and its venue agree: the same executions, and open or ended on both sides.
pub(super) fn check_agreement(order: &Order, held: &[HeldLeg]) -> CaseVerdict {
    check_claims(order, held)?;
    let booked: BTreeSet<&str> = order.fills.iter().map(|fill| fill.exec_id.as_str()).collect();
    let executed = executions_of(held);
    ensure(booked == executed, || {
        format!("the order has the executions {booked:?}, the venue has {executed:?}")
    })?;
    ensure(order.open_replace().is_none(), || {
        "the outcome of the replace is still open".into()
    })?;
    let is_open = held.iter().any(|leg| leg.state == HeldState::Open);
    ensure(is_open != order.is_terminal(), || {
        format!("the order is {:?}, and the venue has {held:?}", order.status)
    })
}

fn executions_of(held: &[HeldLeg]) -> BTreeSet<&str> {
    let executions = held.iter().flat_map(|leg| &leg.executions);
    executions.map(|one| one.exec_id.as_str()).collect()
}

#[cfg(test)]
#[path = "laws_tests.rs"]
mod tests;
