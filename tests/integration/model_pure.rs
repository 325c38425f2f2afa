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

use crate::model::{Model, Sum, Sums, sum_of};
use crate::model_markets::DAYS;
use crate::model_orders::{Message, Side, Terms};
use crate::model_words::{
    GeneratedMessage, add_moves, any_message, any_terms, claimed, final_message, intent, rates, report,
};

const ORDERS: usize = 6;
const MESSAGES: usize = 40;

/// A message to an order, and the day that it is booked on.
type DailyMessage = (usize, GeneratedMessage, usize);

/// The product's orders beside the model, and the sums of all deltas so far.
#[derive(Default)]
struct OrdersUnderTest {
    model: Model,
    orders: BTreeMap<usize, Order>,
    /// Over all days, and as of the last one.
    sums: Sums,
    last_day: Sums,
}

const LAST_DAY: Option<usize> = Some(DAYS - 1);

impl OrdersUnderTest {
    /// Claims every order.
    fn of(orders: &[Terms]) -> Self {
        let mut books = Self::default();
        for (at, terms) in orders.iter().enumerate() {
            let order = claimed(terms, &intent(terms, ClientOrderId::generate()));
            books.add(terms, &order.reservation_deltas(), terms.day);
            books.model.place(at, *terms);
            books.orders.insert(at, order);
        }
        books
    }

    fn add(&mut self, terms: &Terms, moves: &SumDeltas, booked_on: usize) {
        add_moves(&mut self.sums, terms, moves, booked_on, None);
        add_moves(&mut self.last_day, terms, moves, booked_on, LAST_DAY);
    }

    fn deliver(&mut self, (at, message, day): &DailyMessage) -> Result<(), TestCaseError> {
        let message = message.to_message(*at, self.model.order(*at), *day);
        self.apply(*at, &message)
    }

    /// Applies a message to both, and compares the effects.
    fn apply(&mut self, at: usize, message: &Message) -> Result<(), TestCaseError> {
        let terms = self.model.order(at).terms;
        let order = &self.orders[&at];
        let effect = self.model.apply(at, message);
        match order.apply_report(&report(message), &rates(), Timestamp::now()) {
            Ok(applied) => {
                prop_assert!(effect.is_some(), "{message:?} changes only the product: {order:?}");
                prop_assert_eq!(applied.order.version, order.version + 1);
                self.add(&terms, &applied.deltas, message.day);
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
        prop_assert_eq!(&self.sums, &self.model.sums(None));
        prop_assert_eq!(&self.last_day, &self.model.sums(LAST_DAY));
        prop_assert_eq!(order.is_terminal(), !placed.is_open());
        prop_assert_eq!(order.reservation.reserved, placed.reserved());
        // The total deltas of an order equal those of its replay.
        let mut alone = Model::default();
        alone.insert(at, placed.clone());
        let mut moved = Sums::new();
        add_moves(&mut moved, &placed.terms, &order.total_deltas, 0, None);
        prop_assert_eq!(moved, alone.sums(None));
        Ok(())
    }

    /// Ends every order, and checks that nothing remains reserved.
    fn end_all_orders(&mut self) -> Result<(), TestCaseError> {
        for at in 0..self.orders.len() {
            if let Some(message) = final_message(self.model.order(at), DAYS - 1) {
                self.apply(at, &message)?;
            }
        }
        for order in self.orders.values() {
            prop_assert!(order.is_terminal() && order.reservation.reserved == 0 && !order.reservation.is_open);
        }
        for (sum, value) in &self.sums {
            match *sum {
                Sum::Long(owner, market) => {
                    prop_assert_eq!(*value, sum_of(&self.sums, Sum::Position(owner, market)));
                }
                Sum::Short(owner, market) => {
                    prop_assert_eq!(*value, -sum_of(&self.sums, Sum::Position(owner, market)));
                }
                Sum::OpenOrders(..) | Sum::OpenLoss(_) => {
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
            Sum::Position(..) | Sum::CashFlow(..) | Sum::Fees(..) | Sum::FillResult(_)
        )
    };
    sums.iter()
        .filter(|(sum, _)| is_traded(sum))
        .map(|(sum, value)| (*sum, *value))
        .collect()
}

fn any_orders() -> impl Strategy<Value = Vec<Terms>> {
    let routed = (any_terms(), 0..DAYS).prop_map(|(terms, day)| Terms { day, ..terms });
    proptest::collection::vec(routed, ORDERS)
}

fn any_messages() -> impl Strategy<Value = Vec<DailyMessage>> {
    proptest::collection::vec((0..ORDERS, any_message(), 0..DAYS), 1..MESSAGES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_venue_reports_add_up_to_the_model_and_release_everything(
        orders in any_orders(),
        messages in any_messages(),
    ) {
        let mut books = OrdersUnderTest::of(&orders);
        prop_assert_eq!(&books.sums, &books.model.sums(None));
        for message in &messages {
            books.deliver(message)?;
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
        for message in &messages {
            sequential.deliver(message)?;
        }
        // One order after the other, each order's messages in sequence.
        for order in &shuffled {
            for message in messages.iter().filter(|(at, ..)| at == order) {
                grouped.deliver(message)?;
            }
        }
        prop_assert_eq!(&grouped.sums, &sequential.sums);
        prop_assert_eq!(&grouped.last_day, &sequential.last_day);
        for message in messages.iter().rev() {
            backwards.deliver(message)?;
        }
        prop_assert_eq!(traded(&backwards.sums), traded(&sequential.sums));
    }
}

/// The reversed deltas of an order cancel its deltas: a release, or a void order.
#[test]
fn released_claim_leaves_nothing() {
    let number = crate::model_markets::number;
    let terms = Terms {
        account: 0,
        market: 1,
        side: Side::Sell,
        quantity: 70_000,
        lot: 10_000,
        limit: Some(number("1899")),
        mark: number("1900"),
        expected_loss: number("0.0000001"),
        reduce_only: false,
        day: 1,
    };
    let order = claimed(&terms, &intent(&terms, ClientOrderId::generate()));
    let moves: SumDeltas = order.reservation_deltas();
    assert_eq!(
        moves.open_loss,
        1 + 759,
        "0.0007 × 1 EUR at 1.0837, and the expected loss, each rounded up"
    );
    let mut sums = Sums::new();
    add_moves(&mut sums, &terms, &moves, 1, None);
    add_moves(&mut sums, &terms, &moves.reversed(), 1, None);
    assert_eq!(sums, Sums::new());
}
