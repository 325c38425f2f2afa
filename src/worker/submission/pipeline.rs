//! The way of one intent: parse, claim under the rules, hand to the broker, settle, journal, answer.
//!
//! Each step can be the last one this process takes. Before the claim nothing has happened. A claim that nobody
//! finishes is released when its lease ends. What is settled is in the outbox, and any worker journals it. An answer is
//! given only of what is on the journal; where that cannot be had it is a receipt or, on the durable door, the message
//! comes again.

use tokio::time::Instant;

use crate::brokers::adapter::{NotSentReason, PlaceOutcome, Placement, VenueAcknowledgement};
use crate::brokers::port::BookError;
use crate::bus::request::{BusReply, BusRequest};
use crate::domain::intent::Intent;
use crate::domain::intent_lifetime::IntentLifetime;
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::venue_report::{OutboxEntry, VenueOrderState, VenueReport};
use crate::fault::{Fault, FaultCode};
use crate::risk::Approved;
use crate::store::keys::OrderKey;
use crate::store::orders::reserve::RecordStage;
use crate::store::orders::submission::WithdrawalStage;
use crate::telemetry;
use crate::wire::report::ExecutionReport;
use crate::worker::journaling::append;
use crate::worker::journaling::append::SubmissionOutcome;
use crate::worker::journaling::settlement;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::admission;
use crate::worker::submission::announced;
use crate::worker::submission::claim;
use crate::worker::submission::claim::{ClaimOutcome, store_unavailable};
use crate::worker::submission::idempotent_replay;
use crate::worker::submission::measurement::{IntentMeasurement, OutcomeSource};

/// How often an id that was known a moment ago and is free again is judged anew within one call.
const MAX_EVALUATIONS: usize = 8;
/// What a caller is told whose order was on its way when trading was halted.
const HALTED_BEFORE_SENDING: &str = "trading was halted before the order was sent; nothing was sent";

/// Takes one intent from its bytes to its answer.
///
/// # Errors
/// The fault its caller is told: nothing was sent, or a rule denied it.
pub async fn submit(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let observed = IntentMeasurement::start(router, call);
    let intent = match admission::parse_intent(call) {
        Ok(intent) => intent,
        Err(fault) => {
            let refused = Err(fault);
            observed.finish(OutcomeSource::New, &refused);
            return refused.map(|told: SubmissionOutcome| told.to_reply());
        }
    };
    let lifetime = admission::intent_lifetime(router, call, &intent);
    let about = |fault: Fault| fault.with_client_order_id(intent.client_order_id.as_str());
    let (way, executed) = claim_and_send(router, &intent, lifetime).await;
    let told = executed.map_err(|fault| about(retry_durable_if_halted(call, fault)));
    observed.finish(way, &told);
    let told = told?;
    if call.is_durable && told.is_receipt() {
        // Only this message brings its caller an answer: it has to come again.
        return Err(about(Fault::new(
            FaultCode::StoreUnavailable,
            "the order is still under way",
        )));
    }
    Ok(told.to_reply())
}

/// Trading was halted between the claim and the sending: nothing is recorded. On the durable door the intent comes again,
/// to be judged by what is in force then.
fn retry_durable_if_halted(call: &BusRequest, fault: Fault) -> Fault {
    if call.is_durable && fault.code == FaultCode::TradingHalted && fault.rule_id.is_none() {
        return Fault::new(FaultCode::StoreUnavailable, fault.detail);
    }
    fault
}

