//! A paper book in memory, for tests: it keeps the guarantees of the port, and fails on demand.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use tokio::time::Instant;

use crate::brokers::adapter::{BookedEffect, Placement};
use crate::brokers::port::{BookError, PaperBook};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::id::{AccountId, LeaseToken, OrderId, VenueId};
use crate::domain::order::Order;
use crate::domain::quantity::QuantityUnits;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{OutboxEntry, VenueReport};

/// The failure of the next booking.
#[derive(Debug, Clone)]
pub enum BookFault {
    /// Fails with this error before anything is booked.
    FailBeforeBooking(BookError),
    /// Books the effect and loses the reply.
    LoseReply,
    /// Books another effect first.
    BookOtherFirst(VenueReport),
}

/// A guarantee of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookGuarantee {
    /// A first effect needs the order's lease.
    Lease,
    /// A first effect is refused after the deadline.
    Deadline,
    /// A later effect needs the order's version.
    Version,
}

/// A paper book in memory.
#[derive(Default)]
pub struct MemoryBook {
    state: Mutex<MemoryBookState>,
    broken_guarantee: Option<BookGuarantee>,
}

#[derive(Default)]
struct MemoryBookState {
    records: HashMap<OrderId, (Order, LeaseToken)>,
    positions: HashMap<(AccountId, VenueId, Symbol), QuantityUnits>,
    faults: VecDeque<BookFault>,
    now_ms: i64,
    booking_count: usize,
}

impl MemoryBook {
    /// Returns a book that breaks one guarantee.
    pub fn without_guarantee(guarantee: Option<BookGuarantee>) -> Self {
        Self {
            broken_guarantee: guarantee,
            ..Self::default()
        }
    }

    fn keeps_guarantee(&self, guarantee: BookGuarantee) -> bool {
        self.broken_guarantee != Some(guarantee)
    }

    /// Sets the store's clock.
    pub fn set_now(&self, now: Timestamp) {
        self.state.lock().unwrap().now_ms = now.as_milliseconds();
    }

    /// Returns the store's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_milliseconds(self.state.lock().unwrap().now_ms)
    }

    /// Claims an order under a lease.
    pub fn claim(&self, order: Order, lease: LeaseToken) {
        let mut state = self.state.lock().unwrap();
        state.records.insert(order.order_id.clone(), (order, lease));
    }

    /// Returns the current order.
    pub fn order(&self, order_id: &OrderId) -> Option<Order> {
        let state = self.state.lock().unwrap();
        state.records.get(order_id).map(|(order, _)| order.clone())
    }

    /// Returns the position of an order's account in its instrument, in units of 1e-8.
    pub fn position(&self, order: &Order) -> QuantityUnits {
        self.state.lock().unwrap().position(order)
    }

    /// Sets the position of an order's account in its instrument, in units of 1e-8.
    pub fn set_position(&self, order: &Order, position: QuantityUnits) {
        let mut state = self.state.lock().unwrap();
        state.positions.insert(position_key(order), position);
    }

    /// Returns how many effects are booked.
    pub fn booking_count(&self) -> usize {
        self.state.lock().unwrap().booking_count
    }

    /// Makes the next booking fail; several failures take effect in turn.
    pub fn inject_fault(&self, fault: BookFault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    fn book(
        &self,
        order_id: &OrderId,
        report: &VenueReport,
        guard: impl FnOnce(&Order, &LeaseToken, Timestamp) -> Result<(), BookError>,
    ) -> Result<BookedEffect, BookError> {
        let mut state = self.state.lock().unwrap();
        let fault = state.faults.pop_front();
        match &fault {
            Some(BookFault::FailBeforeBooking(error)) => return Err(error.clone()),
            Some(BookFault::BookOtherFirst(first)) => drop(state.settle(order_id, first)?),
            Some(BookFault::LoseReply) | None => {}
        }
        let now = Timestamp::from_milliseconds(state.now_ms);
        let (order, lease) = state.records.get(order_id).ok_or(BookError::OrderNotFound)?;
        guard(order, lease, now)?;
        let booked = state.settle(order_id, report)?;
        match fault {
            Some(BookFault::LoseReply) => Err(BookError::Unknown("the reply was lost".into())),
            _ => Ok(booked),
        }
    }
}

impl MemoryBookState {
    fn settle(&mut self, order_id: &OrderId, report: &VenueReport) -> Result<BookedEffect, BookError> {
        let (order, lease) = self.records.get(order_id).ok_or(BookError::OrderNotFound)?;
        let now = Timestamp::from_milliseconds(self.now_ms);
        let update = order.apply_report(report, &CurrencyRates::default(), now);
        let update = update.map_err(|_| BookError::NothingNew)?;
        let (before, moved) = (self.position(order), update.deltas.position);
        if order.reduce_only && crosses_zero(before, moved) {
            return Err(BookError::CrossesZero(before));
        }
        let (order, lease) = (update.order, lease.clone());
        self.positions.insert(position_key(&order), before + moved);
        self.records.insert(order_id.clone(), (order.clone(), lease));
        self.booking_count += 1;
        Ok(BookedEffect {
            pending_events: vec![OutboxEntry {
                version: order.version,
                body: bytes::Bytes::new(),
                settlement_id: None,
            }],
            order,
            notices: Vec::new(),
            breaches: Vec::new(),
            prepared_at: Instant::now(),
        })
    }

