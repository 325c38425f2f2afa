//! Cases of what is due later, for venues whose book we keep. Others have nothing due, ever, and say so.

use super::check::{cancel, ensure, figures, settled, untouched};
use super::{Arranged, Case, Harness, Terms, Trouble, Verdict, always, takes, unexpected};
use crate::brokers::adapter::{Adapter, DueOutcome, NotSent};
use crate::domain::execution::DueAction;
use crate::domain::order::Order;
use crate::domain::terms::{OrderStatus, OrderType, TimeInForce};
use crate::domain::time::Timestamp;

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    vec![
        Case {
            id: "D01",
            title: "before its moment nothing is due",
            applies: always,
            check: |harness| Box::pin(too_early(harness)),
        },
        Case {
            id: "D02",
            title: "at its moment the rest fills or expires, once, also when asked again with an old copy",
            applies: always,
            check: |harness| Box::pin(once(harness)),
        },
        Case {
            id: "D03",
            title: "of two at once exactly one books",
            applies: always,
            check: |harness| Box::pin(two_at_once(harness)),
        },
        Case {
            id: "D04",
            title: "of a cancel and a due effect at once exactly one wins",
            applies: always,
            check: |harness| Box::pin(against_a_cancel(harness)),
        },
        Case {
            id: "D05",
            title: "a cancelled order has nothing due, also with an old copy of it",
            applies: always,
            check: |harness| Box::pin(after_a_cancel(harness)),
        },
        Case {
            id: "D06",
            title: "a due effect whose answer is lost is unknown, and happened once",
            applies: always,
            check: |harness| Box::pin(answer_lost(harness)),
        },
        Case {
            id: "D07",
            title: "a due effect that does not reach the book is due still",
            applies: always,
            check: |harness| Box::pin(unreachable(harness)),
        },
    ]
}

/// Returns open orders of every time in force that can stand, with the moment something is due where anything is. One
/// with nothing due is checked here to have nothing due.
async fn open<H: Harness>(harness: &H) -> Arranged<Vec<(Order, Timestamp)>> {
    let mut due = Vec::new();
    for time_in_force in [TimeInForce::Gtc, TimeInForce::Day] {
        if !takes(harness.adapter().capabilities(), time_in_force) {
            continue;
        }
        let order = harness.open(Terms::buy(OrderType::Limit, time_in_force, 100)).await?;
        match order.due {
            Some(next) => due.push((order, next.at)),
            None => nothing(harness, &order).await?,
        }
    }
    Ok(due)
}

async fn nothing<H: Harness>(harness: &H, order: &Order) -> Verdict {
    match harness.adapter().due(order.clone()).await {
        DueOutcome::NothingDue => Ok(()),
        other => unexpected("nothing due", &other),
    }
}

/// Asks for what is due, and returns the order after it, or none where nothing was.
async fn ask<H: Harness>(harness: &H, order: &Order) -> Arranged<Option<Order>> {
    let after = match harness.adapter().due(order.clone()).await {
        DueOutcome::Booked(booked) => settled(booked)?,
        DueOutcome::NothingDue => return Ok(None),
        other => return unexpected("an effect or nothing due", &other),
    };
    figures(&after)?;
    let expected = match order.due.map(|due| due.action) {
        Some(DueAction::FillRest) => Some(OrderStatus::Filled),
        Some(DueAction::Expire) => Some(OrderStatus::Expired),
        Some(DueAction::Inquire) | None => None,
    };
    ensure(after.status == expected, || {
        format!("{:?} made it {:?}", order.due, after.status)
    })?;
    Ok(Some(after))
}

async fn too_early<H: Harness>(harness: &H) -> Verdict {
    for (order, _) in open(harness).await? {
        nothing(harness, &order).await?;
        untouched(harness, &order).await?;
    }
    Ok(())
}

async fn once<H: Harness>(harness: &H) -> Verdict {
    for (order, at) in open(harness).await? {
        harness.reach(at).await;
        let Some(after) = ask(harness, &order).await? else {
            return Err(format!("nothing was due at {at}"));
        };
        for copy in [&order, &after] {
            nothing(harness, copy).await?;
        }
        untouched(harness, &after).await?;
    }
    Ok(())
}

async fn two_at_once<H: Harness>(harness: &H) -> Verdict {
    for (order, at) in open(harness).await? {
        harness.reach(at).await;
        let (one, other) = tokio::join!(ask(harness, &order), ask(harness, &order));
        match (one?, other?) {
            (Some(after), None) | (None, Some(after)) => untouched(harness, &after).await?,
            both => return unexpected("exactly one effect", &both),
        }
    }
    Ok(())
}

async fn against_a_cancel<H: Harness>(harness: &H) -> Verdict {
    for cancel_first in [true, false] {
        for (order, at) in open(harness).await? {
            harness.reach(at).await;
            let (cancelled, due) = if cancel_first {
                tokio::join!(cancel(harness, &order), ask(harness, &order))
            } else {
                let (due, cancelled) = tokio::join!(ask(harness, &order), cancel(harness, &order));
                (cancelled, due)
            };
            let ((closed, cancelled), due) = (cancelled?, due?);
            ensure(cancelled != due.is_some(), || {
                format!("cancelled: {cancelled}, and what was due gave {due:?}")
            })?;
            untouched(harness, &closed).await?;
            ensure(closed.version == order.version + 1, || {
                format!("version {} became {}", order.version, closed.version)
            })?;
        }
    }
    Ok(())
}

async fn after_a_cancel<H: Harness>(harness: &H) -> Verdict {
    for (order, at) in open(harness).await? {
        let (cancelled, _) = cancel(harness, &order).await?;
        harness.reach(at).await;
        for copy in [&cancelled, &order] {
            nothing(harness, copy).await?;
        }
        untouched(harness, &cancelled).await?;
    }
    Ok(())
}

async fn answer_lost<H: Harness>(harness: &H) -> Verdict {
    for (order, at) in open(harness).await? {
        harness.reach(at).await;
        harness.break_next(Trouble::AnswerLost).await?;
        match harness.adapter().due(order.clone()).await {
            DueOutcome::OutcomeUnknown(_) => {}
            other => return unexpected("unknown", &other),
        }
        let after = harness.order(&order.order_id).await?;
        ensure(after.version == order.version + 1, || {
            format!("version {} became {}", order.version, after.version)
        })?;
        figures(&after)?;
        nothing(harness, &order).await?;
        untouched(harness, &after).await?;
    }
    Ok(())
}

async fn unreachable<H: Harness>(harness: &H) -> Verdict {
    for (order, at) in open(harness).await? {
        harness.reach(at).await;
        harness.break_next(Trouble::Unreachable).await?;
        match harness.adapter().due(order.clone()).await {
            DueOutcome::NotSent(NotSent::Unavailable(_)) => untouched(harness, &order).await?,
            other => return unexpected("not sent, unavailable", &other),
        }
        ensure(ask(harness, &order).await?.is_some(), || {
            "nothing was due any more".into()
        })?;
    }
    Ok(())
}
