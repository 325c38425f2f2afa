//! The real scripts on a real Redis against the model: random sequences of claims, venue reports, releases, repetitions,
//! a day roll and rebuilds, under caps so small that they are often reached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use order_router::domain::id::{ClientOrderId, LeaseToken};
use order_router::domain::order::Order;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use order_router::risk::{CapMeasure, CapReadings, RiskDecision};
use order_router::store::orders::record::{KnownOrder, RecordStage};
use order_router::store::orders::reserve::ReserveOutcome;
use order_router::store::orders::settle::{SettleOutcome, SettleRequest};
use order_router::wire::journal_report::decode_journal_report;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::model::{Message, MessageEffect, Model, Side, Sum, Sums, Terms, exposure, sum_of};
use crate::model_books::{ClaimAttempt, StoreUnderTest};
use crate::model_markets::{
    ACCOUNTS, DAILY_LOSS, DAILY_NOTIONAL, MAX_OPEN_ORDERS, account_loss, account_notional, markets, micros,
};
use crate::model_words::{GeneratedMessage, Step, any_step, final_message, rates, report};

const CASES: u32 = 120;
const STEPS: usize = 80;

/// An order that the store has claimed.
struct RoutedOrder {
    terms: Terms,
    claim: Order,
    lease: LeaseToken,
    /// The order as journaled.
    order: Order,
    before: Option<Order>,
    /// The last settlement and its journal position.
    last: Option<(Arc<SettleRequest>, usize)>,
    marked: u32,
    /// It was never sent, and its id is free.
    is_released: bool,
}

/// What may raise a sum beyond its cap.
#[derive(Default)]
struct ForcedChange {
    is_reduction: bool,
    effect: MessageEffect,
}

/// How often each situation has occurred, over all cases.
type Coverage = BTreeMap<String, u64>;

struct ModelCase<'a> {
    books: &'a mut StoreUnderTest,
    coverage: &'a mut Coverage,
    model: Model,
    routed: Vec<RoutedOrder>,
    seen: Sums,
}

