//! Cases of replaces: what becomes of an open order that gets new terms.

use crate::brokers::adapter::{BrokerAdapter, InquiryOutcome, NotSentReason, ReplaceCallOutcome};
use crate::brokers::conformance::assertions::{
    apply_report, cancel_and_check, check_quantities, check_unchanged, ensure,
};
use crate::brokers::conformance::{
    CaseTerms, CaseVerdict, ConformanceCase, ConformanceHarness, HarnessResult, VenueFault, VenueLeg,
    has_effects_at_venue, has_effects_in_store, unexpected_outcome,
};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::id::ReplaceId;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::replace::{ReplaceMethod, ReplaceOutcome, ReplaceState, ReplaceTerms};
use crate::domain::time::Timestamp;

/// The quantity of the cases' orders, in lots.
const LOTS: i64 = 100;
/// How far the new price is below the order's: a whole number of ticks of every instrument that the suite trades.
const PRICE_STEP: i64 = 1;

pub(super) fn cases<H: ConformanceHarness>() -> Vec<ConformanceCase<H>> {
    vec![
        ConformanceCase {
            id: "R01",
            title: "new terms are planned as a new order for what is open, within the new price",
            applies: has_effects_in_store,
            check: |harness| Box::pin(check_planned_terms(harness)),
        },
        ConformanceCase {
            id: "R02",
            title: "a venue whose effects are in the store is not called for a replace",
            applies: has_effects_in_store,
            check: |harness| Box::pin(check_not_called(harness)),
        },
        ConformanceCase {
            id: "R03",
            title: "a replaced order has one leg with exactly the new terms",
            applies: has_effects_at_venue,
            check: |harness| Box::pin(check_replaced(harness)),
        },
        ConformanceCase {
            id: "R04",
            title: "a smaller quantity at the same price stays the same order of the venue",
            applies: has_effects_at_venue,
            check: |harness| Box::pin(check_amended(harness)),
        },
        ConformanceCase {
            id: "R05",
            title: "a leg that is cancelled first is placed by a step of its own",
            applies: has_effects_at_venue,
            check: |harness| Box::pin(check_cancelled_first(harness)),
        },
        ConformanceCase {
            id: "R06",
            title: "a repeated replace is not sent again",
            applies: has_effects_at_venue,
            check: |harness| Box::pin(check_repeated(harness)),
        },
        ConformanceCase {
            id: "R07",
            title: "an unreachable venue means not sent, and a later attempt succeeds",
            applies: has_effects_at_venue,
            check: |harness| Box::pin(check_unreachable(harness)),
        },
        ConformanceCase {
            id: "R08",
            title: "a replace with a lost reply is unknown, and an inquiry finds the new terms",
            applies: has_effects_at_venue,
            check: |harness| Box::pin(check_reply_lost(harness)),
        },
        ConformanceCase {
            id: "R09",
            title: "a replace of an order that has ended places nothing",
            applies: has_effects_at_venue,
            check: |harness| Box::pin(check_ended(harness)),
        },
    ]
}

/// Opens an order that nothing is filled of, and returns it with terms that change it.
async fn open_and_change<H: ConformanceHarness>(
    harness: &H,
    method: ReplaceMethod,
) -> HarnessResult<(Order, ReplaceTerms)> {
    let terms = CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, LOTS);
    let order = harness.open_order(terms).await?;
    ensure(order.status.is_some() && !order.is_terminal(), || {
        format!("the harness opened an order that is {:?}", order.status)
    })?;
    let terms = new_terms(&order, method)?;
    Ok((order, terms))
}

/// Returns terms that change an order: a smaller quantity, or else a lower price.
pub(super) fn new_terms(order: &Order, method: ReplaceMethod) -> HarnessResult<ReplaceTerms> {
    let price = order.price.ok_or("the harness opened an order without a price")?;
    let lower = price.decimal().checked_sub(Decimal::from(PRICE_STEP));
    let lower = lower.and_then(|lower| Price::new(lower).ok()).ok_or("no lower price")?;
    let lot = order.reservation.lot_size;
    let smaller = order.quantity.decimal().checked_sub(lot);
    let smaller = smaller.and_then(|smaller| Quantity::new(smaller).ok());
    Ok(ReplaceTerms {
        replace_id: ReplaceId::generate(),
        price: if method == ReplaceMethod::Amend { price } else { lower },
        quantity: match method {
            ReplaceMethod::Amend => smaller.ok_or("no smaller quantity")?,
            ReplaceMethod::CancelReplace | ReplaceMethod::CancelFirst => order.quantity,
        },
        method,
        mark: None,
        requested_at: Timestamp::now(),
    })
}

