//! What the cases check again and again.

use super::{Arranged, Harness, Terms, Verdict, unexpected};
use crate::brokers::adapter::{Acknowledgement, Adapter, Booked, CancelOutcome, PlaceOutcome};
use crate::domain::decimal::Decimal;
use crate::domain::execution::VenueReport;
use crate::domain::order::Order;
use crate::domain::rates::Rates;
use crate::domain::reason::ReasonCode;
use crate::domain::terms::{OrderStatus, OrderType, Side};
use crate::domain::time::Timestamp;

/// Fails with `what` unless `holds`.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

/// Claims an order, places it, and returns it as the answer and the venue both have it.
pub(super) async fn place<H: Harness>(harness: &H, terms: Terms) -> Arranged<Order> {
    let placement = harness.claim(terms).await?;
    let before = placement.get().order.clone();
    let outcome = harness.adapter().place(placement).await;
    let order = match outcome {
        PlaceOutcome::Acknowledged(Acknowledgement::Booked(booked)) => settled(booked)?,
        PlaceOutcome::Acknowledged(Acknowledgement::Reported(report)) => applied(&before, &report)?,
        other => return unexpected("an acknowledgement", &other),
    };
    figures(&order)?;
    same(&order, &harness.order(&order.order_id).await?)?;
    Ok(order)
}

/// Cancels an order and returns it as the answer has it, with whether this call is what cancelled it.
pub(super) async fn cancel<H: Harness>(harness: &H, order: &Order) -> Arranged<(Order, bool)> {
    let (after, cancelled) = match harness.adapter().cancel(order.clone()).await {
        CancelOutcome::Booked(booked) => (settled(booked)?, true),
        CancelOutcome::Reported(report) => (applied(order, &report)?, true),
        CancelOutcome::Closed(order) => (order, false),
        other => return unexpected("a cancelled or closed order", &other),
    };
    figures(&after)?;
    if cancelled {
        ensure(after.status == Some(OrderStatus::Cancelled), || {
            format!("the cancel was acknowledged, and the order is {:?}", after.status)
        })?;
        has_reason(&after, ReasonCode::CancelRequested)?;
    } else {
        ensure(after.is_ended(), || {
            "an order was told closed that has not ended".into()
        })?;
    }
    Ok((after, cancelled))
}

/// Returns the order of a settled effect, after a look at its pending events.
pub(super) fn settled(booked: Booked) -> Arranged<Order> {
    let versions: Vec<u32> = booked.pending.iter().map(|event| event.version).collect();
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

fn applied(before: &Order, report: &VenueReport) -> Arranged<Order> {
    let applied = before.apply(report, &Rates::default(), Timestamp::now());
    applied
        .map(|applied| applied.order)
        .map_err(|error| format!("the report cannot be applied: {error}"))
}

/// The figures of an order agree with each other and with its state.
pub(super) fn figures(order: &Order) -> Verdict {
    let quantity = order.quantity.decimal();
    let (mut filled, mut cost) = (Some(Decimal::ZERO), Some(Decimal::ZERO));
    for fill in &order.fills {
        let value = fill.price.decimal().exact_mul(fill.quantity.decimal());
        filled = filled.and_then(|sum| sum.exact_add(fill.quantity.decimal()));
        cost = cost.and_then(|sum| sum.exact_add(value?));
        let better = match (order.price, order.side) {
            (None, _) => true,
            (Some(limit), Side::Buy) => fill.price <= limit,
            (Some(limit), Side::Sell) => fill.price >= limit,
        };
        ensure(order.order_type == OrderType::Market || better, || {
            format!("filled at {} beyond the limit {:?}", fill.price, order.price)
        })?;
        ensure(
            fill.quantity
                .decimal()
                .multiple_of(order.reservation.lot_size)
                .is_some(),
            || format!("a fill of {} is no whole number of lots", fill.quantity),
        )?;
    }
    let mut ids: Vec<&str> = order.fills.iter().map(|fill| fill.exec_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure(ids.len() == order.fills.len(), || "a trade was booked twice".into())?;
    ensure(filled == Some(order.filled_quantity), || {
        format!("the fills make {filled:?}, the order says {}", order.filled_quantity)
    })?;
    ensure(cost == Some(order.filled_cost), || {
        format!("the fills cost {cost:?}, the order says {}", order.filled_cost)
    })?;
    let total = order.filled_quantity.exact_add(order.leaves_quantity());
    let whole = total == Some(quantity);
    let holds = match order.status {
        Some(OrderStatus::Accepted) => whole && order.filled_quantity.is_zero(),
        Some(OrderStatus::PartiallyFilled) => whole && order.filled_quantity.is_positive() && !order.is_ended(),
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

/// The order has ended for this reason, or stands for it.
pub(super) fn has_reason(order: &Order, code: ReasonCode) -> Verdict {
    ensure(order.reason.as_ref().is_some_and(|reason| reason.code == code), || {
        format!("the reason is {:?} and should be {code:?}", order.reason)
    })
}

/// Both tell of the same executions and the same state.
pub(super) fn same(told: &Order, stands: &Order) -> Verdict {
    let facts = |order: &Order| {
        let ids: Vec<String> = order.fills.iter().map(|fill| fill.exec_id.clone()).collect();
        (order.status, order.filled_quantity, order.filled_cost, ids)
    };
    ensure(facts(told) == facts(stands), || {
        format!("told {:?}, and it stands at {:?}", facts(told), facts(stands))
    })
}

/// Nothing has happened to the order since.
pub(super) async fn untouched<H: Harness>(harness: &H, before: &Order) -> Verdict {
    let now = harness.order(&before.order_id).await?;
    ensure(now.version == before.version, || {
        format!("version {} became {}", before.version, now.version)
    })?;
    same(before, &now)
}
