//! An order as the router records it. [`crate::domain::booking`] applies venue reports to it.

use uuid::Uuid;

use crate::domain::content_hash::ContentHash;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId, OrderIdPrefix, Tag, VenueId};
use crate::domain::intent::Intent;
use crate::domain::leg::MAX_LEGS;
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::quantity::{AVERAGE_PRICE_DECIMALS, Price, Quantity, QuantityUnits};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::OrderLegs;
use crate::domain::reservation::Reservation;
use crate::domain::settlement::{DayDeltas, SumDeltas, SumScope};
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::domain::venue_report::{DueTask, Fill};

/// The most fills that a report lists; `fills_total` counts all of them.
pub const MAX_REPORTED_FILLS: usize = 100;
/// The most fills of one order. A report beyond that is refused with an error: without the ids of all its fills, an order
/// could book one twice.
pub const MAX_FILLS: usize = 10_000;

/// An order with its fills, its reservation and the state that its last report published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The router's id; venues receive it as the client order id.
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
    /// How long the order stays open.
    pub time_in_force: TimeInForce,
    /// The limit price in force.
    pub price: Option<Price>,
    /// The ordered quantity in force.
    pub quantity: Quantity,
    /// Whether every fill may only reduce a position.
    pub reduce_only: bool,
    /// The intent's tags.
    pub tags: Vec<Tag>,
    /// The mode the order was submitted in.
    pub mode: Mode,
    /// The hash of the intent's content.
    pub content_hash: ContentHash,
    /// The status; `None` while the order is claimed and has no report yet.
    pub status: Option<OrderStatus>,
    /// The number of the last report; 0 while the order is claimed.
    pub version: u32,
    /// The cumulative quantity of the booked fills.
    pub filled_quantity: Decimal,
    /// The sum of fill price × quantity, in the quote currency, exact.
    pub filled_cost: Decimal,
    /// The last fills, at most [`MAX_REPORTED_FILLS`].
    pub fills: Vec<Fill>,
    /// The execution ids of earlier fills.
    pub older_exec_ids: Vec<String>,
    /// When the router accepted the intent.
    pub submitted_at: Timestamp,
    /// When the order last changed.
    pub updated_at: Timestamp,
    /// Why the order has its status.
    pub reason: Option<Reason>,
    /// The order's share of the shared limits.
    pub reservation: Reservation,
    /// The next task that the worker runs on the order without a request.
    pub due: Option<DueTask>,
    /// How far the order has moved the shared sums since its claim, the claim included.
    pub total_deltas: SumDeltas,
    /// The trading day that its latest event is booked on; `None` before the first.
    pub booked_on: Option<TradingDate>,
    /// The part of `total_deltas` that is booked on earlier days, the oldest first; empty where all of it is booked on one.
    pub earlier_days: Vec<DayDeltas>,
    /// The legs of an order that has been replaced.
    pub legs: Option<Box<OrderLegs>>,
    /// The id of the settlement that made this version; `None` before the first report, and of a denial. Two effects may have
    /// the same number, one of them before and one after a loss of Redis.
    pub settlement_id: Option<Uuid>,
    /// The id of the settlement that made the version before.
    pub builds_on: Option<Uuid>,
}

/// The result of a venue report that was applied to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderUpdate {
    /// The order after the report, with the next version.
    pub order: Order,
    /// How far the report moves the shared sums.
    pub deltas: SumDeltas,
    /// Findings to publish as risk alerts.
    pub anomalies: Vec<BookingAnomaly>,
}

/// An unexpected booking. It is booked in full, and published as a risk alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookingAnomaly {
    /// The fill exceeds the reservation by this quantity, in units of 1e-8.
    Overfill(QuantityUnits),
    /// The venue filled or acknowledged an order recorded as rejected; the order is reopened.
    Reopened,
    /// The fee of a fill has no price: its currency has no rate.
    UnpricedFee(UnpricedFee),
}

/// The fee of a fill in a currency without a rate. No sum of money includes it, and the account opens nothing until it is
/// priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpricedFee {
    /// The venue's id of the fill.
    pub exec_id: String,
    /// The fee, in its currency; below zero for a rebate.
    pub fee: Decimal,
    /// The currency.
    pub currency: String,
}

/// Why a venue report was not applied to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyReportError {
    /// The report changes nothing.
    #[error("the report contains nothing new about the order")]
    NoChange,
    /// An amount exceeds the range of exact integers, or a quantity is not a whole number of lots.
    #[error("the report's amounts cannot be counted exactly")]
    ExceedsExactRange,
    /// The order has more fills than the router records.
    #[error("the order has more than {MAX_FILLS} fills")]
    TooManyFills,
    /// The order has as many legs as it may.
    #[error("the order has had {MAX_LEGS} sets of terms, which is the most")]
    TooManyLegs,
}

impl Order {
    /// Returns the order's key.
    pub fn key(&self) -> OrderKey {
        OrderKey::new(self.mode, &self.account_id, &self.client_order_id)
    }

