//! The steps of a random sequence, each on the model and through the real scripts: claims, venue reports, releases,
//! adjustments, repetitions, day rolls and rebuilds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use order_router::domain::id::{ClientOrderId, LeaseToken};
use order_router::domain::order::Order;
use order_router::domain::time::Timestamp;
use order_router::risk::{CapMeasure, CapReadings, Evaluation, RiskDecision};
use order_router::store::orders::record::{KnownOrder, RecordStage};
use order_router::store::orders::reserve::ReserveOutcome;
use order_router::store::orders::settle::{BookedSettlement, SettleOutcome, SettleRequest};
use order_router::store::sums::adjustment::BookAdjustmentOutcome;
use proptest::prelude::*;
use rust_decimal::Decimal as Number;

use crate::model::{ALL, Adjusted, Model, OWNERS, PricedFee, Sum, Sums, exposure, sum_of};
use crate::model_books::{ClaimAttempt, StoreUnderTest};
use crate::model_markets::{ACCOUNTS, DAYS, MARKETS, markets};
use crate::model_orders::{Message, MessageEffect, Terms};
use crate::model_words::{GeneratedMessage, Step, near, rates, report};

/// An order that the store has claimed.
pub struct RoutedOrder {
    pub terms: Terms,
    claim: Order,
    lease: LeaseToken,
    /// The order as journaled.
    pub order: Order,
    before: Option<Order>,
    /// The last settlement and its journal position.
    last: Option<(Arc<SettleRequest>, usize)>,
    marked: u32,
    /// It was never sent, and its id is free.
    pub is_released: bool,
}

/// What may raise a sum beyond its cap.
#[derive(Default)]
pub struct ForcedChange {
    pub is_reduction: bool,
    /// The day has begun, or the profit was computed anew.
    pub moves_losses: bool,
    pub effect: MessageEffect,
}

/// How often each situation has occurred, over all cases.
pub type Coverage = BTreeMap<String, u64>;

/// The situation that an order was evaluated.
pub const EVALUATED: &str = "evaluated";

pub struct ModelCase<'a> {
    pub books: &'a mut StoreUnderTest,
    pub coverage: &'a mut Coverage,
    pub model: Model,
    pub routed: Vec<RoutedOrder>,
    pub seen: Sums,
}

