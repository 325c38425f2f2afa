//! Cases of placements.

use crate::brokers::adapter::{BrokerAdapter, PlaceOutcome};
use crate::brokers::conformance::assertions::{check_quantities, check_reason, ensure, place_and_check};
use crate::brokers::conformance::{
    CaseTerms, CaseVerdict, ConformanceCase, ConformanceHarness, HarnessResult, applies_always, has_effects_in_store,
    supports_time_in_force, unexpected_outcome,
};
use crate::domain::order_terms::{OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::reason::ReasonCode;

/// Quantities in lots for which rounding to the lot may fail.
const ROUNDING_LOTS: &[i64] = &[1, 2, 3, 19, 20, 21, 99, 100, 101, 333];

pub(super) fn cases<H: ConformanceHarness>() -> Vec<ConformanceCase<H>> {
    vec![
        ConformanceCase {
            id: "P01",
            title: "every order type and declared time in force is acknowledged with consistent quantities; only FOK \
                    market orders may be rejected",
            applies: applies_always,
            check: |harness| Box::pin(check_every_term(harness)),
        },
        ConformanceCase {
            id: "P02",
            title: "an order with an undeclared time in force has no effect",
            applies: applies_always,
            check: |harness| Box::pin(check_undeclared_time_in_force(harness)),
        },
        ConformanceCase {
            id: "P03",
            title: "a market order fills at the reference price, a limit order at its limit",
            applies: has_effects_in_store,
            check: |harness| Box::pin(check_fill_prices(harness)),
        },
        ConformanceCase {
            id: "P04",
            title: "a trade id is the order id and a number",
            applies: has_effects_in_store,
            check: |harness| Box::pin(check_trade_ids(harness)),
        },
        ConformanceCase {
            id: "P05",
            title: "fills are whole lots for every quantity",
            applies: applies_always,
            check: |harness| Box::pin(check_whole_lots(harness)),
        },
        ConformanceCase {
            id: "P06",
            title: "an IOC order ends at once: filled, or its remainder cancelled for its time in force",
            applies: |capabilities| supports_time_in_force(capabilities, TimeInForce::Ioc),
            check: |harness| Box::pin(check_immediate_or_cancel(harness)),
        },
        ConformanceCase {
            id: "P07",
            title: "a FOK order ends at once: filled in full, or cancelled with no fill",
            applies: |capabilities| supports_time_in_force(capabilities, TimeInForce::Fok),
            check: |harness| Box::pin(check_fill_or_kill(harness)),
        },
    ]
}

async fn check_every_term<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for &time_in_force in &harness.adapter().capabilities().times_in_force {
        for &order_type in OrderType::ALL {
            for &side in Side::ALL {
                let terms = CaseTerms {
                    side,
                    ..CaseTerms::buy(order_type, time_in_force, 100)
                };
                let is_fok_market = (order_type, time_in_force) == (OrderType::Market, TimeInForce::Fok);
                if is_fok_market && is_rejected_without_effect(harness, terms).await? {
                    continue;
                }
                let order = place_and_check(harness, terms)
                    .await
                    .map_err(|detail| format!("{terms:?}: {detail}"))?;
                ensure(order.version == 1, || format!("{terms:?}: version {}", order.version))?;
                ensure(order.broker_order_id.is_some(), || {
                    format!("{terms:?}: the order has no id of the venue")
                })?;
                let stays_open = matches!(time_in_force, TimeInForce::Gtc | TimeInForce::Day);
                ensure(stays_open || order.is_terminal(), || {
                    format!("{terms:?}: still {:?}", order.status)
                })?;
                ensure(!stays_open || order.status != Some(OrderStatus::Cancelled), || {
                    format!("{terms:?}: cancelled without a request")
                })?;
            }
        }
    }
    Ok(())
}

