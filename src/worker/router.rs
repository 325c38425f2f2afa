//! The parts of a worker that every step of the pipeline uses.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::brokers::adapter::Effects;
use crate::brokers::handle::BrokerHandle;
use crate::bus::journal::{JournalReader, JournalWriter};
use crate::bus::request::BusRequest;
use crate::config::brokers::InquirySettings;
use crate::domain::control::EffectiveControls;
use crate::domain::id::BrokerId;
use crate::domain::order_terms::{Mode, TradingState};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::worker::control::cache::ControlCache;
use crate::worker::control::limits::EnforcedLimits;
use crate::worker::control::signals::SignalPublisher;
use crate::worker::journal_capacity::JournalCapacity;
use crate::worker::journaling::settlement::Settler;
use crate::worker::readiness::Readiness;
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
    /// The brokers, by id.
    pub brokers: Arc<BTreeMap<BrokerId, BrokerHandle>>,
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
    /// What snapshots of the shared state are made with.
    pub snapshots: SnapshotTools,
    /// The metrics.
    pub telemetry: Telemetry,
    /// Tasks that outlive the call that spawned them; a drain waits for them.
    pub deferred_tasks: TaskTracker,
}

impl Router {
    /// Reports whether a broker's orders live at an external venue, beyond this process. A broker that this worker does
    /// not have counts as such a broker: another worker may have sent the order.
    pub fn places_at_venue(&self, broker: &BrokerId) -> bool {
        let handle = self.brokers.get(broker);
        handle.is_none_or(|handle| handle.capabilities().effects != Effects::InStore)
    }

    /// Returns this worker's brokers whose orders live at an external venue.
    pub fn brokers_at_venue(&self) -> Vec<BrokerId> {
        self.brokers_with(Effects::AtVenue)
    }

    /// Returns this worker's brokers whose orders live in the store: the paper brokers.
    pub fn brokers_in_store(&self) -> Vec<BrokerId> {
        self.brokers_with(Effects::InStore)
    }

    fn brokers_with(&self, effects: Effects) -> Vec<BrokerId> {
        let brokers = self.brokers.iter();
        let wanted = brokers.filter(|(_, handle)| handle.capabilities().effects == effects);
        wanted.map(|(broker, _)| broker.clone()).collect()
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
}

impl DefaultDeadlines {
    /// Returns a request's deadline: its own, or the default after its arrival.
    pub fn request_deadline(&self, call: &BusRequest) -> Timestamp {
        call.deadline
            .unwrap_or_else(|| call.received_at.saturating_add(self.request))
    }
}