impl ModelCase<'_> {
    pub fn record_occurrence(&mut self, what: impl Into<String>) {
        *self.coverage.entry(what.into()).or_default() += 1;
    }

    pub async fn step(&mut self, step: &Step) -> Result<ForcedChange, TestCaseError> {
        let of = |order: &usize| order.checked_rem(self.routed.len());
        let order = match step {
            Step::Claim(terms) => return self.claim(*terms, ClientOrderId::generate()).await,
            Step::ClaimUpToCap(terms, beyond) => {
                let terms = self.model.fill_position_cap(*terms, *beyond);
                return self.claim(terms, ClientOrderId::generate()).await;
            }
            Step::ClaimClosing(terms) => {
                let terms = self.model.close_position(*terms);
                return self.claim(terms, ClientOrderId::generate()).await;
            }
            Step::Adjust(account, market, quantity, share) => {
                return Ok(self.adjust(*account, *market, *quantity, *share).await);
            }
            Step::Flatten(account, market) => {
                let position = sum_of(&self.seen, Sum::Position(*account, *market));
                return Ok(self.adjust(*account, *market, -position, 10_000_000).await);
            }
            Step::PriceFees(account, market, is_too_many) => {
                return self.price_fees(*account, *market, *is_too_many).await;
            }
            Step::View(shares) => return self.compute_views(shares).await,
            Step::RollDay if self.books.day + 1 < DAYS => return self.roll_day().await,
            Step::Lock => {
                self.lock_breaches().await;
                return Ok(ForcedChange::default());
            }
            Step::Rebuild => {
                self.lose_redis().await;
                return Ok(ForcedChange::default());
            }
            Step::ClaimAgain(order) | Step::Deliver(order, ..) | Step::SettleAgain(order) => of(order),
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
            Step::Deliver(_, message, is_late) => {
                let day = self.books.day.saturating_sub(usize::from(*is_late));
                let message = message.to_message(at, self.model.order(at), day);
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
        self.record_occurrence(EVALUATED);
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
        self.check_readings(&terms, &evaluation, &readings)?;
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
        if order.reservation.price_loss.units() > 0 {
            self.record_occurrence("price loss");
        }
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
            ..ForcedChange::default()
        })
    }

    /// Checks what each cap measured before the order, and the losses that have reached their limits.
    fn check_readings(
        &self,
        terms: &Terms,
        evaluation: &Evaluation,
        readings: &CapReadings,
    ) -> Result<(), TestCaseError> {
        let (account, market) = (terms.account, terms.market);
        let of = |sum| sum_of(&self.seen, sum);
        for (cap, seen) in evaluation.caps().iter().zip(&readings.caps) {
            let held = match cap.measure {
                CapMeasure::Exposure => exposure(&self.seen, account, market, terms.side),
                CapMeasure::OpenOrders => of(Sum::OpenOrders(account, market)),
                CapMeasure::AccountNotional => of(Sum::DailyNotional(account)),
                CapMeasure::TotalNotional => of(Sum::DailyNotional(ALL)),
                CapMeasure::AccountLoss => of(Sum::OpenLoss(account)) - of(Sum::FillResult(account)),
                CapMeasure::TotalLoss => of(Sum::OpenLoss(ALL)) - of(Sum::FillResult(ALL)),
                CapMeasure::AccountFillLoss => -of(Sum::FillResult(account)),
                CapMeasure::AccountOpenLoss => of(Sum::OpenLoss(account)),
                CapMeasure::OffsetOnly => 0,
            };
            prop_assert_eq!(seen.before, held, "{:?}", cap);
        }
        let seen = [readings.account_breach, readings.total_breach].map(|loss| loss.map(i128::from));
        prop_assert_eq!(seen, [account, ALL].map(|owner| self.model.breaches[owner]));
        prop_assert_eq!(i128::from(readings.unpriced_fees), of(Sum::UnpricedFees(account)));
        Ok(())
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
    pub async fn deliver(&mut self, at: usize, message: &Message) -> Result<ForcedChange, TestCaseError> {
        let crossed = self.model.crossed_position(at, message);
        let routed = &self.routed[at];
        let applied = routed.order.apply_report(&report(message), &rates(), Timestamp::now());
        if let Some(position) = crossed {
            let applied = applied.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            let lease = Some(routed.lease.clone()).filter(|_| routed.order.version == 0);
            let settle = self.books.settlement(&routed.order, &applied, lease, message.day);
            prop_assert_eq!(self.books.settle(&settle).await, SettleOutcome::CrossesZero(position));
            self.record_occurrence("crosses zero");
            return Ok(ForcedChange::default());
        }
        let effect = self.model.apply(at, message);
        prop_assert_eq!(applied.is_ok(), effect.is_some(), "{:?}", message);
        let (Ok(applied), Some(effect)) = (applied, effect) else {
            return Ok(ForcedChange::default());
        };
        let lease = Some(routed.lease.clone()).filter(|_| routed.order.version == 0);
        let settle = self.books.settlement(&routed.order, &applied, lease, message.day);
        let settled = self.books.settle(&settle).await;
        let SettleOutcome::Booked(booked) = settled else {
            return Err(TestCaseError::fail(format!("{settled:?}")));
        };
        self.check_breaches(at, &settle, &booked)?;
        let routed = &mut self.routed[at];
        let waiting: Vec<u32> = booked.pending_events.iter().map(|event| event.version).collect();
        prop_assert_eq!(waiting, (routed.marked + 1..settle.order.version).collect::<Vec<_>>());
        let journaled = self.books.append(&settle);
        prop_assert_eq!(&journaled, &settle.order, "the journal has another order");
        routed.before = Some(std::mem::replace(&mut routed.order, journaled));
        routed.last = Some((settle, self.books.journal.len() - 1));
        self.record_effect(at, message, &effect);
        Ok(ForcedChange {
            effect,
            ..ForcedChange::default()
        })
    }

    /// Checks the losses that a settlement answers as having reached their limits.
    fn check_breaches(
        &mut self,
        at: usize,
        settle: &SettleRequest,
        booked: &BookedSettlement,
    ) -> Result<(), TestCaseError> {
        let account = self.model.order(at).terms.account;
        let answered = [booked.account_breach, booked.total_breach].map(|loss| loss.map(i128::from));
        let expected = match settle.watch {
            Some(_) => [account, ALL].map(|owner| self.model.find_breach(owner)),
            None => [None, None],
        };
        prop_assert_eq!(answered, expected);
        if expected != [None, None] {
            self.record_occurrence("loss at its limit");
        }
        Ok(())
    }

    fn record_effect(&mut self, at: usize, message: &Message, effect: &MessageEffect) {
        let placed = self.model.order(at);
        let is_kept = !placed.is_open() && placed.reserved() > 0;
        let is_late = message.day < self.books.day && !message.trades.is_empty();
        for (what, has_occurred) in [
            ("reopened", effect.is_reopened),
            ("forced", effect.forced_quantity > 0),
            ("fee in the traded asset", effect.has_asset_fee),
            ("fee without a price", effect.has_unpriced_fee),
            ("booked on the day before", is_late),
            ("booked after the day of the order", message.day > placed.terms.day),
            ("booked before the day of the order", message.day < placed.terms.day),
            ("held for unreported fills", is_kept),
        ] {
            if has_occurred {
                self.record_occurrence(what);
            }
        }
    }

    async fn adjust(&mut self, account: usize, market: usize, quantity: i128, share: i64) -> ForcedChange {
        if quantity == 0 {
            return ForcedChange::default();
        }
        let adjusted = Adjusted {
            account,
            market,
            quantity,
            price: near(market, markets()[market].reference, share),
            day: self.books.day,
        };
        self.books.adjust(&adjusted).await;
        self.model.adjust(adjusted);
        self.record_occurrence("adjusted");
        let effect = MessageEffect {
            forced_quantity: quantity.abs(),
            ..MessageEffect::default()
        };
        ForcedChange {
            effect,
            ..ForcedChange::default()
        }
    }

    /// Prices the fees of all of an account's fills that have none, or of one more: that is refused.
    async fn price_fees(
        &mut self,
        account: usize,
        market: usize,
        is_too_many: bool,
    ) -> Result<ForcedChange, TestCaseError> {
        let unpriced_of = |account| sum_of(&self.seen, Sum::UnpricedFees(account));
        // An account that has such fees, if there is one.
        let mut accounts = (0..ACCOUNTS).map(|next| (account + next) % ACCOUNTS);
        let account = accounts.find(|account| unpriced_of(*account) > 0).unwrap_or(account);
        let unpriced = unpriced_of(account);
        let priced = PricedFee {
            account,
            market,
            amount: Number::new(1_234_567, 8),
            price: Number::new(31_007, 3),
            fills: unpriced + i128::from(is_too_many),
            day: self.books.day,
        };
        if priced.fills == 0 {
            return Ok(ForcedChange::default());
        }
        let outcome = self.books.price_fee(&priced).await;
        if is_too_many {
            let unpriced = i64::try_from(unpriced).unwrap();
            prop_assert_eq!(outcome, BookAdjustmentOutcome::TooManyFeesPriced(unpriced));
            self.record_occurrence("more fees priced than there are");
            return Ok(ForcedChange::default());
        }
        prop_assert_eq!(outcome, BookAdjustmentOutcome::Booked);
        self.model.price_fee(priced);
        self.record_occurrence("fees priced");
        Ok(ForcedChange {
            moves_losses: true,
            ..ForcedChange::default()
        })
    }

    /// Computes the profits of the day at shares of the references; they are the model's.
    async fn compute_views(&mut self, shares: &[i64; MARKETS]) -> Result<ForcedChange, TestCaseError> {
        let marks = std::array::from_fn(|at| near(at, markets()[at].reference, shares[at]));
        self.books.compute_views(&marks).await;
        self.model.view = self.model.view_at(&marks);
        for (owner, view) in self.books.views.iter().enumerate() {
            prop_assert_eq!(i128::from(view.day.profit.units()), self.model.view.profit[owner]);
            prop_assert_eq!(i128::from(view.fill_result), self.model.view.fill_result[owner]);
        }
        self.record_occurrence("profit computed");
        Ok(ForcedChange {
            moves_losses: true,
            ..ForcedChange::default()
        })
    }

    async fn roll_day(&mut self) -> Result<ForcedChange, TestCaseError> {
        self.books.roll_day().await;
        self.model.today = self.books.day;
        self.record_occurrence("rolled");
        self.compute_views(&[10_000_000; MARKETS]).await
    }

    pub async fn lock_breaches(&mut self) {
        for owner in 0..OWNERS {
            if self.model.breaches[owner].take().is_some() {
                self.books.lock(owner).await;
                self.record_occurrence("locked");
            }
        }
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
        let day = self.books.day;
        let message = message.to_message(at, self.model.order(at), day);
        let routed = &self.routed[at];
        let Some(before) = &routed.before else { return Ok(()) };
        if let Ok(applied) = before.apply_report(&report(&message), &rates(), Timestamp::now()) {
            let behind = self
                .books
                .settle(&self.books.settlement(before, &applied, None, day))
                .await;
            prop_assert!(matches!(behind, SettleOutcome::Superseded(_)), "{behind:?}");
            self.record_occurrence("superseded");
        }
        Ok(())
    }

    pub async fn release(&mut self, at: usize) -> Result<(), TestCaseError> {
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

    pub async fn mark(&mut self, at: usize) {
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
        self.model.breaches = [None; OWNERS];
        self.record_occurrence("rebuilt");
    }
}
