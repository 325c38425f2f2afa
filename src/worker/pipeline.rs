//! The way of one intent: parse, claim under the rules, hand to the broker, settle, journal, answer.
//!
//! Each step can be the last one this process takes. Before the claim nothing has happened. A claim that nobody
//! finishes is released when its lease ends. What is settled is in the outbox, and any worker journals it. An answer is
//! given only of what is on the journal; where that cannot be had it is a receipt or, on the durable door, the message
//! comes again.

use tokio::time::Instant;

use super::admission;
use super::claim::{self, Claim, unavailable};
use super::known;
use super::observed::{Observed, Way};
use super::recording::{self, Told};
use super::router::Router;
use super::{book, stop_point, submission};
use crate::brokers::adapter::{Acknowledgement, NotSent, PlaceOutcome, Placement};
use crate::brokers::port::BookError;
use crate::bus::call::{Answer, Call};
use crate::domain::execution::{PendingEvent, VenueReport, VenueState};
use crate::domain::intent::Intent;
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::fault::{Code, Fault};
use crate::risk::Approved;
use crate::risk::intent_age::Lifetime;
use crate::store::keys::OrderKey;
use crate::store::reserve::Stage;
use crate::store::sending::Reached;
use crate::telemetry;
use crate::wire::report::ExecutionReport;

/// How often an id that was known a moment ago and is free again is judged anew within one call.
const MAX_JUDGEMENTS: usize = 8;
/// What a caller is told whose order was on its way when trading was halted.
const HALTED: &str = "trading was halted before the order was sent; nothing was sent";

/// Takes one intent from its bytes to its answer.
///
/// # Errors
/// The fault its caller is told: nothing was sent, or a rule denied it.
pub async fn submit(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let observed = Observed::begin(router, call);
    let intent = match admission::read(call) {
        Ok(intent) => intent,
        Err(fault) => {
            let refused = Err(fault);
            observed.end(Way::New, &refused);
            return refused.map(|told: Told| told.answer());
        }
    };
    let lifetime = admission::lifetime(router, call, &intent);
    let about = |fault: Fault| fault.about(intent.client_order_id.as_str());
    let (way, executed) = execute(router, &intent, lifetime).await;
    let told = executed.map_err(|fault| about(again_if_halted(call, fault)));
    observed.end(way, &told);
    let told = told?;
    if call.durable && told.is_receipt() {
        // Only this message brings its caller an answer: it has to come again.
        return Err(about(Fault::new(
            Code::StoreUnavailable,
            "the order is still under way",
        )));
    }
    Ok(told.answer())
}

/// Trading was halted between the claim and the sending: nothing is recorded. On the durable door the intent comes again,
/// to be judged by what is in force then.
fn again_if_halted(call: &Call, fault: Fault) -> Fault {
    if call.durable && fault.code == Code::TradingHalted && fault.rule_id.is_none() {
        return Fault::new(Code::StoreUnavailable, fault.detail);
    }
    fault
}

async fn execute(router: &Router, intent: &Intent, lifetime: Lifetime) -> (Way, Result<Told, Fault>) {
    for _ in 0..MAX_JUDGEMENTS {
        stop_point::reach("before_reserve");
        let begun = Instant::now();
        let claimed = claim::claim(router, intent, lifetime).await;
        router.telemetry.stage(telemetry::Stage::Reserve, begun.elapsed());
        match claimed {
            Err(fault) => return (Way::New, Err(fault)),
            Ok(Claim::Known(order)) => {
                let answer = Box::pin(known::answer(router, intent, order, lifetime.deadline));
                match answer.await.transpose() {
                    Some(told) => return (Way::Known, told),
                    // It was released in the meantime: the id is free, and the intent is judged anew.
                    None => continue,
                }
            }
            Ok(Claim::Decided(order, document)) => return (Way::Decided, decided(router, &order, document).await),
            Ok(Claim::Approved(placement)) => return (Way::New, send(router, intent, placement).await),
        }
    }
    let fault = Fault::new(
        Code::StoreUnavailable,
        "the id was taken and given back too often; nothing was sent",
    );
    (Way::New, Err(fault))
}

