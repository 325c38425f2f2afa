//! Cases of when an order may be placed, and of how often.

use super::check::{ensure, figures, untouched};
use super::{Case, Deadline, Harness, Lease, Terms, Trouble, Verdict, always, in_store, unexpected};
use crate::brokers::adapter::{Adapter, NotSent, PlaceOutcome};
use crate::domain::terms::{OrderType, TimeInForce};

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    vec![
        Case {
            id: "S01",
            title: "a repeated place is no second execution",
            applies: always,
            check: |harness| Box::pin(repeated(harness)),
        },
        Case {
            id: "S02",
            title: "two placements of one order at once are one execution",
            applies: in_store,
            check: |harness| Box::pin(at_once(harness)),
        },
        Case {
            id: "S03",
            title: "after its deadline an order is not sent",
            applies: always,
            check: |harness| Box::pin(expired(harness)),
        },
        Case {
            id: "S04",
            title: "without its lease an order is not sent",
            applies: in_store,
            check: |harness| Box::pin(lease_lost(harness)),
        },
        Case {
            id: "S05",
            title: "a venue out of reach means not sent, and a later attempt succeeds",
            applies: always,
            check: |harness| Box::pin(unreachable(harness)),
        },
        Case {
            id: "S06",
            title: "a lost answer is unknown, never a refusal, and the order is executed once",
            applies: always,
            check: |harness| Box::pin(answer_lost(harness)),
        },
    ]
}

fn terms() -> Terms {
    Terms::buy(OrderType::Limit, TimeInForce::Gtc, 100)
}

async fn repeated<H: Harness>(harness: &H) -> Verdict {
    let placement = harness.claim(terms()).await?;
    let order_id = placement.get().order.order_id.clone();
    match harness.adapter().place(placement.clone()).await {
        PlaceOutcome::Acknowledged(_) => {}
        other => return unexpected("an acknowledgement", &other),
    }
    let first = harness.order(&order_id).await?;
    // "Not sent" would free what a standing order holds, and so would a refusal.
    match harness.adapter().place(placement).await {
        PlaceOutcome::Acknowledged(_) | PlaceOutcome::OutcomeUnknown(_) => {}
        other => return unexpected("an acknowledgement or unknown", &other),
    }
    untouched(harness, &first).await
}

async fn at_once<H: Harness>(harness: &H) -> Verdict {
    let placement = harness.claim(terms()).await?;
    let order_id = placement.get().order.order_id.clone();
    let adapter = harness.adapter();
    let outcomes: [PlaceOutcome; 2] = tokio::join!(adapter.place(placement.clone()), adapter.place(placement)).into();
    let acknowledged = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, PlaceOutcome::Acknowledged(_)))
        .count();
    ensure(acknowledged >= 1, || format!("neither was acknowledged: {outcomes:?}"))?;
    let order = harness.order(&order_id).await?;
    ensure(order.version == 1, || format!("two effects: version {}", order.version))?;
    figures(&order)
}

async fn expired<H: Harness>(harness: &H) -> Verdict {
    let late = Terms {
        deadline: Deadline::Passed,
        ..terms()
    };
    not_sent(harness, late, &NotSent::Expired).await
}

async fn lease_lost<H: Harness>(harness: &H) -> Verdict {
    let lost = Terms {
        lease: Lease::Lost,
        ..terms()
    };
    not_sent(harness, lost, &NotSent::LeaseLost).await
}

async fn not_sent<H: Harness>(harness: &H, terms: Terms, why: &NotSent) -> Verdict {
    let placement = harness.claim(terms).await?;
    let before = placement.get().order.clone();
    match harness.adapter().place(placement).await {
        PlaceOutcome::NotSent(said) if said == *why => untouched(harness, &before).await,
        other => unexpected(&format!("not sent, {why:?}"), &other),
    }
}

async fn unreachable<H: Harness>(harness: &H) -> Verdict {
    let placement = harness.claim(terms()).await?;
    let before = placement.get().order.clone();
    harness.break_next(Trouble::Unreachable).await?;
    match harness.adapter().place(placement.clone()).await {
        PlaceOutcome::NotSent(NotSent::Unavailable(_)) => untouched(harness, &before).await?,
        other => return unexpected("not sent, unavailable", &other),
    }
    match harness.adapter().place(placement).await {
        PlaceOutcome::Acknowledged(_) => figures(&harness.order(&before.order_id).await?),
        other => unexpected("an acknowledgement of the second attempt", &other),
    }
}

async fn answer_lost<H: Harness>(harness: &H) -> Verdict {
    let placement = harness.claim(terms()).await?;
    let order_id = placement.get().order.order_id.clone();
    harness.break_next(Trouble::AnswerLost).await?;
    match harness.adapter().place(placement.clone()).await {
        PlaceOutcome::OutcomeUnknown(_) => {}
        other => return unexpected("unknown", &other),
    }
    let first = harness.order(&order_id).await?;
    ensure(first.version == 1, || {
        "the harness lost the answer of nothing: the case would show nothing".into()
    })?;
    figures(&first)?;
    match harness.adapter().place(placement).await {
        PlaceOutcome::Acknowledged(_) | PlaceOutcome::OutcomeUnknown(_) => untouched(harness, &first).await,
        other => unexpected("an acknowledgement or unknown", &other),
    }
}
