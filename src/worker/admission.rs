//! Before the rules: is the call who it says it is, can the intent be traded, and until when.
//!
//! Grammar and the caller's place in the subject are judged at once. Everything else is only prepared here and told
//! after the id has been looked up: a known id is answered first, whatever is in force now.

use std::sync::Arc;

use super::router::Router;
use crate::bus::call::Call;
use crate::domain::control::Control;
use crate::domain::day::DayFigures;
use crate::domain::id::OrderId;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::money::{BASE_FEE_SCALE, Rounding, units_of};
use crate::domain::order::Order;
use crate::domain::quantity::Price;
use crate::domain::settlement::Reservation;
use crate::domain::terms::Mode;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::risk::intent_age::{Lifetime, TooFarAhead};
use crate::risk::{Assessment, Subject, assess};
use crate::wire::intent::{MissingId, decode};

/// What would become of an intent if its id is new.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large case is the usual one, and each plan is moved once"
)]
pub enum Plan {
    /// It is refused, and its id stays free.
    Refused(Fault),
    /// The rules have been asked.
    Assessed(Assessed),
}

/// An intent that can be traded, as the rules see it before the shared sums are looked at.
#[derive(Debug)]
pub struct Assessed {
    /// What the rules say.
    pub assessment: Assessment,
    /// The order it would become.
    pub order: Order,
    /// Its quantity in lots.
    pub lots: i64,
    /// The lot in units of 1e-8, where fees may be paid in the base asset.
    pub base_lot: Option<i64>,
    /// The price its symbol is valued at.
    pub reference_price: Price,
    /// The currency of its prices.
    pub quote_currency: String,
}

/// What an intent is judged by.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What is in force beyond the settings.
    pub control: Arc<Control>,
    /// The day's profit and loss.
    pub day: Arc<DayFigures>,
}

/// Reads the call's intent and checks that it comes through its own subject.
///
/// # Errors
/// Whatever the grammar or the subject forbids.
pub fn read(call: &Call) -> Result<Intent, Fault> {
    let missing_id = if call.durable {
        MissingId::Refused
    } else {
        MissingId::Assigned
    };
    let intent = decode(&call.body, missing_id)?;
    let about = |fault: Fault| fault.about(intent.client_order_id.as_str());
    if call.account.as_deref() != Some(intent.account_id.as_str()) {
        return Err(about(Fault::field(
            Code::AccountMismatch,
            "account_id",
            "is not the account of the subject",
        )));
    }
    if call.broker.as_deref() != Some(intent.broker.as_str()) {
        return Err(about(Fault::field(
            Code::InvalidField,
            "broker",
            "is not the broker of the subject",
        )));
    }
    Ok(intent)
}

/// Returns how long the intent counts.
pub fn lifetime(router: &Router, call: &Call, intent: &Intent) -> Lifetime {
    let default = if call.durable {
        router.patience.durable
    } else {
        router.patience.request
    };
    Lifetime::new([call.deadline, intent.expires_at], call.arrived_at, default)
}

/// Returns what would become of the intent if its id is new.
pub fn plan(router: &Router, intent: &Intent, lifetime: Lifetime, standing: &Standing) -> Plan {
    prepare(router, intent, lifetime, standing).map_or_else(
        |fault| Plan::Refused(fault.about(intent.client_order_id.as_str())),
        Plan::Assessed,
    )
}

fn prepare(router: &Router, intent: &Intent, lifetime: Lifetime, standing: &Standing) -> Result<Assessed, Fault> {
    let (now, mode) = (Timestamp::now(), standing.control.mode);
    lifetime.check(now).map_err(|TooFarAhead| {
        let rule = "(or the header Deadline) lies more than 24 hours ahead";
        Fault::field(Code::InvalidField, "expires_at", rule)
    })?;
    in_mode(intent, mode)?;
    journalable(router)?;
    let (instrument, prefix) = tradable(router, intent)?;
    let lots = lots(instrument, intent)?;
    let (reference_price, has_reference) = reference_price(router, instrument, intent, standing)?;
    let valuation_price = intent.price.unwrap_or(reference_price);
    let reservation = Reservation::of(instrument, intent, lots, valuation_price, standing.day.trading_date);
    let reservation = reservation.ok_or_else(|| {
        Fault::field(
            Code::InvalidField,
            "quantity",
            "makes a notional that is not below 9007199254.740991",
        )
    })?;
    let assessment = assess(&Subject {
        intent,
        instrument,
        lots,
        reference_price,
        has_reference,
        reservation: &reservation,
        limits: &router.limits,
        control: &standing.control,
        day: &standing.day,
        deadline: lifetime.deadline,
        now,
    });
    let base_lot = instrument.base_asset.as_ref();
    let base_lot = base_lot.and_then(|_| units_of(instrument.lot_size.decimal(), BASE_FEE_SCALE, Rounding::Down));
    Ok(Assessed {
        assessment,
        order: Order::claimed(intent, OrderId::assign(prefix), mode, reservation, now),
        lots,
        base_lot,
        reference_price,
        quote_currency: instrument.quote.clone(),
    })
}

