//! An order, and what a venue's message makes of it. Pure: the same message on the same order gives the same result.

use super::decimal::Decimal;
use super::execution::{Due, Fill, VenueReport, VenueState};
use super::id::{AccountId, BrokerId, ClientOrderId, ContentHash, OrderId, Tag, VenueId};
use super::instrument::Instrument;
use super::intent::{Intent, Symbol};
use super::money::{Micros, Rounding};
use super::quantity::{Price, Quantity};
use super::reason::Reason;
use super::settlement::{Deltas, Reservation, Scope};
use super::terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use super::time::Timestamp;
use super::transition::{self, OrderEvent};

/// The most fills a report shows; `fills_total` counts all.
pub const MAX_REPORTED_FILLS: usize = 100;
/// The most fills one order can have; a venue that sends more is refused loudly rather than booked twice.
pub const MAX_FILLS: usize = 10_000;
/// Decimals of an average price.
pub const AVERAGE_PRICE_DECIMALS: u32 = 12;

/// An order as the router knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The router's id; also the venue's client order id.
    pub order_id: OrderId,
    /// The venue's own id, once known.
    pub broker_order_id: Option<String>,
    /// The caller's id.
    pub client_order_id: ClientOrderId,
    /// The account.
    pub account_id: AccountId,
    /// The broker.
    pub broker: BrokerId,
    /// The venue.
    pub venue: VenueId,
    /// The symbol.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// How long it stands.
    pub time_in_force: TimeInForce,
    /// The limit price.
    pub price: Option<Price>,
    /// What was ordered.
    pub quantity: Quantity,
    /// The intent's tags.
    pub tags: Vec<Tag>,
    /// The mode it was submitted in.
    pub mode: Mode,
    /// The hash of the intent's content.
    pub content: ContentHash,
    /// None while it is claimed and nothing has been told yet.
    pub status: Option<OrderStatus>,
    /// Counts what has been told: 0 while claimed.
    pub version: u32,
    /// What has been filled.
    pub filled_quantity: Decimal,
    /// The sum of fill price × quantity, in the quote currency, exact.
    pub filled_cost: Decimal,
    /// The last fills.
    pub fills: Vec<Fill>,
    /// Ids of the fills before those.
    pub earlier_exec_ids: Vec<String>,
    /// When the router took it.
    pub submitted_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Why it is in its state.
    pub reason: Option<Reason>,
    /// What it holds of the shared limits.
    pub reservation: Reservation,
    /// What is to happen to it next by itself.
    pub due: Option<Due>,
    /// How far it has moved the shared sums in all, from nothing.
    pub moved: Deltas,
}

/// What a venue's message made of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The order after it, one version on.
    pub order: Order,
    /// How far the shared sums move.
    pub deltas: Deltas,
}

/// Why a venue's message made nothing of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It says nothing that is not known.
    #[error("the message tells nothing new of the order")]
    NothingNew,
    /// Its figures cannot be counted exactly.
    #[error("the message's figures cannot be counted exactly")]
    NotExact,
    /// It has more fills than an order can have.
    #[error("the order has more than {MAX_FILLS} fills")]
    TooManyFills,
}

impl Order {
    /// Returns the order an intent becomes, with nothing told of it yet.
    pub fn claimed(intent: &Intent, order_id: OrderId, mode: Mode, reservation: Reservation, now: Timestamp) -> Self {
        let mut order = Self {
            order_id,
            broker_order_id: None,
            client_order_id: intent.client_order_id.clone(),
            account_id: intent.account_id.clone(),
            broker: intent.broker.clone(),
            venue: intent.venue.clone(),
            symbol: intent.symbol.clone(),
            side: intent.side,
            order_type: intent.order_type,
            time_in_force: intent.time_in_force,
            price: intent.price,
            quantity: intent.quantity,
            tags: intent.tags.clone(),
            mode,
            content: intent.content_hash(),
            status: None,
            version: 0,
            filled_quantity: Decimal::ZERO,
            filled_cost: Decimal::ZERO,
            fills: Vec::new(),
            earlier_exec_ids: Vec::new(),
            submitted_at: now,
            updated_at: now,
            reason: None,
            reservation,
            due: None,
            moved: Deltas::default(),
        };
        order.moved = order.claim_deltas();
        order
    }

