//! The deltas of orders against the model: no server, thousands of random sequences.

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
use crate::model_words::{
    GeneratedMessage, add_moves, any_message, any_terms, claimed, final_message, intent, rates, report,
};

const ORDERS: usize = 6;
const MESSAGES: usize = 40;

/// The product's orders beside the model, and the sums of all deltas so far.
#[derive(Default)]
struct OrdersUnderTest {
    model: Model,
    orders: BTreeMap<usize, Order>,
    sums: Sums,
}

impl OrdersUnderTest {
    /// Claims every order.
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

    fn deliver(&mut self, at: usize, message: &GeneratedMessage) -> Result<(), TestCaseError> {
        let message = message.to_message(at, self.model.order(at));
        self.apply(at, &message)
    }

    /// Applies a message to both, and compares the effects.
    fn apply(&mut self, at: usize, message: &Message) -> Result<(), TestCaseError> {
        let terms = self.model.order(at).terms;
        let order = &self.orders[&at];
        let effect = self.model.apply(at, message);
        match order.apply_report(&report(&terms, message), &rates(), Timestamp::now()) {
            Ok(applied) => {
                prop_assert!(effect.is_some(), "{message:?} changes only the product: {order:?}");
                prop_assert_eq!(applied.order.version, order.version + 1);
                add_moves(&mut self.sums, &terms, &applied.deltas);
                self.orders.insert(at, applied.order);
            }
            Err(error) => {
                prop_assert_eq!(error, ApplyReportError::NoChange);
                prop_assert!(effect.is_none(), "{message:?} changes only the model: {order:?}");
            }
        }
        self.check(at)
    }

    fn check(&self, at: usize) -> Result<(), TestCaseError> {
        let (placed, order) = (self.model.order(at), &self.orders[&at]);
        prop_assert_eq!(&self.sums, &self.model.sums());
        prop_assert_eq!(order.is_terminal(), !placed.is_open());
        prop_assert_eq!(order.reservation.reserved_lots, placed.reserved_lots());
        // The total deltas of an order equal those of its replay.
        let mut alone = Model::default();
        alone.insert(at, placed.clone());
        let mut moved = Sums::new();
        add_moves(&mut moved, &placed.terms, &order.total_deltas);
        prop_assert_eq!(moved, alone.sums());
        Ok(())
    }

    /// Ends every order, and checks that nothing remains reserved.
    fn end_all_orders(&mut self) -> Result<(), TestCaseError> {
        for at in 0..self.orders.len() {
            if let Some(message) = final_message(self.model.order(at)) {
                self.apply(at, &message)?;
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

/// Returns the sums of trades alone, which do not depend on the order of the reports.
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

fn any_messages() -> impl Strategy<Value = Vec<(usize, GeneratedMessage)>> {
    proptest::collection::vec((0..ORDERS, any_message()), 1..MESSAGES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_venue_reports_add_up_to_the_model_and_release_everything(
        orders in any_orders(),
        messages in any_messages(),
    ) {
        let mut books = OrdersUnderTest::of(&orders);
        prop_assert_eq!(&books.sums, &books.model.sums());
        for (at, message) in &messages {
            books.deliver(*at, message)?;
        }
        books.end_all_orders()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_do_not_depend_on_the_interleaving_and_traded_sums_not_on_the_report_order(
        orders in any_orders(),
        messages in any_messages(),
        shuffled in Just((0..ORDERS).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let [mut sequential, mut grouped, mut backwards] = [(); 3].map(|()| OrdersUnderTest::of(&orders));
        for (at, message) in &messages {
            sequential.deliver(*at, message)?;
        }
        // One order after the other, each order's messages in sequence.
        for order in &shuffled {
            for (at, message) in messages.iter().filter(|(at, _)| at == order) {
                grouped.deliver(*at, message)?;
            }
        }
        prop_assert_eq!(&grouped.sums, &sequential.sums);
        for (at, message) in messages.iter().rev() {
            backwards.deliver(*at, message)?;
        }
        prop_assert_eq!(traded(&backwards.sums), traded(&sequential.sums));
    }
}

/// The reversed deltas of an order cancel its deltas: a release, or a void order.
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
