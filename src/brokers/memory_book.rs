//! A paper book in memory, for tests: it keeps exactly the promises of the port, and breaks on demand.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::adapter::{Booked, Placement};
use super::port::{BookError, PaperBook};
use crate::domain::execution::{PendingEvent, VenueReport};
use crate::domain::id::{LeaseToken, OrderId};
use crate::domain::order::Order;
use crate::domain::rates::Rates;
use crate::domain::time::Timestamp;

/// What goes wrong with the next booking.
#[derive(Debug, Clone)]
pub enum Breakage {
    /// It fails with this before anything is booked.
    Before(BookError),
    /// It is booked, and the answer is lost.
    After,
    /// Another effect is booked first.
    Overtaken(VenueReport),
}

/// A promise of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A first effect needs the order's lease.
    Lease,
    /// A first effect is refused after the deadline.
    Deadline,
    /// A later effect needs the order's version.
    Version,
}

/// The book.
#[derive(Default)]
pub struct MemoryBook {
    state: Mutex<State>,
    broken_promise: Option<Promise>,
}

#[derive(Default)]
struct State {
    records: HashMap<OrderId, (Order, LeaseToken)>,
    breakages: VecDeque<Breakage>,
    now_ms: i64,
    bookings: usize,
}

impl MemoryBook {
    /// Returns a book that does not keep one of its promises.
    pub fn without(promise: Option<Promise>) -> Self {
        Self {
            broken_promise: promise,
            ..Self::default()
        }
    }

    fn keeps(&self, promise: Promise) -> bool {
        self.broken_promise != Some(promise)
    }

    /// Sets the store's clock.
    pub fn set_now(&self, now: Timestamp) {
        self.state.lock().unwrap().now_ms = now.milliseconds();
    }

    /// The store's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_milliseconds(self.state.lock().unwrap().now_ms)
    }

    /// Claims an order under a lease.
    pub fn claim(&self, order: Order, lease: LeaseToken) {
        let mut state = self.state.lock().unwrap();
        state.records.insert(order.order_id.clone(), (order, lease));
    }

    /// Returns the order as it is now.
    pub fn order(&self, order_id: &OrderId) -> Option<Order> {
        let state = self.state.lock().unwrap();
        state.records.get(order_id).map(|(order, _)| order.clone())
    }

    /// How many effects were booked.
    pub fn bookings(&self) -> usize {
        self.state.lock().unwrap().bookings
    }

    /// Breaks the next booking; several are broken in turn.
    pub fn break_next(&self, breakage: Breakage) {
        self.state.lock().unwrap().breakages.push_back(breakage);
    }

    fn book(
        &self,
        order_id: &OrderId,
        report: &VenueReport,
        guard: impl FnOnce(&Order, &LeaseToken, Timestamp) -> Result<(), BookError>,
    ) -> Result<Booked, BookError> {
        let mut state = self.state.lock().unwrap();
        let breakage = state.breakages.pop_front();
        match &breakage {
            Some(Breakage::Before(error)) => return Err(error.clone()),
            Some(Breakage::Overtaken(first)) => drop(state.settle(order_id, first)?),
            Some(Breakage::After) | None => {}
        }
        let now = Timestamp::from_milliseconds(state.now_ms);
        let (order, lease) = state.records.get(order_id).ok_or(BookError::Missing)?;
        guard(order, lease, now)?;
        let booked = state.settle(order_id, report)?;
        match breakage {
            Some(Breakage::After) => Err(BookError::Unknown("the answer was lost".into())),
            _ => Ok(booked),
        }
    }
}

impl State {
    fn settle(&mut self, order_id: &OrderId, report: &VenueReport) -> Result<Booked, BookError> {
        let (order, _) = self.records.get_mut(order_id).ok_or(BookError::Missing)?;
        let now = Timestamp::from_milliseconds(self.now_ms);
        *order = order
            .apply(report, &Rates::default(), now)
            .map_err(|_| BookError::NothingNew)?
            .order;
        self.bookings += 1;
        Ok(Booked {
            order: order.clone(),
            pending: vec![PendingEvent {
                version: order.version,
                body: bytes::Bytes::new(),
            }],
            notices: Vec::new(),
        })
    }
}

