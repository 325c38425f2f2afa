//! The suite's scenarios at a venue that fails on purpose.
//!
//! While a venue fails, a case cannot demand one outcome: "acknowledged" becomes unknown where the reply is lost. So
//! [`run_under_faults`] checks the laws that hold whatever the venue does: every claim is true at the venue, each order is
//! there once, and an unknown outcome ends as what the venue really has.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::brokers::adapter::{
    BrokerAdapter, CancelOutcome, InquiryOutcome, PlaceOutcome, Placement, ReplaceCallOutcome,
};
use crate::brokers::conformance::assertions::{apply_report, ensure, place_and_check};
use crate::brokers::conformance::held_leg::HeldLeg;
use crate::brokers::conformance::replace::new_terms;
use crate::brokers::conformance::{
    CaseTerms, CaseVerdict, ConformanceFailure, ConformanceHarness, HarnessResult, laws,
};
use crate::domain::id::OrderId;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, Side, TimeInForce};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::{ReplaceMethod, ReplaceOutcome};
use crate::domain::time::Timestamp;
use crate::risk::Approved;

/// The quantity of the scenarios' orders, in lots: it has four whole parts.
const LOTS: i64 = 100;
/// How long a call that is not sent is repeated.
const RETRY_TIME: Duration = Duration::from_secs(4);
/// How long an order and its venue may take to agree after the faults, beyond the latest effect of a request.
const AGREEMENT_TIME: Duration = Duration::from_secs(15);
/// The delay between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(20);

/// A harness whose venue can be made to fail, and whose venue's holdings can be read all the same.
pub trait FaultyHarness: ConformanceHarness {
    /// Claims a new limit order at a price at which the venue leaves it open.
    ///
    /// # Errors
    /// When it could not be claimed.
    fn claim_resting_order(&self, terms: CaseTerms) -> impl Future<Output = HarnessResult<Approved<Placement>>> + Send;

    /// Returns every leg that the venue has, or had, of an order; no fault meets this.
    ///
    /// # Errors
    /// When they could not be read.
    fn held_legs(&self, order_id: &OrderId) -> impl Future<Output = HarnessResult<Vec<HeldLeg>>> + Send;

    /// Puts the faults in force.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn begin_faults(&self) -> impl Future<Output = HarnessResult<()>> + Send;

    /// Ends the faults.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn end_faults(&self) -> impl Future<Output = HarnessResult<()>> + Send;

    /// Returns how long after a call its request may still take effect, or be hidden from inquiries.
    fn latest_effect(&self) -> Duration;
}

/// How many calls of a run had each kind of outcome: a run that meets no fault proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultRunCounts {
    /// The venue's word arrived: acknowledged, cancelled, replaced, or refused.
    pub answered: usize,
    /// Nothing was sent.
    pub not_sent: usize,
    /// The outcome was unknown.
    pub unknown: usize,
}

impl FaultRunCounts {
    fn count(&mut self, is_not_sent: bool, is_unknown: bool) {
        match (is_not_sent, is_unknown) {
            (true, _) => self.not_sent += 1,
            (_, true) => self.unknown += 1,
            _ => self.answered += 1,
        }
    }
}

/// What a scenario does with an order while the venue fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextCall {
    /// Nothing more.
    None,
    /// Cancels it, twice.
    Cancel,
    /// Gives it new terms.
    Replace(ReplaceMethod),
}

/// An order of a scenario, as the adapter's reports leave it.
struct TrackedOrder {
    order: Order,
    /// The placement, of an order that is placed while the venue fails.
    placement: Option<Approved<Placement>>,
    next: NextCall,
    /// When the latest request was made.
    called_at: Instant,
    /// Whether the placement may have taken effect without a report of it.
    is_unknown: bool,
}