/// Journals a decision that sends nothing, and tells it: the problem of a denial, or a dry run's report.
async fn decided(router: &Router, order: &Order, document: Vec<u8>) -> Result<Told, Fault> {
    let pending = vec![PendingEvent {
        version: order.version,
        body: document.into(),
    }];
    let sequence = recording::record(router, order, &pending).await.map_err(|error| {
        let detail = format!("the order was decided on and not sent, but: {error}");
        Fault::new(Code::PersistenceFailed, detail)
    })?;
    match order.reason.as_ref().and_then(Fault::of_denial) {
        Some(denial) => Err(Fault {
            journal_sequence: Some(sequence),
            ..denial
        }),
        None => Ok(Told {
            report: ExecutionReport::of(order),
            journal_sequence: Some(sequence),
            is_replay: false,
        }),
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
    let begun = Instant::now();
    let outcome = broker.place(approved).await;
    router.telemetry.stage(telemetry::Stage::Broker, begun.elapsed());
    match outcome {
        PlaceOutcome::Acknowledged(Acknowledgement::Booked(booked)) => recording::tell(router, &booked).await,
        PlaceOutcome::Acknowledged(Acknowledgement::Reported(report)) => {
            settle(router, intent, &placement, report).await
        }
        PlaceOutcome::Rejected(reason) => {
            let state = VenueState::Rejected(reason);
            let report = VenueReport {
                broker_order_id: None,
                fills: Vec::new(),
                state,
                cumulative_quantity: None,
                due: None,
            };
            settle(router, intent, &placement, report).await
        }
        PlaceOutcome::NotSent(why) => not_sent(router, intent, &placement, why).await,
        PlaceOutcome::OutcomeUnknown(why) if submission::outlives_us(router, &intent.broker) => {
            Box::pin(nobody_knows(router, intent, &placement, &why)).await
        }
        PlaceOutcome::OutcomeUnknown(why) => Box::pin(unknown(router, intent, &placement, &why)).await,
    }
}

/// Settles that nobody knows what became of an order, and tells it: its venue is asked until it has said.
async fn nobody_knows(router: &Router, intent: &Intent, placement: &Placement, why: &str) -> Result<Told, Fault> {
    let (order, lease) = (&placement.order, &placement.lease);
    let report = submission::nobody_knows(router, why);
    match book::settle_under(
        &router.store,
        &router.rates,
        order,
        lease,
        report,
        placement.figures.clone(),
    )
    .await
    {
        Ok(booked) => recording::tell(router, &booked).await,
        // Another worker has found it in the meantime, or the store is away: it stands as being sent.
        Err(_) => unknown(router, intent, placement, why).await,
    }
}

/// Tells what the store knows of an order whose outcome the broker could not tell; a receipt where it knows no more.
async fn unknown(router: &Router, intent: &Intent, placement: &Placement, why: &str) -> Result<Told, Fault> {
    let order = &placement.order;
    let key = OrderKey::of(order);
    if let Ok(Some(known)) = known::look(router, &key).await
        && !known.stage.is_under_way()
        && known.stage != Stage::Released
        && let Some(told) = known::answer(router, intent, known, placement.deadline).await?
    {
        let is_replay = told.report.order_id != order.order_id.as_str();
        return Ok(Told { is_replay, ..told });
    }
    Ok(Told::receipt(intent, order, ReasonCode::OutcomeUnknown, why))
}

/// Settles what a venue has said of an order.
async fn settle(router: &Router, intent: &Intent, placement: &Placement, report: VenueReport) -> Result<Told, Fault> {
    let (order, figures) = (&placement.order, placement.figures.clone());
    match book::settle_word(&router.store, &router.rates, order, report, figures).await {
        Ok(booked) => recording::tell(router, &booked).await,
        // Another worker has heard the same of the venue.
        Err(BookError::NothingNew | BookError::Ended) => {
            unknown(router, intent, placement, "the venue has answered another worker").await
        }
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
        NotSent::Halted => Fault::new(Code::TradingHalted, HALTED),
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
    // A full queue means that no adapter has seen the order: nothing of it is on the journal.
    if fault.code != Code::QueueFull && submission::outlives_us(router, &intent.broker) {
        return released(router, intent, placement, fault).await;
    }
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

/// Gives back what an announced order holds, and tells the fault once that is on the journal. Where the order is another
/// worker's by now, this one's word that it was not sent does not count any more.
async fn released(router: &Router, intent: &Intent, placement: &Placement, fault: Fault) -> Result<Told, Fault> {
    let (order, lease) = (&placement.order, &placement.lease);
    let why = match submission::release(router, order, lease, Reached::Sending).await {
        Ok(true) => return Err(fault),
        Ok(false) => "the order was taken over by another worker before it was given back".to_owned(),
        Err(error) => format!(
            "the order was not sent, and that is not on record yet: {}",
            error.detail
        ),
    };
    tracing::warn!(order_id = %order.order_id, why, "an order that was not sent is told as unknown");
    unknown(router, intent, placement, &why).await
}
