//! What the journal's entries mean to the order log: read off the thread that writes, and no further than is needed.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bus::journal::Stored;
use crate::bus::subjects;
use crate::domain::decimal::Decimal;
use crate::domain::execution::DueAction;
use crate::domain::terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::note::NoteEvent;
use crate::wire::report::ReportedFill;
use crate::wire::settlement::SettlementDue;
use crate::wire::signal::RiskSignal;
use crate::wire::state::StateEvent;
use crate::wire::submission::{RELEASED, SUBMITTING};

/// An entry of the journal, or of the stream of alerts, at its place.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its sequence in its stream.
    pub(super) sequence: u64,
    /// When the stream took it.
    pub(super) taken_at: Timestamp,
    /// What it says.
    pub(super) event: Event,
}

/// What an entry says.
#[derive(Debug)]
pub(super) enum Event {
    /// An order's report.
    Report(Box<Report>),
    /// An order is about to be sent to a venue that outlives the router.
    Submitting(Submission),
    /// It was not sent after all.
    Released(Submission),
    /// A position or the cash of an account was adjusted.
    Adjustment(Box<AdjustmentEvent>),
    /// Somebody has noted something on an order.
    Note(Box<NoteEvent>),
    /// Operators have set something.
    State {
        /// Counts the changes.
        version: u64,
        /// Where orders' effects land from then on.
        mode: Option<Mode>,
    },
    /// An alert of the risk rules, with its JSON.
    Alert(Box<RiskSignal>, String),
    /// Nothing that the order log keeps.
    Other,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A report as far as the order log keeps it.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) order_id: String,
    pub(super) client_order_id: String,
    pub(super) account_id: String,
    pub(super) status: OrderStatus,
    pub(super) broker: String,
    pub(super) venue: String,
    pub(super) symbol: String,
    pub(super) side: Side,
    pub(super) order_type: OrderType,
    pub(super) time_in_force: TimeInForce,
    pub(super) price: Option<Decimal>,
    pub(super) quantity: Decimal,
    pub(super) filled_quantity: Decimal,
    pub(super) submitted_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) fills: Vec<ReportedFill>,
    pub(super) fills_total: u32,
    pub(super) tags: Vec<String>,
    pub(super) mode: Mode,
    pub(super) version: u32,
    /// Byte for byte as it was told.
    pub(super) reason: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) settlement: Option<Settlement>,
}

/// The part of a settlement that positions are made of.
#[derive(Debug, Deserialize)]
pub(super) struct Settlement {
    pub(super) lot_size: Decimal,
    pub(super) base_rate: Decimal,
    #[serde(default)]
    pub(super) base_asset: Option<String>,
    #[serde(default)]
    pub(super) deltas: Moves,
    #[serde(default)]
    due: Option<SettlementDue>,
}

/// The moves of the sums that a position's book is held against.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Moves {
    /// In millionths of the base currency.
    pub(super) fees: i64,
    /// In units of 1e-8 of the base asset.
    pub(super) base_fees: i64,
}

/// An order before its first report.
#[derive(Debug, Deserialize)]
pub(super) struct Submission {
    /// The claim it is sent under: a release takes back the submission of the same claim, and no other.
    pub(super) claim: String,
    /// The order, of which nothing has been told yet.
    pub(super) order: Box<Report>,
}

impl Report {
    /// Returns when the order expires by itself.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        let due = self.settlement.as_ref()?.due.as_ref()?;
        (due.action == DueAction::Expire.as_str()).then_some(due.at)
    }
}

/// Reads an entry of the journal.
pub(super) fn read(stored: &Stored) -> Entry {
    Entry {
        sequence: stored.sequence,
        taken_at: stored.time,
        event: of(stored).unwrap_or_else(|error| Event::Unreadable(error.to_string())),
    }
}

/// Reads an entry of the stream of alerts.
pub(super) fn read_alert(stored: &Stored) -> Entry {
    let signal = serde_json::from_slice::<RiskSignal>(&stored.body);
    let event = match (signal, std::str::from_utf8(&stored.body)) {
        (Ok(signal), Ok(text)) => Event::Alert(Box::new(signal), text.to_owned()),
        (Err(error), _) => Event::Unreadable(error.to_string()),
        (_, Err(error)) => Event::Unreadable(error.to_string()),
    };
    Entry {
        sequence: stored.sequence,
        taken_at: stored.time,
        event,
    }
}

fn of(stored: &Stored) -> Result<Event, serde_json::Error> {
    let body = &stored.body;
    if subjects::is_report(&stored.subject) {
        return serde_json::from_slice(body).map(Event::Report);
    }
    if subjects::is_adjustment(&stored.subject) {
        return serde_json::from_slice(body).map(Event::Adjustment);
    }
    Ok(match subjects::event_kind(&stored.subject) {
        Some(SUBMITTING) => Event::Submitting(serde_json::from_slice(body)?),
        Some(RELEASED) => Event::Released(serde_json::from_slice(body)?),
        Some(subjects::NOTE_EVENT) => Event::Note(serde_json::from_slice(body)?),
        Some(subjects::STATE_EVENT) => {
            let event: StateEvent = serde_json::from_slice(body)?;
            Event::State {
                version: event.version,
                mode: event.mode,
            }
        }
        _ => Event::Other,
    })
}
