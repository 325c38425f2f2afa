//! Cases of what a cancel does.

use super::check::{cancel, ensure, place, same, untouched};
use super::{Case, Harness, Terms, Trouble, Verdict, always, takes, unexpected};
use crate::brokers::adapter::{Adapter, CancelOutcome, NotSent};
use crate::domain::order::Order;
use crate::domain::terms::{OrderStatus, OrderType, TimeInForce};

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    vec![
        Case {
            id: "C01",
            title: "a cancel of an open order ends it and keeps what was filled",
            applies: always,
            check: |harness| Box::pin(open_order(harness)),
        },
        Case {
            id: "C02",
            title: "a cancel of an ended order is told closed, never cancelled",
            applies: |capabilities| takes(capabilities, TimeInForce::Ioc),
            check: |harness| Box::pin(ended_order(harness)),
        },
        Case {
            id: "C03",
            title: "a second cancel is told closed, also with an old copy of the order",
            applies: always,
            check: |harness| Box::pin(second_cancel(harness)),
        },
        Case {
            id: "C04",
            title: "of two cancels at once exactly one cancels",
            applies: always,
            check: |harness| Box::pin(two_at_once(harness)),
        },
        Case {
            id: "C05",
            title: "a cancel whose answer is lost is unknown, and the next one is told closed",
            applies: always,
            check: |harness| Box::pin(answer_lost(harness)),
        },
        Case {
            id: "C06",
            title: "a cancel that does not reach the venue leaves the order open",
            applies: always,
            check: |harness| Box::pin(unreachable(harness)),
        },
        Case {
            id: "C07",
            title: "a cancel of an order that was never placed has no effect",
            applies: always,
            check: |harness| Box::pin(never_placed(harness)),
        },
    ]
}

async fn open<H: Harness>(harness: &H) -> Result<Order, String> {
    let order = harness
        .open(Terms::buy(OrderType::Limit, TimeInForce::Gtc, 100))
        .await?;
    ensure(order.status.is_some() && !order.is_ended(), || {
        format!("the harness' open order is {:?}", order.status)
    })?;
    Ok(order)
}

async fn open_order<H: Harness>(harness: &H) -> Verdict {
    let before = open(harness).await?;
    let (after, cancelled) = cancel(harness, &before).await?;
    ensure(cancelled, || "an open order was told closed".into())?;
    ensure(after.filled_quantity == before.filled_quantity, || {
        format!("{} filled became {}", before.filled_quantity, after.filled_quantity)
    })?;
    ensure(after.reservation.rest_lots == 0, || {
        format!("{} lots are still reserved", after.reservation.rest_lots)
    })?;
    same(&after, &harness.order(&before.order_id).await?)
}

async fn ended_order<H: Harness>(harness: &H) -> Verdict {
    let ended = place(harness, Terms::buy(OrderType::Limit, TimeInForce::Ioc, 100)).await?;
    let (after, cancelled) = cancel(harness, &ended).await?;
    ensure(!cancelled, || {
        format!("a cancel of a {:?} order was acknowledged", ended.status)
    })?;
    same(&ended, &after)?;
    untouched(harness, &ended).await
}

async fn second_cancel<H: Harness>(harness: &H) -> Verdict {
    let before = open(harness).await?;
    let (ended, _) = cancel(harness, &before).await?;
    for copy in [&ended, &before] {
        let (again, cancelled) = cancel(harness, copy).await?;
        ensure(!cancelled, || "a second cancel was acknowledged".into())?;
        same(&ended, &again)?;
    }
    untouched(harness, &ended).await
}

async fn two_at_once<H: Harness>(harness: &H) -> Verdict {
    let before = open(harness).await?;
    let (one, other) = tokio::join!(cancel(harness, &before), cancel(harness, &before));
    let ((one, first), (other, second)) = (one?, other?);
    ensure(first != second, || {
        format!("{} of the two cancelled it", if first { "both" } else { "none" })
    })?;
    same(&one, &other)?;
    let now = harness.order(&before.order_id).await?;
    ensure(now.version == before.version + 1, || {
        format!("version {} became {}", before.version, now.version)
    })
}

async fn answer_lost<H: Harness>(harness: &H) -> Verdict {
    let before = open(harness).await?;
    harness.break_next(Trouble::AnswerLost).await?;
    match harness.adapter().cancel(before.clone()).await {
        CancelOutcome::OutcomeUnknown(_) => {}
        other => return unexpected("unknown", &other),
    }
    let (after, cancelled) = cancel(harness, &before).await?;
    ensure(!cancelled, || "it was cancelled twice".into())?;
    ensure(after.status == Some(OrderStatus::Cancelled), || {
        format!("it is {:?}: the harness lost the answer of nothing", after.status)
    })?;
    untouched(harness, &after).await
}

async fn unreachable<H: Harness>(harness: &H) -> Verdict {
    let before = open(harness).await?;
    harness.break_next(Trouble::Unreachable).await?;
    match harness.adapter().cancel(before.clone()).await {
        CancelOutcome::NotSent(NotSent::Unavailable(_)) => untouched(harness, &before).await?,
        other => return unexpected("not sent, unavailable", &other),
    }
    let (_, cancelled) = cancel(harness, &before).await?;
    ensure(cancelled, || "the second attempt found it closed".into())
}

async fn never_placed<H: Harness>(harness: &H) -> Verdict {
    let placement = harness
        .claim(Terms::buy(OrderType::Limit, TimeInForce::Gtc, 100))
        .await?;
    let claimed = placement.get().order.clone();
    match harness.adapter().cancel(claimed.clone()).await {
        CancelOutcome::NotSent(_) => untouched(harness, &claimed).await,
        other => unexpected("not sent", &other),
    }
}
