//! The way of one intent: parse, claim under the rules, hand to the broker, settle, journal, answer.
//!
//! Each step can be the last one this process takes. Before the claim nothing has happened. A claim that nobody
//! finishes is released when its lease ends. What is settled is in the outbox, and any worker journals it. An answer is
//! given only of what is on the journal; where that cannot be had it is a receipt or, on the durable door, the message
//! comes again.

use super::admission;
use super::claim::{self, Claim, unavailable};
use super::known;
use super::recording::{self, Told};
use super::router::Router;
use super::{book, stop_point};
use crate::brokers::adapter::{Acknowledgement, NotSent, PlaceOutcome, Placement};
use crate::bus::call::{Answer, Call};
use crate::domain::execution::{PendingEvent, VenueReport, VenueState};
use crate::domain::intent::Intent;
use crate::domain::order::Order;
use crate::domain::reason::{Reason, ReasonCode};
use crate::fault::{Code, Fault};
use crate::risk::Approved;
use crate::risk::intent_age::Lifetime;
use crate::store::keys::OrderKey;
use crate::store::reserve::Stage;

/// How often an id that was known a moment ago and is free again is judged anew within one call.
const MAX_JUDGEMENTS: usize = 8;

/// Takes one intent from its bytes to its answer.
///
/// # Errors
/// The fault its caller is told: nothing was sent, or a rule denied it.
pub async fn submit(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let intent = admission::read(call)?;
    let lifetime = admission::lifetime(router, call, &intent);
    let about = |fault: Fault| fault.about(intent.client_order_id.as_str());
    let told = execute(router, &intent, lifetime).await.map_err(about)?;
    if call.durable && told.is_receipt() {
        // Only this message brings its caller an answer: it has to come again.
        return Err(about(Fault::new(
            Code::StoreUnavailable,
            "the order is still under way",
        )));
    }
    Ok(told.answer())
}

async fn execute(router: &Router, intent: &Intent, lifetime: Lifetime) -> Result<Told, Fault> {
    for _ in 0..MAX_JUDGEMENTS {
        stop_point::reach("before_reserve");
        match claim::claim(router, intent, lifetime).await? {
            Claim::Known(order) => match Box::pin(known::answer(router, intent, order, lifetime.deadline)).await? {
                Some(told) => return Ok(told),
                // It was released in the meantime: the id is free, and the intent is judged anew.
                None => continue,
            },
            Claim::Denied(order, document) => return deny(router, &order, document).await,
            Claim::Approved(placement) => return send(router, intent, placement).await,
        }
    }
    Err(Fault::new(
        Code::StoreUnavailable,
        "the id was taken and given back too often; nothing was sent",
    ))
}

/// Journals a denial and tells it.
async fn deny(router: &Router, order: &Order, document: Vec<u8>) -> Result<Told, Fault> {
    let pending = vec![PendingEvent {
        version: order.version,
        body: document.into(),
    }];
    let reason = order
        .reason
        .clone()
        .unwrap_or_else(|| Reason::new(ReasonCode::RiskLocked, "a risk rule stopped it"));
    match recording::record(router, order, &pending).await {
        Ok(_) => Err(Fault::of_denial(&reason).unwrap_or_else(|| Fault::new(Code::RiskLocked, reason.message))),
        Err(error) => Err(Fault::new(
            Code::PersistenceFailed,
            format!("the order was denied and not sent, but: {error}"),
        )),
    }
}

/// Hands an approved order to its broker and makes its answer the caller's.
async fn send(router: &Router, intent: &Intent, approved: Approved<Placement>) -> Result<Told, Fault> {
    let placement = approved.get().clone();
    let Some(broker) = router.brokers.get(&intent.broker) else {
        return not_sent(
            router,
            intent,
            &placement,
            NotSent::Unavailable("the broker is not configured".into()),
        )
        .await;
    };
    match broker.place(approved).await {
        PlaceOutcome::Acknowledged(Acknowledgement::Booked(booked)) => {
            recording::tell(router, &booked.order, &booked.pending).await
        }
        PlaceOutcome::Acknowledged(Acknowledgement::Reported(report)) => {
            settle(router, intent, &placement, report).await
        }
        PlaceOutcome::Rejected(reason) => {
            let state = VenueState::Rejected(reason);
            let report = VenueReport {
                broker_order_id: None,
                fills: Vec::new(),
                state,
                due: None,
            };
            settle(router, intent, &placement, report).await
        }
        PlaceOutcome::NotSent(why) => not_sent(router, intent, &placement, why).await,
        PlaceOutcome::OutcomeUnknown(why) => Box::pin(unknown(router, intent, &placement, &why)).await,
    }
}

/// Tells what the store knows of an order whose outcome the broker could not tell; a receipt where it knows no more.
async fn unknown(router: &Router, intent: &Intent, placement: &Placement, why: &str) -> Result<Told, Fault> {
    let order = &placement.order;
    let key = OrderKey::of(order);
    if let Ok(Some(known)) = known::look(router, &key).await
        && known.stage != Stage::Claimed
        && let Some(told) = known::answer(router, intent, known, placement.deadline).await?
    {
        let is_replay = told.report.order_id != order.order_id.as_str();
        return Ok(Told { is_replay, ..told });
    }
    Ok(Told::receipt(intent, order, ReasonCode::OutcomeUnknown, why))
}

/// Settles what a venue has said of an order.
async fn settle(router: &Router, intent: &Intent, placement: &Placement, report: VenueReport) -> Result<Told, Fault> {
    match book::settle_placement(&router.store, placement, report, None).await {
        Ok(booked) => recording::tell(router, &booked.order, &booked.pending).await,
        Err(error) => {
            let why = format!("the venue has answered, and its answer could not be settled: {error}");
            Ok(Told::receipt(
                intent,
                &placement.order,
                ReasonCode::OutcomeUnknown,
                &why,
            ))
        }
    }
}

/// Gives back what the order holds. A release that cannot be confirmed is told as unknown, never as not sent.
async fn not_sent(router: &Router, intent: &Intent, placement: &Placement, why: NotSent) -> Result<Told, Fault> {
    let fault = match why {
        NotSent::Expired => admission::expired(placement.deadline),
        NotSent::LeaseLost => Fault::new(
            Code::StoreUnavailable,
            "the order waited longer than its lease and was not sent; send it again",
        ),
        NotSent::Unavailable(reason) => {
            Fault::new(Code::BrokerUnavailable, format!("the order was not sent: {reason}"))
        }
        NotSent::QueueFull => Fault::new(
            Code::QueueFull,
            format!("{} has too many orders waiting; this one was not sent", intent.broker),
        ),
    };
    match router.store.release(&placement.order, &placement.lease).await {
        Ok(_) => Err(fault),
        Err(error) => {
            tracing::warn!(order_id = %placement.order.order_id, %error, "a claim could not be given back; its lease will end");
            let why = unavailable(&error).detail;
            Ok(Told::receipt(
                intent,
                &placement.order,
                ReasonCode::OutcomeUnknown,
                &why,
            ))
        }
    }
}