async fn claim_and_send(
    router: &Router,
    intent: &Intent,
    lifetime: IntentLifetime,
) -> (OutcomeSource, Result<SubmissionOutcome, Fault>) {
    for _ in 0..MAX_EVALUATIONS {
        stop_point::reach("before_reserve");
        let begun = Instant::now();
        let claimed = claim::claim_order(router, intent, lifetime).await;
        router
            .telemetry
            .observe_stage(telemetry::PipelineStage::Reserve, begun.elapsed());
        match claimed {
            Err(fault) => return (OutcomeSource::New, Err(fault)),
            Ok(ClaimOutcome::Known(order)) => {
                let answer = Box::pin(idempotent_replay::replay_outcome(
                    router,
                    intent,
                    order,
                    lifetime.deadline,
                ));
                match answer.await.transpose() {
                    Some(told) => return (OutcomeSource::Known, told),
                    // It was released in the meantime: the id is free, and the intent is judged anew.
                    None => continue,
                }
            }
            Ok(ClaimOutcome::Decided(order, document)) => {
                return (OutcomeSource::Decided, journal_decision(router, &order, document).await);
            }
            Ok(ClaimOutcome::Approved(placement)) => {
                return (OutcomeSource::New, send_to_broker(router, intent, placement).await);
            }
        }
    }
    let fault = Fault::new(
        FaultCode::StoreUnavailable,
        "the id was taken and given back too often; nothing was sent",
    );
    (OutcomeSource::New, Err(fault))
}

/// Journals a decision that sends nothing, and tells it: the problem of a denial, or a dry run's report.
async fn journal_decision(router: &Router, order: &Order, document: Vec<u8>) -> Result<SubmissionOutcome, Fault> {
    let pending = vec![OutboxEntry {
        version: order.version,
        body: document.into(),
    }];
    let sequence = append::append_and_mark(router, order, &pending)
        .await
        .map_err(|error| {
            let detail = format!("the order was decided on and not sent, but: {error}");
            Fault::new(FaultCode::PersistenceFailed, detail)
        })?;
    match order.reason.as_ref().and_then(Fault::from_risk_reason) {
        Some(denial) => Err(Fault {
            journal_sequence: Some(sequence),
            ..denial
        }),
        None => Ok(SubmissionOutcome {
            report: ExecutionReport::of(order),
            journal_sequence: Some(sequence),
            is_replay: false,
        }),
    }
}

/// Hands an approved order to its broker and makes its answer the caller's.
async fn send_to_broker(
    router: &Router,
    intent: &Intent,
    approved: Approved<Placement>,
) -> Result<SubmissionOutcome, Fault> {
    let placement = approved.inner().clone();
    let Some(broker) = router.brokers.get(&intent.broker) else {
        return release_unsent(
            router,
            intent,
            &placement,
            NotSentReason::Unavailable("the broker is not configured".into()),
        )
        .await;
    };
    let begun = Instant::now();
    let outcome = broker.place(approved).await;
    router
        .telemetry
        .observe_stage(telemetry::PipelineStage::Broker, begun.elapsed());
    match outcome {
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Booked(booked)) => {
            append::journal_and_build_outcome(router, &booked).await
        }
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) => {
            settle_and_journal(router, intent, &placement, report).await
        }
        PlaceOutcome::Rejected(reason) => {
            let state = VenueOrderState::Rejected(reason);
            let report = VenueReport {
                broker_order_id: None,
                fills: Vec::new(),
                state,
                cumulative_quantity: None,
                due: None,
            };
            settle_and_journal(router, intent, &placement, report).await
        }
        PlaceOutcome::NotSent(why) => release_unsent(router, intent, &placement, why).await,
        PlaceOutcome::OutcomeUnknown(why) if announced::places_at_venue(router, &intent.broker) => {
            Box::pin(settle_outcome_unknown(router, intent, &placement, &why)).await
        }
        PlaceOutcome::OutcomeUnknown(why) => Box::pin(resolve_unknown_outcome(router, intent, &placement, &why)).await,
    }
}

/// Settles that nobody knows what became of an order, and tells it: its venue is asked until it has said.
async fn settle_outcome_unknown(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    reason: &str,
) -> Result<SubmissionOutcome, Fault> {
    let (order, lease) = (&placement.order, &placement.lease);
    let report = announced::unknown_outcome_report(router, reason);
    match settlement::settle_with_lease(
        &router.store,
        &router.rates,
        order,
        lease,
        report,
        placement.readings.clone(),
    )
    .await
    {
        Ok(booked) => append::journal_and_build_outcome(router, &booked).await,
        // Another worker has found it in the meantime, or the store is away: it stands as being sent.
        Err(_) => resolve_unknown_outcome(router, intent, placement, reason).await,
    }
}

