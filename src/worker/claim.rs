//! Claim, risk, reserve: the rules give their signals, then one script answers a known id or claims the order with
//! everything it holds of the shared limits. Also after a lock the script is asked, so that every figure is known.

use super::admission::{self, Plan};
use super::router::Router;
use super::{known, signals, stop_point};
use crate::brokers::adapter::Placement;
use crate::domain::id::LeaseToken;
use crate::domain::intent::Intent;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::settlement::Deltas;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::risk::intent_age::Lifetime;
use crate::risk::{Approved, Assessment, Decision, Observed};
use crate::store::StoreError;
use crate::store::keys::OrderKey;
use crate::store::reserve::{KnownOrder, Reserve, ReserveAction, Reserved, Stage};
use crate::wire::settlement::document;

/// What the claim came to.
#[derive(Debug)]
pub enum Claim {
    /// The id is known.
    Known(KnownOrder),
    /// A rule stopped it; the denial is the id's final outcome, and in the outbox with this document.
    Denied(Order, Vec<u8>),
    /// It is claimed and approved.
    Approved(Approved<Placement>),
}

/// Asks the rules and the shared sums, in one step for all workers.
///
/// # Errors
/// What uses up no id: refusals, and a store that cannot be asked.
pub async fn claim(router: &Router, intent: &Intent, lifetime: Lifetime) -> Result<Claim, Fault> {
    match admission::plan(router, intent, lifetime) {
        Plan::Refused(fault) => refuse(router, intent, fault).await,
        Plan::Assessed {
            assessment,
            order,
            reference_price,
            quote_currency,
        } => {
            let figures = Metadata::new();
            let (lease, deadline) = (LeaseToken::assign(), lifetime.deadline);
            let placement = Placement {
                order,
                reference_price,
                quote_currency,
                deadline,
                lease,
                figures,
            };
            reserve_and_decide(router, intent, assessment, placement).await
        }
    }
}

/// A refusal uses up no id, and a known id is answered before it is told.
async fn refuse(router: &Router, intent: &Intent, fault: Fault) -> Result<Claim, Fault> {
    let key = OrderKey::new(router.mode, &intent.account_id, &intent.client_order_id);
    match known::look(router, &key).await? {
        Some(order) if !is_free_for(&order, intent) => Ok(Claim::Known(order)),
        _ => Err(fault),
    }
}

/// Whether an id that is known is free for this intent: it is the same order, and it was given back.
fn is_free_for(known: &KnownOrder, intent: &Intent) -> bool {
    known.stage == Stage::Released && known.content == intent.content_hash()
}

async fn reserve_and_decide(
    router: &Router,
    intent: &Intent,
    assessment: Assessment,
    mut placement: Placement,
) -> Result<Claim, Fault> {
    let mut reserved = reserve(router, &placement.order, action(router, &assessment, &placement)).await?;
    if let Reserved::Known(known) = &reserved
        && is_free_for(known, intent)
    {
        // It was given back after the journal knew of it: the same order goes on under its own id.
        placement.order.order_id = known.order_id.clone();
        reserved = reserve(router, &placement.order, action(router, &assessment, &placement)).await?;
    }
    let (observed, is_claimed) = match reserved {
        Reserved::Known(order) => return Ok(Claim::Known(order)),
        Reserved::Claimed(observed) => (observed, true),
        Reserved::Over(observed) | Reserved::Probed(observed) => (observed, false),
        other => return Err(unreserved(&other)),
    };
    stop_point::reach("after_reserve");
    placement.figures = assessment.figures(&observed);
    decide(router, intent, assessment, placement, (observed, is_claimed)).await
}

fn action(router: &Router, assessment: &Assessment, placement: &Placement) -> ReserveAction {
    let (order, caps) = (&placement.order, assessment.caps().to_vec());
    if assessment.is_locked() {
        return ReserveAction::Probe {
            scope: order.scope(),
            caps,
        };
    }
    let epoch = router.store.epoch().unwrap_or_default();
    ReserveAction::Claim {
        scope: order.scope(),
        broker: order.broker.clone(),
        caps,
        lease: placement.lease.clone(),
        document: document(order, order.claim_deltas(), epoch, Metadata::new()).encode(),
    }
}

async fn decide(
    router: &Router,
    intent: &Intent,
    assessment: Assessment,
    placement: Placement,
    (observed, is_claimed): (Vec<Observed>, bool),
) -> Result<Claim, Fault> {
    let (order, lease) = (placement.order.clone(), placement.lease.clone());
    let figures = placement.figures.clone();
    match assessment.decide(placement, &observed) {
        Decision::Approved(approved, signals) if is_claimed => {
            signals::publish(router, &signals, intent, Some(&order.order_id));
            Ok(Claim::Approved(approved))
        }
        Decision::Approved(..) => Err(Fault::new(
            Code::StoreUnavailable,
            "a limit changed while the order was judged; send it again",
        )),
        Decision::Denied(reason, signals) => {
            if is_claimed {
                // The script found room where the rules see none: the claim is given back before the denial.
                router
                    .store
                    .release(&order, &lease)
                    .await
                    .map_err(|error| unavailable(&error))?;
            }
            signals::publish(router, &signals, intent, Some(&order.order_id));
            record_denial(router, order.denied(reason, Timestamp::now()), figures).await
        }
    }
}

/// Records a denial as the id's final outcome, unless another worker has decided the id in the meantime.
async fn record_denial(router: &Router, order: Order, figures: Metadata) -> Result<Claim, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let document = document(&order, Deltas::default(), epoch, figures).encode();
    match reserve(
        router,
        &order,
        ReserveAction::Deny {
            document: document.clone(),
        },
    )
    .await?
    {
        Reserved::Denied => Ok(Claim::Denied(order, document)),
        Reserved::Known(order) => Ok(Claim::Known(order)),
        other => Err(unreserved(&other)),
    }
}

async fn reserve(router: &Router, order: &Order, action: ReserveAction) -> Result<Reserved, Fault> {
    let command = Reserve {
        key: OrderKey::of(order),
        order_id: order.order_id.clone(),
        content: order.content.clone(),
        action,
    };
    router.store.reserve(command).await.map_err(|error| unavailable(&error))
}

fn unreserved(reserved: &Reserved) -> Fault {
    let detail = match reserved {
        Reserved::Full => "the shared state holds as many orders as it may; nothing was sent",
        Reserved::Inexact => "a shared sum would leave the range that is counted exactly; nothing was sent",
        _ => "the shared state answered something unexpected; nothing was sent",
    };
    Fault::new(Code::StoreUnavailable, detail)
}

/// Returns the fault of a store that could not be asked before anything was sent.
pub fn unavailable(error: &StoreError) -> Fault {
    match error {
        StoreError::QueueFull => Fault::new(
            Code::QueueFull,
            "this worker has too many orders waiting; nothing was sent",
        ),
        error => Fault::new(Code::StoreUnavailable, format!("nothing was sent: {error}")),
    }
}
