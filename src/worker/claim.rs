//! Claim, risk, reserve: the rules give their signals, then one script answers a known id or claims the order with
//! everything it holds of the shared limits. Also after a lock the script is asked, so that every figure is known.

use super::admission::{self, Assessed, Plan, Standing};
use super::router::Router;
use super::{breaches, signals, stop_point};
use crate::brokers::adapter::Placement;
use crate::domain::id::LeaseToken;
use crate::domain::intent::Intent;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::settlement::Deltas;
use crate::domain::signal::{Level, Signal};
use crate::domain::terms::Mode;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::risk::intent_age::Lifetime;
use crate::risk::max_daily_loss;
use crate::risk::{Admits, Approved, Decision, Sight};
use crate::store::StoreError;
use crate::store::keys::OrderKey;
use crate::store::reserve::{ClaimOf, KnownOrder, Question, Reserve, ReserveAction, Reserved, Stage};
use crate::wire::settlement::document;
use crate::wire::signal::About;

/// How often an order is judged anew within one call because what it is judged by has changed.
const MAX_CHANGES: usize = 8;

/// What the claim came to.
#[derive(Debug)]
pub enum Claim {
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
enum Judged {
    Claim(Claim),
    /// What it was judged by is no longer in force.
    Outdated,
}

/// Asks the rules and the shared sums, in one step for all workers.
///
/// # Errors
/// What uses up no id: refusals, and a store that cannot be asked.
pub async fn claim(router: &Router, intent: &Intent, lifetime: Lifetime) -> Result<Claim, Fault> {
    for _ in 0..MAX_CHANGES {
        let judged = match standing(router).await {
            Ok(standing) => match admission::plan(router, intent, lifetime, &standing) {
                Plan::Refused(fault) => refuse(router, intent, &standing, fault).await?,
                Plan::Assessed(assessed) => {
                    let question = Judgement::new(intent, lifetime, assessed, standing);
                    question.put(router).await?
                }
            },
            // What the order would be judged by is not known; its id may be.
            Err(fault) => {
                let known = known(router, intent).await?.filter(|order| !is_free_for(order, intent));
                return known.map(Claim::Known).ok_or(fault);
            }
        };
        match judged {
            Judged::Claim(claim) => return Ok(claim),
            Judged::Outdated => router.control.refresh().await.map_err(|error| unavailable(&error))?,
        };
    }
    Err(Fault::new(
        Code::StoreUnavailable,
        "what orders are judged by changes faster than one can be judged; nothing was sent",
    ))
}

async fn standing(router: &Router) -> Result<Standing, Fault> {
    let (control, day) = router.day.figures().await?;
    Ok(Standing { control, day })
}

/// A refusal uses up no id; a known id is answered before it is told, and what it was judged by must be in force.
async fn refuse(router: &Router, intent: &Intent, standing: &Standing, fault: Fault) -> Result<Judged, Fault> {
    if let Some(order) = known(router, intent).await?.filter(|order| !is_free_for(order, intent)) {
        return Ok(Judged::Claim(Claim::Known(order)));
    }
    let now = router.control.refresh().await.map_err(|error| unavailable(&error))?;
    if now.generation == standing.control.generation {
        return Err(fault);
    }
    Ok(Judged::Outdated)
}

async fn known(router: &Router, intent: &Intent) -> Result<Option<KnownOrder>, Fault> {
    let key = OrderKey::new(router.control.mode(), &intent.account_id, &intent.client_order_id);
    super::known::look(router, &key).await
}

/// Whether an id that is known is free for this intent: it is the same order, and it was given back.
fn is_free_for(known: &KnownOrder, intent: &Intent) -> bool {
    known.stage == Stage::Released && known.content == intent.content_hash()
}

/// One order under the rules.
struct Judgement<'a> {
    intent: &'a Intent,
    lifetime: Lifetime,
    assessed: Assessed,
    standing: Standing,
    lease: LeaseToken,
}

impl<'a> Judgement<'a> {
    fn new(intent: &'a Intent, lifetime: Lifetime, assessed: Assessed, standing: Standing) -> Self {
        Self {
            intent,
            lifetime,
            assessed,
            standing,
            lease: LeaseToken::assign(),
        }
    }

    /// Asks the store, and makes its answer a decision.
    async fn put(mut self, router: &Router) -> Result<Judged, Fault> {
        let mut reserved = self.ask(router).await?;
        if let Reserved::Known(known) = &reserved
            && is_free_for(known, self.intent)
        {
            // It was given back after the journal knew of it: the same order goes on under its own id.
            self.assessed.order.order_id = known.order_id.clone();
            reserved = self.ask(router).await?;
        }
        let (sight, is_claimed) = match reserved {
            Reserved::Known(order) => return Ok(Judged::Claim(Claim::Known(order))),
            Reserved::Outdated(_) => return Ok(Judged::Outdated),
            Reserved::Claimed(sight) => (sight, true),
            Reserved::Over(sight) | Reserved::Probed(sight) => (sight, false),
            other => return Err(unreserved(&other)),
        };
        stop_point::reach("after_reserve");
        self.decide(router, &sight, is_claimed).await.map(Judged::Claim)
    }