/// Returns the quantity in lots; quantity and price are whole numbers of their steps.
fn lots(instrument: &Instrument, intent: &Intent) -> Result<i64, Fault> {
    if let Some(price) = intent.price.filter(|price| !instrument.is_on_tick(*price)) {
        let tick = instrument.tick_size;
        let rule = format!("is {price}, not a multiple of {tick}");
        return Err(Fault::field(Code::InvalidField, "price", rule));
    }
    instrument.lots(intent.quantity).ok_or_else(|| {
        let lot = instrument.lot_size;
        let rule = format!("must be a whole number of lots of {lot}");
        Fault::field(Code::InvalidField, "quantity", rule)
    })
}

/// Returns the price an order is valued at, and whether it is the market's. Without one and without a limit price nothing
/// can be judged: it is refused, never valued at zero.
fn reference_price(
    router: &Router,
    instrument: &Instrument,
    intent: &Intent,
    standing: &Standing,
) -> Result<(Price, bool), Fault> {
    let market = router.prices.reference(instrument, standing.control.mode);
    let price = market.or(intent.price).ok_or_else(|| {
        let (symbol, venue) = (&instrument.symbol, &instrument.venue);
        let detail = format!(
            "there is no recent price of {symbol} at {venue} on market.quotes (risk.quote_max_age_ms says how recent), \
             and a market order names none; nothing was sent"
        );
        Fault::new(Code::ReferencePriceMissing, detail)
    })?;
    Ok((price, market.is_some()))
}

/// Returns the fault of an intent whose deadline has passed.
pub fn expired(deadline: Timestamp) -> Fault {
    let detail = format!("the intent's deadline was {deadline}; it was not sent. Send it again with a later one");
    Fault::new(Code::IntentExpired, detail)
}

fn journalable(router: &Router) -> Result<(), Fault> {
    if router.room.is_left() {
        return Ok(());
    }
    Err(Fault::new(
        Code::PersistenceFailed,
        "the journal is nearly full or out of reach and takes no new orders; nothing was sent",
    ))
}

fn in_mode(intent: &Intent, in_force: Mode) -> Result<(), Fault> {
    match intent.mode {
        Some(mode) if mode != in_force => {
            let detail = format!("the intent expects the mode {mode}, and {in_force} is in force");
            Err(Fault::new(Code::ModeMismatch, detail))
        }
        _ => Ok(()),
    }
}

fn tradable<'a>(
    router: &'a Router,
    intent: &Intent,
) -> Result<(&'a Instrument, crate::domain::id::BrokerPrefix), Fault> {
    let broker = router.brokers.get(&intent.broker).ok_or_else(|| {
        let known: Vec<&str> = router.brokers.keys().map(|broker| broker.as_str()).collect();
        Fault::field(
            Code::UnknownBroker,
            "broker",
            format!("is {}; known are {}", intent.broker, known.join(", ")),
        )
    })?;
    let capabilities = broker.capabilities();
    if !capabilities.venues.contains(&intent.venue) {
        let detail = format!("is {}, which is not a venue of {}", intent.venue, intent.broker);
        return Err(Fault::field(Code::InvalidField, "venue", detail));
    }
    if !capabilities.times_in_force.contains(&intent.time_in_force) {
        let detail = format!("is {}, which {} does not have", intent.time_in_force, intent.broker);
        return Err(Fault::field(Code::InvalidField, "time_in_force", detail));
    }
    let instrument = router.instruments.get(&intent.venue, &intent.symbol).ok_or_else(|| {
        let detail = format!("is {}, which {} does not trade", intent.symbol, intent.venue);
        Fault::field(Code::UnsupportedPair, "symbol", detail)
    })?;
    Ok((instrument, capabilities.prefix))
}
