//! The assembly of a [`Router`] from the settings and the connections.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::bus::connection::Bus;
use crate::bus::journal::snapshots::JournalSnapshots;
use crate::bus::journal::{JournalReader, JournalWriter, JournalWriterTask};
use crate::config::Settings;
use crate::config::journal::{AppendMode, JournalSettings};
use crate::config::limits::LimitSettings;
use crate::domain::calendar::CalendarSource;
use crate::domain::time::{Clock, Timestamp};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::worker::control::cache::ControlCache;
use crate::worker::control::limits::EnforcedLimits;
use crate::worker::control::signals::SignalPublisher;
use crate::worker::journal_capacity::JournalCapacity;
use crate::worker::journaling::settlement::Settler;
use crate::worker::lifecycle::broker_tasks;
use crate::worker::lifecycle::error::WorkerError;
use crate::worker::readiness::Readiness;
use crate::worker::router::{DefaultDeadlines, Router, RouterParts};
use crate::worker::snapshots::tools::SnapshotTools;
use crate::worker::submission::send_gate::JournaledSendGate;
use crate::worker::trading_day::reference_prices::ReferencePrices;
use crate::worker::trading_day::valuation::TradingDayDependencies;
use crate::worker::trading_day::{MAX_CLOCK_SKEW, TradingDayCache};

/// The clock that trading days follow, and the most by which it may differ from Redis' when a day opens.
pub(super) struct TradingClock {
    pub(super) clock: Clock,
    pub(super) max_skew: Option<Duration>,
}

impl TradingClock {
    /// Returns this machine's clock.
    pub(super) fn system() -> Self {
        Self {
            clock: Arc::new(Timestamp::now),
            max_skew: Some(MAX_CLOCK_SKEW),
        }
    }
}

/// Returns the router, and the tasks of its two journal writers: one for the journal, one for the alerts.
///
/// # Errors
/// If a setting is invalid.
pub(super) fn build_router(
    settings: &Settings,
    telemetry: Telemetry,
    bus: &Bus,
    store: Store,
    additional_brokers: broker_tasks::AdditionalBrokers,
    trading_clock: TradingClock,
) -> Result<(Router, [JournalWriterTask; 2]), WorkerError> {
    let invalid = |what: &str| WorkerError::Settings(format!("{what} is invalid"));
    let (journal_writer, journal_task) = JournalWriter::start(bus.clone(), settings.journal.clone());
    let pipelined = JournalSettings {
        append: AppendMode::Pipelined,
        ..settings.journal.clone()
    };
    let (alert_writer, alert_task) = JournalWriter::start(bus.clone(), pipelined);
    let deferred_tasks = TaskTracker::new();
    let send_gate = JournaledSendGate::new(store.clone(), journal_writer.clone());
    let own_limits = EnforcedLimits::of_settings(LimitSettings::of(settings)).ok_or_else(|| invalid("a limit"))?;
    let prices = ReferencePrices::new(&own_limits.instruments);
    let control = ControlCache::new(store.clone(), Arc::new(own_limits));
    let journal_reader = JournalReader::new(bus.clone());
    let trading_day = TradingDayCache::new(TradingDayDependencies {
        control: control.clone(),
        store: store.clone(),
        journal: journal_writer.clone(),
        journal_reader: journal_reader.clone(),
        prices: prices.clone(),
        clock: trading_clock.clock,
        max_clock_skew: trading_clock.max_skew,
    });
    let settler = Settler::watching(store.clone(), trading_day.clone());
    let for_calendar = control.clone();
    let calendar: CalendarSource = Arc::new(move || for_calendar.limits().calendar.clone());
    let brokers = broker_tasks::start_brokers(&settings.brokers, &settler, &calendar, send_gate, additional_brokers)?;
    let router = Router::from(RouterParts {
        journal_writer,
        journal_reader,
        signals: SignalPublisher::new(alert_writer, telemetry.clone(), deferred_tasks.clone()),
        brokers: Arc::new(brokers),
        settler,
        trading_day,
        prices,
        control,
        default_deadlines: DefaultDeadlines {
            request: Duration::from_millis(settings.doors.default_request_deadline_ms),
            durable_intent: Duration::from_millis(settings.doors.default_intent_deadline_ms),
        },
        inquiry_settings: settings.brokers.inquiry.clone(),
        broker_call_timeout: settings.brokers.task.call_timeout(),
        journal_capacity: JournalCapacity::default(),
        readiness: Readiness::default(),
        snapshots: SnapshotTools {
            stream: JournalSnapshots::new(bus.clone()),
            every_entries: settings.journal.snapshot_entries,
            retention: settings.redis.retention(),
        },
        telemetry,
        deferred_tasks,
        store,
    });
    Ok((router, [journal_task, alert_task]))
}
