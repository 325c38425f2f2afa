//! Before the rules: is the call who it says it is, can the intent be traded, and until when.
//!
//! Grammar and the caller's place in the subject are judged at once. Everything else is only prepared here and told
//! after the id has been looked up: a known id is answered first, whatever is in force now.

use std::sync::Arc;

use crate::bus::request::BusRequest;
use crate::domain::control::ControlState;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::id::OrderId;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::intent_lifetime::{DeadlineTooFarAhead, IntentLifetime};
use crate::domain::money::{BASE_ASSET_FEE_SCALE, Rounding, round_to_units};
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::Price;
use crate::domain::reservation::Reservation;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::risk::{Evaluation, RuleInput, evaluate};
use crate::wire::intent::{MissingIdPolicy, decode_intent};
use crate::worker::router::Router;

/// What would become of an intent if its id is new.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each plan is moved once"
)]
pub enum AdmissionResult {
    /// It is refused, and its id stays free.
    Refused(Fault),
    /// The rules have been asked.
    Candidate(OrderCandidate),
}

/// An intent that can be traded, as the rules see it before the shared sums are looked at.
#[derive(Debug)]
pub struct OrderCandidate {
    /// What the rules say.
    pub evaluation: Evaluation,
    /// The order it would become.
    pub order: Order,
    /// Its quantity in lots.
    pub lots: i64,
    /// The lot in units of 1e-8, where fees may be paid in the base asset.
    pub base_lot_units: Option<i64>,
    /// The price its symbol is valued at.
    pub reference_price: Price,
    /// The currency of its prices.
    pub quote_currency: String,
}

/// What an intent is judged by.
#[derive(Debug, Clone)]
pub struct RiskContext {
    /// What is in force beyond the settings.
    pub control: Arc<ControlState>,
    /// The day's profit and loss.
    pub day_pnl: Arc<DailyPnl>,
}

/// Reads the call's intent and checks that it comes through its own subject.
///
/// # Errors
/// Whatever the grammar or the subject forbids.
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

/// Returns how long the intent counts.
pub fn intent_lifetime(router: &Router, call: &BusRequest, intent: &Intent) -> IntentLifetime {
    let default = if call.is_durable {
        router.default_deadlines.durable_intent
    } else {
        router.default_deadlines.request
    };
    IntentLifetime::new([call.deadline, intent.expires_at], call.received_at, default)
}

/// Returns what would become of the intent if its id is new.
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
        let rule = "(or the header Deadline) lies more than 24 hours ahead";
        Fault::for_field(FaultCode::InvalidField, "expires_at", rule)
    })?;
    check_mode(intent, mode)?;
    check_journal_capacity(router)?;
    let (instrument, prefix) = find_instrument(router, intent)?;
    let lots = whole_lots(instrument, intent)?;
    let (reference_price, has_reference) = resolve_reference_price(router, instrument, intent, context)?;
    let valuation_price = intent.price.unwrap_or(reference_price);
    let reservation = Reservation::for_order(instrument, intent, lots, valuation_price, context.day_pnl.trading_date);
    let reservation = reservation.ok_or_else(|| {
        Fault::for_field(
            FaultCode::InvalidField,
            "quantity",
            "makes a notional that is not below 9007199254.740991",
        )
    })?;
    let assessment = evaluate(&RuleInput {
        intent,
        instrument,
        quantity_lots: lots,
        reference_price,
        has_market_price: has_reference,
        reservation: &reservation,
        limits: &router.limits,
        control: &context.control,
        daily_pnl: &context.day_pnl,
        deadline: lifetime.deadline,
        now,
    });
    let base_lot = instrument.base_asset.as_ref();
    let base_lot =
        base_lot.and_then(|_| round_to_units(instrument.lot_size.decimal(), BASE_ASSET_FEE_SCALE, Rounding::Down));
    Ok(OrderCandidate {
        evaluation: assessment,
        order: Order::from_intent(intent, OrderId::generate(prefix), mode, reservation, now),
        lots,
        base_lot_units: base_lot,
        reference_price,
        quote_currency: instrument.quote.clone(),
    })
}

