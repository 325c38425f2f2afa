//! The assembly of a [`Router`] from the settings and the connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::brokers::paper::binance::VENUE;
use crate::bus::connection::Bus;
use crate::bus::journal::snapshots::JournalSnapshots;
use crate::bus::journal::{JournalReader, JournalWriter, JournalWriterTask};
use crate::config::Settings;
use crate::config::journal::{AppendMode, JournalSettings};
use crate::config::limits::LimitSettings;
use crate::domain::calendar::CalendarSource;
use crate::domain::symbol::Symbol;
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
use crate::worker::venue::binance::{self, BinanceSessions};

/// The clock that trading days follow, and the most by which it may differ from Redis' when a day opens.
pub(in crate::worker) struct TradingClock {
    pub(in crate::worker) clock: Clock,
    pub(in crate::worker) max_skew: Option<Duration>,
}

impl TradingClock {
    /// Returns this machine's clock.
    pub(in crate::worker) fn system() -> Self {
        Self {
            clock: Arc::new(Timestamp::now),
            max_skew: Some(MAX_CLOCK_SKEW),
        }
    }
}

/// A router with what is started or awaited beside it.
pub(in crate::worker) struct AssembledRouter {
    pub(in crate::worker) router: Router,
    /// The tasks of its two journal writers: one for the journal, one for the alerts.
    pub(in crate::worker) journal_writers: [JournalWriterTask; 2],
    /// The live venues' sessions, whose tasks are not started yet.
    pub(super) binance: BinanceSessions,
}

/// Returns the router of the settings.
///
/// # Errors
/// If a setting is invalid.
pub(in crate::worker) fn build_router(
    settings: &Settings,
    telemetry: Telemetry,
    bus: &Bus,
    store: Store,
    additional_brokers: broker_tasks::AdditionalBrokers,
    trading_clock: TradingClock,
) -> Result<AssembledRouter, WorkerError> {
    let invalid = |what: &str| WorkerError::Settings(format!("{what} is invalid"));
    let (journal_writer, journal_task) = JournalWriter::start(bus.clone(), settings.journal.clone());
    let pipelined = JournalSettings {
        append: AppendMode::Pipelined,
        ..settings.journal.clone()
    };
    let (alert_writer, alert_task) = JournalWriter::start(bus.clone(), pipelined);
    let deferred_tasks = TaskTracker::new();
    let send_gate = Arc::new(JournaledSendGate::new(store.clone(), journal_writer.clone()));
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
    let settler = Settler::watching(store.clone(), trading_day.clone(), journal_reader.clone());
    let for_calendar = control.clone();
    let calendar: CalendarSource = Arc::new(move || for_calendar.limits().calendar.clone());
    let (limits, paper) = (control.limits(), &settings.brokers);
    let mut brokers = broker_tasks::start_brokers(paper, &settler, &calendar, &send_gate, additional_brokers)?;
    let symbols: Vec<Symbol> = limits
        .instruments
        .all()
        .filter(|instrument| instrument.venue.as_str() == VENUE)
        .map(|instrument| instrument.symbol.clone())
        .collect();
    let binance = binance::open_sessions(&settings.brokers, &symbols, &store, &send_gate, &mut brokers)?;
    let router = Router::from(RouterParts {
        journal_writer,
        journal_reader,
        signals: SignalPublisher::new(alert_writer, telemetry.clone(), deferred_tasks.clone()),
        brokers,
        settler,
        trading_day,
        prices,
        control,
        default_deadlines: DefaultDeadlines {
            request: Duration::from_millis(settings.doors.default_request_deadline_ms),
            durable_intent: Duration::from_millis(settings.doors.default_intent_deadline_ms),
            is_required_in_live: settings.doors.live_needs_deadline,
        },
        inquiry_settings: settings.brokers.inquiry.clone(),
        broker_call_timeout: settings.brokers.task.call_timeout(),
        journal_capacity: JournalCapacity::default(),
        readiness: Readiness::default(),
        fold_progress: watch::Sender::default(),
        snapshots: SnapshotTools {
            stream: JournalSnapshots::new(bus.clone()),
            every_entries: settings.journal.snapshot_entries,
            retention: settings.redis.retention(),
        },
        telemetry,
        deferred_tasks,
        store,
    });
    Ok(AssembledRouter {
        router,
        journal_writers: [journal_task, alert_task],
        binance,
    })
}
