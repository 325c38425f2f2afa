//! An order, and what a venue's message makes of it. Pure: the same message on the same order gives the same result.

use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, ContentHash, OrderId, Tag, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::intent::{Intent, Symbol};
use crate::domain::money::{BASE_ASSET_FEE_SCALE, Micros, Rounding, round_to_units};
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::settlement::{Reservation, SumDeltas, SumScope};
use crate::domain::status_transition;
use crate::domain::status_transition::OrderEvent;
use crate::domain::time::{Timestamp, TradingDate};
use crate::domain::venue_report::{DueTask, Fill, VenueOrderState, VenueReport};

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
    pub content_hash: ContentHash,
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
    pub older_exec_ids: Vec<String>,
    /// When the router took it.
    pub submitted_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Why it is in its state.
    pub reason: Option<Reason>,
    /// What it holds of the shared limits.
    pub reservation: Reservation,
    /// What is to happen to it next by itself.
    pub due: Option<DueTask>,
    /// How far it has moved the shared sums in all, from nothing.
    pub total_deltas: SumDeltas,
}

/// What a venue's message made of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderUpdate {
    /// The order after it, one version on.
    pub order: Order,
    /// How far the shared sums move.
    pub deltas: SumDeltas,
    /// What a risk monitor should hear of.
    pub anomalies: Vec<BookingAnomaly>,
}

/// Something that was booked, and that nobody expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookingAnomaly {
    /// More was filled than was reserved: this many lots beyond it.
    Overfill(i64),
    /// A fill of an order that was taken for refused: it is open again.
    Reopened,
    /// A fee in a currency that has no rate: it is in the report, and counts nowhere.
    FeeWithoutRate(String),
}

/// Why a venue's message made nothing of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyReportError {
    /// It says nothing that is not known.
    #[error("the message tells nothing new of the order")]
    NoChange,
    /// Its figures cannot be counted exactly.
    #[error("the message's figures cannot be counted exactly")]
    ExceedsExactRange,
    /// It has more fills than an order can have.
    #[error("the order has more than {MAX_FILLS} fills")]
    TooManyFills,
}