    fn position(&self, order: &Order) -> QuantityUnits {
        self.positions.get(&position_key(order)).copied().unwrap_or(0)
    }
}

fn position_key(order: &Order) -> (AccountId, VenueId, Symbol) {
    (order.account_id.clone(), order.venue.clone(), order.symbol.clone())
}

/// Reports whether a move takes a position through zero, or away from it.
fn crosses_zero(position: QuantityUnits, moved: QuantityUnits) -> bool {
    moved != 0 && (moved.signum() == position.signum() || moved.abs() > position.abs())
}

impl PaperBook for MemoryBook {
    async fn book_placement(&self, placement: &Placement, report: VenueReport) -> Result<BookedEffect, BookError> {
        // As with a real store, other tasks run before and after the step.
        tokio::task::yield_now().await;
        let result = self.book(&placement.order.order_id, &report, |order, lease, now| {
            if order.version > 0 {
                Err(BookError::Superseded(Box::new(order.clone())))
            } else if *lease != placement.lease && self.keeps_guarantee(BookGuarantee::Lease) {
                Err(BookError::LeaseLost)
            } else if now > placement.deadline && self.keeps_guarantee(BookGuarantee::Deadline) {
                Err(BookError::DeadlinePassed)
            } else {
                Ok(())
            }
        });
        tokio::task::yield_now().await;
        result
    }

    async fn book_effect(&self, known: &Order, report: VenueReport) -> Result<BookedEffect, BookError> {
        tokio::task::yield_now().await;
        let result = self.book(&known.order_id, &report, |order, _, _| {
            if order.version == known.version || !self.keeps_guarantee(BookGuarantee::Version) {
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
pub mod fixtures {
    use super::*;
    use crate::domain::decimal::Decimal;
    use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderIdPrefix, VenueId};
    use crate::domain::intent::{Intent, RiskOverrides};
    use crate::domain::money::Micros;
    use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce};
    use crate::domain::quantity::{Price, Quantity, to_quantity_units};
    use crate::domain::reservation::Reservation;
    use crate::domain::symbol::Symbol;
    use std::time::Duration;

    /// Parses a number.
    pub fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// Parses a price.
    pub fn price(text: &str) -> Price {
        Price::new(decimal(text)).unwrap()
    }

    /// Parses a quantity.
    pub fn quantity(text: &str) -> Quantity {
        Quantity::new(decimal(text)).unwrap()
    }

    /// Returns a claimed buy of AAPL at `ibkr.paper` in lots of 0.01; without a limit price, a market order.
    pub fn order(amount: &str, limit: Option<&str>, time_in_force: TimeInForce, now: Timestamp) -> Order {
        let intent = Intent {
            broker: BrokerId::new("ibkr").unwrap(),
            venue: VenueId::new("ibkr.paper").unwrap(),
            symbol: Symbol::parse("AAPL").unwrap(),
            side: Side::Buy,
            quantity: quantity(amount),
            order_type: if limit.is_some() {
                OrderType::Limit
            } else {
                OrderType::Market
            },
            price: limit.map(price),
            time_in_force,
            client_order_id: ClientOrderId::generate(),
            account_id: AccountId::default_account(),
            tags: vec![],
            reduce_only: false,
            estimated_loss: None,
            mode: None,
            expires_at: None,
            risk: RiskOverrides::default(),
        };
        let reservation = Reservation {
            lot_size: decimal("0.01"),
            base_rate: decimal("1"),
            base_asset: None,
            mark: limit.map_or_else(|| price("180"), price),
            reserved: to_quantity_units(intent.quantity.decimal()).unwrap(),
            notional: Micros::new(1_000).unwrap(),
            daily_notional: Micros::new(1_000).unwrap(),
            expected_loss: Micros::ZERO,
            price_loss: Micros::ZERO,
            open_price_loss: Micros::ZERO,
            is_open: true,
            trading_date: now.utc_date(),
        };
        Order::from_intent(&intent, OrderIdPrefix("IB"), Mode::Paper, reservation, now)
    }

    /// Returns the order's placement: reference price 180, a minute until its deadline, the lease `held`.
    pub fn placement(order: Order, now: Timestamp) -> Placement {
        Placement {
            order,
            reference_price: price("180"),
            quote_currency: "USD".into(),
            deadline: now.saturating_add(Duration::from_secs(60)),
            lease: LeaseToken("held".into()),
            figures: crate::domain::metadata::Metadata::new(),
        }
    }
}
