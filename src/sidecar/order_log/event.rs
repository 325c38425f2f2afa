//! What the journal's entries mean to the order log: read off the thread that writes, and no further than is needed.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bus::journal::StoredEntry;
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
use crate::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND};

/// An entry of the journal, or of the stream of alerts, at its place.
#[derive(Debug)]
pub(super) struct StreamEntry {
    /// Its sequence in its stream.
    pub(super) sequence: u64,
    /// When the stream took it.
    pub(super) stored_at: Timestamp,
    /// What it says.
    pub(super) event: OrderLogEvent,
}

/// What an entry says.
#[derive(Debug)]
pub(super) enum OrderLogEvent {
    /// An order's report.
    Report(Box<LoggedReport>),
    /// An order is about to be sent to a venue that outlives the router.
    Submitting(LoggedSubmission),
    /// It was not sent after all.
    Released(LoggedSubmission),
    /// A position or the cash of an account was adjusted.
    Adjustment(Box<AdjustmentEvent>),
    /// Somebody has noted something on an order.
    Note(Box<NoteEvent>),
    /// Operators have set something.
    StateChange {
        /// Counts the changes.
        version: u64,
        /// Where orders' effects land from then on.
        mode: Option<Mode>,
    },
    /// An alert of the risk rules, with its JSON.
    Alert(Box<RiskSignal>, String),
    /// Nothing that the order log keeps.
    Ignored,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A report as far as the order log keeps it.
#[derive(Debug, Deserialize)]
pub(super) struct LoggedReport {
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
    pub(super) settlement: Option<LoggedSettlement>,
}

/// The part of a settlement that positions are made of.
#[derive(Debug, Deserialize)]
pub(super) struct LoggedSettlement {
    pub(super) lot_size: Decimal,
    pub(super) base_rate: Decimal,
    #[serde(default)]
    pub(super) base_asset: Option<String>,
    #[serde(default)]
    pub(super) deltas: FeeDeltas,
    #[serde(default)]
    due: Option<SettlementDue>,
}

/// The moves of the sums that a position's book is held against.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct FeeDeltas {
    /// In millionths of the base currency.
    pub(super) fees: i64,
    /// In units of 1e-8 of the base asset.
    pub(super) base_fees: i64,
}

/// An order before its first report.
#[derive(Debug, Deserialize)]
pub(super) struct LoggedSubmission {
    /// The claim it is sent under: a release takes back the submission of the same claim, and no other.
    pub(super) claim: String,
    /// The order, of which nothing has been told yet.
    pub(super) order: Box<LoggedReport>,
}

impl LoggedReport {
    /// Returns when the order expires by itself.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        let due = self.settlement.as_ref()?.due.as_ref()?;
        (due.action == DueAction::Expire.as_str()).then_some(due.at)
    }
}

/// Reads an entry of the journal.
pub(super) fn decode_journal_entry(stored: &StoredEntry) -> StreamEntry {
    StreamEntry {
        sequence: stored.sequence,
        stored_at: stored.stored_at,
        event: decode_event(stored).unwrap_or_else(|error| OrderLogEvent::Unreadable(error.to_string())),
    }
}

/// Reads an entry of the stream of alerts.
pub(super) fn decode_alert_entry(stored: &StoredEntry) -> StreamEntry {
    let signal = serde_json::from_slice::<RiskSignal>(&stored.body);
    let event = match (signal, std::str::from_utf8(&stored.body)) {
        (Ok(signal), Ok(text)) => OrderLogEvent::Alert(Box::new(signal), text.to_owned()),
        (Err(error), _) => OrderLogEvent::Unreadable(error.to_string()),
        (_, Err(error)) => OrderLogEvent::Unreadable(error.to_string()),
    };
    StreamEntry {
        sequence: stored.sequence,
        stored_at: stored.stored_at,
        event,
    }
}

fn decode_event(stored: &StoredEntry) -> Result<OrderLogEvent, serde_json::Error> {
    let body = &stored.body;
    if subjects::is_report(&stored.subject) {
        return serde_json::from_slice(body).map(OrderLogEvent::Report);
    }
    if subjects::is_adjustment(&stored.subject) {
        return serde_json::from_slice(body).map(OrderLogEvent::Adjustment);
    }
    Ok(match subjects::parse_event_kind(&stored.subject) {
        Some(SUBMITTING_EVENT_KIND) => OrderLogEvent::Submitting(serde_json::from_slice(body)?),
        Some(RELEASED_EVENT_KIND) => OrderLogEvent::Released(serde_json::from_slice(body)?),
        Some(subjects::NOTE_EVENT_KIND) => OrderLogEvent::Note(serde_json::from_slice(body)?),
        Some(subjects::STATE_EVENT_KIND) => {
            let event: StateEvent = serde_json::from_slice(body)?;
            OrderLogEvent::StateChange {
                version: event.version,
                mode: event.mode,
            }
        }
        _ => OrderLogEvent::Ignored,
    })
}