/// Runs the scenarios while the harness's venue fails, and returns how the calls ended. Every order agrees with the venue in
/// the end.
///
/// # Errors
/// The first law that is broken.
pub async fn run_under_faults<H: FaultyHarness>(harness: &H) -> Result<FaultRunCounts, ConformanceFailure> {
    let arranging = |detail| ConformanceFailure {
        case: "F00",
        title: "the scenarios are arranged",
        detail,
    };
    let mut orders = arrange(harness).await.map_err(arranging)?;
    let mut counts = FaultRunCounts::default();
    harness.begin_faults().await.map_err(arranging)?;
    for tracked in &mut orders {
        let called = tracked.call(harness, &mut counts).await;
        called.map_err(|detail| tracked.failure("while the venue fails", &detail))?;
    }
    harness.end_faults().await.map_err(arranging)?;
    for tracked in &mut orders {
        let agreed = tracked.agree(harness).await;
        agreed.map_err(|detail| tracked.failure("after the faults", &detail))?;
        let ended = tracked.end(harness).await;
        ended.map_err(|detail| tracked.failure("at its end", &detail))?;
    }
    // Late effects have happened by now.
    for tracked in &mut orders {
        let agreed = tracked.agree(harness).await;
        agreed.map_err(|detail| tracked.failure("in the end", &detail))?;
    }
    Ok(counts)
}

/// Returns the orders of every scenario, while the venue does not fail yet.
async fn arrange<H: FaultyHarness>(harness: &H) -> HarnessResult<Vec<TrackedOrder>> {
    const METHODS: [ReplaceMethod; 3] = [
        ReplaceMethod::CancelReplace,
        ReplaceMethod::Amend,
        ReplaceMethod::CancelFirst,
    ];
    let buy = |time_in_force| CaseTerms::buy(OrderType::Limit, time_in_force, LOTS);
    let mut orders = Vec::new();
    for time_in_force in [TimeInForce::Gtc, TimeInForce::Ioc] {
        for &order_type in OrderType::ALL {
            for &side in Side::ALL {
                let terms = CaseTerms {
                    side,
                    order_type,
                    ..buy(time_in_force)
                };
                orders.push(TrackedOrder::claimed(harness.claim_order(terms).await?, NextCall::None));
            }
        }
    }
    let replaces = METHODS.map(NextCall::Replace);
    for next in [NextCall::None, NextCall::Cancel].into_iter().chain(replaces) {
        let placement = harness.claim_resting_order(buy(TimeInForce::Gtc)).await?;
        orders.push(TrackedOrder::claimed(placement, next));
    }
    for next in [NextCall::Cancel, NextCall::Cancel].into_iter().chain(replaces) {
        let order = harness.open_order(buy(TimeInForce::Gtc)).await?;
        orders.push(TrackedOrder::new(order, None, next));
    }
    let ended = place_and_check(harness, buy(TimeInForce::Ioc)).await?;
    orders.push(TrackedOrder::new(ended, None, NextCall::Cancel));
    Ok(orders)
}

impl TrackedOrder {
    fn new(order: Order, placement: Option<Approved<Placement>>, next: NextCall) -> Self {
        Self {
            order,
            placement,
            next,
            called_at: Instant::now(),
            is_unknown: false,
        }
    }

    fn claimed(placement: Approved<Placement>, next: NextCall) -> Self {
        Self::new(placement.inner().order.clone(), Some(placement), next)
    }

    fn failure(&self, when: &str, detail: &str) -> ConformanceFailure {
        let (case, title) = match self.next {
            NextCall::None => (
                "F01",
                "a placement is reported as the venue has it, and the order is there once",
            ),
            NextCall::Cancel => (
                "F02",
                "an order is reported as cancelled only where the venue cancelled it",
            ),
            NextCall::Replace(_) => (
                "F03",
                "a replaced order has one leg open at most, with the old or the new terms",
            ),
        };
        let (order_id, next) = (&self.order.order_id, self.next);
        ConformanceFailure {
            case,
            title,
            detail: format!("{when}, {order_id} ({next:?}): {detail}"),
        }
    }