    /// Returns which shared sums the order belongs to.
    pub fn scope(&self) -> Scope {
        Scope {
            mode: self.mode,
            account_id: self.account_id.clone(),
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            trading_date: self.reservation.trading_date,
        }
    }

    /// Returns what the order takes of the shared sums when it is claimed.
    pub fn claim_deltas(&self) -> Deltas {
        let lots = self.reservation.rest_lots;
        let (long, short) = match self.side {
            Side::Buy => (lots, 0),
            Side::Sell => (0, lots),
        };
        Deltas {
            long,
            short,
            daily_notional: self.reservation.daily_notional.units(),
            ..Deltas::default()
        }
    }

    /// Whether nothing more is expected of it.
    pub fn is_ended(&self) -> bool {
        self.status.is_some_and(OrderStatus::is_ended)
    }

    /// Returns what is not filled yet: zero once the order has ended.
    pub fn leaves_quantity(&self) -> Decimal {
        if self.is_ended() {
            return Decimal::ZERO;
        }
        let rest = self
            .quantity
            .decimal()
            .exact_sub(self.filled_quantity)
            .unwrap_or(Decimal::ZERO);
        if rest.is_positive() { rest } else { Decimal::ZERO }
    }

    /// Returns the quantity-weighted mean price of the fills.
    pub fn average_price(&self) -> Option<Decimal> {
        self.filled_cost.divided(self.filled_quantity, AVERAGE_PRICE_DECIMALS)
    }

    /// Returns how many fills it has had.
    pub fn fills_total(&self) -> usize {
        self.earlier_exec_ids.len() + self.fills.len()
    }

    /// Returns the order denied by a risk rule: it holds nothing and was never sent.
    #[must_use]
    pub fn denied(mut self, reason: Reason, now: Timestamp) -> Self {
        self.status = Some(OrderStatus::Rejected);
        self.version = 1;
        self.reason = Some(reason);
        self.updated_at = now;
        self.reservation.rest_lots = 0;
        self.reservation.daily_notional = Micros::ZERO;
        self.moved = Deltas::default();
        self
    }

    /// Returns the order after a message of its venue, each fill of it booked once.
    ///
    /// # Errors
    /// When the message tells nothing new, or cannot be counted exactly.
    pub fn apply(&self, report: &VenueReport, now: Timestamp) -> Result<Applied, ApplyError> {
        let mut order = self.clone();
        let mut deltas = Deltas::default();
        let mut changed = false;
        for fill in &report.fills {
            if order.has_booked(&fill.exec_id) {
                continue;
            }
            deltas = deltas.plus(&order.book(fill)?).ok_or(ApplyError::NotExact)?;
            let event = if order.filled_quantity >= order.quantity.decimal() {
                OrderEvent::Fill
            } else {
                OrderEvent::PartialFill
            };
            order.status = transition::next(order.status, event).or(order.status);
            changed = true;
        }
        let (event, reason) = match &report.state {
            VenueState::Working => (OrderEvent::Acknowledged, None),
            VenueState::Cancelled(reason) => (OrderEvent::Cancelled, Some(reason)),
            VenueState::Expired(reason) => (OrderEvent::Expired, Some(reason)),
            VenueState::Rejected(reason) => (OrderEvent::Rejected, Some(reason)),
            VenueState::Unknown(reason) => (OrderEvent::OutcomeUnknown, Some(reason)),
        };
        if let Some(status) = transition::next(order.status, event) {
            order.status = Some(status);
            order.reason = reason.cloned();
            changed = true;
        }
        if !changed {
            return Err(ApplyError::NothingNew);
        }
        if order.is_ended() {
            deltas = deltas.plus(&order.give_back()).ok_or(ApplyError::NotExact)?;
        }
        if report.broker_order_id.is_some() {
            order.broker_order_id.clone_from(&report.broker_order_id);
        }
        order.due = if order.is_ended() { None } else { report.due };
        order.moved = self.moved.plus(&deltas).ok_or(ApplyError::NotExact)?;
        order.version = self.version.checked_add(1).ok_or(ApplyError::NotExact)?;
        order.updated_at = now.max(self.updated_at);
        Ok(Applied { order, deltas })
    }