    /// Returns the claimed order of an intent: version 0, without a status, with a new order id of this prefix.
    pub fn from_intent(
        intent: &Intent,
        prefix: OrderIdPrefix,
        mode: Mode,
        reservation: Reservation,
        now: Timestamp,
    ) -> Self {
        let key = OrderKey::new(mode, &intent.account_id, &intent.client_order_id);
        let mut order = Self {
            order_id: key.order_id(prefix, now),
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
            reduce_only: intent.reduce_only,
            tags: intent.tags.clone(),
            mode,
            content_hash: intent.content_hash(),
            status: None,
            version: 0,
            filled_quantity: Decimal::ZERO,
            filled_cost: Decimal::ZERO,
            fills: Vec::new(),
            older_exec_ids: Vec::new(),
            submitted_at: now,
            updated_at: now,
            reason: None,
            reservation,
            due: None,
            total_deltas: SumDeltas::default(),
            booked_on: None,
            earlier_days: Vec::new(),
            legs: None,
            settlement_id: None,
            builds_on: None,
        };
        order.total_deltas = order.reservation_deltas();
        order
    }

    /// Makes this version the effect of a settlement, which builds on the one before.
    pub fn settle_as(&mut self, settlement_id: Uuid) {
        self.builds_on = self.settlement_id.replace(settlement_id);
    }

    /// Returns which shared sums the order counts in.
    pub fn sum_scope(&self) -> SumScope {
        SumScope {
            mode: self.mode,
            account_id: self.account_id.clone(),
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            trading_date: self.reservation.trading_date,
        }
    }

    /// Returns the terms that two duplicate orders have in common: account, instrument, side, quantity and price.
    pub fn duplicate_key(&self) -> String {
        let price = self
            .price
            .map_or_else(|| "market".to_owned(), |price| price.to_string());
        let (account, venue, symbol) = (&self.account_id, &self.venue, &self.symbol);
        format!("{account}:{venue}:{symbol}:{}:{}:{price}", self.side, self.quantity)
    }

    /// Books the order's latest event on a trading day. `deltas` are the event's moves, which `total_deltas` includes.
    /// Returns `None` where a sum leaves the exact range.
    pub fn book_on(&mut self, date: TradingDate, deltas: &SumDeltas) -> Option<()> {
        if let Some(booked_on) = self.booked_on.filter(|booked_on| *booked_on != date) {
            let earlier = self.latest_day_deltas()?.checked_add(&deltas.reversed())?;
            if earlier != SumDeltas::default() {
                self.earlier_days.push(DayDeltas {
                    booked_on,
                    deltas: earlier,
                });
            }
        }
        self.booked_on = Some(date);
        Some(())
    }

    /// Returns the part of `total_deltas` that is booked on the latest event's day, or `None` where a sum leaves the exact
    /// range.
    pub fn latest_day_deltas(&self) -> Option<SumDeltas> {
        let mut earlier = self.earlier_days.iter();
        earlier.try_fold(self.total_deltas, |left, day| left.checked_add(&day.deltas.reversed()))
    }

    /// Returns what the order has moved on each day, or `None` where a sum leaves the exact range.
    pub fn deltas_by_day(&self) -> Option<Vec<DayDeltas>> {
        let latest = DayDeltas {
            booked_on: self.booked_on.unwrap_or(self.reservation.trading_date),
            deltas: self.latest_day_deltas()?,
        };
        Some(self.earlier_days.iter().cloned().chain([latest]).collect())
    }

    /// Returns how far the order's claim moves the shared sums.
    pub fn reservation_deltas(&self) -> SumDeltas {
        self.reservation.claim_deltas(self.side)
    }

    /// Reports whether the status is terminal. Late fills are still booked.
    pub fn is_terminal(&self) -> bool {
        self.status.is_some_and(OrderStatus::is_terminal)
    }

    /// Returns the open quantity (`LeavesQty`, FIX tag 151): zero once the order has ended.
    pub fn leaves_quantity(&self) -> Decimal {
        if self.is_terminal() {
            return Decimal::ZERO;
        }
        let leaves = self
            .quantity
            .decimal()
            .checked_sub(self.filled_quantity)
            .unwrap_or(Decimal::ZERO);
        if leaves.is_positive() { leaves } else { Decimal::ZERO }
    }

    /// Returns the quantity-weighted mean price of the fills, with 12 decimals, ties to even; `None` without fills.
    pub fn average_price(&self) -> Option<Decimal> {
        self.filled_cost
            .div_half_even(self.filled_quantity, AVERAGE_PRICE_DECIMALS)
    }

    /// Returns the number of booked fills.
    pub fn fill_count(&self) -> usize {
        self.older_exec_ids.len() + self.fills.len()
    }

    /// Returns the order with the status of a denial.
    #[must_use]
    pub fn into_denied(self, reason: Reason, now: Timestamp) -> Self {
        self.end_unsent(OrderStatus::Rejected, reason, now)
    }

    /// Returns the order with the outcome of a dry run that every rule approved.
    #[must_use]
    pub fn into_dry_run(self, now: Timestamp) -> Self {
        let message = "dry run: every risk rule approved the order, and it was not sent";
        self.end_unsent(OrderStatus::Cancelled, Reason::new(ReasonCode::DryRun, message), now)
    }

    /// Ends an order that was never sent, and drops its reservation.
    fn end_unsent(mut self, status: OrderStatus, reason: Reason, now: Timestamp) -> Self {
        self.status = Some(status);
        self.version = 1;
        self.reason = Some(reason);
        self.updated_at = now;
        self.reservation.clear();
        self.total_deltas = SumDeltas::default();
        self
    }
}