    /// Makes the calls of the scenario, and checks each outcome.
    async fn call<H: FaultyHarness>(&mut self, harness: &H, counts: &mut FaultRunCounts) -> CaseVerdict {
        if let Some(placement) = self.placement.clone() {
            self.place(harness, placement, counts).await?;
        }
        let is_open = self.order.status.is_some() && !self.order.is_terminal();
        match self.next {
            NextCall::Cancel if self.order.status.is_some() => self.cancel(harness, counts).await,
            NextCall::Replace(method) if is_open => self.replace(harness, method, counts).await,
            _ => Ok(()),
        }
    }

    async fn place<H: FaultyHarness>(
        &mut self,
        harness: &H,
        placement: Approved<Placement>,
        counts: &mut FaultRunCounts,
    ) -> CaseVerdict {
        let retry_until = Instant::now() + RETRY_TIME;
        loop {
            let outcome = harness.adapter().place(placement.clone()).await;
            self.called_at = Instant::now();
            let is_not_sent = matches!(outcome, PlaceOutcome::NotSent(_));
            self.is_unknown |= matches!(outcome, PlaceOutcome::OutcomeUnknown(_));
            counts.count(is_not_sent, self.is_unknown);
            self.order = laws::check_placed(&self.order, &outcome, &self.held(harness).await?)?;
            match outcome {
                PlaceOutcome::NotSent(_) if Instant::now() < retry_until => sleep(ATTEMPT_INTERVAL).await,
                PlaceOutcome::NotSent(_) | PlaceOutcome::Rejected(_) => return Ok(()),
                PlaceOutcome::Acknowledged(_) | PlaceOutcome::OutcomeUnknown(_) => break,
            }
        }
        let again = harness.adapter().place(placement).await;
        laws::check_placed_again(&self.order, &again, &self.held(harness).await?)?;
        self.inquire(harness).await.map(drop)
    }

    /// Cancels the order until an attempt is sent, and then once more.
    async fn cancel<H: FaultyHarness>(&mut self, harness: &H, counts: &mut FaultRunCounts) -> CaseVerdict {
        let retry_until = Instant::now() + RETRY_TIME;
        let (mut sent, mut was_asked) = (0, false);
        while sent < 2 && Instant::now() < retry_until {
            let outcome = harness.adapter().cancel(self.order.clone()).await;
            self.called_at = Instant::now();
            let (is_not_sent, is_unknown) = (
                matches!(outcome, CancelOutcome::NotSent(_)),
                matches!(outcome, CancelOutcome::OutcomeUnknown(_)),
            );
            counts.count(is_not_sent, is_unknown);
            self.order = laws::check_cancelled(&self.order, &outcome, &self.held(harness).await?, was_asked)?;
            was_asked |= is_unknown;
            if is_not_sent {
                sleep(ATTEMPT_INTERVAL).await;
            } else {
                sent += 1;
            }
        }
        Ok(())
    }

    async fn replace<H: FaultyHarness>(
        &mut self,
        harness: &H,
        method: ReplaceMethod,
        counts: &mut FaultRunCounts,
    ) -> CaseVerdict {
        let terms = new_terms(&self.order, method)?;
        let begun = self.order.begin_replace(&terms, None, Timestamp::now());
        let pending = begun.map_err(|error| error.to_string())?.order;
        self.order = pending.clone();
        let is_sent = self.step(harness, counts).await?;
        let ended_leg = self.order.open_replace().and_then(|replace| replace.ended_leg);
        if method == ReplaceMethod::CancelFirst && ended_leg.is_some() {
            let placing = ReplaceOutcome::Placing(Timestamp::now());
            self.order = apply_report(&self.order, &self.order.report_of_replace(placing))?;
            self.step(harness, counts).await?;
        } else if method != ReplaceMethod::CancelFirst && is_sent {
            let again = harness.adapter().replace(pending).await;
            ensure(matches!(again, ReplaceCallOutcome::OutcomeUnknown(_)), || {
                format!("a repeated replace is {again:?}")
            })?;
            laws::check_held_once(&self.order, &self.held(harness).await?)?;
        }
        self.inquire(harness).await.map(drop)
    }