/// Tells what the store knows of an order whose outcome the broker could not tell; a receipt where it knows no more.
async fn resolve_unknown_outcome(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    reason: &str,
) -> Result<SubmissionOutcome, Fault> {
    let order = &placement.order;
    let key = OrderKey::of(order);
    if let Ok(Some(known)) = idempotent_replay::find_known_order(router, &key).await
        && !known.stage.is_in_flight()
        && known.stage != RecordStage::Released
        && let Some(told) = idempotent_replay::replay_outcome(router, intent, known, placement.deadline).await?
    {
        let is_replay = told.report.order_id != order.order_id.as_str();
        return Ok(SubmissionOutcome { is_replay, ..told });
    }
    Ok(SubmissionOutcome::receipt_for_intent(
        intent,
        order,
        ReasonCode::OutcomeUnknown,
        reason,
    ))
}

/// Settles what a venue has said of an order.
async fn settle_and_journal(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    report: VenueReport,
) -> Result<SubmissionOutcome, Fault> {
    let (order, figures) = (&placement.order, placement.readings.clone());
    match settlement::settle_venue_report(&router.store, &router.rates, order, report, figures).await {
        Ok(booked) => append::journal_and_build_outcome(router, &booked).await,
        // Another worker has heard the same of the venue.
        Err(BookError::NothingNew | BookError::Ended) => {
            resolve_unknown_outcome(router, intent, placement, "the venue has answered another worker").await
        }
        Err(error) => {
            let why = format!("the venue has answered, and its answer could not be settled: {error}");
            Ok(SubmissionOutcome::receipt_for_intent(
                intent,
                &placement.order,
                ReasonCode::OutcomeUnknown,
                &why,
            ))
        }
    }
}

/// Gives back what the order holds. A release that cannot be confirmed is told as unknown, never as not sent.
async fn release_unsent(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    why: NotSentReason,
) -> Result<SubmissionOutcome, Fault> {
    let fault = match why {
        NotSentReason::DeadlinePassed => admission::expired_fault(placement.deadline),
        NotSentReason::Halted => Fault::new(FaultCode::TradingHalted, HALTED_BEFORE_SENDING),
        NotSentReason::LeaseLost => Fault::new(
            FaultCode::StoreUnavailable,
            "the order waited longer than its lease and was not sent; send it again",
        ),
        NotSentReason::Unavailable(reason) => Fault::new(
            FaultCode::BrokerUnavailable,
            format!("the order was not sent: {reason}"),
        ),
        NotSentReason::QueueFull => Fault::new(
            FaultCode::QueueFull,
            format!("{} has too many orders waiting; this one was not sent", intent.broker),
        ),
    };
    // A full queue means that no adapter has seen the order: nothing of it is on the journal.
    if fault.code != FaultCode::QueueFull && announced::places_at_venue(router, &intent.broker) {
        return release_announced_order(router, intent, placement, fault).await;
    }
    match router.store.release_claim(&placement.order, &placement.lease).await {
        Ok(_) => Err(fault),
        Err(error) => {
            tracing::warn!(order_id = %placement.order.order_id, %error, "a claim could not be given back; its lease will end");
            let why = store_unavailable(&error).detail;
            Ok(SubmissionOutcome::receipt_for_intent(
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
async fn release_announced_order(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    fault: Fault,
) -> Result<SubmissionOutcome, Fault> {
    let (order, lease) = (&placement.order, &placement.lease);
    let why = match announced::release_announced(router, order, lease, WithdrawalStage::Sending).await {
        Ok(true) => return Err(fault),
        Ok(false) => "the order was taken over by another worker before it was given back".to_owned(),
        Err(error) => format!(
            "the order was not sent, and that is not on record yet: {}",
            error.detail
        ),
    };
    tracing::warn!(order_id = %order.order_id, why, "an order that was not sent is told as unknown");
    resolve_unknown_outcome(router, intent, placement, &why).await
}
