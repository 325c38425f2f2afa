//! The submission pipeline: what happens to one intent, step by step.
//!
//! 1. **Parse** the bytes into an [`Intent`] ([`admission`]).
//! 2. **Claim** its id, evaluate the risk rules and reserve its share of every limit ([`claim`]). A known id is replied
//!    to from the journal and never sent again ([`idempotent_replay`]).
//! 3. **Send** the approved order to its broker.
//! 4. **Settle** what the venue reported, in one script ([`settlement`]). Where the venue is the store, as for paper
//!    orders, claim and settlement are one script, and nothing is sent.
//! 5. **Journal** the report ([`journaled_outcome`]), and only then **reply**.
//!
//! The process may die after any step. Before the claim nothing has happened. A claim whose worker died is released
//! when its lease expires. A settled report is in the outbox, and any worker journals it. A reply carries only a
//! journaled report; where there is none, the caller gets a receipt, and a durable intent is redelivered.

use tokio::time::Instant;

use crate::brokers::adapter::{NotSentReason, PlaceOutcome, Placement, VenueAcknowledgement};
use crate::brokers::port::BookError;
use crate::bus::request::{BusReply, BusRequest};
use crate::domain::intent::Intent;
use crate::domain::intent_lifetime::IntentLifetime;
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::replace::LegWord;
use crate::domain::venue_report::{OutboxEntry, VenueOrderState, VenueReport};
use crate::fault::{Fault, FaultCode};
use crate::risk::Approved;
use crate::telemetry::PipelineStage;
use crate::wire::report::ExecutionReport;
use crate::worker::journaling::{append, journaled_outcome, settlement};
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::admission;
use crate::worker::submission::claim;
use crate::worker::submission::claim::ClaimOutcome;
use crate::worker::submission::idempotent_replay;
use crate::worker::submission::measurement::{IntentMeasurement, OutcomeSource};
use crate::worker::submission::not_sent;
use crate::worker::submission::outcome::SubmissionOutcome;
use crate::worker::submission::unknown_outcome;
use crate::worker::trace;

/// How often one call evaluates an intent again because its id was known and has been released since.
const MAX_EVALUATIONS: usize = 8;

/// Submits one intent, from its bytes to its reply.
///
/// # Errors
/// The fault that the caller receives: nothing was sent, or a rule denied the order.
pub async fn submit(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let measurement = IntentMeasurement::start(router, call);
    let intent = match admission::parse_intent(call) {
        Ok(intent) => intent,
        Err(fault) => {
            measurement.finish(OutcomeSource::New, &Err(fault.clone()));
            return Err(fault);
        }
    };
    let lifetime = admission::intent_lifetime(router, call, &intent);
    let (source, result) = claim_and_send(router, &intent, lifetime).await;
    router.readiness.record_order(&result);
    let with_id = |fault: Fault| fault.with_client_order_id(intent.client_order_id.as_str());
    let result = result.map_err(|fault| with_id(redeliver_if_halted(call, fault)));
    measurement.finish(source, &result);
    let outcome = result?;
    if call.is_durable && outcome.is_receipt() {
        // A durable intent's only reply is the one to its message: the message has to be redelivered.
        return Err(with_id(Fault::new(
            FaultCode::StoreUnavailable,
            "the order is still in flight",
        )));
    }
    Ok(outcome.to_reply())
}

/// Makes a durable intent that trading was halted for, between its claim and its sending, be redelivered: nothing is
/// recorded, and the redelivery is evaluated under the trading state of that moment.
fn redeliver_if_halted(call: &BusRequest, fault: Fault) -> Fault {
    if call.is_durable && fault.code == FaultCode::TradingHalted && fault.rule_id.is_none() {
        return Fault::new(FaultCode::StoreUnavailable, fault.detail);
    }
    fault
}

