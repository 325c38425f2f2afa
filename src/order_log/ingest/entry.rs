//! The entries of the streams as the order log decodes them: outside the writing thread, and only the fields it keeps.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::bus::stream_entry::StoredEntry;
use crate::bus::subjects;
use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::DueAction;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::note::NoteEvent;
use crate::wire::report::ReportedFill;
use crate::wire::risk_signal::RiskSignal;
use crate::wire::settlement::SettlementDue;
use crate::wire::state::StateEvent;
use crate::wire::submission::{RELEASED_EVENT_KIND, SUBMITTING_EVENT_KIND};

/// A decoded entry of the journal or of the stream of alerts.
#[derive(Debug)]
pub(in crate::order_log) struct StreamEntry {
    /// The sequence in the stream.
    pub(in crate::order_log) sequence: u64,
    /// When the stream stored the entry.
    pub(in crate::order_log) stored_at: Timestamp,
    /// The event that the entry carries.
    pub(in crate::order_log) event: OrderLogEvent,
}

/// The event that an entry carries.
#[derive(Debug)]
pub(in crate::order_log) enum OrderLogEvent {
    /// A report of an order.
    Report(Box<LoggedReport>),
    /// An order is about to be sent to a venue whose orders live outside the store.
    Submitting(LoggedSubmission),
    /// A submission was released: the order was not sent.
    Released(LoggedSubmission),
    /// A position or the cash of an account was adjusted.
    Adjustment(Box<AdjustmentEvent>),
    /// A note on an order.
    Note(Box<NoteEvent>),
    /// Operators changed the state.
    StateChange {
        /// The number of the change.
        version: u64,
        /// The mode from then on; `None` if the change keeps it.
        mode: Option<Mode>,
    },
    /// An alert of the risk rules, and its JSON text.
    Alert(Box<RiskSignal>, String),
    /// An event that the order log does not keep.
    Ignored,
    /// An entry that cannot be decoded, and why.
    Unreadable(String),
}

/// The part of a report that the order log keeps.
#[derive(Debug, Deserialize)]
pub(in crate::order_log) struct LoggedReport {
    pub(in crate::order_log) order_id: String,
    pub(in crate::order_log) client_order_id: String,
    pub(in crate::order_log) account_id: String,
    pub(in crate::order_log) status: OrderStatus,
    pub(in crate::order_log) broker: String,
    pub(in crate::order_log) venue: String,
    pub(in crate::order_log) symbol: String,
    pub(in crate::order_log) side: Side,
    pub(in crate::order_log) order_type: OrderType,
    pub(in crate::order_log) time_in_force: TimeInForce,
    pub(in crate::order_log) price: Option<Decimal>,
    pub(in crate::order_log) quantity: Decimal,
    pub(in crate::order_log) filled_quantity: Decimal,
    pub(in crate::order_log) submitted_at: Timestamp,
    pub(in crate::order_log) updated_at: Timestamp,
    pub(in crate::order_log) fills: Vec<ReportedFill>,
    pub(in crate::order_log) fills_total: u32,
    pub(in crate::order_log) tags: Vec<String>,
    pub(in crate::order_log) mode: Mode,
    pub(in crate::order_log) version: u32,
    /// Byte for byte as it was journaled.
    pub(in crate::order_log) reason: Option<Box<RawValue>>,
    #[serde(default)]
    pub(in crate::order_log) settlement: Option<LoggedSettlement>,
}

/// The part of a settlement that says which effect it is, and that positions are computed from.
#[derive(Debug, Deserialize)]
pub(in crate::order_log) struct LoggedSettlement {
    #[serde(default)]
    id: Option<Uuid>,
    #[serde(default)]
    builds_on: Option<Uuid>,
    pub(in crate::order_log) lot_size: Decimal,
    pub(in crate::order_log) base_rate: Decimal,
    #[serde(default)]
    pub(in crate::order_log) base_asset: Option<String>,
    #[serde(default)]
    pub(in crate::order_log) deltas: FeeDeltas,
    #[serde(default)]
    due: Option<SettlementDue>,
}

/// The fees of a settlement in other currencies than the traded asset, as the shared sums count them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(in crate::order_log) struct FeeDeltas {
    /// In millionths of the base currency.
    pub(in crate::order_log) fees: i64,
}

/// A submission: an order before its first report.
#[derive(Debug, Deserialize)]
pub(in crate::order_log) struct LoggedSubmission {
    /// The claim that the order is sent under. A release applies only to the submission of the same claim.
    pub(in crate::order_log) claim: String,
    /// The order; no report of it was published yet.
    pub(in crate::order_log) order: Box<LoggedReport>,
}

impl LoggedReport {
    /// Returns the settlement that made this version.
    pub(in crate::order_log) fn settlement_end(&self) -> SettlementEnd {
        SettlementEnd::of(self.settlement.as_ref().and_then(|settlement| settlement.id))
    }

    /// Returns the id of the settlement that made the version before.
    pub(in crate::order_log) fn builds_on(&self) -> Option<Uuid> {
        self.settlement.as_ref()?.builds_on
    }

    /// Returns when the order expires; `None` if it does not.
    pub(in crate::order_log) fn expires_at(&self) -> Option<Timestamp> {
        let due = self.settlement.as_ref()?.due.as_ref()?;
        (due.action == DueAction::Expire.as_str()).then_some(due.at)
    }
}

/// Decodes an entry of the journal.
pub(in crate::order_log) fn decode_journal_entry(stored: &StoredEntry) -> StreamEntry {
    StreamEntry {
        sequence: stored.sequence,
        stored_at: stored.stored_at,
        event: decode_event(stored).unwrap_or_else(|error| OrderLogEvent::Unreadable(error.to_string())),
    }
}

/// Decodes an entry of the stream of alerts.
pub(in crate::order_log) fn decode_alert_entry(stored: &StoredEntry) -> StreamEntry {
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
