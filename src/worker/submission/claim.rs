//! Claim, risk, reserve: the rules give their signals, then one script answers a known id or claims the order with
//! everything it holds of the shared limits. Also after a lock the script is asked, so that every figure is known.

use crate::brokers::adapter::Placement;
use crate::domain::id::LeaseToken;
use crate::domain::intent::Intent;
use crate::domain::intent_lifetime::IntentLifetime;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::risk::rules::max_daily_loss;
use crate::risk::{Admissibility, Approved, CapReadings, RiskDecision};
use crate::store::StoreError;
use crate::store::keys::OrderKey;
use crate::store::orders::reserve::{
    ClaimRequest, KnownOrder, RecordStage, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use crate::wire::risk_signal::SignalSubject;
use crate::wire::settlement::build_journal_report;
use crate::worker::control::{loss_locks, signals};
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::admission;
use crate::worker::submission::admission::{AdmissionResult, OrderCandidate, RiskContext};

/// How often an order is judged anew within one call because what it is judged by has changed.
const MAX_CONTEXT_CHANGES: usize = 8;

/// What the claim came to.
#[derive(Debug)]
pub enum ClaimOutcome {
    /// The id is known.
    Known(KnownOrder),
    /// It is decided without being sent: a rule stopped it, or it was a dry run. That is the id's final outcome, and in
    /// the outbox with this document.
    Decided(Order, Vec<u8>),
    /// It is claimed and approved.
    Approved(Approved<Placement>),
}

/// What one judgement came to.
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each judgement is moved once"
)]
enum ClaimAttempt {
    Completed(ClaimOutcome),
    /// What it was judged by is no longer in force.
    ContextOutdated,
}

/// Asks the rules and the shared sums, in one step for all workers.
///
/// # Errors
/// What uses up no id: refusals, and a store that cannot be asked.
pub async fn claim_order(router: &Router, intent: &Intent, lifetime: IntentLifetime) -> Result<ClaimOutcome, Fault> {
    for _ in 0..MAX_CONTEXT_CHANGES {
        let judged = match load_risk_context(router).await {
            Ok(standing) => match admission::admit(router, intent, lifetime, &standing) {
                AdmissionResult::Refused(fault) => confirm_refusal(router, intent, &standing, fault).await?,
                AdmissionResult::Candidate(assessed) => {
                    let question = ClaimEvaluation::new(intent, lifetime, assessed, standing);
                    question.evaluate(router).await?
                }
            },
            // What the order would be judged by is not known; its id may be.
            Err(fault) => {
                let known = find_known_for_intent(router, intent)
                    .await?
                    .filter(|order| !is_reusable_by(order, intent));
                return known.map(ClaimOutcome::Known).ok_or(fault);
            }
        };
        match judged {
            ClaimAttempt::Completed(claim) => return Ok(claim),
            ClaimAttempt::ContextOutdated => router
                .control
                .refresh()
                .await
                .map_err(|error| store_unavailable(&error))?,
        };
    }
    Err(Fault::new(
        FaultCode::StoreUnavailable,
        "what orders are judged by changes faster than one can be judged; nothing was sent",
    ))
}

async fn load_risk_context(router: &Router) -> Result<RiskContext, Fault> {
    let (control, day) = router.trading_day.load_pnl().await?;
    Ok(RiskContext { control, day_pnl: day })
}

/// A refusal uses up no id; a known id is answered before it is told, and what it was judged by must be in force.
async fn confirm_refusal(
    router: &Router,
    intent: &Intent,
    context: &RiskContext,
    fault: Fault,
) -> Result<ClaimAttempt, Fault> {
    if let Some(order) = find_known_for_intent(router, intent)
        .await?
        .filter(|order| !is_reusable_by(order, intent))
    {
        return Ok(ClaimAttempt::Completed(ClaimOutcome::Known(order)));
    }
    let now = router
        .control
        .refresh()
        .await
        .map_err(|error| store_unavailable(&error))?;
    if now.generation == context.control.generation {
        return Err(fault);
    }
    Ok(ClaimAttempt::ContextOutdated)
}