/// Reports whether the adapter rejects an order with these terms: a venue that lacks them gets no order with others.
async fn is_rejected_without_effect<H: ConformanceHarness>(harness: &H, terms: CaseTerms) -> HarnessResult<bool> {
    let placement = harness.claim_order(terms).await?;
    let order_id = placement.inner().order.order_id.clone();
    let is_rejected = matches!(harness.adapter().place(placement).await, PlaceOutcome::Rejected(_));
    let version = harness.read_order(&order_id).await?.version;
    ensure(!is_rejected || version == 0, || {
        format!("{terms:?} was rejected, and had an effect")
    })?;
    Ok(is_rejected)
}

async fn check_undeclared_time_in_force<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let capabilities = harness.adapter().capabilities();
    for &time_in_force in TimeInForce::ALL
        .iter()
        .filter(|&&other| !supports_time_in_force(capabilities, other))
    {
        let placement = harness
            .claim_order(CaseTerms::buy(OrderType::Limit, time_in_force, 100))
            .await?;
        let order_id = placement.inner().order.order_id.clone();
        match harness.adapter().place(placement).await {
            PlaceOutcome::Rejected(_) | PlaceOutcome::NotSent(_) => {}
            other => return unexpected_outcome("a rejection or not sent", &other),
        }
        let now = harness.read_order(&order_id).await?;
        ensure(now.version == 0, || {
            format!("{time_in_force} had an effect: {:?}", now.status)
        })?;
    }
    Ok(())
}

async fn check_fill_prices<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for &order_type in OrderType::ALL {
        let placement = harness
            .claim_order(CaseTerms::buy(order_type, TimeInForce::Gtc, 100))
            .await?;
        let approved = placement.inner().clone();
        let price = approved.order.price.unwrap_or(approved.reference_price);
        ensure(
            order_type == OrderType::Market || price != approved.reference_price,
            || "the harness gave a limit price equal to the reference price: the case would prove nothing".into(),
        )?;
        harness.adapter().place(placement).await;
        let order = harness.read_order(&approved.order.order_id).await?;
        ensure(!order.fills.is_empty(), || format!("a {order_type} order did not fill"))?;
        for fill in &order.fills {
            ensure(fill.price == price, || {
                format!("a {order_type} order filled at {} instead of {price}", fill.price)
            })?;
            ensure(fill.fee_currency == approved.quote_currency, || {
                format!("a fee in {} instead of {}", fill.fee_currency, approved.quote_currency)
            })?;
        }
    }
    Ok(())
}

async fn check_trade_ids<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    let order = place_and_check(harness, CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, 100)).await?;
    ensure(!order.fills.is_empty(), || "the order did not fill".into())?;
    for (at, fill) in order.fills.iter().enumerate() {
        let id = format!("{}-{}", order.order_id, at + 1);
        ensure(fill.exec_id == id, || {
            format!("the trade id is {}, expected {id}", fill.exec_id)
        })?;
    }
    Ok(())
}

async fn check_whole_lots<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for &lots in ROUNDING_LOTS {
        let order = place_and_check(harness, CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, lots)).await;
        check_quantities(&order.map_err(|detail| format!("{lots} lots: {detail}"))?)?;
    }
    Ok(())
}

async fn check_immediate_or_cancel<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for &lots in ROUNDING_LOTS {
        let order = place_and_check(harness, CaseTerms::buy(OrderType::Limit, TimeInForce::Ioc, lots)).await?;
        match order.status {
            Some(OrderStatus::Filled) => {}
            Some(OrderStatus::Cancelled) => check_reason(&order, ReasonCode::TimeInForce)?,
            other => return unexpected_outcome("a filled or cancelled order", &other),
        }
    }
    Ok(())
}

async fn check_fill_or_kill<H: ConformanceHarness>(harness: &H) -> CaseVerdict {
    for &lots in ROUNDING_LOTS {
        let order = place_and_check(harness, CaseTerms::buy(OrderType::Limit, TimeInForce::Fok, lots)).await?;
        match order.status {
            Some(OrderStatus::Filled) => {}
            Some(OrderStatus::Cancelled) => {
                check_reason(&order, ReasonCode::TimeInForce)?;
                ensure(order.filled_quantity.is_zero(), || {
                    format!("{} of a killed order filled", order.filled_quantity)
                })?;
            }
            other => return unexpected_outcome("a filled or cancelled order", &other),
        }
    }
    Ok(())
}
