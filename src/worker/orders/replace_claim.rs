//! New terms that may open risk: the rules evaluate them by what they add to the order, and one script compares the caps and
//! books them, or neither.

use std::sync::Arc;

use crate::brokers::adapter::{Effects, Placement};
use crate::brokers::handle::BrokerHandle;
use crate::brokers::port::BookError;
use crate::bus::request::BusRequest;
use crate::domain::id::LeaseToken;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::metadata::Metadata;
use crate::domain::order::{Order, OrderUpdate};
use crate::domain::order_terms::Mode;
use crate::domain::quantity::{Price, Quantity, QuantityUnits, to_quantity_units};
use crate::domain::replace::ReplaceTerms;
use crate::domain::reservation::Reservation;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;
use crate::fault::{Fault, FaultCode};
use crate::risk::rules::{max_daily_loss, unpriced_fee};
use crate::risk::{Admissibility, ApprovedUnderCaps, CapReadings, Evaluation, RiskDecision, RuleInput, evaluate};
use crate::store::orders::reserve::{ClaimRequest, ClaimStep, ReservationCheck, ReserveAction, ReserveOutcome};
use crate::wire::journal_report::READINGS_PLACEHOLDER;
use crate::wire::risk_signal::SignalSubject;
use crate::worker::control::{alert_outbox, fee_locks};
use crate::worker::faults::{deadline_passed, store_unavailable};
use crate::worker::journaling::journaled_outcome;
use crate::worker::journaling::prepared_effect::{EffectBasis, PreparedEffect};
use crate::worker::journaling::repeated_send::{WhenQueueFull, send_until_answered};
use crate::worker::journaling::settlement::losses_to_watch;
use crate::worker::orders::account_caller::AccountCaller;
use crate::worker::orders::replace_at_venue;
use crate::worker::orders::replace_terms::{ReplaceAttempt, WantedTerms, booking_fault, not_replaced};
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::admission::{RiskContext, find_instrument, resolve_reference_price};
use crate::worker::submission::claim_evaluation::{lock_breaches, reserve_fault, reserve_request};
use crate::worker::submission::not_sent::trading_halted;

/// How often terms that only reduce a position are planned again because the position has changed.
const MAX_PLANS: usize = 4;

/// New terms of an order under evaluation.
struct ReplaceEvaluation<'a> {
    order: &'a Order,
    terms: ReplaceTerms,
    intent: Intent,
    deadline: Timestamp,
    context: RiskContext,
    reference_price: Price,
    quote_currency: String,
    evaluation: Evaluation,
    /// What the new terms add to the order's exposure, in units of 1e-8.
    added: QuantityUnits,
}

/// Puts new terms in force where the rules and the caps let them pass; at a venue outside the store, records them as pending,
/// journals that, and sends them.
///
/// # Errors
/// What stops them: the order keeps its terms.
pub(super) async fn replace_under_caps(
    router: &Router,
    caller: &AccountCaller,
    call: &BusRequest,
    order: &Order,
    wanted: &WantedTerms,
) -> Result<ReplaceAttempt, Fault> {
    let is_required = router.default_deadlines.is_required_in_live && order.mode == Mode::Live;
    if is_required && call.deadline.is_none() {
        let detail = "the header Deadline is required in live: late terms must not be sent; the order keeps its terms";
        return Err(Fault::new(FaultCode::InvalidField, detail));
    }
    router.journal_capacity.check("replaces", "the order keeps its terms")?;
    let (control, day_pnl) = router.trading_day.load_pnl(&order.account_id).await?;
    let context = RiskContext { control, day_pnl };
    let broker = router.brokers.of_order(order).ok_or_else(|| {
        let detail = format!(
            "this worker has no venue for the {} orders of {}",
            order.mode, order.broker
        );
        Fault::new(FaultCode::BrokerUnavailable, detail)
    })?;
    let under = (context, broker.capabilities().effects);
    let evaluation = ReplaceEvaluation::new(router, order, wanted, caller.deadline, under)?;
    if evaluation.evaluation.admissibility() == Admissibility::Nothing {
        return evaluation.refuse(router, &CapReadings::default()).await;
    }
    evaluation.book(router, broker).await
}