async fn find_known_for_intent(router: &Router, intent: &Intent) -> Result<Option<KnownOrder>, Fault> {
    let key = OrderKey::new(router.control.mode(), &intent.account_id, &intent.client_order_id);
    crate::worker::submission::idempotent_replay::find_known_order(router, &key).await
}

/// Whether an id that is known is free for this intent: it is the same order, and it was given back.
fn is_reusable_by(known: &KnownOrder, intent: &Intent) -> bool {
    known.stage == RecordStage::Released && known.content_hash == intent.content_hash()
}

/// One order under the rules.
struct ClaimEvaluation<'a> {
    intent: &'a Intent,
    lifetime: IntentLifetime,
    candidate: OrderCandidate,
    context: RiskContext,
    lease: LeaseToken,
}

impl<'a> ClaimEvaluation<'a> {
    fn new(intent: &'a Intent, lifetime: IntentLifetime, candidate: OrderCandidate, context: RiskContext) -> Self {
        Self {
            intent,
            lifetime,
            candidate: candidate,
            context: context,
            lease: LeaseToken::generate(),
        }
    }

    /// Asks the store, and makes its answer a decision.
    async fn evaluate(mut self, router: &Router) -> Result<ClaimAttempt, Fault> {
        let mut reserved = self.reserve(router).await?;
        if let ReserveOutcome::AlreadyKnown(known) = &reserved
            && is_reusable_by(known, self.intent)
        {
            // It was given back after the journal knew of it: the same order goes on under its own id.
            self.candidate.order.order_id = known.order_id.clone();
            reserved = self.reserve(router).await?;
        }
        let (sight, is_claimed) = match reserved {
            ReserveOutcome::AlreadyKnown(order) => return Ok(ClaimAttempt::Completed(ClaimOutcome::Known(order))),
            ReserveOutcome::GenerationChanged(_) => return Ok(ClaimAttempt::ContextOutdated),
            ReserveOutcome::Claimed(sight) => (sight, true),
            ReserveOutcome::LimitExceeded(sight) | ReserveOutcome::Probed(sight) => (sight, false),
            other => return Err(reserve_fault(&other)),
        };
        stop_point::reach("after_reserve");
        self.apply_decision(router, &sight, is_claimed)
            .await
            .map(ClaimAttempt::Completed)
    }

    async fn reserve(&self, router: &Router) -> Result<ReserveOutcome, Fault> {
        let action = ReserveAction::Evaluate(Box::new(self.reserve_request(router)));
        call_reserve_script(router, &self.candidate.order, action).await
    }

    fn reserve_request(&self, router: &Router) -> ReservationCheck {
        let (order, assessment) = (&self.candidate.order, &self.candidate.evaluation);
        let is_dry_run = order.mode == Mode::DryRun;
        let epoch = router.store.epoch().unwrap_or_default();
        let claim = || {
            let deltas = order.reservation_deltas();
            ClaimRequest {
                reductions_only: assessment.admissibility() == Admissibility::ReductionsOnly,
                deltas,
                lease: self.lease.clone(),
                document: build_journal_report(order, deltas, epoch, Metadata::new()).encode(),
            }
        };
        ReservationCheck {
            scope: order.sum_scope(),
            broker: order.broker.clone(),
            side: order.side,
            lots: self.candidate.lots,
            base_lot: self.candidate.base_lot_units,
            control_generation: self.context.control.generation,
            evaluated_at_ms: self.context.day_pnl.measured_at_ms,
            caps: assessment.caps().to_vec(),
            alert_levels: router.limits.alerts,
            rate_limits: router.limits.order_rates,
            duplicate_check: router.limits.duplicate_order.map(|rule| (rule, order.duplicate_key())),
            is_counted: !is_dry_run,
            claim: (!is_dry_run && assessment.admissibility() != Admissibility::Nothing).then(claim),
        }
    }

