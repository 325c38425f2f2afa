//! Cases of admission: when an order may be placed, and how often.

use crate::brokers::adapter::{BrokerAdapter, NotSentReason, PlaceOutcome};
use crate::brokers::conformance::assertions::{check_quantities, check_unchanged, ensure};
use crate::brokers::conformance::{
    CaseTerms, CaseVerdict, ConformanceCase, ConformanceHarness, PlacementDeadline, PlacementLease, VenueFault,
    applies_always, has_effects_in_store, unexpected_outcome,
};
use crate::domain::order_terms::{OrderType, TimeInForce};

pub(super) fn cases<H: ConformanceHarness>() -> Vec<ConformanceCase<H>> {
    vec![
        ConformanceCase {
            id: "S01",
            title: "a repeated placement is not executed again",
            applies: applies_always,
            check: |harness| Box::pin(check_repeated_place(harness)),
        },
        ConformanceCase {
            id: "S02",
            title: "two concurrent placements of one order execute it once",
            applies: has_effects_in_store,
            check: |harness| Box::pin(check_concurrent_places(harness)),
        },
        ConformanceCase {
            id: "S03",
            title: "an order is not sent after its deadline",
            applies: applies_always,
            check: |harness| Box::pin(check_deadline_passed(harness)),
        },
        ConformanceCase {
            id: "S04",
            title: "an order is not sent without its lease",
            applies: has_effects_in_store,
            check: |harness| Box::pin(check_lease_lost(harness)),
        },
        ConformanceCase {
            id: "S05",
            title: "an unreachable venue means not sent, and a later attempt succeeds",
            applies: applies_always,
            check: |harness| Box::pin(check_place_unreachable(harness)),
        },
        ConformanceCase {
            id: "S06",
            title: "a lost reply is unknown, never a rejection, and the order is executed once",
            applies: applies_always,
            check: |harness| Box::pin(check_place_reply_lost(harness)),
        },
    ]
}

fn gtc_limit_terms() -> CaseTerms {
    CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, 100)
}

async fn check_repeated_place<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let placement = harness.claim_order(gtc_limit_terms()).await?;
    let order_id = placement.inner().order.order_id.clone();
    match harness.adapter().place(placement.clone()).await {
        PlaceOutcome::Acknowledged(_) => {}
        other => return unexpected_outcome("an acknowledgement", &other),
    }
    let first = harness.read_order(&order_id).await?;
    // "Not sent" would release what an open order reserves, and so would a rejection.
    match harness.adapter().place(placement).await {
        PlaceOutcome::Acknowledged(_) | PlaceOutcome::OutcomeUnknown(_) => {}
        other => return unexpected_outcome("an acknowledgement or unknown", &other),
    }
    check_unchanged(harness, &first).await
}

async fn check_concurrent_places<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let placement = harness.claim_order(gtc_limit_terms()).await?;
    let order_id = placement.inner().order.order_id.clone();
    let adapter = harness.adapter();
    let outcomes: [PlaceOutcome; 2] = tokio::join!(adapter.place(placement.clone()), adapter.place(placement)).into();
    let acknowledged = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, PlaceOutcome::Acknowledged(_)))
        .count();
    ensure(acknowledged >= 1, || format!("neither was acknowledged: {outcomes:?}"))?;
    let order = harness.read_order(&order_id).await?;
    ensure(order.version == 1, || format!("two effects: version {}", order.version))?;
    check_quantities(&order)
}

async fn check_deadline_passed<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let late = CaseTerms {
        deadline: PlacementDeadline::Passed,
        ..gtc_limit_terms()
    };
    check_not_sent(harness, late, &NotSentReason::DeadlinePassed).await
}

async fn check_lease_lost<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let lost = CaseTerms {
        lease: PlacementLease::Lost,
        ..gtc_limit_terms()
    };
    check_not_sent(harness, lost, &NotSentReason::LeaseLost).await
}

async fn check_not_sent<H: ConformanceHarness>(harness: &H, terms: CaseTerms, expected: &NotSentReason) -> CaseVerdict {
    let placement = harness.claim_order(terms).await?;
    let before = placement.inner().order.clone();
    match harness.adapter().place(placement).await {
        PlaceOutcome::NotSent(reason) if reason == *expected => check_unchanged(harness, &before).await,
        other => unexpected_outcome(&format!("not sent, {expected:?}"), &other),
    }
}

async fn check_place_unreachable<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let placement = harness.claim_order(gtc_limit_terms()).await?;
    let before = placement.inner().order.clone();
    harness.inject_fault(VenueFault::Unreachable).await?;
    match harness.adapter().place(placement.clone()).await {
        PlaceOutcome::NotSent(NotSentReason::NotAccepted(_) | NotSentReason::Unavailable(_)) => {
            check_unchanged(harness, &before).await?
        }
        other => return unexpected_outcome("not sent, unavailable", &other),
    }
    match harness.adapter().place(placement).await {
        PlaceOutcome::Acknowledged(_) => check_quantities(&harness.read_order(&before.order_id).await?),
        other => unexpected_outcome("an acknowledgement of the second attempt", &other),
    }
}

async fn check_place_reply_lost<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let placement = harness.claim_order(gtc_limit_terms()).await?;
    let order_id = placement.inner().order.order_id.clone();
    harness.inject_fault(VenueFault::ReplyLost).await?;
    match harness.adapter().place(placement.clone()).await {
        PlaceOutcome::OutcomeUnknown(_) => {}
        other => return unexpected_outcome("unknown", &other),
    }
    let first = harness.read_order(&order_id).await?;
    ensure(first.version == 1, || {
        "the harness dropped no reply, so the case proves nothing".into()
    })?;
    check_quantities(&first)?;
    match harness.adapter().place(placement).await {
        PlaceOutcome::Acknowledged(_) | PlaceOutcome::OutcomeUnknown(_) => check_unchanged(harness, &first).await,
        other => unexpected_outcome("an acknowledgement or unknown", &other),
    }
}
