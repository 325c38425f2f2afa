//! The real scripts on a real Redis against the model: random sequences of claims, venue's words, releases, repetitions,
//! a roll-over and rebuilds, under caps so small that they are often reached.

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

use crate::model::{Heard, Message, Model, Side, Sum, Sums, Terms, exposure, sum_of};
use crate::model_books::{Asked, Books};
use crate::model_markets::{
    ACCOUNTS, DAILY_LOSS, DAILY_NOTIONAL, MAX_OPEN_ORDERS, account_loss, account_notional, markets, micros,
};
use crate::model_words::{Step, Told, any_step, last_word, rates, report};

const CASES: u32 = 120;
const STEPS: usize = 80;

/// An order the store was asked to claim, and did.
struct Routed {
    terms: Terms,
    claim: Order,
    lease: LeaseToken,
    /// As the journal tells it.
    order: Order,
    before: Option<Order>,
    /// The last settlement and its place in the journal.
    last: Option<(Arc<SettleRequest>, usize)>,
    marked: u32,
    /// It was never sent, and its id is free.
    is_gone: bool,
}

/// What raises a sum beyond its cap all the same.
#[derive(Default)]
struct Forced {
    is_reduction: bool,
    heard: Heard,
}

/// How often something worth meeting was met, over all cases.
type Met = BTreeMap<String, u64>;

struct Case<'a> {
    books: &'a mut Books,
    met: &'a mut Met,
    model: Model,
    routed: Vec<Routed>,
    seen: Sums,
}