    async fn apply_decision(
        self,
        router: &Router,
        cap_readings: &CapReadings,
        is_claimed: bool,
    ) -> Result<ClaimOutcome, Fault> {
        let OrderCandidate {
            evaluation: assessment,
            order,
            reference_price,
            quote_currency,
            ..
        } = self.candidate;
        let figures = assessment.cap_measurements(cap_readings);
        let placement = Placement {
            order: order.clone(),
            reference_price,
            quote_currency,
            deadline: self.lifetime.deadline,
            lease: self.lease.clone(),
            readings: figures.clone(),
        };
        let decision = assessment.decide(placement, cap_readings);
        if is_claimed && !matches!(decision, RiskDecision::Approved(..)) {
            // The script found room where the rules see none: the claim is given back before the denial.
            let released = router.store.release_claim(&order, &self.lease).await;
            released.map_err(|error| store_unavailable(&error))?;
        }
        let publish = |found: &[RuleSignal]| {
            signals::publish_signals(
                router,
                found,
                SignalSubject::from_intent(self.intent, Some(&order.order_id)),
            )
        };
        // The alerts of an order that does not go on stand in its figures: nothing has crossed a share yet.
        let publish_locks = |found: &[RuleSignal]| {
            let locks = found.iter().filter(|signal| signal.level == SignalLevel::Lock).cloned();
            publish(&locks.collect::<Vec<_>>());
        };
        match decision {
            RiskDecision::Approved(approved, found) if is_claimed => {
                publish(&found);
                Ok(ClaimOutcome::Approved(approved))
            }
            RiskDecision::Approved(_, found) if order.mode == Mode::DryRun => {
                publish(&found);
                record_decision(router, order.into_dry_run(Timestamp::now()), figures).await
            }
            RiskDecision::Approved(..) => Err(Fault::new(
                FaultCode::StoreUnavailable,
                "a limit changed while the order was judged; send it again",
            )),
            RiskDecision::Denied(reason, found) => {
                publish_locks(&found);
                if found
                    .iter()
                    .any(|signal| signal.rule_id == max_daily_loss::ID && signal.level == SignalLevel::Lock)
                {
                    loss_locks::lock_loss_breaches(router, &self.context.control, &self.context.day_pnl).await?;
                }
                record_decision(router, order.into_denied(reason, Timestamp::now()), figures).await
            }
            RiskDecision::Refused(reason, found) => {
                publish_locks(&found);
                let fault = Fault::from_risk_reason(&reason);
                Err(fault.unwrap_or_else(|| Fault::new(FaultCode::RiskLocked, reason.message)))
            }
        }
    }
}

/// Records a decision as the id's final outcome, unless another worker has decided the id in the meantime.
async fn record_decision(router: &Router, order: Order, readings: Metadata) -> Result<ClaimOutcome, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let document = build_journal_report(&order, SumDeltas::default(), epoch, readings).encode();
    let action = ReserveAction::RecordDenial {
        document: document.clone(),
    };
    match call_reserve_script(router, &order, action).await? {
        ReserveOutcome::DenialRecorded => Ok(ClaimOutcome::Decided(order, document)),
        ReserveOutcome::AlreadyKnown(order) => Ok(ClaimOutcome::Known(order)),
        other => Err(reserve_fault(&other)),
    }
}

async fn call_reserve_script(router: &Router, order: &Order, action: ReserveAction) -> Result<ReserveOutcome, Fault> {
    let command = ReserveRequest {
        key: OrderKey::of(order),
        order_id: order.order_id.clone(),
        content_hash: order.content_hash.clone(),
        action,
    };
    router
        .store
        .reserve(command)
        .await
        .map_err(|error| store_unavailable(&error))
}

fn reserve_fault(reserved: &ReserveOutcome) -> Fault {
    let detail = match reserved {
        ReserveOutcome::StoreFull => "the shared state holds as many orders as it may; nothing was sent",
        ReserveOutcome::SumOutOfRange => "a shared sum would leave the range that is counted exactly; nothing was sent",
        _ => "the shared state answered something unexpected; nothing was sent",
    };
    Fault::new(FaultCode::StoreUnavailable, detail)
}

/// Returns the fault of a store that could not be asked before anything was sent.
pub fn store_unavailable(error: &StoreError) -> Fault {
    match error {
        StoreError::QueueFull => Fault::new(
            FaultCode::QueueFull,
            "this worker has too many orders waiting; nothing was sent",
        ),
        error => Fault::new(FaultCode::StoreUnavailable, format!("nothing was sent: {error}")),
    }
}