/// Claims the intent's id and sends its order. Returns a known id's outcome without sending anything.
async fn claim_and_send(
    router: &Router,
    intent: &Intent,
    lifetime: IntentLifetime,
) -> (OutcomeSource, Result<SubmissionOutcome, Fault>) {
    for _ in 0..MAX_EVALUATIONS {
        stop_point::reach("before_reserve");
        let started_at = Instant::now();
        let claimed = claim::claim_order(router, intent, lifetime).await;
        trace::record_stage(&router.telemetry, PipelineStage::Reserve, started_at.elapsed());
        match claimed {
            Err(fault) => return (OutcomeSource::New, Err(fault)),
            Ok(ClaimOutcome::Known(known)) => {
                let replay = idempotent_replay::replay_outcome(router, intent, known, lifetime.deadline);
                match Box::pin(replay).await.transpose() {
                    Some(result) => return (OutcomeSource::Known, result),
                    // The order was released in the meantime: its id is free, and the intent is evaluated again.
                    None => continue,
                }
            }
            Ok(ClaimOutcome::Decided(order, document)) => {
                return (
                    OutcomeSource::Decided,
                    journal_decision(router, &order, document, started_at).await,
                );
            }
            Ok(ClaimOutcome::Booked(booked)) => {
                return (
                    OutcomeSource::New,
                    journaled_outcome::journal_and_build_outcome(router, &booked).await,
                );
            }
            Ok(ClaimOutcome::Unconfirmed(placement, reason)) => {
                let read = Box::pin(unknown_outcome::read_outcome(router, intent, &placement, &reason));
                return (OutcomeSource::New, read.await);
            }
            Ok(ClaimOutcome::Approved(placement)) => {
                return (OutcomeSource::New, send_to_broker(router, intent, placement).await);
            }
        }
    }
    let fault = Fault::new(
        FaultCode::StoreUnavailable,
        "other workers claimed and released the id too often; nothing was sent",
    );
    (OutcomeSource::New, Err(fault))
}

/// Journals a decision that sends nothing, and returns it: the problem of a denial, or the report of a dry run.
///
/// # Errors
/// The denial; a decision that is not journaled, or not known to count.
async fn journal_decision(
    router: &Router,
    order: &Order,
    document: Vec<u8>,
    started_at: Instant,
) -> Result<SubmissionOutcome, Fault> {
    let pending = vec![OutboxEntry {
        version: order.version,
        body: document.into(),
        settlement_id: None,
    }];
    let appended = append::append_and_mark(router, order, &pending, started_at).await;
    let appended = appended.map_err(|error| {
        let detail = format!("the order was decided on and not sent, but the decision is not journaled yet: {error}");
        Fault::new(FaultCode::PersistenceFailed, detail)
    })?;
    let sequence = appended.into_confirmed().await.ok_or_else(|| {
        let detail = "the decision was journaled late, and the shared state has not confirmed that it counts";
        Fault::new(FaultCode::PersistenceFailed, detail)
    })?;
    match order.reason.as_ref().and_then(Fault::from_risk_reason) {
        Some(denial) => Err(Fault {
            journal_sequence: Some(sequence),
            ..denial
        }),
        None => Ok(SubmissionOutcome::journaled(ExecutionReport::from(order), sequence)),
    }
}

/// Sends an approved order to its broker, and settles and journals what the broker returns.
async fn send_to_broker(
    router: &Router,
    intent: &Intent,
    approved: Approved<Placement>,
) -> Result<SubmissionOutcome, Fault> {
    let placement = approved.inner().clone();
    let Some(broker) = router.brokers.of_order(&placement.order) else {
        let reason = NotSentReason::NotAccepted("the broker is not configured".into());
        return not_sent::release_unsent(router, intent, &placement, reason).await;
    };
    let started_at = Instant::now();
    let outcome = broker.place(approved).await;
    trace::record_stage(&router.telemetry, PipelineStage::Broker, started_at.elapsed());
    match outcome {
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Booked(booked)) => {
            journaled_outcome::journal_and_build_outcome(router, &booked).await
        }
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) => {
            settle_and_journal(router, intent, &placement, report).await
        }
        PlaceOutcome::Rejected(reason) => {
            let report = VenueReport {
                broker_order_id: None,
                fills: Vec::new(),
                state: VenueOrderState::Rejected(reason),
                cumulative_quantity: None,
                legs: LegWord::default(),
                due: None,
            };
            settle_and_journal(router, intent, &placement, report).await
        }
        PlaceOutcome::NotSent(reason) => not_sent::release_unsent(router, intent, &placement, reason).await,
        PlaceOutcome::OutcomeUnknown(reason) => {
            Box::pin(unknown_outcome::settle_or_read(router, intent, &placement, &reason)).await
        }
    }
}

/// Settles a venue's report about a placed order, journals the result and returns it.
async fn settle_and_journal(
    router: &Router,
    intent: &Intent,
    placement: &Placement,
    report: VenueReport,
) -> Result<SubmissionOutcome, Fault> {
    let (order, readings) = (&placement.order, placement.figures.clone());
    match settlement::settle_venue_report(&router.settler, order, report, readings).await {
        Ok(booked) => journaled_outcome::journal_and_build_outcome(router, &booked).await,
        // Another worker has settled the same report.
        Err(BookError::NothingNew | BookError::Ended) => {
            let message = "another worker settled the venue's report";
            unknown_outcome::read_outcome(router, intent, placement, message).await
        }
        Err(error) => {
            let message = format!("the venue has replied, and its report could not be settled: {error}");
            let code = ReasonCode::OutcomeUnknown;
            Ok(SubmissionOutcome::receipt_for_intent(intent, order, code, &message))
        }
    }
}
