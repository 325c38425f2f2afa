//! One evaluation of an order: the reserve script's reply, and the decision that the rules make of it.

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
use crate::risk::alerts::NewAlert;
use crate::risk::rules::max_daily_loss;
use crate::risk::rules::max_daily_loss::DayLoss;
use crate::risk::{Admissibility, Approved, CapReadings, RiskDecision};
use crate::store::orders::record::{KnownOrder, RecordStage};
use crate::store::orders::reserve::{ClaimRequest, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest};
use crate::wire::journal_report::build_journal_report;
use crate::wire::risk_signal::SignalSubject;
use crate::worker::control::{alert_outbox, loss_locks};
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::settlement::losses_at_limit;
use crate::worker::router::Router;
use crate::worker::stop_point;
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
    intent: &'a Intent,
    lifetime: IntentLifetime,
    candidate: OrderCandidate,
    context: RiskContext,
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

    /// Calls the reserve script and decides by its reply.
    pub(super) async fn evaluate(mut self, router: &Router) -> Result<ClaimAttempt, Fault> {
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
        stop_point::reach("after_reserve");
        self.apply_decision(router, &cap_readings, is_claimed)
            .await
            .map(ClaimAttempt::Completed)
    }

    async fn reserve(&self, router: &Router) -> Result<ReserveOutcome, Fault> {
        let action = ReserveAction::Evaluate(Box::new(self.reserve_request(router)));
        call_reserve_script(router, &self.candidate.order, action).await
    }

    fn reserve_request(&self, router: &Router) -> ReservationCheck {
        let (order, evaluation) = (&self.candidate.order, &self.candidate.evaluation);
        let limits = &self.context.control.limits.risk;
        let is_dry_run = order.mode == Mode::DryRun;
        let epoch = router.store.epoch().unwrap_or_default();
        let claim = || {
            let deltas = order.reservation_deltas();
            ClaimRequest {
                reductions_only: evaluation.admissibility() == Admissibility::ReductionsOnly,
                deltas,
                lease: self.lease.clone(),
                document: build_journal_report(order, deltas, epoch, Metadata::new()).encode(),
            }
        };
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
            is_counted: !is_dry_run,
            claim: (!is_dry_run && evaluation.admissibility() != Admissibility::Nothing).then(claim),
        }
    }

    async fn apply_decision(
        self,
        router: &Router,
        cap_readings: &CapReadings,
        is_claimed: bool,
    ) -> Result<ClaimOutcome, Fault> {
        let OrderCandidate {
            evaluation,
            order,
            reference_price,
            quote_currency,
            ..
        } = self.candidate;
        let readings = evaluation.cap_measurements(cap_readings);
        let placement = Placement {
            order: order.clone(),
            reference_price,
            quote_currency,
            deadline: self.lifetime.deadline,
            lease: self.lease.clone(),
            readings: readings.clone(),
        };
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
                record_decision(router, order.into_dry_run(Timestamp::now()), readings).await
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
                record_decision(router, order.into_denied(reason, Timestamp::now()), readings).await
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
async fn lock_breaches(
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
async fn record_decision(router: &Router, order: Order, readings: Metadata) -> Result<ClaimOutcome, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let document = build_journal_report(&order, SumDeltas::default(), epoch, readings).encode();
    let action = ReserveAction::RecordDecision {
        document: document.clone(),
        max_denials_per_hour: (order.mode != Mode::DryRun).then_some(router.limits().risk.denials_per_hour),
    };
    match call_reserve_script(router, &order, action).await? {
        ReserveOutcome::DenialRecorded => Ok(ClaimOutcome::Decided(order, document)),
        ReserveOutcome::AlreadyKnown(order) => Ok(ClaimOutcome::Known(order)),
        other => Err(reserve_fault(&other)),
    }
}

async fn call_reserve_script(router: &Router, order: &Order, action: ReserveAction) -> Result<ReserveOutcome, Fault> {
    let request = ReserveRequest {
        key: order.key(),
        order_id: order.order_id.clone(),
        account_id: order.account_id.clone(),
        content: order.content_hash.digest(),
        action,
    };
    router.store.reserve(request).await.map_err(store_unavailable)
}

fn reserve_fault(reserved: &ReserveOutcome) -> Fault {
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