/// Returns the quantity in lots; quantity and price are whole numbers of their steps.
fn whole_lots(instrument: &Instrument, intent: &Intent) -> Result<i64, Fault> {
    if let Some(price) = intent.price.filter(|price| !instrument.is_on_tick(*price)) {
        let tick = instrument.tick_size;
        let rule = format!("is {price}, not a multiple of {tick}");
        return Err(Fault::for_field(FaultCode::InvalidField, "price", rule));
    }
    instrument.lots(intent.quantity).ok_or_else(|| {
        let lot = instrument.lot_size;
        let rule = format!("must be a whole number of lots of {lot}");
        Fault::for_field(FaultCode::InvalidField, "quantity", rule)
    })
}

/// Returns the price an order is valued at, and whether it is the market's. Without one and without a limit price nothing
/// can be judged: it is refused, never valued at zero.
fn resolve_reference_price(
    router: &Router,
    instrument: &Instrument,
    intent: &Intent,
    context: &RiskContext,
) -> Result<(Price, bool), Fault> {
    let market = router.prices.reference_price(instrument, context.control.mode);
    let price = market.or(intent.price).ok_or_else(|| {
        let (symbol, venue) = (&instrument.symbol, &instrument.venue);
        let detail = format!(
            "there is no recent price of {symbol} at {venue} on market.quotes (risk.quote_max_age_ms says how recent), \
             and a market order names none; nothing was sent"
        );
        Fault::new(FaultCode::ReferencePriceMissing, detail)
    })?;
    Ok((price, market.is_some()))
}

/// Returns the fault of an intent whose deadline has passed.
pub fn expired_fault(deadline: Timestamp) -> Fault {
    let detail = format!("the intent's deadline was {deadline}; it was not sent. Send it again with a later one");
    Fault::new(FaultCode::IntentExpired, detail)
}

fn check_journal_capacity(router: &Router) -> Result<(), Fault> {
    if router.journal_capacity.has_room() {
        return Ok(());
    }
    Err(Fault::new(
        FaultCode::PersistenceFailed,
        "the journal is nearly full or out of reach and takes no new orders; nothing was sent",
    ))
}

fn check_mode(intent: &Intent, in_force: Mode) -> Result<(), Fault> {
    match intent.mode {
        Some(mode) if mode != in_force => {
            let detail = format!("the intent expects the mode {mode}, and {in_force} is in force");
            Err(Fault::new(FaultCode::ModeMismatch, detail))
        }
        _ => Ok(()),
    }
}

fn find_instrument<'a>(
    router: &'a Router,
    intent: &Intent,
) -> Result<(&'a Instrument, crate::domain::id::OrderIdPrefix), Fault> {
    let broker = router.brokers.get(&intent.broker).ok_or_else(|| {
        let known: Vec<&str> = router.brokers.keys().map(|broker| broker.as_str()).collect();
        Fault::for_field(
            FaultCode::UnknownBroker,
            "broker",
            format!("is {}; known are {}", intent.broker, known.join(", ")),
        )
    })?;
    let capabilities = broker.capabilities();
    if !capabilities.venues.contains(&intent.venue) {
        let detail = format!("is {}, which is not a venue of {}", intent.venue, intent.broker);
        return Err(Fault::for_field(FaultCode::InvalidField, "venue", detail));
    }
    if !capabilities.times_in_force.contains(&intent.time_in_force) {
        let detail = format!("is {}, which {} does not have", intent.time_in_force, intent.broker);
        return Err(Fault::for_field(FaultCode::InvalidField, "time_in_force", detail));
    }
    let instrument = router.instruments.get(&intent.venue, &intent.symbol).ok_or_else(|| {
        let detail = format!("is {}, which {} does not trade", intent.symbol, intent.venue);
        Fault::for_field(FaultCode::UnsupportedPair, "symbol", detail)
    })?;
    Ok((instrument, capabilities.order_id_prefix))
}