/// Opens an order, and returns it with a pending replace.
async fn open_pending<H: ConformanceHarness>(harness: &H, method: ReplaceMethod) -> HarnessResult<Order> {
    let (order, terms) = open_and_change(harness, method).await?;
    let begun = order.begin_replace(&terms, None, Timestamp::now());
    begun.map(|begun| begun.order).map_err(|error| error.to_string())
}

/// Takes a step of a replace, and returns the order after what the venue reports.
async fn step<H: ConformanceHarness>(harness: &H, pending: &Order) -> HarnessResult<Order> {
    match harness.adapter().replace(pending.clone()).await {
        ReplaceCallOutcome::Reported(reports) => reports
            .iter()
            .try_fold(pending.clone(), |order, report| apply_report(&order, report)),
        other => unexpected_outcome("reports of the replace", &other),
    }
}

fn state(order: &Order) -> Option<ReplaceState> {
    order.latest_replace().map(|replace| replace.state)
}

/// Checks that the order has its new terms, and that they are the only ones that the venue has open.
async fn check_done<H: ConformanceHarness>(harness: &H, pending: &Order, after: &Order) -> CaseVerdict {
    let wanted = pending.open_replace().ok_or("the order has no open replace")?;
    ensure(state(after) == Some(ReplaceState::Done), || {
        format!("the replace is {:?}", state(after))
    })?;
    ensure(
        (after.price, after.quantity) == (Some(wanted.price), wanted.quantity),
        || format!("the order has {} at {:?}", after.quantity, after.price),
    )?;
    check_quantities(after)?;
    let rest = Quantity::new(after.leaves_quantity()).map_err(|rule| rule.to_string())?;
    let expected = VenueLeg {
        leg: wanted.leg,
        price: wanted.price,
        quantity: rest,
    };
    check_legs(harness, after, &[expected]).await
}

async fn check_legs<H: ConformanceHarness>(harness: &H, order: &Order, expected: &[VenueLeg]) -> CaseVerdict {
    let open = harness.open_legs(&order.order_id).await?;
    ensure(open == expected, || {
        format!("the venue has {open:?} open, expected {expected:?}")
    })
}

/// Returns the leg of an order without a replace.
fn only_leg(order: &Order) -> HarnessResult<VenueLeg> {
    Ok(VenueLeg {
        leg: order.working_leg(),
        price: order.price.ok_or("the order has no price")?,
        quantity: order.quantity,
    })
}

async fn check_planned_terms<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let (before, terms) = open_and_change(harness, ReplaceMethod::CancelReplace).await?;
    let placement = harness.approve_terms(&before, &terms).await?;
    let report = match harness.adapter().plan(&placement, None) {
        Some(Ok(report)) => report,
        other => return unexpected_outcome("a plan", &other),
    };
    let replaced = before.replace_at_once(&terms, &report, &CurrencyRates::default(), Timestamp::now());
    let after = replaced.map_err(|error| error.to_string())?.order;
    ensure(state(&after) == Some(ReplaceState::Done), || {
        format!("the replace is {:?}", state(&after))
    })?;
    check_quantities_of_legs(&before, &after, terms.price)?;
    // Planning has no effect.
    check_unchanged(harness, &before).await
}

/// Checks the fills of new terms: none of a leg before is booked again, all are within the new price, and together they are
/// no more than the order.
fn check_quantities_of_legs(before: &Order, after: &Order, limit: Price) -> CaseVerdict {
    let known = before.fills.len();
    ensure(after.fills.iter().take(known).eq(&before.fills), || {
        "the fills of the earlier terms have changed".into()
    })?;
    let new: Vec<_> = after.fills.iter().skip(known).collect();
    ensure(new.iter().all(|fill| fill.price <= limit), || {
        format!("the new terms fill beyond {limit}: {new:?}")
    })?;
    ensure(new.iter().all(|fill| !before.has_booked_fill(&fill.exec_id)), || {
        format!("a trade id is used again: {new:?}")
    })?;
    ensure(after.filled_quantity <= after.quantity.decimal(), || {
        format!("{} of {} are filled", after.filled_quantity, after.quantity)
    })
}