impl<'a> ReplaceEvaluation<'a> {
    fn new(
        router: &Router,
        order: &'a Order,
        wanted: &WantedTerms,
        deadline: Timestamp,
        (context, effects): (RiskContext, Effects),
    ) -> Result<Self, Fault> {
        let (mode, now) = (context.control.mode, Timestamp::now());
        if mode != order.mode {
            let detail = format!("the order is of the mode {}; the active mode is {mode}", order.mode);
            return Err(Fault::new(FaultCode::ModeMismatch, detail));
        }
        let intent = wanted.to_intent(order);
        let limits = Arc::clone(&context.control.limits);
        let (instrument, _) = find_instrument(router, &limits, &intent, mode)?;
        wanted.check_steps(order, instrument)?;
        let (reference_price, has_market_price) = resolve_reference_price(router, instrument, &intent, &context)?;
        let terms = ReplaceTerms {
            replace_id: wanted.replace_id.clone(),
            price: wanted.price,
            quantity: wanted.quantity,
            method: replace_at_venue::method_for(order, effects),
            mark: router.prices.mark_price(instrument, mode),
            requested_at: now,
        };
        let (share, added) = added_share(order, &terms, instrument, &context)?;
        let evaluation = evaluate(&RuleInput {
            intent: &intent,
            instrument,
            quantity_units: added,
            reference_price,
            has_market_price,
            reservation: &share,
            is_replacement: true,
            limits: &limits.risk,
            control: &context.control,
            daily_pnl: &context.day_pnl,
            deadline,
            now,
        });
        Ok(Self {
            order,
            terms,
            intent,
            deadline,
            context,
            reference_price,
            quote_currency: instrument.quote.clone(),
            evaluation,
            added,
        })
    }

    /// Books the new terms, with what they make at once where the venue is the store.
    async fn book(self, router: &Router, broker: &BrokerHandle) -> Result<ReplaceAttempt, Fault> {
        let mut position = None;
        for _ in 0..MAX_PLANS {
            let update = match self.plan(broker, position)? {
                Some(report) => router.settler.replace_at_once(self.order, &self.terms, &report),
                None => replace_at_venue::pending_update(router, self.order, &self.terms),
            };
            let update = update.map_err(|error| booking_fault(&error))?;
            let prepared = self.prepare(router, update)?;
            let check = self.check(&prepared);
            let action = ReserveAction::Evaluate(Box::new(check));
            let request = Arc::new(reserve_request(self.order, action));
            stop_point::reach("before_replace");
            let sent = send_until_answered(WhenQueueFull::Return, || router.store.reserve(Arc::clone(&request))).await;
            let outcome = match sent {
                Ok(reply) => reply.outcome,
                // The next read says whether it is booked.
                Err(unanswered) if unanswered.may_have_executed => return Ok(ReplaceAttempt::Outdated),
                Err(unanswered) => return Err(store_unavailable(unanswered.error)),
            };
            drop(request);
            match outcome {
                ReserveOutcome::Booked(readings, booked) => {
                    stop_point::reach("after_replace");
                    let effect = prepared.into_booked(&readings.text, booked);
                    let is_pending = effect.order.open_replace().is_some();
                    self.publish_alerts(router, &effect.order, &readings);
                    if is_pending {
                        return replace_at_venue::journal_and_send(router, &effect).await;
                    }
                    let outcome = journaled_outcome::journal_and_build_outcome(router, &effect).await?;
                    return Ok(ReplaceAttempt::Completed(outcome));
                }
                ReserveOutcome::Superseded | ReserveOutcome::BookedBefore => return Ok(ReplaceAttempt::Outdated),
                ReserveOutcome::CrossesZero(held) => position = Some(held),
                ReserveOutcome::GenerationChanged(_) => {
                    router.control.refresh().await.map_err(store_unavailable)?;
                    return Ok(ReplaceAttempt::Outdated);
                }
                ReserveOutcome::DeadlinePassed => return Err(deadline_passed(self.deadline)),
                ReserveOutcome::Halted => return Err(trading_halted()),
                ReserveOutcome::LimitExceeded(readings) => return self.refuse(router, &readings).await,
                other => return Err(reserve_fault(&other)),
            }
        }
        let detail = "the position changes faster than an order that only reduces it can be replaced";
        Err(not_replaced(detail))
    }

    /// Returns what the venue would report of the new leg, if the venue is the store; `position` is all that the order may
    /// reduce.
    fn plan(&self, broker: &BrokerHandle, position: Option<QuantityUnits>) -> Result<Option<VenueReport>, Fault> {
        let uncountable = |error| booking_fault(&BookError::Uncountable(error));
        let placement = Placement {
            order: self.order.under_terms(&self.terms).map_err(uncountable)?,
            reference_price: self.reference_price,
            quote_currency: self.quote_currency.clone(),
            deadline: self.deadline,
            lease: LeaseToken::generate(),
            figures: Metadata::new(),
        };
        let approved: ApprovedUnderCaps<Placement> = self
            .evaluation
            .approve_under_caps(placement)
            .ok_or_else(|| not_replaced("a rule stops the new terms"))?;
        match broker.plan(&approved, position) {
            None => Ok(None),
            Some(Ok(report)) => Ok(Some(report)),
            Some(Err(reason)) => Err(not_replaced(&reason.message)),
        }
    }

