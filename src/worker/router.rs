//! What every step of a worker needs: the edges, and the settings as the rules read them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::brokers::handle::BrokerHandle;
use crate::bus::journal::{JournalExtent, JournalReader, JournalWriter};
use crate::config::Settings;
use crate::config::brokers::InquirySettings;
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::intent::Symbol;
use crate::risk::RiskLimits;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::worker::control::cache::ControlCache;
use crate::worker::control::signals::SignalPublisher;
use crate::worker::trading_day::TradingDayCache;
use crate::worker::trading_day::reference_prices::ReferencePrices;

/// The parts of a worker that its steps share.
#[derive(Debug, Clone)]
pub struct Router {
    /// The shared state.
    pub store: Store,
    /// The journal's writer.
    pub journal_writer: JournalWriter,
    /// The journal's reader.
    pub journal_reader: JournalReader,
    /// Where risk signals go.
    pub signals: SignalPublisher,
    /// The brokers.
    pub brokers: Arc<BTreeMap<BrokerId, BrokerHandle>>,
    /// What can be traded.
    pub instruments: Arc<Instruments>,
    /// The limits of the settings.
    pub limits: Arc<RiskLimits>,
    /// What is in force beyond the settings.
    pub control: ControlCache,
    /// The trading day and its figures.
    pub trading_day: TradingDayCache,
    /// Reference prices.
    pub prices: ReferencePrices,
    /// What currencies are worth.
    pub rates: Arc<CurrencyRates>,
    /// The time limits of calls that name none.
    pub default_deadlines: DefaultDeadlines,
    /// Whether a new trading day lifts the latches of the daily loss.
    pub new_day_lifts_daily_loss: bool,
    /// How venues are asked what became of an order.
    pub inquiry_settings: InquirySettings,
    /// How long one call to a broker may take.
    pub broker_call_timeout: Duration,
    /// Whether the journal has room for new orders.
    pub journal_capacity: JournalCapacity,
    /// What is measured.
    pub telemetry: Telemetry,
    /// Work that outlives the call it comes from; a drain waits for it.
    pub deferred_tasks: TaskTracker,
}

/// Whether the journal has room for new orders: intake stops while there is still some left for the reports of those
/// that are open.
#[derive(Debug, Clone, Default)]
pub struct JournalCapacity(Arc<AtomicBool>);

impl JournalCapacity {
    /// From which share of its space on the journal takes no new orders, in per cent.
    pub const FULL_AT_PERCENT: u64 = 90;

    /// Takes note of how full the journal is.
    pub fn update(&self, info: &JournalExtent) {
        let limit = u64::try_from(info.max_bytes).ok().filter(|limit| *limit > 0);
        let is_full = limit.is_some_and(|limit| info.bytes >= limit / 100 * Self::FULL_AT_PERCENT);
        if self.0.swap(is_full, Ordering::AcqRel) != is_full {
            if is_full {
                tracing::error!(
                    bytes = info.bytes,
                    ?limit,
                    "the journal is nearly full: no new order is taken"
                );
            } else {
                tracing::warn!(
                    bytes = info.bytes,
                    ?limit,
                    "the journal has room again: orders are taken"
                );
            }
        }
    }

    /// Takes note that the journal cannot be asked.
    pub fn mark_unavailable(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether there is room.
    pub fn has_room(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

/// How long calls count where their caller says nothing.
#[derive(Debug, Clone, Copy)]
pub struct DefaultDeadlines {
    /// A request, from its arrival.
    pub request: Duration,
    /// A durable intent, from its publication.
    pub durable_intent: Duration,
}

/// Every instrument, by venue and symbol.
#[derive(Debug, Default)]
pub struct Instruments(BTreeMap<(VenueId, Symbol), Instrument>);

impl Instruments {
    /// Returns the instruments of the settings.
    pub fn from_settings(settings: &Settings) -> Self {
        let instruments = settings.instruments.to_instruments(&settings.risk);
        Self(
            instruments
                .into_iter()
                .map(|one| ((one.venue.clone(), one.symbol.clone()), one))
                .collect(),
        )
    }

    /// Returns an instrument.
    pub fn get(&self, venue: &VenueId, symbol: &Symbol) -> Option<&Instrument> {
        self.0.get(&(venue.clone(), symbol.clone()))
    }

    /// Returns all of them.
    pub fn all(&self) -> impl Iterator<Item = &Instrument> {
        self.0.values()
    }

    /// Returns the symbols a broker trades.
    pub fn for_broker<'a>(&'a self, broker: &'a BrokerId) -> impl Iterator<Item = &'a Instrument> {
        self.0.values().filter(move |instrument| instrument.broker == *broker)
    }
}
