//! Before the rules: is the call who it says it is, can the intent be traded, and until when.
//!
//! Grammar and the caller's place in the subject are judged at once. Everything else is only prepared here and told
//! after the id has been looked up: a known id is answered first, whatever is in force now.

use super::router::Router;
use crate::bus::call::Call;
use crate::domain::id::OrderId;
use crate::domain::instrument::Instrument;
use crate::domain::intent::Intent;
use crate::domain::order::Order;
use crate::domain::quantity::Price;
use crate::domain::settlement::Reservation;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::risk::intent_age::{Lifetime, Untimely};
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
    Assessed {
        /// What they say.
        assessment: Assessment,
        /// The order it would become.
        order: Order,
        /// The price its symbol is valued at.
        reference_price: Price,
        /// The currency of its prices.
        quote_currency: String,
    },
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
pub fn plan(router: &Router, intent: &Intent, lifetime: Lifetime) -> Plan {
    prepare(router, intent, lifetime)
        .unwrap_or_else(|fault| Plan::Refused(fault.about(intent.client_order_id.as_str())))
}

fn prepare(router: &Router, intent: &Intent, lifetime: Lifetime) -> Result<Plan, Fault> {
    let now = Timestamp::now();
    timely(lifetime, now)?;
    in_mode(router, intent)?;
    journalable(router)?;
    let (instrument, prefix) = tradable(router, intent)?;
    let lots = instrument.lots(intent.quantity).ok_or_else(|| {
        let lot = instrument.lot_size;
        Fault::field(
            Code::InvalidField,
            "quantity",
            format!("must be a whole number of lots of {lot}"),
        )
    })?;
    if let Some(price) = intent.price.filter(|price| !instrument.is_on_tick(*price)) {
        let tick = instrument.tick_size;
        return Err(Fault::field(
            Code::InvalidField,
            "price",
            format!("is {price}, not a multiple of {tick}"),
        ));
    }
    not_supported_yet(intent)?;
    let reference_price = instrument.reference_price;
    let valuation_price = intent.price.unwrap_or(reference_price);
    let reservation = Reservation::of(instrument, intent, lots, valuation_price, now.utc_date()).ok_or_else(|| {
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
        reservation: &reservation,
        limits: &router.limits,
    });
    let order = Order::claimed(intent, OrderId::assign(prefix), router.control.mode(), reservation, now);
    Ok(Plan::Assessed {
        assessment,
        order,
        reference_price,
        quote_currency: instrument.quote.clone(),
    })
}

fn timely(lifetime: Lifetime, now: Timestamp) -> Result<(), Fault> {
    lifetime.check(now).map_err(|untimely| match untimely {
        Untimely::Expired => expired(lifetime.deadline),
        Untimely::TooFarAhead => Fault::field(
            Code::InvalidField,
            "expires_at",
            "(or the header Deadline) lies more than 24 hours ahead",
        ),
    })
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

fn in_mode(router: &Router, intent: &Intent) -> Result<(), Fault> {
    match intent.mode {
        Some(mode) if mode != router.control.mode() => {
            let detail = format!(
                "the intent expects the mode {mode}, and {} is in force",
                router.control.mode()
            );
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

/// Refuses by name what no rule counts: a field that is taken and not obeyed costs money.
fn not_supported_yet(intent: &Intent) -> Result<(), Fault> {
    if intent.reduce_only {
        return Err(Fault::field(
            Code::InvalidField,
            "reduce_only",
            "is not supported by this router",
        ));
    }
    if intent.estimated_loss.is_some() {
        return Err(Fault::field(
            Code::InvalidField,
            "estimated_loss",
            "is not supported by this router",
        ));
    }
    Ok(())
}
