//! Cases of due effects, for paper venues. Other venues never have anything due, and say so.

use crate::brokers::adapter::{BrokerAdapter, DueOutcome, NotSentReason};
use crate::brokers::conformance::assertions::{
    cancel_and_check, check_booked, check_quantities, check_unchanged, ensure,
};
use crate::brokers::conformance::{
    CaseTerms, CaseVerdict, ConformanceCase, ConformanceHarness, HarnessResult, VenueFault, applies_always,
    supports_time_in_force, unexpected_outcome,
};
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderStatus, OrderType, TimeInForce};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::DueAction;

pub(super) fn cases<H: ConformanceHarness>() -> Vec<ConformanceCase<H>> {
    vec![
        ConformanceCase {
            id: "D01",
            title: "nothing is due before its moment",
            applies: applies_always,
            check: |harness| Box::pin(check_before_due(harness)),
        },
        ConformanceCase {
            id: "D02",
            title: "at its moment the remainder fills or expires, once, also for an older version of the order",
            applies: applies_always,
            check: |harness| Box::pin(check_executes_once(harness)),
        },
        ConformanceCase {
            id: "D03",
            title: "of two concurrent executions exactly one books",
            applies: applies_always,
            check: |harness| Box::pin(check_concurrent_due(harness)),
        },
        ConformanceCase {
            id: "D04",
            title: "of a concurrent cancel and due effect exactly one is booked",
            applies: applies_always,
            check: |harness| Box::pin(check_due_races_cancel(harness)),
        },
        ConformanceCase {
            id: "D05",
            title: "a cancelled order has nothing due, also for an older version of it",
            applies: applies_always,
            check: |harness| Box::pin(check_due_after_cancel(harness)),
        },
        ConformanceCase {
            id: "D06",
            title: "a due effect with a lost reply is unknown, and is booked once",
            applies: applies_always,
            check: |harness| Box::pin(check_due_reply_lost(harness)),
        },
        ConformanceCase {
            id: "D07",
            title: "a due effect that does not reach the book is still due",
            applies: applies_always,
            check: |harness| Box::pin(check_due_unreachable(harness)),
        },
    ]
}

/// Returns open orders of every time in force that can stay open, with the moment at which something is due, if anything is.
/// For an order with nothing due it checks that nothing is due.
async fn open_orders_with_due<H: ConformanceHarness>(harness: &H) -> HarnessResult<Vec<(Order, Timestamp)>> {
    let mut due = Vec::new();
    for time_in_force in [TimeInForce::Gtc, TimeInForce::Day] {
        if !supports_time_in_force(harness.adapter().capabilities(), time_in_force) {
            continue;
        }
        let order = harness
            .open_order(CaseTerms::buy(OrderType::Limit, time_in_force, 100))
            .await?;
        match order.due {
            Some(next) => due.push((order, next.at)),
            None => check_nothing_due(harness, &order).await?,
        }
    }
    Ok(due)
}

async fn check_nothing_due<H: ConformanceHarness>(harness: &H, order: &Order) -> CaseVerdict {
    match harness.adapter().execute_due(order.clone()).await {
        DueOutcome::NothingDue => Ok(()),
        other => unexpected_outcome("nothing due", &other),
    }
}

/// Executes what is due and returns the order after it; `None` if nothing was due.
async fn execute_due<H: ConformanceHarness>(harness: &H, order: &Order) -> HarnessResult<Option<Order>> {
    let after = match harness.adapter().execute_due(order.clone()).await {
        DueOutcome::Booked(booked) => check_booked(booked)?,
        DueOutcome::NothingDue => return Ok(None),
        other => return unexpected_outcome("an effect or nothing due", &other),
    };
    check_quantities(&after)?;
    let expected = match order.due.map(|due| due.action) {
        Some(DueAction::FillRemainder) => Some(OrderStatus::Filled),
        Some(DueAction::Expire) => Some(OrderStatus::Expired),
        Some(DueAction::Inquire) | None => None,
    };
    ensure(after.status == expected, || {
        format!("after {:?} the order is {:?}", order.due, after.status)
    })?;
    Ok(Some(after))
}