    /// Takes a step of the open replace. Reports whether it was sent, or may have been.
    async fn step<H: FaultyHarness>(&mut self, harness: &H, counts: &mut FaultRunCounts) -> HarnessResult<bool> {
        let retry_until = Instant::now() + RETRY_TIME;
        loop {
            let outcome = harness.adapter().replace(self.order.clone()).await;
            self.called_at = Instant::now();
            let is_not_sent = matches!(outcome, ReplaceCallOutcome::NotSent(_));
            counts.count(is_not_sent, matches!(outcome, ReplaceCallOutcome::OutcomeUnknown(_)));
            self.order = laws::check_replaced(&self.order, &outcome, &self.held(harness).await?)?;
            match is_not_sent {
                true if Instant::now() < retry_until => sleep(ATTEMPT_INTERVAL).await,
                is_not_sent => return Ok(!is_not_sent),
            }
        }
    }

    /// Asks the venue about the order. Returns the reply, and what the venue held after it.
    async fn inquire<H: FaultyHarness>(&mut self, harness: &H) -> HarnessResult<(InquiryOutcome, Vec<HeldLeg>)> {
        let outcome = harness.adapter().inquire(self.order.clone()).await;
        let held = self.held(harness).await?;
        self.order = laws::check_inquired(&self.order, &outcome, &held)?;
        Ok((outcome, held))
    }

    /// Asks the venue until the order agrees with it. "Not found" concludes as for a worker: once the request can no longer
    /// take effect.
    async fn agree<H: FaultyHarness>(&mut self, harness: &H) -> CaseVerdict {
        let conclusive_at = self.called_at + harness.latest_effect();
        if self.order.status.is_none() && !self.is_unknown {
            // Reported as rejected or not sent.
            sleep_until(conclusive_at).await;
            return laws::check_not_held(&self.held(harness).await?);
        }
        let deadline = conclusive_at.max(Instant::now()) + AGREEMENT_TIME;
        loop {
            let is_conclusive = Instant::now() >= conclusive_at;
            let (outcome, held) = self.inquire(harness).await?;
            if outcome == InquiryOutcome::NotFound && is_conclusive {
                if self.order.open_replace().is_some() {
                    let reason = Reason::new(ReasonCode::NotReplaced, "the venue does not have the new terms");
                    let outcome = ReplaceOutcome::NotReplaced(reason);
                    self.order = apply_report(&self.order, &self.order.report_of_replace(outcome))?;
                } else if self.order.status.is_none() {
                    return laws::check_not_held(&held);
                }
            }
            match laws::check_agreement(&self.order, &held) {
                Ok(()) => return Ok(()),
                Err(detail) if Instant::now() >= deadline => return Err(format!("{detail}; inquired: {outcome:?}")),
                Err(_) => sleep(ATTEMPT_INTERVAL).await,
            }
        }
    }

    /// Cancels an order that is still open.
    async fn end<H: FaultyHarness>(&mut self, harness: &H) -> CaseVerdict {
        let deadline = Instant::now() + AGREEMENT_TIME;
        while self.order.status.is_some() && !self.order.is_terminal() {
            let outcome = harness.adapter().cancel(self.order.clone()).await;
            self.order = laws::check_cancelled(&self.order, &outcome, &self.held(harness).await?, true)?;
            ensure(Instant::now() < deadline, || {
                format!("it cannot be cancelled: {outcome:?}")
            })?;
            if !self.order.is_terminal() {
                sleep(ATTEMPT_INTERVAL).await;
            }
        }
        Ok(())
    }

    async fn held<H: FaultyHarness>(&self, harness: &H) -> HarnessResult<Vec<HeldLeg>> {
        harness.held_legs(&self.order.order_id).await
    }
}
