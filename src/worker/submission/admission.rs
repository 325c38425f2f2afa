//! Before the claim: whether the intent comes through its own subject, can be traded, and until when.
//!
//! Grammar and subject are checked at once. Every other refusal is only prepared here and returned after the id has
//! been looked up: a known id gets its current report, whatever the rules say now.

use std::sync::Arc;

use crate::bus::request::BusRequest;
use crate::config::guards::Guard;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::id::{BrokerId, OrderIdPrefix};
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::intent_lifetime::{DeadlineTooFarAhead, IntentLifetime};
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::reservation::Reservation;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::risk::{Evaluation, RuleInput, evaluate};
use crate::wire::intent::{MissingIdPolicy, decode_intent};
use crate::worker::control::cache::ControlSnapshot;
use crate::worker::control::limits::EnforcedLimits;
use crate::worker::router::Router;

/// What happens to an intent if its id is new.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each plan is moved once"
)]
pub enum AdmissionResult {
    /// It is refused, and its id stays free.
    Refused(Fault),
    /// The rules have evaluated it.
    Candidate(OrderCandidate),
}

/// An intent that can be traded, evaluated by the rules that need no shared sums.
#[derive(Debug)]
pub struct OrderCandidate {
    /// The rules' evaluation.
    pub evaluation: Evaluation,
    /// The order of the intent.
    pub order: Order,
    /// The price that the symbol is valued at.
    pub reference_price: Price,
    /// The currency of its prices.
    pub quote_currency: String,
}

/// The state that an intent is evaluated under.
#[derive(Debug, Clone)]
pub struct RiskContext {
    /// The operators' overrides, the locks and the limits in force.
    pub control: Arc<ControlSnapshot>,
    /// The day's profit and loss.
    pub day_pnl: Arc<DailyPnl>,
}

/// Decodes the call's intent and checks that it comes through its own subject.
///
/// # Errors
/// A body that breaks the grammar, or a subject of another broker or account.
pub fn parse_intent(call: &BusRequest) -> Result<Intent, Fault> {
    let missing_id = if call.is_durable {
        MissingIdPolicy::Refuse
    } else {
        MissingIdPolicy::Assign
    };
    let intent = decode_intent(&call.body, missing_id)?;
    let about = |fault: Fault| fault.with_client_order_id(intent.client_order_id.as_str());
    if call.account.as_deref() != Some(intent.account_id.as_str()) {
        return Err(about(Fault::for_field(
            FaultCode::AccountMismatch,
            "account_id",
            "is not the account of the subject",
        )));
    }
    if call.broker.as_deref() != Some(intent.broker.as_str()) {
        return Err(about(Fault::for_field(
            FaultCode::InvalidField,
            "broker",
            "is not the broker of the subject",
        )));
    }
    Ok(intent)
}

/// Returns how long the intent is valid.
pub fn intent_lifetime(router: &Router, call: &BusRequest, intent: &Intent) -> IntentLifetime {
    let default = if call.is_durable {
        router.default_deadlines.durable_intent
    } else {
        router.default_deadlines.request
    };
    let given = match Guard::Deadline.is_off() {
        true => [None, None],
        false => [call.deadline, intent.expires_at],
    };
    IntentLifetime::new(given, call.received_at, default)
}

/// Returns what happens to the intent if its id is new.
pub fn admit(router: &Router, intent: &Intent, lifetime: IntentLifetime, context: &RiskContext) -> AdmissionResult {
    build_candidate(router, intent, lifetime, context).map_or_else(
        |fault| AdmissionResult::Refused(fault.with_client_order_id(intent.client_order_id.as_str())),
        AdmissionResult::Candidate,
    )
}

fn build_candidate(
    router: &Router,
    intent: &Intent,
    lifetime: IntentLifetime,
    context: &RiskContext,
) -> Result<OrderCandidate, Fault> {
    let (now, mode) = (Timestamp::now(), context.control.mode);
    lifetime.validate(now).map_err(|DeadlineTooFarAhead| {
        let rule = "(or the header Deadline) is more than 24 hours ahead";
        Fault::for_field(FaultCode::InvalidField, "expires_at", rule)
    })?;
    check_mode(intent, mode)?;
    if mode == Mode::Live && !lifetime.is_requested && router.default_deadlines.is_required_in_live {
        let rule = "(or the header Deadline) is required in live: a late order must not be sent; nothing was sent";
        return Err(Fault::for_field(FaultCode::InvalidField, "expires_at", rule));
    }
    router.journal_capacity.check("new orders", "nothing was sent")?;
    let limits = &context.control.limits;
    let (instrument, prefix) = find_instrument(router, limits, intent, mode)?;
    check_steps(instrument, intent)?;
    let (reference_price, has_reference) = resolve_reference_price(router, instrument, intent, context)?;
    let valuation_price = intent.price.unwrap_or(reference_price);
    // Without a mark the order is marked at its own price: it makes nothing against it.
    let mark = router.prices.mark_price(instrument, mode).unwrap_or(valuation_price);
    let date = context.day_pnl.trading_date;
    let reservation = Reservation::for_order(instrument, intent, valuation_price, mark, date);
    let reservation = reservation.ok_or_else(|| {
        Fault::for_field(
            FaultCode::InvalidField,
            "quantity",
            "makes a notional of 9007199254.740991 or more",
        )
    })?;
    let evaluation = evaluate(&RuleInput {
        intent,
        instrument,
        quantity_units: reservation.reserved,
        reference_price,
        has_market_price: has_reference,
        reservation: &reservation,
        is_replacement: false,
        limits: &limits.risk,
        control: &context.control,
        daily_pnl: &context.day_pnl,
        deadline: lifetime.deadline,
        now,
    });
    Ok(OrderCandidate {
        evaluation,
        order: Order::from_intent(intent, prefix, mode, reservation, now),
        reference_price,
        quote_currency: instrument.quote.clone(),
    })
}