impl ModelCase<'_> {
    fn record_occurrence(&mut self, what: impl Into<String>) {
        *self.coverage.entry(what.into()).or_default() += 1;
    }

    async fn run(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            let forced = self.step(step).await?;
            self.check(&forced).await?;
        }
        self.end_all_orders().await?;
        self.check_rebuilds().await
    }

    async fn step(&mut self, step: &Step) -> Result<ForcedChange, TestCaseError> {
        let of = |order: &usize| order.checked_rem(self.routed.len());
        let order = match step {
            Step::Claim(terms) => return self.claim(*terms, ClientOrderId::generate()).await,
            Step::ClaimUpToCap(terms, beyond) => {
                let terms = self.model.fill_position_cap(*terms, *beyond);
                return self.claim(terms, ClientOrderId::generate()).await;
            }
            Step::RollDay if self.books.day == 0 => {
                self.books.roll_day().await;
                return Ok(ForcedChange::default());
            }
            Step::Rebuild => {
                self.lose_redis().await;
                return Ok(ForcedChange::default());
            }
            Step::ClaimAgain(order) | Step::Deliver(order, _) | Step::SettleAgain(order) => of(order),
            Step::SettleStale(order, _) | Step::Release(order) | Step::Mark(order) | Step::ReplayLate(order) => {
                of(order)
            }
            Step::RollDay => None,
        };
        let Some(at) = order else {
            return Ok(ForcedChange::default());
        };
        if self.routed[at].is_released && !matches!(step, Step::ClaimAgain(_)) {
            return Ok(ForcedChange::default());
        }
        match step {
            Step::ClaimAgain(_) => return self.claim_again(at).await,
            Step::Deliver(_, message) => {
                let message = message.to_message(at, self.model.order(at));
                return self.deliver(at, &message).await;
            }
            Step::SettleAgain(_) => self.settle_again(at).await?,
            Step::SettleStale(_, message) => self.settle_stale(at, message).await?,
            Step::Release(_) => self.release(at).await?,
            Step::Mark(_) => self.mark(at).await,
            _ => {
                if let Some((_, place)) = self.routed[at].last {
                    self.books.replay_late(place).await;
                    self.routed[at].marked = self.routed[at].order.version;
                }
            }
        }
        Ok(ForcedChange::default())
    }

    /// Claims an order exactly when it fits the model.
    async fn claim(&mut self, terms: Terms, id: ClientOrderId) -> Result<ForcedChange, TestCaseError> {
        let terms = Terms {
            day: self.books.day,
            ..terms
        };
        let verdict = self.model.evaluate(terms);
        let ClaimAttempt {
            order,
            lease,
            evaluation,
            reserved,
        } = self.books.attempt_claim(&terms, id).await;
        let (readings, is_claimed): (CapReadings, bool) = match reserved {
            ReserveOutcome::Claimed(readings) => (readings, true),
            ReserveOutcome::LimitExceeded(readings) | ReserveOutcome::Probed(readings) => (readings, false),
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        prop_assert_eq!(is_claimed, verdict.fits(), "{:?}: {:?}, {:?}", terms, verdict, readings);
        prop_assert_eq!(readings.is_reduction, verdict.is_reduction);
        let held = exposure(&self.seen, terms.account, terms.market, terms.side);
        for (cap, seen) in evaluation.caps().iter().zip(&readings.caps) {
            prop_assert!(
                cap.measure != CapMeasure::Exposure || seen.before == held,
                "{cap:?}: {seen:?}, {held}"
            );
        }
        let is_approved = matches!(evaluation.decide((), &readings), RiskDecision::Approved(..));
        prop_assert_eq!(is_approved, is_claimed, "the rules and the store disagree");
        if !is_claimed {
            for limit in &verdict.exceeded {
                self.record_occurrence(format!("{limit:?}"));
            }
            return Ok(ForcedChange::default());
        }
        self.record_occurrence(if verdict.exceeded.is_empty() {
            "claimed"
        } else {
            "reduction over a cap"
        });
        self.model.place(self.routed.len(), terms);
        self.routed.push(RoutedOrder {
            terms,
            claim: order.clone(),
            lease,
            order,
            before: None,
            last: None,
            marked: 0,
            is_released: false,
        });
        Ok(ForcedChange {
            is_reduction: verdict.is_reduction,
            effect: MessageEffect::default(),
        })
    }

    async fn claim_again(&mut self, at: usize) -> Result<ForcedChange, TestCaseError> {
        let id = self.routed[at].claim.client_order_id.clone();
        let is_reused = |one: &RoutedOrder| !one.is_released && one.claim.client_order_id == id;
        let Some(owner) = self.routed.iter().position(is_reused) else {
            self.record_occurrence("released id");
            return self.claim(self.routed[at].terms, id).await;
        };
        let terms = self.model.order(owner).terms;
        let ClaimAttempt { reserved, .. } = self.books.attempt_claim(&terms, id).await;
        let order = &self.routed[owner].order;
        let (is_ended, is_first) = (order.is_terminal(), order.version == 0);
        let wanted = match (is_first, is_ended) {
            (true, _) => RecordStage::Claimed,
            (_, true) => RecordStage::Ended,
            (_, false) => RecordStage::Open,
        };
        let ReserveOutcome::AlreadyKnown(KnownOrder {
            stage,
            order_id,
            version,
            ..
        }) = reserved
        else {
            return Err(TestCaseError::fail(format!("{reserved:?}")));
        };
        prop_assert_eq!((stage, &order_id, version), (wanted, &order.order_id, order.version));
        Ok(ForcedChange::default())
    }

    /// Applies a venue's message to the model and through the scripts.
    async fn deliver(&mut self, at: usize, message: &Message) -> Result<ForcedChange, TestCaseError> {
        let effect = self.model.apply(at, message);
        let routed = &mut self.routed[at];
        let applied = routed
            .order
            .apply_report(&report(&routed.terms, message), &rates(), Timestamp::now());
        prop_assert_eq!(applied.is_ok(), effect.is_some(), "{:?}", message);
        let (Ok(applied), Some(effect)) = (applied, effect) else {
            return Ok(ForcedChange::default());
        };
        let lease = Some(routed.lease.clone()).filter(|_| routed.order.version == 0);
        let settle = self.books.settlement(&routed.order, &applied, lease);
        let settled = self.books.settle(&settle).await;
        let SettleOutcome::Booked(waiting) = &settled else {
            return Err(TestCaseError::fail(format!("{settled:?}")));
        };
        let waiting: Vec<u32> = waiting.iter().map(|event| event.version).collect();
        prop_assert_eq!(waiting, (routed.marked + 1..settle.order.version).collect::<Vec<_>>());
        let journaled = self.books.append(&settle);
        prop_assert_eq!(&journaled, &settle.order, "the journal has another order");
        routed.before = Some(std::mem::replace(&mut routed.order, journaled));
        routed.last = Some((settle, self.books.journal.len() - 1));
        let is_kept = !self.model.order(at).is_open() && self.model.order(at).reserved_lots() > 0;
        for (what, has_occurred) in [
            ("reopened", effect.is_reopened),
            ("forced", effect.forced_lots > 0),
            ("held for unreported fills", is_kept),
        ] {
            if has_occurred {
                self.record_occurrence(what);
            }
        }
        Ok(ForcedChange {
            is_reduction: false,
            effect,
        })
    }

    async fn settle_again(&mut self, at: usize) -> Result<(), TestCaseError> {
        if let Some((settle, _)) = self.routed[at].last.clone() {
            let again = self.books.settle(&settle).await;
            // A rebuilt store knows the version and not its settlement.
            prop_assert!(
                matches!(again, SettleOutcome::Booked(_) | SettleOutcome::Superseded(_)),
                "{again:?}"
            );
            self.record_occurrence("settled twice");
        }
        Ok(())
    }

    async fn settle_stale(&mut self, at: usize, message: &GeneratedMessage) -> Result<(), TestCaseError> {
        let message = message.to_message(at, self.model.order(at));
        let routed = &self.routed[at];
        let Some(before) = &routed.before else { return Ok(()) };
        if let Ok(applied) = before.apply_report(&report(&routed.terms, &message), &rates(), Timestamp::now()) {
            let behind = self.books.settle(&self.books.settlement(before, &applied, None)).await;
            prop_assert!(matches!(behind, SettleOutcome::Superseded(_)), "{behind:?}");
            self.record_occurrence("superseded");
        }
        Ok(())
    }

    async fn release(&mut self, at: usize) -> Result<(), TestCaseError> {
        let routed = &mut self.routed[at];
        let is_claimed = self.model.order(at).is_claimed();
        let released = self.books.store.release_claim(&routed.claim, &routed.lease).await;
        prop_assert_eq!(released, Ok(is_claimed));
        if is_claimed {
            routed.is_released = true;
            self.model.forget(at);
            self.record_occurrence("released");
        }
        Ok(())
    }

    async fn mark(&mut self, at: usize) {
        let routed = &mut self.routed[at];
        if let Some((settle, place)) = &routed.last {
            self.books.mark(settle, *place).await;
            routed.marked = settle.order.version;
        }
    }

    /// Rebuilds the store from the journal; claims that were never sent are released.
    async fn lose_redis(&mut self) {
        let whole: Vec<usize> = (0..self.books.journal.len()).collect();
        self.books.rebuild(&whole).await;
        for (at, routed) in self
            .routed
            .iter_mut()
            .enumerate()
            .filter(|(_, routed)| !routed.is_released)
        {
            routed.marked = routed.order.version;
            if routed.order.version == 0 {
                routed.is_released = true;
                self.model.forget(at);
            }
        }
        self.record_occurrence("rebuilt");
    }

    /// Checks that the store's sums equal the model's, and that none exceeds its cap by more than the forced change.
    async fn check(&mut self, forced: &ForcedChange) -> Result<(), TestCaseError> {
        let sums = self.books.sums().await;
        prop_assert_eq!(&sums, &self.model.sums());
        let before = std::mem::replace(&mut self.seen, sums);
        let passes = |before: i64, after: i64, cap: i64, forced: i64| after <= cap.max(before) + forced;
        let now = &self.seen;
        let more = if forced.is_reduction || forced.effect.is_reopened {
            i64::MAX / 2
        } else {
            0
        };
        let reopened = i64::from(forced.effect.is_reopened);
        for account in 0..ACCOUNTS {
            for (market, terms) in markets().iter().enumerate() {
                let most = i64::try_from((terms.max_position / terms.lot).trunc()).unwrap();
                for side in [Side::Buy, Side::Sell] {
                    let cap = if side == Side::Sell && !terms.can_short {
                        0
                    } else {
                        most
                    };
                    let [was, is] = [&before, now].map(|sums| exposure(sums, account, market, side));
                    prop_assert!(
                        passes(was, is, cap, forced.effect.forced_lots),
                        "{side:?} {terms:?}: {was}, {is}"
                    );
                }
                let [was, is] = [&before, now].map(|sums| sum_of(sums, Sum::OpenOrders(account, market)));
                prop_assert!(passes(was, is, MAX_OPEN_ORDERS, reopened));
            }
        }
        let mut caps = vec![(Sum::OpenLoss, micros(DAILY_LOSS) - 1)];
        for account in 0..ACCOUNTS {
            caps.push((Sum::AccountOpenLoss(account), account_loss(account) - 1));
            let cap = account_notional(account).unwrap_or(micros(DAILY_NOTIONAL));
            caps.extend([0, 1].map(|day| (Sum::AccountDailyNotional(account, day), cap)));
        }
        caps.extend([0, 1].map(|day| (Sum::DailyNotional(day), micros(DAILY_NOTIONAL))));
        for (sum, cap) in caps {
            let [was, is] = [&before, now].map(|sums| sum_of(sums, sum));
            prop_assert!(passes(was, is, cap, more), "{sum:?}: {was}, {is}");
        }
        Ok(())
    }

    /// Ends every order: half of the claims are released, the others get a final message. Then nothing is reserved.
    async fn end_all_orders(&mut self) -> Result<(), TestCaseError> {
        for at in 0..self.routed.len() {
            if self.routed[at].is_released {
                continue;
            }
            if self.model.order(at).is_claimed() && at % 2 == 0 {
                self.release(at).await?;
            } else if let Some(message) = final_message(self.model.order(at)) {
                self.deliver(at, &message).await?;
            }
            self.mark(at).await;
        }
        self.check(&ForcedChange {
            is_reduction: true,
            effect: MessageEffect::default(),
        })
        .await?;
        for account in 0..ACCOUNTS {
            for market in 0..markets().len() {
                let of = |sum: fn(usize, usize) -> Sum| sum_of(&self.seen, sum(account, market));
                prop_assert_eq!((of(Sum::Long), of(Sum::Short)), (of(Sum::Position), -of(Sum::Position)));
                prop_assert_eq!(of(Sum::OpenOrders), 0);
            }
            prop_assert_eq!(sum_of(&self.seen, Sum::AccountOpenLoss(account)), 0);
        }
        prop_assert_eq!(sum_of(&self.seen, Sum::OpenLoss), 0);
        for day in 0..2 {
            prop_assert_eq!(sum_of(&self.seen, Sum::DailyNotional(day)), self.routed_on(day));
        }
        self.assert_nothing_pending().await
    }

    /// Returns the notional routed on a day: every order except those rejected before their first trade.
    fn routed_on(&self, day: usize) -> i64 {
        let sent = self
            .routed
            .iter()
            .filter(|routed| !routed.is_released && routed.terms.day == day);
        let is_refused = |order: &Order| order.status == Some(OrderStatus::Rejected);
        let routed = sent.filter(|routed| !is_refused(&routed.order));
        routed.map(|routed| routed.order.reservation.notional.units()).sum()
    }

    async fn assert_nothing_pending(&self) -> Result<(), TestCaseError> {
        let key_counts = self.books.count_keys_by_kind().await;
        for kind in ["leases", "outbox", "open", "open_sets", "due", "healing"] {
            prop_assert!(!key_counts.contains_key(kind), "{kind} is left: {key_counts:?}");
        }
        let sent = self.routed.iter().filter(|routed| !routed.is_released).count();
        prop_assert_eq!(key_counts.get("order").copied().unwrap_or(0), sent);
        Ok(())
    }

    /// Checks that a rebuild in journal order, and in an order that only keeps each order's versions in sequence, restores
    /// the same sums.
    async fn check_rebuilds(&mut self) -> Result<(), TestCaseError> {
        let whole: Vec<usize> = (0..self.books.journal.len()).collect();
        let mut by_order = whole.clone();
        let order_of = |place: &usize| {
            let (order, _) = decode_journal_report(&self.books.journal[*place]).unwrap();
            (std::cmp::Reverse(order.client_order_id.to_string()), order.version)
        };
        by_order.sort_by_cached_key(order_of);
        for order in [whole, by_order] {
            self.books.rebuild(&order).await;
            prop_assert_eq!(&self.books.sums().await, &self.model.sums());
            self.assert_nothing_pending().await?;
        }
        Ok(())
    }
}