impl Case<'_> {
    fn meet(&mut self, what: impl Into<String>) {
        *self.met.entry(what.into()).or_default() += 1;
    }

    async fn run(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            let forced = self.step(step).await?;
            self.check(&forced).await?;
        }
        self.wind_up().await?;
        self.rebuilds().await
    }

    async fn step(&mut self, step: &Step) -> Result<Forced, TestCaseError> {
        let of = |order: &usize| order.checked_rem(self.routed.len());
        let order = match step {
            Step::Claim(terms) => return self.claim(*terms, ClientOrderId::generate()).await,
            Step::ClaimToTheBrim(terms, beyond) => {
                let terms = self.model.to_the_brim(*terms, *beyond);
                return self.claim(terms, ClientOrderId::generate()).await;
            }
            Step::RollOver if self.books.day == 0 => {
                self.books.roll_over().await;
                return Ok(Forced::default());
            }
            Step::Rebuild => {
                self.lose_redis().await;
                return Ok(Forced::default());
            }
            Step::ClaimAgain(order) | Step::Tell(order, _) | Step::SettleAgain(order) => of(order),
            Step::TellBehind(order, _) | Step::Release(order) | Step::Mark(order) | Step::ReplayLate(order) => {
                of(order)
            }
            Step::RollOver => None,
        };
        let Some(at) = order else { return Ok(Forced::default()) };
        if self.routed[at].is_gone && !matches!(step, Step::ClaimAgain(_)) {
            return Ok(Forced::default());
        }
        match step {
            Step::ClaimAgain(_) => return self.claim_again(at).await,
            Step::Tell(_, told) => {
                let message = told.of(at, self.model.order(at));
                return self.tell(at, &message).await;
            }
            Step::SettleAgain(_) => self.settle_again(at).await?,
            Step::TellBehind(_, told) => self.tell_behind(at, told).await?,
            Step::Release(_) => self.release(at).await?,
            Step::Mark(_) => self.mark(at).await,
            _ => {
                if let Some((_, place)) = self.routed[at].last {
                    self.books.replay_late(place).await;
                    self.routed[at].marked = self.routed[at].order.version;
                }
            }
        }
        Ok(Forced::default())
    }

    /// Claims an order if, and only if, it fits by the model.
    async fn claim(&mut self, terms: Terms, id: ClientOrderId) -> Result<Forced, TestCaseError> {
        let terms = Terms {
            day: self.books.day,
            ..terms
        };
        let judgement = self.model.judge(terms);
        let Asked {
            order,
            lease,
            assessment,
            reserved,
        } = self.books.ask(&terms, id).await;
        let (sight, is_claimed): (CapReadings, bool) = match reserved {
            ReserveOutcome::Claimed(sight) => (sight, true),
            ReserveOutcome::LimitExceeded(sight) | ReserveOutcome::Probed(sight) => (sight, false),
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        prop_assert_eq!(
            is_claimed,
            judgement.fits(),
            "{:?}: {:?}, {:?}",
            terms,
            judgement,
            sight
        );
        prop_assert_eq!(sight.is_reduction, judgement.is_reduction);
        let held = exposure(&self.seen, terms.account, terms.market, terms.side);
        for (cap, seen) in assessment.caps().iter().zip(&sight.caps) {
            prop_assert!(
                cap.measure != CapMeasure::Exposure || seen.before == held,
                "{cap:?}: {seen:?}, {held}"
            );
        }
        let is_approved = matches!(assessment.decide((), &sight), RiskDecision::Approved(..));
        prop_assert_eq!(is_approved, is_claimed, "rules and store differ");
        if !is_claimed {
            for bar in &judgement.bars {
                self.meet(format!("{bar:?}"));
            }
            return Ok(Forced::default());
        }
        self.meet(if judgement.bars.is_empty() {
            "claimed"
        } else {
            "reduction over a cap"
        });
        self.model.place(self.routed.len(), terms);
        self.routed.push(Routed {
            terms,
            claim: order.clone(),
            lease,
            order,
            before: None,
            last: None,
            marked: 0,
            is_gone: false,
        });
        Ok(Forced {
            is_reduction: judgement.is_reduction,
            heard: Heard::default(),
        })
    }

    async fn claim_again(&mut self, at: usize) -> Result<Forced, TestCaseError> {
        let id = self.routed[at].claim.client_order_id.clone();
        let is_reused = |one: &Routed| !one.is_gone && one.claim.client_order_id == id;
        let Some(owner) = self.routed.iter().position(is_reused) else {
            self.meet("an id that is free again");
            return self.claim(self.routed[at].terms, id).await;
        };
        let terms = self.model.order(owner).terms;
        let Asked { reserved, .. } = self.books.ask(&terms, id).await;
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
        Ok(Forced::default())
    }

    /// Takes a venue's message in, in the model and through the scripts.
    async fn tell(&mut self, at: usize, message: &Message) -> Result<Forced, TestCaseError> {
        let heard = self.model.hear(at, message);
        let routed = &mut self.routed[at];
        let applied = routed
            .order
            .apply_report(&report(&routed.terms, message), &rates(), Timestamp::now());
        prop_assert_eq!(applied.is_ok(), heard.is_some(), "{:?}", message);
        let (Ok(applied), Some(heard)) = (applied, heard) else {
            return Ok(Forced::default());
        };
        let lease = Some(routed.lease.clone()).filter(|_| routed.order.version == 0);
        let settle = self.books.settlement(&routed.order, &applied, lease);
        let settled = self.books.settle(&settle).await;
        let SettleOutcome::Booked(waiting) = &settled else {
            return Err(TestCaseError::fail(format!("{settled:?}")));
        };
        let waiting: Vec<u32> = waiting.iter().map(|event| event.version).collect();
        prop_assert_eq!(waiting, (routed.marked + 1..settle.order.version).collect::<Vec<_>>());
        let told = self.books.append(&settle);
        prop_assert_eq!(&told, &settle.order, "the journal tells another order");
        routed.before = Some(std::mem::replace(&mut routed.order, told));
        routed.last = Some((settle, self.books.journal.len() - 1));
        let is_kept = !self.model.order(at).is_open() && self.model.order(at).rest() > 0;
        for (what, is_met) in [
            ("reopened", heard.is_reopened),
            ("forced", heard.forced_lots > 0),
            ("held for what is untold", is_kept),
        ] {
            if is_met {
                self.meet(what);
            }
        }
        Ok(Forced {
            is_reduction: false,
            heard,
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
            self.meet("settled twice");
        }
        Ok(())
    }

    async fn tell_behind(&mut self, at: usize, told: &Told) -> Result<(), TestCaseError> {
        let message = told.of(at, self.model.order(at));
        let routed = &self.routed[at];
        let Some(before) = &routed.before else { return Ok(()) };
        if let Ok(applied) = before.apply_report(&report(&routed.terms, &message), &rates(), Timestamp::now()) {
            let behind = self.books.settle(&self.books.settlement(before, &applied, None)).await;
            prop_assert!(matches!(behind, SettleOutcome::Superseded(_)), "{behind:?}");
            self.meet("superseded");
        }
        Ok(())
    }

    async fn release(&mut self, at: usize) -> Result<(), TestCaseError> {
        let routed = &mut self.routed[at];
        let is_claimed = self.model.order(at).is_claimed();
        let released = self.books.store.release_claim(&routed.claim, &routed.lease).await;
        prop_assert_eq!(released, Ok(is_claimed));
        if is_claimed {
            routed.is_gone = true;
            self.model.forget(at);
            self.meet("released");
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

    /// Rebuilds the store from the journal; claims that were never sent are gone.
    async fn lose_redis(&mut self) {
        let whole: Vec<usize> = (0..self.books.journal.len()).collect();
        self.books.rebuild(&whole).await;
        for (at, routed) in self.routed.iter_mut().enumerate().filter(|(_, routed)| !routed.is_gone) {
            routed.marked = routed.order.version;
            if routed.order.version == 0 {
                routed.is_gone = true;
                self.model.forget(at);
            }
        }
        self.meet("rebuilt");
    }

    /// The store's sums are the model's, and none has passed its cap but for what forced it.
    async fn check(&mut self, forced: &Forced) -> Result<(), TestCaseError> {
        let sums = self.books.sums().await;
        prop_assert_eq!(&sums, &self.model.sums());
        let before = std::mem::replace(&mut self.seen, sums);
        let passes = |before: i64, after: i64, cap: i64, forced: i64| after <= cap.max(before) + forced;
        let now = &self.seen;
        let more = if forced.is_reduction || forced.heard.is_reopened {
            i64::MAX / 2
        } else {
            0
        };
        let reopened = i64::from(forced.heard.is_reopened);
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
                        passes(was, is, cap, forced.heard.forced_lots),
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

    /// Ends every order: half of the claims are released, all else gets its venue's last word. Then nothing is held.
    async fn wind_up(&mut self) -> Result<(), TestCaseError> {
        for at in 0..self.routed.len() {
            if self.routed[at].is_gone {
                continue;
            }
            if self.model.order(at).is_claimed() && at % 2 == 0 {
                self.release(at).await?;
            } else if let Some(message) = last_word(self.model.order(at)) {
                self.tell(at, &message).await?;
            }
            self.mark(at).await;
        }
        self.check(&Forced {
            is_reduction: true,
            heard: Heard::default(),
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
        self.nothing_waits().await
    }

    /// What was routed on a day: all but the orders that were refused before anything of them was traded.
    fn routed_on(&self, day: usize) -> i64 {
        let sent = self
            .routed
            .iter()
            .filter(|routed| !routed.is_gone && routed.terms.day == day);
        let is_refused = |order: &Order| order.status == Some(OrderStatus::Rejected);
        let routed = sent.filter(|routed| !is_refused(&routed.order));
        routed.map(|routed| routed.order.reservation.notional.units()).sum()
    }

    async fn nothing_waits(&self) -> Result<(), TestCaseError> {
        let kinds = self.books.kinds().await;
        for kind in ["leases", "outbox", "open", "open_sets", "due", "healing"] {
            prop_assert!(!kinds.contains_key(kind), "{kind} is left: {kinds:?}");
        }
        let sent = self.routed.iter().filter(|routed| !routed.is_gone).count();
        prop_assert_eq!(kinds.get("order").copied().unwrap_or(0), sent);
        Ok(())
    }

    /// The journal's events in their order, and in any that keeps each order's versions in theirs, come to the same.
    async fn rebuilds(&mut self) -> Result<(), TestCaseError> {
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
            self.nothing_waits().await?;
        }
        Ok(())
    }
}

const WORTH_MEETING: &[&str] = &[
    "claimed",
    "reduction over a cap",
    "Position",
    "Notional",
    "DailyNotional",
    "AccountDailyNotional",
    "DailyLoss",
    "AccountDailyLoss",
    "OpenOrders",
    "an id that is free again",
    "forced",
    "reopened",
    "held for what is untold",
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
    let shared = RefCell::new((runtime.block_on(Books::open()), Met::new()));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    });
    let steps = proptest::collection::vec(any_step(), STEPS / 4..STEPS);
    let outcome = runner.run(&steps, |steps| {
        let (books, met) = &mut *shared.borrow_mut();
        runtime.block_on(async {
            books.begin().await;
            let (model, routed, seen) = (Model::default(), Vec::new(), Sums::new());
            Case {
                books,
                met,
                model,
                routed,
                seen,
            }
            .run(&steps)
            .await
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (_, met) = shared.into_inner();
    for what in WORTH_MEETING {
        assert!(
            met.get(*what).is_some_and(|times| *times >= 3),
            "{what} is hardly ever met: {met:?}"
        );
    }
}
