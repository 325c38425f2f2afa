//! The claim of an order whose venue is the store: one script compares the caps, claims the order and books its first
//! effect. Nothing stands between claim and effect, so no lease is needed and no claim is left behind.

use std::sync::Arc;

use crate::brokers::adapter::{BrokerCapabilities, Effects, Placement};
use crate::brokers::port::BookError;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::QuantityUnits;
use crate::domain::reason::Reason;
use crate::domain::replace::LegWord;
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::fault::{Fault, FaultCode};
use crate::risk::{ApprovedUnderCaps, CapReadings, RiskDecision};
use crate::store::orders::reserve::{ClaimStep, ReserveAction, ReserveOutcome};
use crate::wire::journal_report::READINGS_PLACEHOLDER;
use crate::wire::risk_signal::SignalSubject;
use crate::worker::control::alert_outbox;
use crate::worker::faults::{deadline_passed, store_unavailable};
use crate::worker::journaling::prepared_effect::PreparedEffect;
use crate::worker::journaling::repeated_send::{WhenQueueFull, send_until_answered};
use crate::worker::journaling::settlement::losses_to_watch;
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::claim_evaluation::{
    ClaimAttempt, ClaimEvaluation, ClaimOutcome, reserve_fault, reserve_request,
};
use crate::worker::submission::not_sent::trading_halted;

/// How often an order that only reduces is planned again because the position has changed.
const MAX_PLANS: usize = 4;

/// An order approved under its caps, and what its venue would report of it.
pub(super) struct PlannedOrder {
    approved: ApprovedUnderCaps<Placement>,
    report: VenueReport,
}

/// Returns what the order's venue would report, if the venue is the store and no rule stops the order before the shared
/// sums are read.
pub(super) fn plan(router: &Router, evaluation: &ClaimEvaluation<'_>) -> Option<PlannedOrder> {
    let broker = router.brokers.of_order(&evaluation.candidate.order)?;
    let is_in_store = |capabilities: &BrokerCapabilities| capabilities.effects == Effects::InStore;
    if evaluation.candidate.order.mode != Mode::Paper || !is_in_store(broker.capabilities()) {
        return None;
    }
    let placement = evaluation.placement(READINGS_PLACEHOLDER);
    let approved = evaluation.candidate.evaluation.approve_under_caps(placement)?;
    let report = broker.plan(&approved, None)?;
    Some(PlannedOrder {
        report: report.unwrap_or_else(rejection),
        approved,
    })
}

/// Returns the report of an order that its venue rejects.
fn rejection(reason: Reason) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state: VenueOrderState::Rejected(reason),
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    }
}

/// Claims a planned order and books its first effect.
///
/// # Errors
/// What uses up no id: nothing is booked.
pub(super) async fn book(
    router: &Router,
    evaluation: ClaimEvaluation<'_>,
    mut planned: PlannedOrder,
) -> Result<ClaimAttempt, Fault> {
    for _ in 0..MAX_PLANS {
        let placement = planned.approved.inner();
        let losses = losses_to_watch(
            &evaluation.context.control,
            &evaluation.context.day_pnl,
            &placement.order.account_id,
        );
        let prepared = PreparedEffect::new(&router.settler, placement, &planned.report, losses);
        let prepared = prepared.map_err(|error| preparation_fault(&error))?;
        let step = ClaimStep::Effect(Arc::clone(&prepared.effect));
        let check = evaluation.check(Some(evaluation.claim_request(prepared.deltas, step)));
        let action = ReserveAction::Evaluate(Box::new(check));
        let request = Arc::new(reserve_request(&placement.order, action));
        stop_point::reach("before_settle");
        let sent = send_until_answered(WhenQueueFull::Return, || router.store.reserve(Arc::clone(&request))).await;
        let outcome = match sent {
            // What an earlier attempt has booked is known; any other reply says that none was.
            Ok(reply) => reply.outcome,
            Err(unanswered) if unanswered.may_have_executed => {
                return Ok(unconfirmed(planned, unanswered.error.to_string()));
            }
            Err(unanswered) => return Err(store_unavailable(unanswered.error)),
        };
        drop(request);
        stop_point::reach("after_settle");
        let refused = match outcome {
            ReserveOutcome::Booked(readings, booked) => {
                publish_alerts(router, evaluation, &readings);
                let effect = prepared.into_booked(&readings.text, booked);
                return Ok(ClaimAttempt::Completed(ClaimOutcome::Booked(Box::new(effect))));
            }
            ReserveOutcome::BookedBefore => {
                let reason = "the order is booked, and its report cannot be read; read it again";
                return Ok(unconfirmed(planned, reason.to_owned()));
            }
            ReserveOutcome::CrossesZero(position) => {
                planned.report = plan_again(router, &evaluation, &planned, position)?;
                continue;
            }
            ReserveOutcome::AlreadyKnown(order) => {
                return Ok(ClaimAttempt::Completed(ClaimOutcome::Known(order)));
            }
            ReserveOutcome::GenerationChanged(_) => return Ok(ClaimAttempt::ContextOutdated),
            ReserveOutcome::DeadlinePassed => return Err(deadline_passed(placement.deadline)),
            ReserveOutcome::Halted => return Err(trading_halted()),
            ReserveOutcome::LimitExceeded(readings) | ReserveOutcome::Probed(readings) => readings,
            other => return Err(reserve_fault(&other)),
        };
        let decided = evaluation.apply_decision(router, &refused, false).await;
        return decided.map(ClaimAttempt::Completed);
    }
    let detail = "the position changes faster than an order that only reduces it can be planned; nothing was sent";
    Err(Fault::new(FaultCode::BrokerUnavailable, detail))
}

/// Returns what the order's venue reports, where `position` is all that the order may reduce.
fn plan_again(
    router: &Router,
    evaluation: &ClaimEvaluation<'_>,
    planned: &PlannedOrder,
    position: QuantityUnits,
) -> Result<VenueReport, Fault> {
    let broker = router.brokers.of_order(&evaluation.candidate.order);
    let report = broker.and_then(|broker| broker.plan(&planned.approved, Some(position)));
    let report = report.ok_or_else(|| Fault::new(FaultCode::BrokerUnavailable, "the broker has no plan any more"))?;
    Ok(report.unwrap_or_else(rejection))
}

fn unconfirmed(planned: PlannedOrder, reason: String) -> ClaimAttempt {
    let placement = planned.approved.inner().clone();
    ClaimAttempt::Completed(ClaimOutcome::Unconfirmed(Box::new(placement), reason))
}

/// Publishes the alerts of a booked order.
fn publish_alerts(router: &Router, evaluation: ClaimEvaluation<'_>, readings: &CapReadings) {
    let (intent, candidate) = (evaluation.intent, evaluation.candidate);
    match candidate.evaluation.decide((), readings) {
        RiskDecision::Approved(_, alerts) => alert_outbox::publish_new_alerts(router, &candidate.order, alerts),
        RiskDecision::Denied(reason, signals) | RiskDecision::Refused(reason, signals) => {
            tracing::error!(
                order_id = %candidate.order.order_id, reason = reason.message,
                "the rules deny an order that their caps have let pass; it is booked. Halt trading and report this"
            );
            let subject = SignalSubject::from_intent(intent, Some(&candidate.order.order_id));
            router.signals.publish(&signals, subject);
        }
    }
}

/// Returns the fault of an effect that cannot be prepared: nothing is booked.
fn preparation_fault(error: &BookError) -> Fault {
    Fault::new(FaultCode::BrokerUnavailable, format!("the order was not sent: {error}"))
}
