//! The moves that orders make, against the model: no server, thousands of random sequences.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;

use order_router::domain::id::ClientOrderId;
use order_router::domain::order::{ApplyReportError, Order};
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use proptest::prelude::*;

use crate::model::{Message, Model, Sum, Sums, Terms, sum_of};
use crate::model_words::{Told, add_moves, any_terms, any_told, claimed, intent, last_word, rates, report};

const ORDERS: usize = 6;
const MESSAGES: usize = 40;

/// The product's orders beside the model, and the sums of all moves so far.
#[derive(Default)]
struct Books {
    model: Model,
    orders: BTreeMap<usize, Order>,
    sums: Sums,
}

impl Books {
    /// Returns the books with every order claimed.
    fn of(orders: &[Terms]) -> Self {
        let mut books = Self::default();
        for (at, terms) in orders.iter().enumerate() {
            let order = claimed(terms, &intent(terms, ClientOrderId::generate()));
            add_moves(&mut books.sums, terms, &order.reservation_deltas());
            books.model.place(at, *terms);
            books.orders.insert(at, order);
        }
        books
    }

    fn tell(&mut self, at: usize, told: &Told) -> Result<(), TestCaseError> {
        let message = told.of(at, self.model.order(at));
        self.hear(at, &message)
    }

    /// Tells both, and compares what they make of it.
    fn hear(&mut self, at: usize, message: &Message) -> Result<(), TestCaseError> {
        let terms = self.model.order(at).terms;
        let order = &self.orders[&at];
        let heard = self.model.hear(at, message);
        match order.apply_report(&report(&terms, message), &rates(), Timestamp::now()) {
            Ok(applied) => {
                prop_assert!(heard.is_some(), "{message:?} is no news: {order:?}");
                prop_assert_eq!(applied.order.version, order.version + 1);
                add_moves(&mut self.sums, &terms, &applied.deltas);
                self.orders.insert(at, applied.order);
            }
            Err(error) => {
                prop_assert_eq!(error, ApplyReportError::NoChange);
                prop_assert!(heard.is_none(), "{message:?} is news: {order:?}");
            }
        }
        self.check(at)
    }

    fn check(&self, at: usize) -> Result<(), TestCaseError> {
        let (placed, order) = (self.model.order(at), &self.orders[&at]);
        prop_assert_eq!(&self.sums, &self.model.sums());
        prop_assert_eq!(order.is_terminal(), !placed.is_open());
        prop_assert_eq!(order.reservation.reserved_lots, placed.rest());
        // What an order has moved in all is what replaying it from nothing moves.
        let mut alone = Model::default();
        alone.put(at, placed.clone());
        let mut moved = Sums::new();
        add_moves(&mut moved, &placed.terms, &order.total_deltas);
        prop_assert_eq!(moved, alone.sums());
        Ok(())
    }

    /// Ends every order, and checks that nothing is held any more.
    fn wind_up(&mut self) -> Result<(), TestCaseError> {
        for at in 0..self.orders.len() {
            if let Some(message) = last_word(self.model.order(at)) {
                self.hear(at, &message)?;
            }
        }
        for order in self.orders.values() {
            prop_assert!(order.is_terminal() && order.reservation.reserved_lots == 0 && !order.reservation.is_open);
        }
        for (sum, value) in &self.sums {
            match *sum {
                Sum::Long(account, market) => {
                    prop_assert_eq!(*value, sum_of(&self.sums, Sum::Position(account, market)));
                }
                Sum::Short(account, market) => {
                    prop_assert_eq!(*value, -sum_of(&self.sums, Sum::Position(account, market)));
                }
                Sum::OpenOrders(..) | Sum::OpenLoss | Sum::AccountOpenLoss(_) => {
                    prop_assert!(false, "{sum:?} is left: {value}");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What trades alone make: the same in whatever order they were told.
fn traded(sums: &Sums) -> Sums {
    let is_traded = |sum: &Sum| {
        matches!(
            sum,
            Sum::Position(..) | Sum::CashFlow(..) | Sum::Fees(..) | Sum::BaseFees(..)
        )
    };
    sums.iter()
        .filter(|(sum, _)| is_traded(sum))
        .map(|(sum, value)| (*sum, *value))
        .collect()
}

fn any_orders() -> impl Strategy<Value = Vec<Terms>> {
    let routed = (any_terms(), 0_usize..2).prop_map(|(terms, day)| Terms { day, ..terms });
    proptest::collection::vec(routed, ORDERS)
}

fn any_messages() -> impl Strategy<Value = Vec<(usize, Told)>> {
    proptest::collection::vec((0..ORDERS, any_told()), 1..MESSAGES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_venue_reports_add_up_to_the_model_and_release_everything(
        orders in any_orders(),
        messages in any_messages(),
    ) {
        let mut books = Books::of(&orders);
        prop_assert_eq!(&books.sums, &books.model.sums());
        for (at, told) in &messages {
            books.tell(*at, told)?;
        }
        books.wind_up()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_between_orders_does_not_matter_and_that_of_one_orders_trades_moves_no_money(
        orders in any_orders(),
        messages in any_messages(),
        shuffled in Just((0..ORDERS).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let [mut told, mut grouped, mut backwards] = [(); 3].map(|()| Books::of(&orders));
        for (at, message) in &messages {
            told.tell(*at, message)?;
        }
        // One order after the other, each order's messages in their order.
        for order in &shuffled {
            for (at, message) in messages.iter().filter(|(at, _)| at == order) {
                grouped.tell(*at, message)?;
            }
        }
        prop_assert_eq!(&grouped.sums, &told.sums);
        for (at, message) in messages.iter().rev() {
            backwards.tell(*at, message)?;
        }
        prop_assert_eq!(traded(&backwards.sums), traded(&told.sums));
    }
}

/// The moves that undo an order's moves leave nothing: a release, or an order that is void.
#[test]
fn released_claim_leaves_nothing() {
    let terms = Terms {
        account: 0,
        market: 1,
        side: crate::model::Side::Sell,
        lots: 7,
        limit: None,
        expected_loss: crate::model_markets::number("0.0000001"),
        day: 1,
    };
    let order = claimed(&terms, &intent(&terms, ClientOrderId::generate()));
    let moves: SumDeltas = order.reservation_deltas();
    assert_eq!(moves.open_loss, 1, "a loss is rounded up");
    let mut sums = Sums::new();
    add_moves(&mut sums, &terms, &moves);
    add_moves(&mut sums, &terms, &moves.reversed());
    assert_eq!(sums, Sums::new());
}