    async fn ask(&self, router: &Router) -> Result<Reserved, Fault> {
        let action = ReserveAction::Judge(Box::new(self.question(router)));
        reserve_order(router, &self.assessed.order, action).await
    }

    fn question(&self, router: &Router) -> Question {
        let (order, assessment) = (&self.assessed.order, &self.assessed.assessment);
        let is_dry_run = order.mode == Mode::DryRun;
        let epoch = router.store.epoch().unwrap_or_default();
        let claim = || {
            let deltas = order.claim_deltas();
            ClaimOf {
                only_reductions: assessment.admits() == Admits::Reductions,
                deltas,
                lease: self.lease.clone(),
                document: document(order, deltas, epoch, Metadata::new()).encode(),
            }
        };
        Question {
            scope: order.scope(),
            broker: order.broker.clone(),
            side: order.side,
            lots: self.assessed.lots,
            base_lot: self.assessed.base_lot,
            generation: self.standing.control.generation,
            judged_at_ms: self.standing.day.taken_at_ms,
            caps: assessment.caps().to_vec(),
            alerts: router.limits.alerts,
            rates: router.limits.order_rates,
            duplicate: router.limits.duplicates.map(|rule| (rule, order.duplicate_terms())),
            counts: !is_dry_run,
            claim: (!is_dry_run && assessment.admits() != Admits::Nothing).then(claim),
        }
    }

    async fn decide(self, router: &Router, sight: &Sight, is_claimed: bool) -> Result<Claim, Fault> {
        let Assessed {
            assessment,
            order,
            reference_price,
            quote_currency,
            ..
        } = self.assessed;
        let figures = assessment.figures(sight);
        let placement = Placement {
            order: order.clone(),
            reference_price,
            quote_currency,
            deadline: self.lifetime.deadline,
            lease: self.lease.clone(),
            figures: figures.clone(),
        };
        let decision = assessment.decide(placement, sight);
        if is_claimed && !matches!(decision, Decision::Approved(..)) {
            // The script found room where the rules see none: the claim is given back before the denial.
            let released = router.store.release(&order, &self.lease).await;
            released.map_err(|error| unavailable(&error))?;
        }
        let publish =
            |found: &[Signal]| signals::publish(router, found, About::intent(self.intent, Some(&order.order_id)));
        // The alerts of an order that does not go on stand in its figures: nothing has crossed a share yet.
        let publish_locks = |found: &[Signal]| {
            let locks = found.iter().filter(|signal| signal.level == Level::Lock).cloned();
            publish(&locks.collect::<Vec<_>>());
        };
        match decision {
            Decision::Approved(approved, found) if is_claimed => {
                publish(&found);
                Ok(Claim::Approved(approved))
            }
            Decision::Approved(_, found) if order.mode == Mode::DryRun => {
                publish(&found);
                record(router, order.rehearsed(Timestamp::now()), figures).await
            }
            Decision::Approved(..) => Err(Fault::new(
                Code::StoreUnavailable,
                "a limit changed while the order was judged; send it again",
            )),
            Decision::Denied(reason, found) => {
                publish_locks(&found);
                if found
                    .iter()
                    .any(|signal| signal.rule_id == max_daily_loss::ID && signal.level == Level::Lock)
                {
                    breaches::latch(router, &self.standing.control, &self.standing.day).await?;
                }
                record(router, order.denied(reason, Timestamp::now()), figures).await
            }
            Decision::Refused(reason, found) => {
                publish_locks(&found);
                let fault = Fault::of_denial(&reason);
                Err(fault.unwrap_or_else(|| Fault::new(Code::RiskLocked, reason.message)))
            }
        }
    }
}

/// Records a decision as the id's final outcome, unless another worker has decided the id in the meantime.
async fn record(router: &Router, order: Order, figures: Metadata) -> Result<Claim, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let document = document(&order, Deltas::default(), epoch, figures).encode();
    let action = ReserveAction::Deny {
        document: document.clone(),
    };
    match reserve_order(router, &order, action).await? {
        Reserved::Denied => Ok(Claim::Decided(order, document)),
        Reserved::Known(order) => Ok(Claim::Known(order)),
        other => Err(unreserved(&other)),
    }
}

async fn reserve_order(router: &Router, order: &Order, action: ReserveAction) -> Result<Reserved, Fault> {
    let command = Reserve {
        key: OrderKey::of(order),
        order_id: order.order_id.clone(),
        content: order.content.clone(),
        action,
    };
    router.store.reserve(command).await.map_err(|error| unavailable(&error))
}

fn unreserved(reserved: &Reserved) -> Fault {
    let detail = match reserved {
        Reserved::Full => "the shared state holds as many orders as it may; nothing was sent",
        Reserved::Inexact => "a shared sum would leave the range that is counted exactly; nothing was sent",
        _ => "the shared state answered something unexpected; nothing was sent",
    };
    Fault::new(Code::StoreUnavailable, detail)
}

/// Returns the fault of a store that could not be asked before anything was sent.
pub fn unavailable(error: &StoreError) -> Fault {
    match error {
        StoreError::QueueFull => Fault::new(
            Code::QueueFull,
            "this worker has too many orders waiting; nothing was sent",
        ),
        error => Fault::new(Code::StoreUnavailable, format!("nothing was sent: {error}")),
    }
}