const REQUIRED_COVERAGE: &[&str] = &[
    "claimed",
    "reduction over a cap",
    "Position",
    "Notional",
    "DailyNotional",
    "AccountDailyNotional",
    "DailyLoss",
    "AccountDailyLoss",
    "OpenOrders",
    "released id",
    "forced",
    "reopened",
    "held for unreported fills",
    "settled twice",
    "superseded",
    "released",
    "rebuilt",
];

#[test]
fn store_matches_the_model_after_every_step_and_after_a_rebuild() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let shared = RefCell::new((runtime.block_on(StoreUnderTest::open()), Coverage::new()));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    });
    let steps = proptest::collection::vec(any_step(), STEPS / 4..STEPS);
    let outcome = runner.run(&steps, |steps| {
        let (books, coverage) = &mut *shared.borrow_mut();
        runtime.block_on(async {
            books.reset().await;
            let (model, routed, seen) = (Model::default(), Vec::new(), Sums::new());
            ModelCase {
                books,
                coverage,
                model,
                routed,
                seen,
            }
            .run(&steps)
            .await
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (_, coverage) = shared.into_inner();
    for what in REQUIRED_COVERAGE {
        assert!(
            coverage.get(*what).is_some_and(|times| *times >= 3),
            "{what} occurs too rarely: {coverage:?}"
        );
    }
}
