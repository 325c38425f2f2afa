//! Cases of what placing does.

use super::check::{ensure, figures, has_reason, place};
use super::{Case, Harness, Terms, Verdict, always, in_store, takes, unexpected};
use crate::brokers::adapter::{Adapter, PlaceOutcome};
use crate::domain::reason::ReasonCode;
use crate::domain::terms::{OrderStatus, OrderType, Side, TimeInForce};

/// Quantities in lots about which rounding to the lot may go wrong.
const LOTS: &[i64] = &[1, 2, 3, 19, 20, 21, 99, 100, 101, 333];

pub(super) fn cases<H: Harness>() -> Vec<Case<H>> {
    vec![
        Case {
            id: "P01",
            title: "every order type and declared time in force is acknowledged with figures that agree",
            applies: always,
            check: |harness| Box::pin(every_term(harness)),
        },
        Case {
            id: "P02",
            title: "a time in force that is not declared has no effect",
            applies: always,
            check: |harness| Box::pin(undeclared(harness)),
        },
        Case {
            id: "P03",
            title: "a market order fills at the reference price, a limit order at its limit",
            applies: in_store,
            check: |harness| Box::pin(prices(harness)),
        },
        Case {
            id: "P04",
            title: "trade ids are the order's id and a number",
            applies: in_store,
            check: |harness| Box::pin(trade_ids(harness)),
        },
        Case {
            id: "P05",
            title: "whatever the quantity, fills are whole lots",
            applies: always,
            check: |harness| Box::pin(whole_lots(harness)),
        },
        Case {
            id: "P06",
            title: "an IOC order ends at once: filled, or its rest cancelled for its time in force",
            applies: |capabilities| takes(capabilities, TimeInForce::Ioc),
            check: |harness| Box::pin(immediate_or_cancel(harness)),
        },
        Case {
            id: "P07",
            title: "a FOK order ends at once: filled in full, or cancelled with no fill",
            applies: |capabilities| takes(capabilities, TimeInForce::Fok),
            check: |harness| Box::pin(fill_or_kill(harness)),
        },
    ]
}

async fn every_term<H: Harness>(harness: &H) -> Verdict {
    for &time_in_force in &harness.adapter().capabilities().times_in_force {
        for &order_type in OrderType::ALL {
            for &side in Side::ALL {
                let terms = Terms {
                    side,
                    ..Terms::buy(order_type, time_in_force, 100)
                };
                let order = place(harness, terms)
                    .await
                    .map_err(|what| format!("{terms:?}: {what}"))?;
                ensure(order.version == 1, || format!("{terms:?}: version {}", order.version))?;
                ensure(order.broker_order_id.is_some(), || {
                    format!("{terms:?}: no id of the venue's own")
                })?;
                let stands = matches!(time_in_force, TimeInForce::Gtc | TimeInForce::Day);
                ensure(stands || order.is_ended(), || {
                    format!("{terms:?}: still {:?}", order.status)
                })?;
                ensure(!stands || order.status != Some(OrderStatus::Cancelled), || {
                    format!("{terms:?}: cancelled, and nobody asked for it")
                })?;
            }
        }
    }
    Ok(())
}

async fn undeclared<H: Harness>(harness: &H) -> Verdict {
    let capabilities = harness.adapter().capabilities();
    for &time_in_force in TimeInForce::ALL.iter().filter(|&&other| !takes(capabilities, other)) {
        let placement = harness.claim(Terms::buy(OrderType::Limit, time_in_force, 100)).await?;
        let order_id = placement.get().order.order_id.clone();
        match harness.adapter().place(placement).await {
            PlaceOutcome::Rejected(_) | PlaceOutcome::NotSent(_) => {}
            other => return unexpected("a refusal", &other),
        }
        let now = harness.order(&order_id).await?;
        ensure(now.version == 0, || {
            format!("{time_in_force} had an effect: {:?}", now.status)
        })?;
    }
    Ok(())
}

async fn prices<H: Harness>(harness: &H) -> Verdict {
    for &order_type in OrderType::ALL {
        let placement = harness.claim(Terms::buy(order_type, TimeInForce::Gtc, 100)).await?;
        let approved = placement.get().clone();
        let price = approved.order.price.unwrap_or(approved.reference_price);
        ensure(
            order_type == OrderType::Market || price != approved.reference_price,
            || "the harness' limit price is the reference price: the case would show nothing".into(),
        )?;
        harness.adapter().place(placement).await;
        let order = harness.order(&approved.order.order_id).await?;
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

async fn trade_ids<H: Harness>(harness: &H) -> Verdict {
    let order = place(harness, Terms::buy(OrderType::Limit, TimeInForce::Gtc, 100)).await?;
    ensure(!order.fills.is_empty(), || "the order did not fill".into())?;
    for (at, fill) in order.fills.iter().enumerate() {
        let id = format!("{}-{}", order.order_id, at + 1);
        ensure(fill.exec_id == id, || format!("trade {} should be {id}", fill.exec_id))?;
    }
    Ok(())
}

async fn whole_lots<H: Harness>(harness: &H) -> Verdict {
    for &lots in LOTS {
        let order = place(harness, Terms::buy(OrderType::Limit, TimeInForce::Gtc, lots)).await;
        figures(&order.map_err(|what| format!("{lots} lots: {what}"))?)?;
    }
    Ok(())
}

async fn immediate_or_cancel<H: Harness>(harness: &H) -> Verdict {
    for &lots in LOTS {
        let order = place(harness, Terms::buy(OrderType::Limit, TimeInForce::Ioc, lots)).await?;
        match order.status {
            Some(OrderStatus::Filled) => {}
            Some(OrderStatus::Cancelled) => has_reason(&order, ReasonCode::TimeInForce)?,
            other => return unexpected("an end", &other),
        }
    }
    Ok(())
}

async fn fill_or_kill<H: Harness>(harness: &H) -> Verdict {
    for &lots in LOTS {
        let order = place(harness, Terms::buy(OrderType::Limit, TimeInForce::Fok, lots)).await?;
        match order.status {
            Some(OrderStatus::Filled) => {}
            Some(OrderStatus::Cancelled) => {
                has_reason(&order, ReasonCode::TimeInForce)?;
                ensure(order.filled_quantity.is_zero(), || {
                    format!("{} of a killed order filled", order.filled_quantity)
                })?;
            }
            other => return unexpected("an end", &other),
        }
    }
    Ok(())
}