impl PaperBook for MemoryBook {
    async fn place(&self, placement: &Placement, report: VenueReport) -> Result<Booked, BookError> {
        // As with a real store, others get their turn before and after the one step.
        tokio::task::yield_now().await;
        let result = self.book(&placement.order.order_id, &report, |order, lease, now| {
            if order.version > 0 {
                Err(BookError::Superseded(Box::new(order.clone())))
            } else if *lease != placement.lease && self.keeps(Promise::Lease) {
                Err(BookError::LeaseLost)
            } else if now > placement.deadline && self.keeps(Promise::Deadline) {
                Err(BookError::Expired)
            } else {
                Ok(())
            }
        });
        tokio::task::yield_now().await;
        result
    }

    async fn amend(&self, known: &Order, report: VenueReport) -> Result<Booked, BookError> {
        tokio::task::yield_now().await;
        let result = self.book(&known.order_id, &report, |order, _, _| {
            if order.version == known.version || !self.keeps(Promise::Version) {
                Ok(())
            } else {
                Err(BookError::Superseded(Box::new(order.clone())))
            }
        });
        tokio::task::yield_now().await;
        result
    }
}

/// Orders and placements for tests.
pub mod make {
    use super::*;
    use crate::domain::decimal::Decimal;
    use crate::domain::id::{AccountId, BrokerId, BrokerPrefix, ClientOrderId, VenueId};
    use crate::domain::intent::{Intent, RiskOverrides, Symbol};
    use crate::domain::money::Micros;
    use crate::domain::quantity::{Price, Quantity};
    use crate::domain::settlement::Reservation;
    use crate::domain::terms::{Mode, OrderType, Side, TimeInForce};
    use std::time::Duration;

    /// Reads a number.
    pub fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// Reads a price.
    pub fn price(text: &str) -> Price {
        Price::new(number(text)).unwrap()
    }

    /// Reads a quantity.
    pub fn quantity(text: &str) -> Quantity {
        Quantity::new(number(text)).unwrap()
    }

    /// Returns a claimed buy of AAPL at `ibkr.paper` in lots of 0.01; without a limit price it is a market order.
    pub fn order(amount: &str, limit: Option<&str>, time_in_force: TimeInForce, now: Timestamp) -> Order {
        let intent = Intent {
            broker: BrokerId::new("ibkr").unwrap(),
            venue: VenueId::new("ibkr.paper").unwrap(),
            symbol: Symbol::normalised("AAPL").unwrap(),
            side: Side::Buy,
            quantity: quantity(amount),
            order_type: if limit.is_some() {
                OrderType::Limit
            } else {
                OrderType::Market
            },
            price: limit.map(price),
            time_in_force,
            client_order_id: ClientOrderId::assign(),
            account_id: AccountId::default_account(),
            tags: vec![],
            reduce_only: false,
            estimated_loss: None,
            mode: None,
            expires_at: None,
            risk: RiskOverrides::default(),
        };
        let lots = intent.quantity.decimal().multiple_of(number("0.01")).unwrap_or(0);
        let reservation = Reservation {
            lot_size: number("0.01"),
            base_rate: number("1"),
            base_asset: None,
            rest_lots: i64::try_from(lots).unwrap(),
            notional: Micros::new(1_000).unwrap(),
            daily_notional: Micros::new(1_000).unwrap(),
            open_loss: Micros::ZERO,
            is_open: true,
            trading_date: now.utc_date(),
        };
        let order_id = OrderId::assign(BrokerPrefix("IB"));
        Order::claimed(&intent, order_id, Mode::Paper, reservation, now)
    }

    /// Returns the order's placement: reference price 180, a minute until its deadline, the lease `held`.
    pub fn placement(order: Order, now: Timestamp) -> Placement {
        Placement {
            order,
            reference_price: price("180"),
            quote_currency: "USD".into(),
            deadline: now.after(Duration::from_secs(60)),
            lease: LeaseToken("held".into()),
            figures: crate::domain::metadata::Metadata::new(),
        }
    }
}
