//! How a paper venue fills an order. Pure: the same order at the same moment always fills the same way.

use crate::brokers::adapter::Placement;
use crate::config::brokers::{FeeAsset, RestFill};
use crate::domain::calendar::TradingCalendar;
use crate::domain::decimal::Decimal;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity, QuantityUnits, from_quantity_units, to_quantity_units};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::LegWord;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{DueAction, DueTask, Fill, VenueOrderState, VenueReport};

/// The number of a leg's first fill. A trade id is the leg's id and this number, so that a fill that is computed twice is
/// booked once.
const FIRST_FILL_NUMBER: u8 = 1;
/// The decimals of a fee.
const FEE_DECIMALS: u32 = 8;
/// The number of the fill of the remainder.
const REMAINDER_FILL_NUMBER: u8 = 2;

/// How a paper venue fills orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaperFillRules {
    /// The share that fills at once, in percent, rounded down to the lot; below one lot, the whole order.
    pub first_fill_percent: u8,
    /// When the remainder fills.
    pub remainder_fill: RestFill,
    /// The fees.
    pub fees: PaperFees,
}

/// The fees of a paper venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaperFees {
    /// The fee as a share of the fill, 0 to 1.
    pub fee_rate: Decimal,
    /// The asset that the fee is paid in.
    pub fee_asset: FeeAsset,
}

impl PaperFees {
    /// No fee.
    pub const NONE: Self = Self {
        fee_rate: Decimal::ZERO,
        fee_asset: FeeAsset::Quote,
    };
}

/// The error of an order whose remainder cannot be filled: its first fill is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the order has a remainder to fill, but no first fill or no quantity left")]
pub struct RemainderNotFillable;

/// Returns the venue's first report on an order.
///
/// # Errors
/// Why the venue rejects the order: a limit order without a price, a quantity that is not a whole number of lots,
/// or a fee that cannot be represented exactly.
pub fn initial_report(
    placement: &Placement,
    rules: PaperFillRules,
    calendar: &TradingCalendar,
    now: Timestamp,
) -> Result<VenueReport, Reason> {
    let order = &placement.order;
    let price = match (order.order_type, order.price) {
        (OrderType::Market, _) => placement.reference_price,
        (OrderType::Limit, Some(limit)) => limit,
        (OrderType::Limit, None) => return Err(rejection("a limit order needs a price")),
    };
    let quantity = initial_fill_quantity(order, rules.first_fill_percent)
        .ok_or_else(|| rejection("the quantity is not a whole number of lots that can be counted exactly"))?;
    let is_full = Some(quantity) == order.leg_quantity();
    let mut report = VenueReport {
        broker_order_id: Some(broker_order_id(order)),
        fills: Vec::new(),
        state: VenueOrderState::Working,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    };
    if !is_full && order.time_in_force == TimeInForce::Fok {
        report.state = time_in_force_cancellation("the order could not be filled at once in full");
        return Ok(report);
    }
    let is_in_traded_asset = rules.fees.fee_asset == FeeAsset::Received && order.side == Side::Buy;
    let fee_currency = order.reservation.base_asset.as_deref().filter(|_| is_in_traded_asset);
    let currency = fee_currency.unwrap_or(&placement.quote_currency);
    let fill = build_fill(
        order,
        FIRST_FILL_NUMBER,
        quantity,
        price,
        now,
        (rules.fees.fee_rate, currency),
    );
    report
        .fills
        .push(fill.ok_or_else(|| rejection("the fee cannot be represented exactly"))?);
    if !is_full && order.time_in_force == TimeInForce::Ioc {
        report.state = time_in_force_cancellation("the quantity that did not fill at once was cancelled");
    } else if !is_full {
        report.due = schedule_remainder(order.time_in_force, rules.remainder_fill, calendar, now);
    }
    Ok(report)
}

/// Returns what is due for an order by `now`; `None` if nothing is due.
///
/// The remainder fills as of the moment it was due, however late it is computed: a worker's absence changes neither the time
/// of a fill nor whether a day order filled.
///
/// # Errors
/// When a remainder is due and cannot be filled.
pub fn due_report(
    order: &Order,
    rules: PaperFillRules,
    now: Timestamp,
) -> Result<Option<VenueReport>, RemainderNotFillable> {
    let Some(due) = order.due.filter(|due| due.at <= now && !order.is_terminal()) else {
        return Ok(None);
    };
    let (fills, state) = match due.action {
        DueAction::FillRemainder => (
            vec![build_remainder_fill(order, rules, due.at).ok_or(RemainderNotFillable)?],
            VenueOrderState::Working,
        ),
        DueAction::Expire => {
            let reason = Reason::new(ReasonCode::EndOfDay, "the trading day ended");
            (Vec::new(), VenueOrderState::Expired(reason))
        }
        // No inquiry is needed: the store is the paper venue.
        DueAction::Inquire => return Ok(None),
    };
    Ok(Some(VenueReport {
        broker_order_id: Some(broker_order_id(order)),
        fills,
        state,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    }))
}