    fn has_booked(&self, exec_id: &str) -> bool {
        self.fills.iter().any(|fill| fill.exec_id == exec_id) || self.earlier_exec_ids.iter().any(|id| id == exec_id)
    }

    /// Books one new fill f against r = min(f, rest): a buy moves L by f − r and S by −f, a sell is mirrored.
    fn book(&mut self, fill: &Fill) -> Result<Deltas, ApplyError> {
        if self.fills_total() >= MAX_FILLS {
            return Err(ApplyError::TooManyFills);
        }
        let lots = fill.quantity.decimal().multiple_of(self.reservation.lot_size);
        let lots = lots
            .and_then(|lots| i64::try_from(lots).ok())
            .ok_or(ApplyError::NotExact)?;
        let from_rest = lots.min(self.reservation.rest_lots);
        let excess = lots - from_rest;
        let factors = [
            fill.price.decimal(),
            fill.quantity.decimal(),
            self.reservation.base_rate,
        ];
        let (rounding, sign) = match self.side {
            Side::Buy => (Rounding::Up, -1),
            Side::Sell => (Rounding::Down, 1),
        };
        let cash = Micros::of_product(factors, rounding)
            .ok_or(ApplyError::NotExact)?
            .units()
            * sign;
        let cost = fill
            .price
            .decimal()
            .exact_mul(fill.quantity.decimal())
            .ok_or(ApplyError::NotExact)?;
        self.filled_cost = self.filled_cost.exact_add(cost).ok_or(ApplyError::NotExact)?;
        let filled = self.filled_quantity.exact_add(fill.quantity.decimal());
        self.filled_quantity = filled.ok_or(ApplyError::NotExact)?;
        self.reservation.rest_lots -= from_rest;
        if self.fills.len() >= MAX_REPORTED_FILLS {
            let oldest = self.fills.remove(0);
            self.earlier_exec_ids.push(oldest.exec_id);
        }
        self.fills.push(fill.clone());
        Ok(match self.side {
            Side::Buy => Deltas {
                long: excess,
                short: -lots,
                position: lots,
                cash_flow: cash,
                daily_notional: 0,
            },
            Side::Sell => Deltas {
                long: -lots,
                short: excess,
                position: -lots,
                cash_flow: cash,
                daily_notional: 0,
            },
        })
    }

    /// Gives back what an ended order still holds; the day's notional only where nothing was ever routed.
    fn give_back(&mut self) -> Deltas {
        let rest = std::mem::take(&mut self.reservation.rest_lots);
        let never_traded = self.status == Some(OrderStatus::Rejected) && self.fills_total() == 0;
        let notional = if never_traded {
            std::mem::take(&mut self.reservation.daily_notional)
        } else {
            Micros::ZERO
        };
        let (long, short) = match self.side {
            Side::Buy => (-rest, 0),
            Side::Sell => (0, -rest),
        };
        Deltas {
            long,
            short,
            daily_notional: -notional.units(),
            ..Deltas::default()
        }
    }
}

impl Reservation {
    /// Returns what an order of `lots` reserves at `valuation_price`, or `None` when it cannot be counted exactly.
    pub fn of(
        instrument: &Instrument,
        quantity: Quantity,
        lots: i64,
        valuation_price: Price,
        now: Timestamp,
    ) -> Option<Self> {
        let factors = [valuation_price.decimal(), quantity.decimal(), instrument.base_rate];
        Some(Self {
            lot_size: instrument.lot_size.decimal(),
            base_rate: instrument.base_rate,
            rest_lots: lots,
            daily_notional: Micros::of_product(factors, Rounding::Up)?,
            trading_date: now.utc_date(),
        })
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
