//! Checks that the cases share.

use crate::brokers::adapter::{BookedEffect, BrokerAdapter, CancelOutcome, PlaceOutcome, VenueAcknowledgement};
use crate::brokers::conformance::{CaseTerms, CaseVerdict, ConformanceHarness, HarnessResult, unexpected_outcome};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderStatus, OrderType, Side};
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;

/// Fails with `detail` unless `holds` is true.
pub(super) fn ensure(holds: bool, detail: impl FnOnce() -> String) -> CaseVerdict {
    if holds { Ok(()) } else { Err(detail()) }
}

/// Claims and places an order, and returns it as reply and venue both have it.
pub(super) async fn place_and_check<H: ConformanceHarness>(harness: &H, terms: CaseTerms) -> HarnessResult<Order> {
    let placement = harness.claim_order(terms).await?;
    let before = placement.inner().order.clone();
    let outcome = harness.adapter().place(placement).await;
    let order = match outcome {
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Booked(booked)) => check_booked(booked)?,
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) => apply_report(&before, &report)?,
        other => return unexpected_outcome("an acknowledgement", &other),
    };
    check_quantities(&order)?;
    check_same_state(&order, &harness.read_order(&order.order_id).await?)?;
    Ok(order)
}

/// Cancels an order and returns it as in the reply, with whether this call cancelled it.
pub(super) async fn cancel_and_check<H: ConformanceHarness>(
    harness: &H,
    order: &Order,
) -> HarnessResult<(Order, bool)> {
    let (after, cancelled) = match harness.adapter().cancel(order.clone()).await {
        CancelOutcome::Booked(booked) => (check_booked(booked)?, true),
        CancelOutcome::Reported(report) => (apply_report(order, &report)?, true),
        CancelOutcome::AlreadyEnded(order) => (order, false),
        other => return unexpected_outcome("a cancelled or an ended order", &other),
    };
    check_quantities(&after)?;
    if cancelled {
        ensure(after.status == Some(OrderStatus::Cancelled), || {
            format!("the cancel was acknowledged, but the order is {:?}", after.status)
        })?;
        check_reason(&after, ReasonCode::CancelRequested)?;
    } else {
        ensure(after.is_terminal(), || "an open order was reported as ended".into())?;
    }
    Ok((after, cancelled))
}

/// Returns the order of a settled effect after checking its pending events.
pub(super) fn check_booked(booked: BookedEffect) -> HarnessResult<Order> {
    let versions: Vec<u32> = booked.pending_events.iter().map(|event| event.version).collect();
    ensure(versions.is_sorted_by(|earlier, later| earlier < later), || {
        format!("pending events out of order: {versions:?}")
    })?;
    ensure(versions.last() == Some(&booked.order.version), || {
        format!(
            "the last pending event of {versions:?} is not version {}",
            booked.order.version
        )
    })?;
    Ok(booked.order)
}

/// Returns an order after a report that has news of it.
pub(super) fn apply_report(before: &Order, report: &VenueReport) -> HarnessResult<Order> {
    let applied = before.apply_report(report, &CurrencyRates::default(), Timestamp::now());
    applied
        .map(|applied| applied.order)
        .map_err(|error| format!("the report cannot be applied: {error}"))
}

/// Checks that an order's quantities agree with each other and with its status.
pub(super) fn check_quantities(order: &Order) -> CaseVerdict {
    let quantity = order.quantity.decimal();
    let (mut filled, mut cost) = (Some(Decimal::ZERO), Some(Decimal::ZERO));
    for fill in &order.fills {
        let value = fill.price.decimal().checked_mul(fill.quantity.decimal());
        filled = filled.and_then(|sum| sum.checked_add(fill.quantity.decimal()));
        cost = cost.and_then(|sum| sum.checked_add(value?));
        let is_within_limit = match (order.price, order.side) {
            (None, _) => true,
            (Some(limit), Side::Buy) => fill.price <= limit,
            (Some(limit), Side::Sell) => fill.price >= limit,
        };
        // A fill of terms before a replace had another limit.
        let has_one_limit = order.order_type == OrderType::Limit && order.legs.is_none();
        ensure(!has_one_limit || is_within_limit, || {
            format!("filled at {} beyond the limit {:?}", fill.price, order.price)
        })?;
        ensure(
            fill.quantity
                .decimal()
                .count_multiples_of(order.reservation.lot_size)
                .is_some(),
            || format!("a fill of {} is not a whole number of lots", fill.quantity),
        )?;
    }
    let mut ids: Vec<&str> = order.fills.iter().map(|fill| fill.exec_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure(ids.len() == order.fills.len(), || "a trade was booked twice".into())?;
    ensure(filled == Some(order.filled_quantity), || {
        format!(
            "the fills sum to {filled:?}, the order has {} filled",
            order.filled_quantity
        )
    })?;
    ensure(cost == Some(order.filled_cost), || {
        format!("the fills cost {cost:?}, the order has a cost of {}", order.filled_cost)
    })?;
    let total = order.filled_quantity.checked_add(order.leaves_quantity());
    let is_complete = total == Some(quantity);
    let holds = match order.status {
        Some(OrderStatus::Accepted) => is_complete && order.filled_quantity.is_zero(),
        Some(OrderStatus::PartiallyFilled) => {
            is_complete && order.filled_quantity.is_positive() && !order.is_terminal()
        }
        Some(OrderStatus::Filled) => order.filled_quantity == quantity && order.leaves_quantity().is_zero(),
        Some(OrderStatus::Cancelled | OrderStatus::Expired) => {
            order.filled_quantity < quantity && order.leaves_quantity().is_zero() && order.due.is_none()
        }
        Some(OrderStatus::Rejected | OrderStatus::Unknown) | None => false,
    };
    ensure(holds, || {
        let (filled, leaves) = (order.filled_quantity, order.leaves_quantity());
        format!(
            "{:?} with {filled} filled and {leaves} left of {quantity}",
            order.status
        )
    })
}

/// Checks that the order ended, or is open, for this reason.
pub(super) fn check_reason(order: &Order, code: ReasonCode) -> CaseVerdict {
    ensure(order.reason.as_ref().is_some_and(|reason| reason.code == code), || {
        format!("the reason is {:?}, expected {code:?}", order.reason)
    })
}

/// Checks that both have the same executions and the same state.
pub(super) fn check_same_state(reported: &Order, current: &Order) -> CaseVerdict {
    let facts = |order: &Order| {
        let ids: Vec<String> = order.fills.iter().map(|fill| fill.exec_id.clone()).collect();
        (order.status, order.filled_quantity, order.filled_cost, ids)
    };
    ensure(facts(reported) == facts(current), || {
        format!("reported {:?}, and the venue has {:?}", facts(reported), facts(current))
    })
}

/// Checks that nothing has happened to the order since.
pub(super) async fn check_unchanged<H: ConformanceHarness>(harness: &H, before: &Order) -> CaseVerdict {
    let now = harness.read_order(&before.order_id).await?;
    ensure(now.version == before.version, || {
        format!("version {} became {}", before.version, now.version)
    })?;
    check_same_state(before, &now)
}
