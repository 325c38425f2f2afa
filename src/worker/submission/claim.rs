//! Claim: the rules evaluate the intent, then one script returns a known id or claims the order together with its share
//! of every limit. The script runs also if a rule locks the order, so that every cap is measured.

use crate::domain::intent::Intent;
use crate::domain::intent_lifetime::IntentLifetime;
use crate::domain::order_key::OrderKey;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::orders::record::KnownOrder;
use crate::worker::faults::{deadline_passed, store_unavailable};
use crate::worker::router::Router;
use crate::worker::submission::admission;
use crate::worker::submission::admission::{AdmissionResult, RiskContext};
use crate::worker::submission::claim_evaluation::{ClaimAttempt, ClaimEvaluation, is_reusable_by};
use crate::worker::submission::claim_in_store;
use crate::worker::submission::idempotent_replay;

pub use crate::worker::submission::claim_evaluation::ClaimOutcome;

/// How often one call evaluates an order again because the state that it was evaluated under has changed.
const MAX_CONTEXT_CHANGES: usize = 8;

/// Evaluates the intent under the rules and the shared sums, in one step for all workers, and claims its id.
///
/// # Errors
/// What uses up no id: a refusal, or a store that does not reply.
pub async fn claim_order(router: &Router, intent: &Intent, lifetime: IntentLifetime) -> Result<ClaimOutcome, Fault> {
    for _ in 0..MAX_CONTEXT_CHANGES {
        let attempt = match load_risk_context(router, intent).await {
            Ok(context) => match admission::admit(router, intent, lifetime, &context) {
                AdmissionResult::Refused(fault) => confirm_refusal(router, intent, &context, fault).await?,
                AdmissionResult::Candidate(candidate) => {
                    let evaluation = ClaimEvaluation::new(intent, lifetime, candidate, context);
                    match claim_in_store::plan(router, &evaluation) {
                        Some(planned) => claim_in_store::book(router, evaluation, planned).await?,
                        None => evaluation.claim_under_lease(router).await?,
                    }
                }
            },
            // A full queue answers at once: the id cannot be looked up either.
            Err(fault) if fault.code == FaultCode::QueueFull => return Err(fault),
            // The state to evaluate the order under is unavailable; its id may be known all the same.
            Err(fault) => {
                let known = find_unavailable_id(router, intent).await?;
                return known.map(ClaimOutcome::Known).ok_or(fault);
            }
        };
        match attempt {
            ClaimAttempt::Completed(outcome) => return Ok(outcome),
            ClaimAttempt::ContextOutdated if lifetime.deadline <= Timestamp::now() => {
                return Err(deadline_passed(lifetime.deadline));
            }
            ClaimAttempt::ContextOutdated => router.control.refresh().await.map_err(store_unavailable)?,
        };
    }
    Err(Fault::new(
        FaultCode::StoreUnavailable,
        "limits, locks or the trading state change faster than an order can be evaluated; nothing was sent",
    ))
}

async fn load_risk_context(router: &Router, intent: &Intent) -> Result<RiskContext, Fault> {
    let (control, day_pnl) = router.trading_day.load_pnl(&intent.account_id).await?;
    Ok(RiskContext { control, day_pnl })
}

/// Returns a refusal, unless the id is known, which has priority, or the state it was evaluated under is outdated. A
/// refusal uses up no id.
async fn confirm_refusal(
    router: &Router,
    intent: &Intent,
    context: &RiskContext,
    fault: Fault,
) -> Result<ClaimAttempt, Fault> {
    if let Some(known) = find_unavailable_id(router, intent).await? {
        return Ok(ClaimAttempt::Completed(ClaimOutcome::Known(known)));
    }
    let control = router.control.refresh().await.map_err(store_unavailable)?;
    if control.generation == context.control.generation {
        return Err(fault);
    }
    Ok(ClaimAttempt::ContextOutdated)
}

/// Returns the order that has the intent's id; `None` for an id that is free for this intent.
async fn find_unavailable_id(router: &Router, intent: &Intent) -> Result<Option<KnownOrder>, Fault> {
    let key = OrderKey::new(router.control.mode(), &intent.account_id, &intent.client_order_id);
    let known = idempotent_replay::find_known_order(router, &key).await?;
    Ok(known.filter(|order| !is_reusable_by(order, intent)))
}
