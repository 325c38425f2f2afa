//! The real scripts on a real Redis against the model: random sequences of claims, venue reports, releases, repetitions,
//! a day roll and rebuilds, under caps so small that they are often reached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::cell::{Cell, RefCell};

use order_router::domain::order::Order;
use order_router::domain::order_terms::OrderStatus;
use order_router::wire::journal_report::decode_journal_report;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::model::{ALL, Model, OWNERS, Sum, Sums, exposure, sum_of};
use crate::model_books::{JournalEvent, StoreUnderTest};
use crate::model_case::{Coverage, EVALUATED, ForcedChange, ModelCase};
use crate::model_ledgers::read_ledgers;
use crate::model_markets::{
    ACCOUNTS, DAILY_NOTIONAL, MAX_OPEN_ORDERS, account_notional, in_units, loss_limit, markets, micros,
};
use crate::model_orders::{MessageEffect, Side};
use crate::model_words::{Step, any_step, final_message};

/// The sequences of a round, and the most rounds of the test.
const CASES: u32 = 120;
const MAX_ROUNDS: u32 = 4;
const STEPS: usize = 80;

impl ModelCase<'_> {
    async fn run(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            let forced = self.step(step).await?;
            self.check(&forced).await?;
        }
        self.end_all_orders().await?;
        self.check_rebuilds().await
    }

    /// Checks that the store's sums equal the model's.
    async fn check_sums(&mut self) -> Result<Sums, TestCaseError> {
        let stored = read_ledgers(&mut self.books.connection, self.books.day).await;
        prop_assert_eq!(&stored.sums, &self.model.sums_today());
        prop_assert_eq!(stored.breaches, self.model.breaches);
        Ok(stored.sums)
    }

    /// Checks that the store's sums equal the model's, and that none exceeds its cap by more than the forced change.
    async fn check(&mut self, forced: &ForcedChange) -> Result<(), TestCaseError> {
        let sums = self.check_sums().await?;
        let before = std::mem::replace(&mut self.seen, sums);
        let passes = |before: i128, after: i128, cap: i128, forced: i128| after <= cap.max(before) + forced;
        let now = &self.seen;
        let unbounded = i128::MAX / 2;
        let more = if forced.is_reduction || forced.effect.is_reopened {
            unbounded
        } else {
            0
        };
        let reopened = i128::from(forced.effect.is_reopened);
        for account in 0..ACCOUNTS {
            for (market, terms) in markets().iter().enumerate() {
                let most = in_units(terms.max_position);
                for side in [Side::Buy, Side::Sell] {
                    let cap = if side == Side::Sell && !terms.can_short {
                        0
                    } else {
                        most
                    };
                    let [was, is] = [&before, now].map(|sums| exposure(sums, account, market, side));
                    prop_assert!(
                        passes(was, is, cap, forced.effect.forced_quantity),
                        "{side:?} {terms:?}: {was}, {is}"
                    );
                }
                let [was, is] = [&before, now].map(|sums| sum_of(sums, Sum::OpenOrders(account, market)));
                prop_assert!(passes(was, is, MAX_OPEN_ORDERS.into(), reopened));
            }
        }
        let lost = if forced.moves_losses {
            unbounded
        } else {
            more.max(forced.effect.forced_loss)
        };
        for owner in 0..OWNERS {
            let loss = |sums| self.model.loss(sums, owner) + sum_of(sums, Sum::OpenLoss(owner));
            let [was, is] = [&before, now].map(loss);
            prop_assert!(passes(was, is, loss_limit(owner) - 1, lost), "{owner}: {was}, {is}");
            let cap = account_notional(owner).unwrap_or(micros(DAILY_NOTIONAL));
            let [was, is] = [&before, now].map(|sums| sum_of(sums, Sum::DailyNotional(owner)));
            prop_assert!(passes(was, is, cap, more), "{owner}: {was}, {is}");
        }
        Ok(())
    }

    /// Ends every order: half of the claims are released, the others get a final message. Then nothing is reserved, and no
    /// loss waits for its lock.
    async fn end_all_orders(&mut self) -> Result<(), TestCaseError> {
        for at in 0..self.routed.len() {
            if self.routed[at].is_released {
                continue;
            }
            if self.model.order(at).is_claimed() && at % 2 == 0 {
                self.release(at).await?;
            } else if let Some(mut message) = final_message(self.model.order(at), self.books.day) {
                if self.model.crossed_position(at, &message).is_some() {
                    // The venue has not traded the rest after all.
                    message.trades.clear();
                    message.counted = Some(self.model.order(at).booked());
                }
                self.deliver(at, &message).await?;
            }
            self.mark(at).await;
        }
        self.lock_breaches().await;
        self.check(&ForcedChange {
            is_reduction: true,
            moves_losses: true,
            effect: MessageEffect {
                forced_quantity: i128::MAX / 2,
                ..MessageEffect::default()
            },
        })
        .await?;
        for owner in 0..OWNERS {
            for market in 0..markets().len() {
                let of = |sum: fn(usize, usize) -> Sum| sum_of(&self.seen, sum(owner, market));
                prop_assert_eq!((of(Sum::Long), of(Sum::Short)), (of(Sum::Position), -of(Sum::Position)));
                prop_assert_eq!(of(Sum::OpenOrders), 0);
            }
            prop_assert_eq!(sum_of(&self.seen, Sum::OpenLoss(owner)), 0);
        }
        prop_assert_eq!(
            sum_of(&self.seen, Sum::DailyNotional(ALL)),
            self.routed_on(self.books.day)
        );
        self.assert_nothing_pending().await
    }

    /// Returns the notional routed on a day: every order except those rejected before their first trade.
    fn routed_on(&self, day: usize) -> i128 {
        let sent = self
            .routed
            .iter()
            .filter(|routed| !routed.is_released && routed.terms.day == day);
        let is_refused = |order: &Order| order.status == Some(OrderStatus::Rejected);
        let routed = sent.filter(|routed| !is_refused(&routed.order));
        routed
            .map(|routed| i128::from(routed.order.reservation.notional.units()))
            .sum()
    }

    async fn assert_nothing_pending(&self) -> Result<(), TestCaseError> {
        let key_counts = self.books.count_keys_by_kind().await;
        for kind in ["leases", "outbox", "adjustments", "open", "open_sets", "due", "healing"] {
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
        let order_of = |place: &usize| match &self.books.journal[*place] {
            JournalEvent::Report(document) => {
                let (order, _) = decode_journal_report(document).unwrap();
                (std::cmp::Reverse(order.client_order_id.to_string()), order.version)
            }
            JournalEvent::Adjustment(booking) => (std::cmp::Reverse(booking.adjustment_id.to_string()), 0),
        };
        by_order.sort_by_cached_key(order_of);
        for order in [whole, by_order] {
            self.books.rebuild(&order).await;
            self.model.breaches = [None; OWNERS];
            self.check_sums().await?;
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
    "StopLoss",
    "Breach",
    "ReduceOnly",
    "price loss",
    "released id",
    "forced",
    "fee in the traded asset",
    "fee without a price",
    "fees priced",
    "more fees priced than there are",
    "UnpricedFee",
    "booked on the day before",
    "booked after the day of the order",
    "booked before the day of the order",
    "crosses zero",
    "loss at its limit",
    "locked",
    "adjusted",
    "profit computed",
    "rolled",
    "reopened",
    "held for unreported fills",
    "settled twice",
    "superseded",
    "released",
    "rebuilt",
];

/// Runs random sequences on one store, as many at a time as [`CASES`], until what has occurred is enough. Returns how often
/// each situation has occurred.
fn run_sequences(is_enough: impl Fn(&Coverage) -> bool) -> Coverage {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let shared = RefCell::new((runtime.block_on(StoreUnderTest::open()), Coverage::new()));
    let steps = proptest::collection::vec(any_step(), STEPS / 4..STEPS);
    loop {
        let mut runner = TestRunner::new(Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_iters: 400,
            ..Config::default()
        });
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
        if is_enough(&shared.borrow().1) {
            return shared.into_inner().1;
        }
    }
}

/// Reports whether every situation that the test is about has occurred often enough.
fn is_covered(coverage: &Coverage) -> bool {
    let occurs = |what: &&str| coverage.get(*what).is_some_and(|times| *times >= 3);
    REQUIRED_COVERAGE.iter().all(occurs)
}

#[test]
fn store_matches_the_model_after_every_step_and_after_a_rebuild() {
    // A rare situation may need a second round of sequences.
    let rounds = Cell::new(0);
    let coverage = run_sequences(|coverage| {
        rounds.set(rounds.get() + 1);
        is_covered(coverage) || rounds.get() == MAX_ROUNDS
    });
    assert!(is_covered(&coverage), "something occurs too rarely: {coverage:?}");
}

/// `make model`; `MODEL_ORDERS` sets another number of orders.
#[test]
#[ignore = "takes minutes: make model"]
fn model_holds_over_many_orders() {
    let wanted = std::env::var("MODEL_ORDERS").map_or(100_000, |text| text.parse().unwrap());
    let started = std::time::Instant::now();
    let coverage = run_sequences(|coverage| coverage.get(EVALUATED).is_some_and(|orders| *orders > wanted));
    println!(
        "the store matched the model after every step of {} orders, {} of them claimed, in {:?}: {coverage:#?}",
        coverage[EVALUATED],
        coverage["claimed"] + coverage["reduction over a cap"],
        started.elapsed()
    );
}
