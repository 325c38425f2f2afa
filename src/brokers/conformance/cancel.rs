//! Cases of cancels.

use crate::brokers::adapter::{BrokerAdapter, CancelOutcome, NotSentReason};
use crate::brokers::conformance::assertions::{
    cancel_and_check, check_same_state, check_unchanged, ensure, place_and_check,
};
use crate::brokers::conformance::{
    CaseTerms, CaseVerdict, ConformanceCase, ConformanceHarness, VenueFault, applies_always, supports_time_in_force,
    unexpected_outcome,
};
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderStatus, OrderType, TimeInForce};

pub(super) fn cases<H: ConformanceHarness>() -> Vec<ConformanceCase<H>> {
    vec![
        ConformanceCase {
            id: "C01",
            title: "a cancel of an open order ends it and keeps the fills",
            applies: applies_always,
            check: |harness| Box::pin(check_cancel_open(harness)),
        },
        ConformanceCase {
            id: "C02",
            title: "a cancel of an ended order returns the ended order, never a cancel",
            applies: |capabilities| supports_time_in_force(capabilities, TimeInForce::Ioc),
            check: |harness| Box::pin(check_cancel_ended(harness)),
        },
        ConformanceCase {
            id: "C03",
            title: "a second cancel returns the ended order, also for an older version of the order",
            applies: applies_always,
            check: |harness| Box::pin(check_second_cancel(harness)),
        },
        ConformanceCase {
            id: "C04",
            title: "of two concurrent cancels exactly one cancels",
            applies: applies_always,
            check: |harness| Box::pin(check_concurrent_cancels(harness)),
        },
        ConformanceCase {
            id: "C05",
            title: "a cancel with a lost reply is unknown, and the next one returns the ended order",
            applies: applies_always,
            check: |harness| Box::pin(check_cancel_reply_lost(harness)),
        },
        ConformanceCase {
            id: "C06",
            title: "a cancel that does not reach the venue leaves the order open",
            applies: applies_always,
            check: |harness| Box::pin(check_cancel_unreachable(harness)),
        },
        ConformanceCase {
            id: "C07",
            title: "a cancel of an order that was never placed has no effect",
            applies: applies_always,
            check: |harness| Box::pin(check_cancel_never_placed(harness)),
        },
    ]
}

async fn open_checked_order<H: ConformanceHarness>(harness: &H) -> Result<Order, String> {
    let order = harness
        .open_order(CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, 100))
        .await?;
    ensure(order.status.is_some() && !order.is_terminal(), || {
        format!("the harness opened an order that is {:?}", order.status)
    })?;
    Ok(order)
}

async fn check_cancel_open<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let before = open_checked_order(harness).await?;
    let (after, cancelled) = cancel_and_check(harness, &before).await?;
    ensure(cancelled, || "an open order was reported as ended".into())?;
    ensure(after.filled_quantity == before.filled_quantity, || {
        format!(
            "the filled quantity changed from {} to {}",
            before.filled_quantity, after.filled_quantity
        )
    })?;
    ensure(after.reservation.reserved == 0, || {
        format!("{} units of 1e-8 are still reserved", after.reservation.reserved)
    })?;
    check_same_state(&after, &harness.read_order(&before.order_id).await?)
}

async fn check_cancel_ended<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let ended = place_and_check(harness, CaseTerms::buy(OrderType::Limit, TimeInForce::Ioc, 100)).await?;
    let (after, cancelled) = cancel_and_check(harness, &ended).await?;
    ensure(!cancelled, || {
        format!("a cancel of a {:?} order was acknowledged", ended.status)
    })?;
    check_same_state(&ended, &after)?;
    check_unchanged(harness, &ended).await
}

async fn check_second_cancel<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let before = open_checked_order(harness).await?;
    let (ended, _) = cancel_and_check(harness, &before).await?;
    for copy in [&ended, &before] {
        let (current, cancelled) = cancel_and_check(harness, copy).await?;
        ensure(!cancelled, || "a second cancel was acknowledged".into())?;
        check_same_state(&ended, &current)?;
    }
    check_unchanged(harness, &ended).await
}

async fn check_concurrent_cancels<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let before = open_checked_order(harness).await?;
    let (one, other) = tokio::join!(cancel_and_check(harness, &before), cancel_and_check(harness, &before));
    let ((one, first), (other, second)) = (one?, other?);
    ensure(first != second, || {
        format!("{} of the two cancels succeeded", if first { "both" } else { "none" })
    })?;
    check_same_state(&one, &other)?;
    let now = harness.read_order(&before.order_id).await?;
    ensure(now.version == before.version + 1, || {
        format!("version {} became {}", before.version, now.version)
    })
}

async fn check_cancel_reply_lost<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let before = open_checked_order(harness).await?;
    harness.inject_fault(VenueFault::ReplyLost).await?;
    match harness.adapter().cancel(before.clone()).await {
        CancelOutcome::OutcomeUnknown(_) => {}
        other => return unexpected_outcome("unknown", &other),
    }
    let (after, cancelled) = cancel_and_check(harness, &before).await?;
    ensure(!cancelled, || "the order was cancelled twice".into())?;
    ensure(after.status == Some(OrderStatus::Cancelled), || {
        format!("it is {:?}: the harness dropped no reply", after.status)
    })?;
    check_unchanged(harness, &after).await
}

async fn check_cancel_unreachable<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let before = open_checked_order(harness).await?;
    harness.inject_fault(VenueFault::Unreachable).await?;
    match harness.adapter().cancel(before.clone()).await {
        CancelOutcome::NotSent(NotSentReason::Unavailable(_)) => check_unchanged(harness, &before).await?,
        other => return unexpected_outcome("not sent, unavailable", &other),
    }
    let (_, cancelled) = cancel_and_check(harness, &before).await?;
    ensure(cancelled, || "the second attempt found the order ended".into())
}

async fn check_cancel_never_placed<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let placement = harness
        .claim_order(CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, 100))
        .await?;
    let claimed = placement.inner().order.clone();
    match harness.adapter().cancel(claimed.clone()).await {
        CancelOutcome::NotSent(_) => check_unchanged(harness, &claimed).await,
        other => unexpected_outcome("not sent", &other),
    }
}
