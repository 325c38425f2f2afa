//! One evaluation of an order: the reserve script's reply, and the decision that the rules make of it.

use crate::brokers::adapter::{BookedEffect, Placement};
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
use crate::risk::alerts::NewAlert;
use crate::risk::rules::max_daily_loss;
use crate::risk::rules::max_daily_loss::DayLoss;
use crate::risk::rules::unpriced_fee;
use crate::risk::{Admissibility, Approved, CapReadings, RiskDecision};
use crate::store::orders::record::{KnownOrder, RecordStage};
use crate::store::orders::reserve::{
    ClaimRequest, ClaimStep, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use crate::wire::journal_report::build_journal_report;
use crate::wire::risk_signal::SignalSubject;
use crate::worker::control::{alert_outbox, fee_locks, loss_locks};
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::settlement::losses_at_limit;
use crate::worker::router::Router;
use crate::worker::submission::admission::{OrderCandidate, RiskContext};

/// The result of a claim.
#[derive(Debug)]
pub enum ClaimOutcome {
    /// The id is known.
    Known(KnownOrder),
    /// The order is decided and not sent: a rule denied it, or it is a dry run. This is the id's final outcome, in the
    /// outbox with this document.
    Decided(Order, Vec<u8>),
    /// The order is claimed and approved.
    Approved(Approved<Placement>),
    /// The order's venue is the store, and its first effect is booked.
    Booked(Box<BookedEffect>),
    /// The order's venue is the store, and its first effect may be booked; the text says why it is not known.
    Unconfirmed(Box<Placement>, String),
}

/// The result of one evaluation.
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each attempt is moved once"
)]
pub(super) enum ClaimAttempt {
    Completed(ClaimOutcome),
    /// The state that the order was evaluated under is outdated.
    ContextOutdated,
}

/// Reports whether a known id is free for this intent: it is the same order, and it was released.
pub(super) fn is_reusable_by(known: &KnownOrder, intent: &Intent) -> bool {
    known.stage == RecordStage::Released && known.content == intent.content_hash().digest()
}

/// One order under evaluation.
pub(super) struct ClaimEvaluation<'a> {
    pub(super) intent: &'a Intent,
    lifetime: IntentLifetime,
    pub(super) candidate: OrderCandidate,
    pub(super) context: RiskContext,
    lease: LeaseToken,
}

impl<'a> ClaimEvaluation<'a> {
    /// Returns the evaluation of a candidate, under a new lease.
    pub(super) fn new(
        intent: &'a Intent,
        lifetime: IntentLifetime,
        candidate: OrderCandidate,
        context: RiskContext,
    ) -> Self {
        Self {
            intent,
            lifetime,
            candidate,
            context,
            lease: LeaseToken::generate(),
        }
    }

    /// Calls the reserve script, which claims the order under a lease, and decides by its reply.
    pub(super) async fn claim_under_lease(mut self, router: &Router) -> Result<ClaimAttempt, Fault> {
        let mut reserved = self.reserve(router).await?;
        if let ReserveOutcome::AlreadyKnown(known) = &reserved
            && is_reusable_by(known, self.intent)
        {
            // The order was released after its submission was journaled: it continues under its own order id.
            self.candidate.order.order_id = known.order_id.clone();
            reserved = self.reserve(router).await?;
        }
        let (cap_readings, is_claimed) = match reserved {
            ReserveOutcome::AlreadyKnown(order) => return Ok(ClaimAttempt::Completed(ClaimOutcome::Known(order))),
            ReserveOutcome::GenerationChanged(_) => return Ok(ClaimAttempt::ContextOutdated),
            ReserveOutcome::Claimed(readings) => (readings, true),
            ReserveOutcome::LimitExceeded(readings) | ReserveOutcome::Probed(readings) => (readings, false),
            other => return Err(reserve_fault(&other)),
        };
        self.apply_decision(router, &cap_readings, is_claimed)
            .await
            .map(ClaimAttempt::Completed)
    }

    async fn reserve(&self, router: &Router) -> Result<ReserveOutcome, Fault> {
        let order = &self.candidate.order;
        let claims = order.mode != Mode::DryRun && self.candidate.evaluation.admissibility() != Admissibility::Nothing;
        let claim = claims.then(|| {
            let deltas = order.reservation_deltas();
            let epoch = router.store.epoch().unwrap_or_default();
            let step = ClaimStep::Lease {
                lease: self.lease.clone(),
                document: build_journal_report(order, deltas, epoch, Metadata::new()).encode(),
            };
            self.claim_request(deltas, step)
        });
        let request = reserve_request(order, ReserveAction::Evaluate(Box::new(self.check(claim))));
        router.store.reserve(request).await.map_err(store_unavailable)
    }

    /// Returns the claim of the order, as far as the rules admit it.
    pub(super) fn claim_request(&self, deltas: SumDeltas, step: ClaimStep) -> ClaimRequest {
        ClaimRequest {
            reductions_only: self.candidate.evaluation.admissibility() == Admissibility::ReductionsOnly,
            deltas,
            step,
        }
    }

    /// Returns the order as it is sent to its broker, with the figures that it is judged by.
    pub(super) fn placement(&self, readings: &str) -> Placement {
        Placement {
            order: self.candidate.order.clone(),
            reference_price: self.candidate.reference_price,
            quote_currency: self.candidate.quote_currency.clone(),
            deadline: self.lifetime.deadline,
            lease: self.lease.clone(),
            figures: self.candidate.evaluation.figures(readings),
        }
    }