    fn prepare(&self, router: &Router, update: OrderUpdate) -> Result<PreparedEffect, Fault> {
        let (control, day_pnl) = (&self.context.control, &self.context.day_pnl);
        let basis = EffectBasis {
            reserved: SumDeltas::default(),
            figures: self.evaluation.figures(READINGS_PLACEHOLDER),
            deadline: self.deadline,
            losses: losses_to_watch(control, day_pnl, &self.order.account_id),
        };
        PreparedEffect::of_update(&router.settler, update, basis).map_err(|error| booking_fault(&error))
    }

    fn check(&self, prepared: &PreparedEffect) -> ReservationCheck {
        let limits = &self.context.control.limits.risk;
        ReservationCheck {
            scope: prepared.effect.order.sum_scope(),
            broker: self.order.broker.clone(),
            side: self.order.side,
            quantity: self.added,
            control_generation: self.context.control.generation,
            evaluated_at_ms: self.context.day_pnl.measured_at_ms,
            caps: self.evaluation.caps().to_vec(),
            alert_levels: limits.alerts,
            rate_limits: limits.order_rates,
            duplicate_check: None,
            is_counted: true,
            claim: Some(ClaimRequest {
                reductions_only: self.evaluation.admissibility() == Admissibility::ReductionsOnly,
                deltas: prepared.deltas,
                step: ClaimStep::Effect(Arc::clone(&prepared.effect)),
            }),
        }
    }

    /// Publishes what stops the new terms, and returns it.
    async fn refuse(self, router: &Router, readings: &CapReadings) -> Result<ReplaceAttempt, Fault> {
        let (RiskDecision::Denied(reason, found) | RiskDecision::Refused(reason, found)) =
            self.evaluation.decide((), readings)
        else {
            return Ok(ReplaceAttempt::Outdated);
        };
        let is_lock = |signal: &&RuleSignal| signal.level == SignalLevel::Lock;
        // Without readings only the rule that stops every order has a finding of its own.
        let most = if readings.caps.is_empty() { 1 } else { found.len() };
        let locks: Vec<RuleSignal> = found.iter().filter(is_lock).take(most).cloned().collect();
        router.signals.publish(&locks, SignalSubject::from(self.order));
        if locks.iter().any(|signal| signal.rule_id == max_daily_loss::ID) {
            lock_breaches(router, &self.context, &self.intent, readings).await?;
        }
        if locks.iter().any(|signal| signal.rule_id == unpriced_fee::ID) {
            fee_locks::lock_account(router, &self.context.control, &self.order.account_id).await?;
        }
        let fault = Fault::from_risk_reason(&reason);
        let fault = fault.unwrap_or_else(|| Fault::new(FaultCode::RiskLocked, reason.message));
        Err(fault.with_client_order_id(self.order.client_order_id.as_str()))
    }

    fn publish_alerts(self, router: &Router, order: &Order, readings: &CapReadings) {
        match self.evaluation.decide((), readings) {
            RiskDecision::Approved(_, alerts) => alert_outbox::publish_new_alerts(router, order, alerts),
            RiskDecision::Denied(reason, signals) | RiskDecision::Refused(reason, signals) => {
                tracing::error!(
                    order_id = %order.order_id, reason = reason.message,
                    "the rules deny terms that their caps have let pass; they are booked. Halt trading and report this"
                );
                router.signals.publish(&signals, SignalSubject::from(order));
            }
        }
    }
}

/// Returns the share of the limits that new terms add to an order's own, and what they add to its exposure.
///
/// # Errors
/// Amounts that cannot be counted; notional that would count against a day that has ended.
fn added_share(
    order: &Order,
    terms: &ReplaceTerms,
    instrument: &Instrument,
    context: &RiskContext,
) -> Result<(Reservation, QuantityUnits), Fault> {
    let uncountable = |error| booking_fault(&BookError::Uncountable(error));
    let out_of_range = || {
        let rule = "makes a notional of 9007199254.740991 or more";
        Fault::for_field(FaultCode::InvalidField, "quantity", rule)
    };
    let begun = order
        .begin_replace(terms, None, terms.requested_at)
        .map_err(uncountable)?;
    let today = context.day_pnl.trading_date;
    if begun.deltas.daily_notional > 0 && order.reservation.trading_date != today {
        let detail = format!(
            "the order counts in the notional of {}, and the new terms would add to it on {today}; cancel it and submit another",
            order.reservation.trading_date
        );
        return Err(not_replaced(&detail));
    }
    let units = |quantity: Quantity| to_quantity_units(quantity.decimal());
    let (wanted, had) = units(terms.quantity)
        .zip(units(order.quantity))
        .ok_or_else(out_of_range)?;
    let whole = Reservation::value_of(terms.price, terms.quantity, instrument.base_rate).ok_or_else(out_of_range)?;
    let share = begun.order.reservation.added_to(&order.reservation, whole);
    Ok((share.ok_or_else(out_of_range)?, (wanted - had).max(0)))
}