async fn check_before_due<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for (order, _) in open_orders_with_due(harness).await? {
        check_nothing_due(harness, &order).await?;
        check_unchanged(harness, &order).await?;
    }
    Ok(())
}

async fn check_executes_once<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for (order, at) in open_orders_with_due(harness).await? {
        harness.advance_clock_to(at).await;
        let Some(after) = execute_due(harness, &order).await? else {
            return Err(format!("nothing was due at {at}"));
        };
        for copy in [&order, &after] {
            check_nothing_due(harness, copy).await?;
        }
        check_unchanged(harness, &after).await?;
    }
    Ok(())
}

async fn check_concurrent_due<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for (order, at) in open_orders_with_due(harness).await? {
        harness.advance_clock_to(at).await;
        let (one, other) = tokio::join!(execute_due(harness, &order), execute_due(harness, &order));
        match (one?, other?) {
            (Some(after), None) | (None, Some(after)) => check_unchanged(harness, &after).await?,
            both => return unexpected_outcome("exactly one effect", &both),
        }
    }
    Ok(())
}

async fn check_due_races_cancel<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for cancel_first in [true, false] {
        for (order, at) in open_orders_with_due(harness).await? {
            harness.advance_clock_to(at).await;
            let (cancelled, due) = if cancel_first {
                tokio::join!(cancel_and_check(harness, &order), execute_due(harness, &order))
            } else {
                let (due, cancelled) = tokio::join!(execute_due(harness, &order), cancel_and_check(harness, &order));
                (cancelled, due)
            };
            let ((ended, cancelled), due) = (cancelled?, due?);
            ensure(cancelled != due.is_some(), || {
                format!("cancelled: {cancelled}, and the due effect returned {due:?}")
            })?;
            check_unchanged(harness, &ended).await?;
            ensure(ended.version == order.version + 1, || {
                format!("version {} became {}", order.version, ended.version)
            })?;
        }
    }
    Ok(())
}

async fn check_due_after_cancel<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for (order, at) in open_orders_with_due(harness).await? {
        let (cancelled, _) = cancel_and_check(harness, &order).await?;
        harness.advance_clock_to(at).await;
        for copy in [&cancelled, &order] {
            check_nothing_due(harness, copy).await?;
        }
        check_unchanged(harness, &cancelled).await?;
    }
    Ok(())
}

async fn check_due_reply_lost<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for (order, at) in open_orders_with_due(harness).await? {
        harness.advance_clock_to(at).await;
        harness.inject_fault(VenueFault::ReplyLost).await?;
        match harness.adapter().execute_due(order.clone()).await {
            DueOutcome::OutcomeUnknown(_) => {}
            other => return unexpected_outcome("unknown", &other),
        }
        let after = harness.read_order(&order.order_id).await?;
        ensure(after.version == order.version + 1, || {
            format!("version {} became {}", order.version, after.version)
        })?;
        check_quantities(&after)?;
        check_nothing_due(harness, &order).await?;
        check_unchanged(harness, &after).await?;
    }
    Ok(())
}

async fn check_due_unreachable<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for (order, at) in open_orders_with_due(harness).await? {
        harness.advance_clock_to(at).await;
        harness.inject_fault(VenueFault::Unreachable).await?;
        match harness.adapter().execute_due(order.clone()).await {
            DueOutcome::NotSent(NotSentReason::Unavailable(_)) => check_unchanged(harness, &order).await?,
            other => return unexpected_outcome("not sent, unavailable", &other),
        }
        ensure(execute_due(harness, &order).await?.is_some(), || {
            "nothing was due at the second attempt".into()
        })?;
    }
    Ok(())
}