    /// Returns what the store compares before it claims the order.
    pub(super) fn check(&self, claim: Option<ClaimRequest>) -> ReservationCheck {
        let (order, evaluation) = (&self.candidate.order, &self.candidate.evaluation);
        let limits = &self.context.control.limits.risk;
        ReservationCheck {
            scope: order.sum_scope(),
            broker: order.broker.clone(),
            side: order.side,
            quantity: order.reservation.reserved,
            control_generation: self.context.control.generation,
            evaluated_at_ms: self.context.day_pnl.measured_at_ms,
            caps: evaluation.caps().to_vec(),
            alert_levels: limits.alerts,
            rate_limits: limits.order_rates,
            duplicate_check: limits.duplicate_order.map(|rule| (rule, order.duplicate_key())),
            is_counted: order.mode != Mode::DryRun,
            claim,
        }
    }

    /// Decides by the readings of a claim that was refused, or that stands under a lease.
    pub(super) async fn apply_decision(
        self,
        router: &Router,
        cap_readings: &CapReadings,
        is_claimed: bool,
    ) -> Result<ClaimOutcome, Fault> {
        let placement = self.placement(&cap_readings.text);
        let figures = placement.figures.clone();
        let OrderCandidate { evaluation, order, .. } = self.candidate;
        let decision = evaluation.decide(placement, cap_readings);
        if is_claimed && !matches!(decision, RiskDecision::Approved(..)) {
            // The script claimed the order, and the rules deny it by the same readings: the claim is released first.
            let released = router.store.release_claim(&order, &self.lease).await;
            released.map_err(store_unavailable)?;
        }
        let publish = |found: &[RuleSignal]| {
            let subject = SignalSubject::from_intent(self.intent, Some(&order.order_id));
            router.signals.publish(found, subject);
        };
        // A denied order records no threshold crossing; its measurements still list the alerts.
        let publish_locks = |found: &[RuleSignal]| {
            let locks = found.iter().filter(|signal| signal.level == SignalLevel::Lock).cloned();
            publish(&locks.collect::<Vec<_>>());
        };
        match decision {
            RiskDecision::Approved(approved, alerts) if is_claimed => {
                alert_outbox::publish_new_alerts(router, &order, alerts);
                Ok(ClaimOutcome::Approved(approved))
            }
            RiskDecision::Approved(_, alerts) if order.mode == Mode::DryRun => {
                publish(&NewAlert::signals(alerts));
                record_decision(router, order.into_dry_run(Timestamp::now()), figures).await
            }
            RiskDecision::Approved(..) => Err(Fault::new(
                FaultCode::StoreUnavailable,
                "a limit changed while the order was evaluated; send it again",
            )),
            RiskDecision::Denied(reason, found) => {
                publish_locks(&found);
                if found
                    .iter()
                    .any(|signal| signal.rule_id == max_daily_loss::ID && signal.level == SignalLevel::Lock)
                {
                    lock_breaches(router, &self.context, self.intent, cap_readings).await?;
                }
                if found.iter().any(|signal| signal.rule_id == unpriced_fee::ID) {
                    fee_locks::lock_account(router, &self.context.control, &self.intent.account_id).await?;
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

/// Sets the locks of the losses that an order has met: those of its view, and those that fills have made since.
pub(in crate::worker) async fn lock_breaches(
    router: &Router,
    context: &RiskContext,
    intent: &Intent,
    readings: &CapReadings,
) -> Result<(), Fault> {
    let (control, pnl, account_id) = (&context.control, &context.day_pnl, &intent.account_id);
    let seen = [
        DayLoss::of_account(account_id.clone(), &pnl.account),
        DayLoss::of_all(&pnl.total),
    ];
    loss_locks::lock_breaches(router, control, pnl.trading_date, &seen).await?;
    let filled = losses_at_limit(account_id, readings.account_breach, readings.total_breach);
    loss_locks::lock_filled_breaches(router, &filled).await
}

/// Records a decision as the id's final outcome, unless another worker has decided the id in the meantime.
async fn record_decision(router: &Router, order: Order, figures: Metadata) -> Result<ClaimOutcome, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let document = build_journal_report(&order, SumDeltas::default(), epoch, figures).encode();
    let action = ReserveAction::RecordDecision {
        document: document.clone(),
        max_denials_per_hour: (order.mode != Mode::DryRun).then_some(router.limits().risk.denials_per_hour),
    };
    let recorded = router.store.reserve(reserve_request(&order, action)).await;
    match recorded.map_err(store_unavailable)? {
        ReserveOutcome::DenialRecorded => Ok(ClaimOutcome::Decided(order, document)),
        ReserveOutcome::AlreadyKnown(order) => Ok(ClaimOutcome::Known(order)),
        other => Err(reserve_fault(&other)),
    }
}

/// Returns a request of the reserve script about an order.
pub(in crate::worker) fn reserve_request(order: &Order, action: ReserveAction) -> ReserveRequest {
    ReserveRequest {
        key: order.key(),
        order_id: order.order_id.clone(),
        account_id: order.account_id.clone(),
        content: order.content_hash.digest(),
        action,
    }
}

/// Returns the fault of a reply that neither claims nor decides an order.
pub(in crate::worker) fn reserve_fault(reserved: &ReserveOutcome) -> Fault {
    let detail = match reserved {
        ReserveOutcome::DenialBudgetUsed => {
            let detail = "the account has had as many orders denied within this hour as are recorded; this one is denied, \
                          too, and nothing is recorded. Correct the orders, or raise risk.max_denials_per_hour";
            return Fault::new(FaultCode::RateLimited, detail);
        }
        ReserveOutcome::StoreFull => {
            "the shared state is full: of remembered ids, of memory, or of orders that wait for the journal; nothing was sent"
        }
        ReserveOutcome::SumOutOfRange => "a shared sum would exceed the range of exact numbers; nothing was sent",
        _ => "the reserve script returned an unexpected reply; nothing was sent",
    };
    Fault::new(FaultCode::StoreUnavailable, detail)
}