/// Checks that price and quantity are whole steps of the instrument.
///
/// # Errors
/// A price that is no multiple of the tick size, or a quantity that is no multiple of the lot size.
fn check_steps(instrument: &Instrument, intent: &Intent) -> Result<(), Fault> {
    if let Some(price) = intent.price.filter(|price| !instrument.is_on_tick(*price)) {
        let tick = instrument.tick_size;
        let rule = format!("is {price}, not a multiple of {tick}");
        return Err(Fault::for_field(FaultCode::InvalidField, "price", rule));
    }
    instrument.lots(intent.quantity).map(drop).ok_or_else(|| {
        let lot = instrument.lot_size;
        let rule = format!("must be a whole number of lots of {lot}");
        Fault::for_field(FaultCode::InvalidField, "quantity", rule)
    })
}

/// Returns the price that the order is valued at, and whether it is the market's. Without a market price, a limit order
/// is valued at its limit, and a market order is refused: no order is valued at zero.
pub(in crate::worker) fn resolve_reference_price(
    router: &Router,
    instrument: &Instrument,
    intent: &Intent,
    context: &RiskContext,
) -> Result<(Price, bool), Fault> {
    let market = {
        let (mode, max_age) = (context.control.mode, context.control.limits.quote_max_age);
        router.prices.reference_price(instrument, mode, max_age)
    };
    let price = market.or(intent.price).ok_or_else(|| {
        let (symbol, venue) = (&instrument.symbol, &instrument.venue);
        let detail = format!(
            "there is no price of {symbol} at {venue} on market.quotes within risk.quote_max_age_ms, and a market \
             order names none; nothing was sent"
        );
        Fault::new(FaultCode::ReferencePriceMissing, detail)
    })?;
    Ok((price, market.is_some()))
}

fn check_mode(intent: &Intent, active_mode: Mode) -> Result<(), Fault> {
    match intent.mode {
        Some(mode) if mode != active_mode => {
            let detail = format!("the intent expects the mode {mode}; the active mode is {active_mode}");
            Err(Fault::new(FaultCode::ModeMismatch, detail))
        }
        _ => Ok(()),
    }
}

/// Returns the instrument of an intent, and the prefix of its broker's order ids.
///
/// # Errors
/// A broker, venue, time in force or symbol that no task of this worker takes.
pub(in crate::worker) fn find_instrument<'a>(
    router: &Router,
    limits: &'a EnforcedLimits,
    intent: &Intent,
    mode: Mode,
) -> Result<(&'a Instrument, OrderIdPrefix), Fault> {
    let broker = router.brokers.get(&intent.broker, mode, &intent.account_id);
    let broker = broker.ok_or_else(|| missing_broker_fault(router, intent, mode))?;
    let capabilities = broker.capabilities();
    if !capabilities.venues.contains(&intent.venue) {
        let detail = format!("is {}, which is not a venue of {}", intent.venue, intent.broker);
        return Err(Fault::for_field(FaultCode::InvalidField, "venue", detail));
    }
    if !capabilities.times_in_force.contains(&intent.time_in_force) {
        let detail = format!("is {}, which {} does not support", intent.time_in_force, intent.broker);
        return Err(Fault::for_field(FaultCode::InvalidField, "time_in_force", detail));
    }
    let instrument = limits.instruments.get(&intent.venue, &intent.symbol).ok_or_else(|| {
        let detail = format!("is {}, which {} does not trade", intent.symbol, intent.venue);
        Fault::for_field(FaultCode::UnsupportedPair, "symbol", detail)
    })?;
    Ok((instrument, capabilities.order_id_prefix))
}

/// Returns the fault of an intent that no task of this worker takes.
fn missing_broker_fault(router: &Router, intent: &Intent, mode: Mode) -> Fault {
    if router.brokers.contains(&intent.broker) {
        let detail = format!(
            "the account {} has no {mode} venue at {}: brokers.{}_live.keys names no key for it; nothing was sent",
            intent.account_id, intent.broker, intent.broker
        );
        return Fault::new(FaultCode::ModeUnavailable, detail);
    }
    let brokers: Vec<&str> = router.brokers.ids().map(BrokerId::as_str).collect();
    Fault::for_field(
        FaultCode::UnknownBroker,
        "broker",
        format!("is {}; the brokers are {}", intent.broker, brokers.join(", ")),
    )
}