impl Order {
    /// Returns the order an intent becomes, with nothing told of it yet.
    pub fn from_intent(
        intent: &Intent,
        order_id: OrderId,
        mode: Mode,
        reservation: Reservation,
        now: Timestamp,
    ) -> Self {
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
        };
        order.total_deltas = order.reservation_deltas();
        order
    }

    /// Returns which shared sums the order belongs to.
    pub fn sum_scope(&self) -> SumScope {
        SumScope {
            mode: self.mode,
            account_id: self.account_id.clone(),
            venue: self.venue.clone(),
            symbol: self.symbol.clone(),
            trading_date: self.reservation.trading_date,
        }
    }

    /// Returns the terms by which an order is the duplicate of another one: account, instrument, side, quantity, price.
    pub fn duplicate_key(&self) -> String {
        let price = self
            .price
            .map_or_else(|| "market".to_owned(), |price| price.to_string());
        let (account, venue, symbol) = (&self.account_id, &self.venue, &self.symbol);
        format!("{account}:{venue}:{symbol}:{}:{}:{price}", self.side, self.quantity)
    }

    /// Returns what the order takes of the shared sums when it is claimed.
    pub fn reservation_deltas(&self) -> SumDeltas {
        let lots = self.reservation.reserved_lots;
        let (long, short) = match self.side {
            Side::Buy => (lots, 0),
            Side::Sell => (0, lots),
        };
        SumDeltas {
            long,
            short,
            open_orders: 1,
            open_loss: self.reservation.expected_loss.units(),
            daily_notional: self.reservation.daily_notional.units(),
            ..SumDeltas::default()
        }
    }

    /// Whether nothing more is expected of it.
    pub fn is_terminal(&self) -> bool {
        self.status.is_some_and(OrderStatus::is_terminal)
    }

    /// Returns what is not filled yet: zero once the order has ended.
    pub fn leaves_quantity(&self) -> Decimal {
        if self.is_terminal() {
            return Decimal::ZERO;
        }
        let rest = self
            .quantity
            .decimal()
            .checked_sub(self.filled_quantity)
            .unwrap_or(Decimal::ZERO);
        if rest.is_positive() { rest } else { Decimal::ZERO }
    }

    /// Returns the quantity-weighted mean price of the fills.
    pub fn average_price(&self) -> Option<Decimal> {
        self.filled_cost
            .div_half_even(self.filled_quantity, AVERAGE_PRICE_DECIMALS)
    }

    /// Returns how many fills it has had.
    pub fn fill_count(&self) -> usize {
        self.older_exec_ids.len() + self.fills.len()
    }

    /// Returns the order as a risk rule denied it.
    #[must_use]
    pub fn into_denied(self, reason: Reason, now: Timestamp) -> Self {
        self.end_unsent(OrderStatus::Rejected, reason, now)
    }

    /// Returns the order as a dry run ends it: every rule has let it pass.
    #[must_use]
    pub fn into_dry_run(self, now: Timestamp) -> Self {
        let message = "a dry run: every rule has let the order pass, and it was not sent";
        self.end_unsent(OrderStatus::Cancelled, Reason::new(ReasonCode::DryRun, message), now)
    }

    /// Ends an order that was never sent: it holds nothing.
    fn end_unsent(mut self, status: OrderStatus, reason: Reason, now: Timestamp) -> Self {
        self.status = Some(status);
        self.version = 1;
        self.reason = Some(reason);
        self.updated_at = now;
        self.reservation.reserved_lots = 0;
        self.reservation.daily_notional = Micros::ZERO;
        self.reservation.expected_loss = Micros::ZERO;
        self.reservation.is_open = false;
        self.total_deltas = SumDeltas::default();
        self
    }

    /// Returns the order after a message of its venue, each fill of it booked once.
    ///
    /// # Errors
    /// When the message tells nothing new, or cannot be counted exactly.
    pub fn apply_report(
        &self,
        report: &VenueReport,
        rates: &CurrencyRates,
        now: Timestamp,
    ) -> Result<OrderUpdate, ApplyReportError> {
        let mut order = self.clone();
        let (mut deltas, mut notices, mut changed) = (SumDeltas::default(), Vec::new(), false);
        for fill in &report.fills {
            if order.has_booked_fill(&fill.exec_id) {
                continue;
            }
            let booked = order.book_fill(fill, rates, &mut notices)?;
            deltas = deltas.checked_add(&booked).ok_or(ApplyReportError::ExceedsExactRange)?;
            changed = true;
        }
        let (event, reason) = match &report.state {
            VenueOrderState::Working => (OrderEvent::Acknowledged, None),
            VenueOrderState::Cancelled(reason) => (OrderEvent::Cancelled, Some(reason)),
            VenueOrderState::Expired(reason) => (OrderEvent::Expired, Some(reason)),
            VenueOrderState::Rejected(reason) => (OrderEvent::Rejected, Some(reason)),
            VenueOrderState::Unknown(reason) => (OrderEvent::OutcomeUnknown, Some(reason)),
        };
        if let Some(status) = status_transition::next_status(order.status, event) {
            order.status = Some(status);
            order.reason = reason.cloned();
            changed = true;
        } else if event == OrderEvent::Acknowledged && order.was_presumed_not_placed() {
            // The venue has it after all.
            order.status = Some(OrderStatus::Accepted);
            notices.push(BookingAnomaly::Reopened);
            deltas = deltas
                .checked_add(&order.restore_reservation()?)
                .ok_or(ApplyReportError::ExceedsExactRange)?;
            changed = true;
        }
        // An end that is told again gives nothing back twice, unless the venue now counts more or less.
        if order.is_terminal() && (order.reservation.is_open || report.cumulative_quantity.is_some()) {
            let given_back = order.release_reservation(report.cumulative_quantity)?;
            changed |= given_back != SumDeltas::default();
            deltas = deltas
                .checked_add(&given_back)
                .ok_or(ApplyReportError::ExceedsExactRange)?;
        }
        if !changed {
            return Err(ApplyReportError::NoChange);
        }
        if report.broker_order_id.is_some() {
            order.broker_order_id.clone_from(&report.broker_order_id);
        }
        order.due = if order.is_terminal() { None } else { report.due };
        order.total_deltas = self
            .total_deltas
            .checked_add(&deltas)
            .ok_or(ApplyReportError::ExceedsExactRange)?;
        order.version = self.version.checked_add(1).ok_or(ApplyReportError::ExceedsExactRange)?;
        order.updated_at = now.max(self.updated_at);
        Ok(OrderUpdate {
            order,
            deltas,
            anomalies: notices,
        })
    }

    /// Whether it ended because its venue was asked again and again and did not have it.
    fn was_presumed_not_placed(&self) -> bool {
        let reason = self.reason.as_ref().map(|reason| reason.code);
        self.status == Some(OrderStatus::Rejected) && reason == Some(ReasonCode::NotPlaced)
    }

    fn has_booked_fill(&self, exec_id: &str) -> bool {
        self.fills.iter().any(|fill| fill.exec_id == exec_id) || self.older_exec_ids.iter().any(|id| id == exec_id)
    }

    /// Books one new fill f against r = min(f, rest): a buy moves L by f − r and S by −f, a sell is mirrored.
    fn book_fill(
        &mut self,
        fill: &Fill,
        rates: &CurrencyRates,
        anomalies: &mut Vec<BookingAnomaly>,
    ) -> Result<SumDeltas, ApplyReportError> {
        if self.fill_count() >= MAX_FILLS {
            return Err(ApplyReportError::TooManyFills);
        }
        let lots = self.to_lots(fill.quantity.decimal())?;
        let from_rest = lots.min(self.reservation.reserved_lots);
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
        let cash = Micros::from_product(factors, rounding).ok_or(ApplyReportError::ExceedsExactRange)?;
        let cost = fill.price.decimal().checked_mul(fill.quantity.decimal());
        let cost = cost.and_then(|cost| self.filled_cost.checked_add(cost));
        self.filled_cost = cost.ok_or(ApplyReportError::ExceedsExactRange)?;
        let filled = self.filled_quantity.checked_add(fill.quantity.decimal());
        self.filled_quantity = filled.ok_or(ApplyReportError::ExceedsExactRange)?;
        self.reservation.reserved_lots -= from_rest;
        if self.fills.len() >= MAX_REPORTED_FILLS {
            let oldest = self.fills.remove(0);
            self.older_exec_ids.push(oldest.exec_id);
        }
        self.fills.push(fill.clone());
        let (long, short, position) = match self.side {
            Side::Buy => (excess, -lots, lots),
            Side::Sell => (-lots, excess, -lots),
        };
        let (fees, base_fees) = self.compute_fees(fill, rates, anomalies)?;
        let booked = SumDeltas {
            long,
            short,
            position,
            cash_flow: cash.units() * sign,
            fees,
            base_fees,
            ..SumDeltas::default()
        };
        let was = self.status;
        let is_filled = self.filled_quantity >= self.quantity.decimal();
        let event = if is_filled {
            OrderEvent::Fill
        } else {
            OrderEvent::PartialFill
        };
        self.status = status_transition::next_status(self.status, event).or(self.status);
        let restored = if was == Some(OrderStatus::Rejected) {
            anomalies.push(BookingAnomaly::Reopened);
            self.restore_reservation()?
        } else {
            if excess > 0 {
                anomalies.push(BookingAnomaly::Overfill(excess));
            }
            SumDeltas::default()
        };
        booked.checked_add(&restored).ok_or(ApplyReportError::ExceedsExactRange)
    }

    /// Returns a fill's fee: in millionths of the base currency, or in the base asset; rounded against us either way.
    fn compute_fees(
        &self,
        fill: &Fill,
        rates: &CurrencyRates,
        anomalies: &mut Vec<BookingAnomaly>,
    ) -> Result<(i64, i64), ApplyReportError> {
        if fill.fee.is_zero() {
            return Ok((0, 0));
        }
        if self.reservation.base_asset.as_deref() == Some(fill.fee_currency.as_str()) {
            let fee = round_to_units(fill.fee, BASE_ASSET_FEE_SCALE, Rounding::Up)
                .ok_or(ApplyReportError::ExceedsExactRange)?;
            return Ok((0, fee));
        }
        let Some(rate) = rates.get(&fill.fee_currency) else {
            anomalies.push(BookingAnomaly::FeeWithoutRate(fill.fee_currency.clone()));
            return Ok((0, 0));
        };
        let fee = Micros::from_product([fill.fee, rate, Decimal::from(1)], Rounding::Up);
        Ok((fee.ok_or(ApplyReportError::ExceedsExactRange)?.units(), 0))
    }

    /// Reserves anew what an order that was taken for refused gave back: its venue has filled some of it after all.
    fn restore_reservation(&mut self) -> Result<SumDeltas, ApplyReportError> {
        let mut restored = SumDeltas {
            daily_notional: self.reservation.notional.units() - self.reservation.daily_notional.units(),
            ..SumDeltas::default()
        };
        self.reservation.daily_notional = self.reservation.notional;
        self.reason = None;
        if self.is_terminal() {
            return Ok(restored);
        }
        let open = self.quantity.decimal().checked_sub(self.filled_quantity);
        let open = self.to_lots(open.ok_or(ApplyReportError::ExceedsExactRange)?)?;
        let lots = open - self.reservation.reserved_lots;
        self.reservation.reserved_lots = open;
        match self.side {
            Side::Buy => restored.long = lots,
            Side::Sell => restored.short = lots,
        }
        if !std::mem::replace(&mut self.reservation.is_open, true) {
            restored.open_orders = 1;
            restored.open_loss = self.reservation.expected_loss.units();
        }
        Ok(restored)
    }

    fn to_lots(&self, quantity: Decimal) -> Result<i64, ApplyReportError> {
        let lots = quantity.count_multiples_of(self.reservation.lot_size);
        lots.and_then(|lots| i64::try_from(lots).ok())
            .ok_or(ApplyReportError::ExceedsExactRange)
    }

    /// Gives back what an ended order still holds, but for what its venue counts as filled and has not told yet; the
    /// day's notional only where nothing was ever routed.
    fn release_reservation(
        &mut self,
        venue_cumulative_quantity: Option<Decimal>,
    ) -> Result<SumDeltas, ApplyReportError> {
        let untold = venue_cumulative_quantity.and_then(|quantity| quantity.checked_sub(self.filled_quantity));
        let untold = match untold.filter(|untold| untold.is_positive()) {
            Some(untold) => self.to_lots(untold)?.min(self.reservation.reserved_lots),
            None => 0,
        };
        let rest = std::mem::replace(&mut self.reservation.reserved_lots, untold) - untold;
        let never_traded = self.status == Some(OrderStatus::Rejected) && self.fill_count() == 0 && untold == 0;
        let notional = if never_traded {
            std::mem::take(&mut self.reservation.daily_notional)
        } else {
            Micros::ZERO
        };
        let (long, short) = match self.side {
            Side::Buy => (-rest, 0),
            Side::Sell => (0, -rest),
        };
        // The loss itself is kept: an order that is reopened holds it anew.
        let (open_orders, open_loss) = match std::mem::take(&mut self.reservation.is_open) {
            true => (-1, -self.reservation.expected_loss.units()),
            false => (0, 0),
        };
        Ok(SumDeltas {
            long,
            short,
            open_orders,
            open_loss,
            daily_notional: -notional.units(),
            ..SumDeltas::default()
        })
    }
}

impl Reservation {
    /// Returns what an order of `lots` reserves at `valuation_price` on a trading day, or `None` when it cannot be
    /// counted exactly.
    pub fn for_order(
        instrument: &Instrument,
        intent: &Intent,
        lots: i64,
        valuation_price: Price,
        trading_date: TradingDate,
    ) -> Option<Self> {
        let factors = [
            valuation_price.decimal(),
            intent.quantity.decimal(),
            instrument.base_rate,
        ];
        let notional = Micros::from_product(factors, Rounding::Up)?;
        let expected_loss = intent.estimated_loss.unwrap_or(Decimal::ZERO);
        Some(Self {
            lot_size: instrument.lot_size.decimal(),
            base_rate: instrument.base_rate,
            base_asset: instrument.base_asset.clone(),
            reserved_lots: lots,
            notional,
            daily_notional: notional,
            expected_loss: Micros::from_decimal(expected_loss, Rounding::Up)?,
            is_open: true,
            trading_date,
        })
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