/// Returns a report whose fill only reduces a position of `position` (1e-8): as many whole lots of it as the position has
/// on the side that the order reduces. What cannot fill is cancelled; of a fill-or-kill order, everything.
pub fn cap_report(order: &Order, report: &VenueReport, position: QuantityUnits, rules: PaperFillRules) -> VenueReport {
    let held = match order.side {
        Side::Buy => -position,
        Side::Sell => position,
    };
    let capped = |fill: &Fill| {
        let lot = to_quantity_units(order.reservation.lot_size)?;
        let wanted = to_quantity_units(fill.quantity.decimal())?;
        let units = held.min(wanted).checked_div(lot)?.checked_mul(lot)?;
        if units < wanted && order.time_in_force == TimeInForce::Fok {
            return None;
        }
        let quantity = Quantity::new(from_quantity_units(units)).ok()?;
        let number = if order.is_leg_filled() {
            REMAINDER_FILL_NUMBER
        } else {
            FIRST_FILL_NUMBER
        };
        let fee = (rules.fees.fee_rate, fill.fee_currency.as_str());
        build_fill(order, number, quantity, fill.price, fill.timestamp, fee)
    };
    let message = "the position is smaller than the order, which only reduces it; what could not fill was cancelled";
    VenueReport {
        fills: report.fills.iter().filter_map(capped).collect(),
        state: VenueOrderState::Cancelled(Reason::new(ReasonCode::ReduceOnly, message)),
        due: None,
        ..report.clone()
    }
}

/// Returns the venue's report of a requested cancel.
pub fn cancel_report(order: &Order) -> VenueReport {
    let reason = Reason::new(ReasonCode::CancelRequested, "the order was cancelled on request");
    VenueReport {
        broker_order_id: Some(broker_order_id(order)),
        fills: Vec::new(),
        state: VenueOrderState::Cancelled(reason),
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    }
}

/// Returns the reason of a rejection by a paper venue.
pub fn rejection(message: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::BrokerRejected, message)
}

/// Returns the quantity that fills at once; `None` if it cannot be counted in lots.
fn initial_fill_quantity(order: &Order, percent: u8) -> Option<Quantity> {
    let lot = order.reservation.lot_size;
    let whole = order.leg_quantity()?;
    let lots = whole.decimal().count_multiples_of(lot)?;
    let first = lots.checked_mul(i128::from(percent))? / 100;
    if first == 0 || first >= lots {
        return Some(whole);
    }
    Quantity::new(Decimal::from_parts(first, 0)?.checked_mul(lot)?).ok()
}

fn schedule_remainder(
    time_in_force: TimeInForce,
    remainder_fill: RestFill,
    calendar: &TradingCalendar,
    now: Timestamp,
) -> Option<DueTask> {
    let remainder = match remainder_fill {
        RestFill::After(span) => Some(DueTask {
            at: now.saturating_add(span),
            action: DueAction::FillRemainder,
        }),
        RestFill::Never => None,
    };
    if time_in_force != TimeInForce::Day {
        return remainder;
    }
    let day_end = DueTask {
        at: calendar.end_of(calendar.trading_date_at(now)),
        action: DueAction::Expire,
    };
    Some(
        remainder
            .filter(|remainder| remainder.at < day_end.at)
            .unwrap_or(day_end),
    )
}

/// Returns the fill of the remainder: at the limit price or, for a market order, at the price of the first fill.
fn build_remainder_fill(order: &Order, rules: PaperFillRules, at: Timestamp) -> Option<Fill> {
    let first = order.fills.first()?;
    let price = match order.order_type {
        OrderType::Limit => order.price?,
        OrderType::Market => first.price,
    };
    let quantity = Quantity::new(order.leaves_quantity()).ok()?;
    // In the asset of the first fill's fee, whatever the settings are now.
    let fee = (rules.fees.fee_rate, first.fee_currency.as_str());
    build_fill(order, REMAINDER_FILL_NUMBER, quantity, price, at, fee)
}

fn build_fill(
    order: &Order,
    number: u8,
    quantity: Quantity,
    price: Price,
    at: Timestamp,
    (rate, fee_currency): (Decimal, &str),
) -> Option<Fill> {
    let fee_base = if order.reservation.base_asset.as_deref() == Some(fee_currency) {
        quantity.decimal()
    } else {
        round_fee_up(price.decimal().checked_mul(quantity.decimal())?)?
    };
    Some(Fill {
        exec_id: format!("{}-{number}", order.venue_id()),
        quantity,
        price,
        timestamp: at,
        fee: round_fee_up(fee_base.checked_mul(rate)?)?,
        fee_currency: fee_currency.to_owned(),
    })
}

/// Returns an amount rounded up to eight decimals.
fn round_fee_up(amount: Decimal) -> Option<Decimal> {
    if amount.scale() <= FEE_DECIMALS {
        return Some(amount);
    }
    let (mantissa, scale) = amount.parts();
    let unit = 10i128.checked_pow(scale - FEE_DECIMALS)?;
    let units = mantissa.div_euclid(unit) + i128::from(mantissa.rem_euclid(unit) != 0);
    Decimal::from_parts(units, FEE_DECIMALS)
}

fn broker_order_id(order: &Order) -> String {
    format!("paper-{}", order.venue_id())
}

fn time_in_force_cancellation(message: &str) -> VenueOrderState {
    VenueOrderState::Cancelled(Reason::new(ReasonCode::TimeInForce, message))
}

#[cfg(test)]
#[path = "fills_tests.rs"]
mod tests;
