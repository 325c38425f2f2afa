//! The parts of a worker that every step of the pipeline uses.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::bus::journal::{JournalReader, JournalWriter};
use crate::bus::request::BusRequest;
use crate::config::brokers::InquirySettings;
use crate::domain::control::EffectiveControls;
use crate::domain::order::Order;
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::worker::broker_table::BrokerTable;
use crate::worker::control::cache::ControlCache;
use crate::worker::control::limits::EnforcedLimits;
use crate::worker::control::signals::SignalPublisher;
use crate::worker::journal_capacity::JournalCapacity;
use crate::worker::journaling::settlement::Settler;
use crate::worker::readiness::Readiness;
use crate::worker::rebuild::fold_position::FoldPosition;
use crate::worker::snapshots::tools::SnapshotTools;
use crate::worker::trading_day::TradingDayCache;
use crate::worker::trading_day::reference_prices::ReferencePrices;

/// The parts of a worker that its steps share. Clones are handles of the same parts: each order takes several.
#[derive(Debug, Clone)]
pub struct Router(Arc<RouterParts>);

impl Deref for Router {
    type Target = RouterParts;

    fn deref(&self) -> &RouterParts {
        &self.0
    }
}

impl From<RouterParts> for Router {
    fn from(parts: RouterParts) -> Self {
        Self(Arc::new(parts))
    }
}

/// The parts of a [`Router`].
#[derive(Debug)]
pub struct RouterParts {
    /// The shared state in Redis.
    pub store: Store,
    /// The journal's writer.
    pub journal_writer: JournalWriter,
    /// The journal's reader.
    pub journal_reader: JournalReader,
    /// Publishes risk signals.
    pub signals: SignalPublisher,
    /// The brokers.
    pub brokers: BrokerTable,
    /// This worker's copy of the operators' overrides, the locks and the limits in force.
    pub control: ControlCache,
    /// The trading day and its profit and loss.
    pub trading_day: TradingDayCache,
    /// Reference prices and mark prices.
    pub prices: ReferencePrices,
    /// What settlements are computed with.
    pub settler: Settler,
    /// The deadlines of calls that name none.
    pub default_deadlines: DefaultDeadlines,
    /// The timing of inquiries about unknown orders.
    pub inquiry_settings: InquirySettings,
    /// The longest that one call to a broker may take.
    pub broker_call_timeout: Duration,
    /// Whether the journal has space for new orders.
    pub journal_capacity: JournalCapacity,
    /// Whether a new order would be taken now.
    pub readiness: Readiness,
    /// How far the present fold of the journal is.
    pub fold_progress: watch::Sender<FoldPosition>,
    /// What snapshots of the shared state are made with.
    pub snapshots: SnapshotTools,
    /// The metrics.
    pub telemetry: Telemetry,
    /// Tasks that outlive the call that spawned them; a drain waits for them.
    pub deferred_tasks: TaskTracker,
}

impl Router {
    /// Reports whether an order lives at a venue outside the store, as [`BrokerTable::is_at_venue`] does.
    pub fn places_at_venue(&self, order: &Order) -> bool {
        self.brokers.is_at_venue(order)
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> Arc<EnforcedLimits> {
        self.control.limits()
    }

    /// Returns the mode, trading state and limits that apply without any operator's override.
    pub fn values_from_settings(&self) -> EffectiveControls {
        let limits = self.limits();
        EffectiveControls {
            mode: Mode::Paper,
            trading_state: TradingState::Active,
            daily_notional_limit: limits.risk.daily_notional,
            daily_loss_limit: limits.risk.daily_loss,
        }
    }
}

/// The deadlines of calls that name none.
#[derive(Debug, Clone, Copy)]
pub struct DefaultDeadlines {
    /// A request's, from its arrival.
    pub request: Duration,
    /// A durable intent's, from its publication.
    pub durable_intent: Duration,
    /// Whether an intent in live must name its own.
    pub is_required_in_live: bool,
}

impl DefaultDeadlines {
    /// Returns a request's deadline: its own, or the default after its arrival.
    pub fn request_deadline(&self, call: &BusRequest) -> Timestamp {
        call.deadline
            .unwrap_or_else(|| call.received_at.saturating_add(self.request))
    }
}
