//! The rule that the terms of an order change by a replace alone.

use crate::audit::differences::{Differences, shown};
use crate::audit::finding::{Finding, FindingKind};
use crate::domain::order::Order;
use crate::domain::quantity::{Price, Quantity};
use crate::domain::replace::OrderReplace;

/// The terms of an order never change, other than by a replace.
pub(super) fn check_same_terms(order: &Order, before: &Order) -> Vec<Finding> {
    let mut found = Differences::default();
    check_terms(order, before, &mut found);
    found.into_findings()
}

/// Adds every term in which an order differs from its earlier entries.
pub(super) fn check_terms(order: &Order, before: &Order, found: &mut Differences) {
    let tags = |order: &Order| {
        order
            .tags
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (price, quantity) = expected_terms(order, before);
    // New terms are valued at the mark of their moment.
    let mark = match replaces_of(order).len() > replaces_of(before).len() {
        true => order.reservation.mark,
        false => before.reservation.mark,
    };
    check_replaces(order, before, found);
    for (field, expected, given) in [
        (
            "client_order_id",
            before.client_order_id.to_string(),
            order.client_order_id.to_string(),
        ),
        (
            "account_id",
            before.account_id.to_string(),
            order.account_id.to_string(),
        ),
        ("broker", before.broker.to_string(), order.broker.to_string()),
        ("venue", before.venue.to_string(), order.venue.to_string()),
        ("symbol", before.symbol.to_string(), order.symbol.to_string()),
        ("side", before.side.to_string(), order.side.to_string()),
        (
            "order_type",
            before.order_type.to_string(),
            order.order_type.to_string(),
        ),
        (
            "time_in_force",
            before.time_in_force.to_string(),
            order.time_in_force.to_string(),
        ),
        ("price", shown(price), shown(order.price)),
        ("quantity", quantity.to_string(), order.quantity.to_string()),
        (
            "reduce_only",
            before.reduce_only.to_string(),
            order.reduce_only.to_string(),
        ),
        ("tags", tags(before), tags(order)),
        ("mode", before.mode.to_string(), order.mode.to_string()),
        (
            "settlement.content",
            before.content_hash.0.to_string(),
            order.content_hash.0.to_string(),
        ),
        (
            "submitted_at",
            before.submitted_at.to_string(),
            order.submitted_at.to_string(),
        ),
        (
            "settlement.base_rate",
            before.reservation.base_rate.to_string(),
            order.reservation.base_rate.to_string(),
        ),
        ("settlement.mark", mark.to_string(), order.reservation.mark.to_string()),
        (
            "settlement.trading_date",
            before.reservation.trading_date.to_string(),
            order.reservation.trading_date.to_string(),
        ),
    ] {
        found.check(FindingKind::ChangedTerms, field, expected, given);
    }
}

fn replaces_of(order: &Order) -> &[OrderReplace] {
    order.legs.as_ref().map_or(&[], |legs| &legs.replaces)
}

/// Returns the price and the quantity that follow from the version before: those of the leg that has begun since, or the same.
fn expected_terms(order: &Order, before: &Order) -> (Option<Price>, Quantity) {
    let working = order.working_leg();
    let begun = replaces_of(order).iter().find(|replace| replace.leg == working);
    match begun.filter(|_| working > before.working_leg()) {
        Some(replace) => (Some(replace.price), replace.quantity),
        None => (before.price, before.quantity),
    }
}

/// A replace keeps its id, its leg and its terms, and none is forgotten.
fn check_replaces(order: &Order, before: &Order, found: &mut Differences) {
    let identity = |replace: &OrderReplace| {
        let (id, leg) = (&replace.replace_id, replace.leg);
        format!("{id} (leg {leg}, {} at {})", replace.quantity, replace.price)
    };
    let given = replaces_of(order);
    for (at, replace) in replaces_of(before).iter().enumerate() {
        let name = format!("settlement.legs.replaces[{at}]");
        let later = given.get(at).map(identity).unwrap_or_default();
        found.check(FindingKind::ChangedTerms, &name, identity(replace), later);
    }
}