async fn check_not_called<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let (before, terms) = open_and_change(harness, ReplaceMethod::CancelReplace).await?;
    let begun = before.begin_replace(&terms, None, Timestamp::now());
    let pending = begun.map_err(|error| error.to_string())?.order;
    match harness.adapter().replace(pending).await {
        ReplaceCallOutcome::NotSent(_) => check_unchanged(harness, &before).await,
        other => unexpected_outcome("not sent", &other),
    }
}

async fn check_replaced<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let pending = open_pending(harness, ReplaceMethod::CancelReplace).await?;
    let after = step(harness, &pending).await?;
    check_done(harness, &pending, &after).await
}

async fn check_amended<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let pending = open_pending(harness, ReplaceMethod::Amend).await?;
    let after = step(harness, &pending).await?;
    ensure(after.broker_order_id == pending.broker_order_id, || {
        format!("{:?} became {:?}", pending.broker_order_id, after.broker_order_id)
    })?;
    check_done(harness, &pending, &after).await
}

async fn check_cancelled_first<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let pending = open_pending(harness, ReplaceMethod::CancelFirst).await?;
    let cancelled = step(harness, &pending).await?;
    ensure(cancelled.open_replace().is_some() && !cancelled.is_terminal(), || {
        format!("after its cancel the replace is {:?}", state(&cancelled))
    })?;
    check_legs(harness, &cancelled, &[]).await?;
    let announced = apply_report(
        &cancelled,
        &cancelled.report_of_replace(ReplaceOutcome::Placing(Timestamp::now())),
    )?;
    let after = step(harness, &announced).await?;
    check_done(harness, &announced, &after).await
}

async fn check_repeated<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let pending = open_pending(harness, ReplaceMethod::CancelReplace).await?;
    let after = step(harness, &pending).await?;
    match harness.adapter().replace(pending.clone()).await {
        ReplaceCallOutcome::OutcomeUnknown(_) => check_done(harness, &pending, &after).await,
        other => unexpected_outcome("unknown", &other),
    }
}

async fn check_unreachable<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let pending = open_pending(harness, ReplaceMethod::CancelReplace).await?;
    harness.inject_fault(VenueFault::Unreachable).await?;
    match harness.adapter().replace(pending.clone()).await {
        ReplaceCallOutcome::NotSent(NotSentReason::Unavailable(_)) => {}
        other => return unexpected_outcome("not sent, unavailable", &other),
    }
    check_legs(harness, &pending, &[only_leg(&pending)?]).await?;
    let after = step(harness, &pending).await?;
    check_done(harness, &pending, &after).await
}

async fn check_reply_lost<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for method in [ReplaceMethod::CancelReplace, ReplaceMethod::Amend] {
        let pending = open_pending(harness, method).await?;
        harness.inject_fault(VenueFault::ReplyLost).await?;
        match harness.adapter().replace(pending.clone()).await {
            ReplaceCallOutcome::OutcomeUnknown(_) => {}
            other => return unexpected_outcome("unknown", &other),
        }
        let after = match harness.adapter().inquire(pending.clone()).await {
            InquiryOutcome::Reported(report) => apply_report(&pending, &report)?,
            other => return unexpected_outcome("a report of the new leg", &other),
        };
        check_done(harness, &pending, &after).await?;
    }
    Ok(())
}

async fn check_ended<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for method in [
        ReplaceMethod::CancelReplace,
        ReplaceMethod::Amend,
        ReplaceMethod::CancelFirst,
    ] {
        let (order, terms) = open_and_change(harness, method).await?;
        cancel_and_check(harness, &order).await?;
        let begun = order.begin_replace(&terms, None, Timestamp::now());
        let pending = begun.map_err(|error| error.to_string())?.order;
        // A step that proves nothing is settled by inquiries.
        let after = match harness.adapter().replace(pending.clone()).await {
            ReplaceCallOutcome::Reported(reports) => reports
                .iter()
                .try_fold(pending, |order, report| apply_report(&order, report))?,
            ReplaceCallOutcome::OutcomeUnknown(_) => pending,
            other => return unexpected_outcome("a refusal or unknown", &other),
        };
        ensure(state(&after) != Some(ReplaceState::Done), || {
            format!("{method}: the order had ended, and its replace is done")
        })?;
        check_legs(harness, &order, &[]).await?;
    }
    Ok(())
}
