//! What operators measure: counters, gauges and histograms, in the text format of Prometheus.
//!
//! [`table`] names every metric. A [`Telemetry`] belongs to one process; a worker and a sidecar in the same one share it,
//! so that either shows all. There are as many of them as are made, none of them global: workers side by side in one
//! process count apart.
//!
//! It is written here, over plain atomic integers, for three reasons: a histogram holds its buckets and no samples that
//! would wait for somebody to scrape; no binary float is needed anywhere; and on an order's way there is one lookup, for
//! its outcome.

mod family;
mod listener;
mod table;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::domain::id::BrokerId;
use crate::domain::order::Order;
use crate::domain::signal::Level;
use crate::domain::terms::OrderStatus;
use crate::domain::time::Timestamp;
use family::{Family, Series};

pub use family::MAX_SERIES;
pub use listener::Listener;
pub use table::{Id, Kind, Metric, TABLE, Unit};
pub use text::CONTENT_TYPE;

/// The label of what has no code, status or route.
pub const NONE: &str = "none";
/// The label of a broker that is not among those of the settings: what callers name makes no series.
pub const OTHER: &str = "other";
/// A whole, as ratios are held.
const WHOLE: i128 = 1_000_000;

/// A part of an intent's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the arrival of a request to its handling.
    Queue,
    /// Rules and limits.
    Reserve,
    /// From the queue of the broker's task to its answer.
    Broker,
    /// From the queue of the journal's writer to the acknowledgement.
    Journal,
    /// From arrival, or delivery, to the answer.
    Total,
}

impl Stage {
    /// Every stage, in the order of the way.
    pub const ALL: [Self; 5] = [Self::Queue, Self::Reserve, Self::Broker, Self::Journal, Self::Total];

    /// Returns the value of its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Reserve => "reserve",
            Self::Broker => "broker",
            Self::Journal => "journal",
            Self::Total => "total",
        }
    }
}

/// Everything one process measures; clones share it.
#[derive(Debug, Clone)]
pub struct Telemetry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    families: Vec<Family>,
    /// At hand, since every order passes them.
    stages: Vec<Arc<Series>>,
    is_ready: AtomicBool,
    is_ending: AtomicBool,
}

/// Something under way; it is counted until this is dropped.
#[derive(Debug)]
pub struct UnderWay(Option<Arc<Series>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(series) = &self.0 {
            series.subtract(1);
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let families: Vec<Family> = TABLE.iter().map(Family::new).collect();
        let stage = |stage: &Stage| families[Id::Stages as usize].series(&[stage.as_str()]);
        let stages = Stage::ALL.iter().filter_map(stage).collect();
        let telemetry = Self(Arc::new(Shared {
            families,
            stages,
            is_ready: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
        }));
        telemetry.set(Id::Build, &[env!("CARGO_PKG_VERSION")], Some(1));
        let began = Timestamp::now().since(Timestamp::from_milliseconds(0));
        telemetry.set(Id::StartTime, &[], Some(micros(began)));
        telemetry
    }
}

impl Telemetry {
    /// Returns a telemetry in which nothing has been counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts how long a stage of an intent's way took.
    pub fn stage(&self, stage: Stage, elapsed: Duration) {
        if let Some(series) = self.0.stages.get(stage as usize) {
            series.observe(elapsed);
        }
    }

    /// Counts a report that was settled.
    pub fn report(&self, order: &Order) {
        let status = order.status;
        // The others have no reason: what an order was unknown for is nothing that it is filled for.
        let has_reason = |status| {
            use OrderStatus::{Cancelled, Expired, Rejected, Unknown};
            matches!(status, Rejected | Cancelled | Expired | Unknown)
        };
        let reason = order.reason.as_ref().filter(|_| status.is_some_and(has_reason));
        let reason = reason.map_or(NONE, |reason| reason.code.as_str());
        let status = status.map_or(NONE, OrderStatus::as_str);
        self.count(Id::Reports, &[order.broker.as_str(), status, reason]);
    }

    /// Counts a word of a risk rule.
    pub fn signal(&self, rule_id: &'static str, level: Level) {
        self.count(Id::Signals, &[rule_id, level.as_str()]);
    }

    /// Adds one to a counter.
    pub fn count(&self, id: Id, labels: &[&str]) {
        match self.family(id).series(labels) {
            Some(series) => series.add(1),
            None => self.dropped(id),
        }
    }

    /// Adds a duration to a histogram.
    pub fn observe(&self, id: Id, labels: &[&str], elapsed: Duration) {
        match self.family(id).series(labels) {
            Some(series) => series.observe(elapsed),
            None => self.dropped(id),
        }
    }

    /// Sets a gauge, in whole units, microseconds or millionths as its unit is held; a figure that is not known is taken
    /// out, so that nobody takes an old one for true.
    pub fn set(&self, id: Id, labels: &[&str], to: Option<u64>) {
        if !self.family(id).set(labels, to) {
            self.dropped(id);
        }
    }

    /// Counts something as under way until what is returned is dropped.
    pub fn under_way(&self, id: Id, labels: &[&str]) -> UnderWay {
        let series = self.family(id).series(labels);
        if let Some(series) = &series {
            series.add(1);
        }
        UnderWay(series)
    }

    /// Takes note whether the process can take orders.
    pub fn note_ready(&self, is_ready: bool) {
        self.0.is_ready.store(is_ready, Ordering::Release);
    }

    /// Takes note that the process takes no more orders, whatever is noted later.
    pub fn note_ending(&self) {
        self.0.is_ending.store(true, Ordering::Release);
    }

    /// Whether the process can take orders, as far as was noted.
    pub fn is_ready(&self) -> bool {
        self.0.is_ready.load(Ordering::Acquire) && !self.0.is_ending.load(Ordering::Acquire)
    }

    /// Returns everything in the text format of Prometheus ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut text = String::new();
        for family in &self.0.families {
            family.write(&mut text);
        }
        text
    }

    fn family(&self, id: Id) -> &Family {
        &self.0.families[id as usize]
    }

    fn dropped(&self, id: Id) {
        if let Some(series) = self.family(Id::SeriesDropped).series(&[id.metric().name]) {
            series.add(1);
        }
    }
}

/// Returns the label of a broker: only those of the settings have one of their own.
pub fn broker_label<'a>(named: &'a str, mut known: impl Iterator<Item = &'a BrokerId>) -> &'a str {
    known
        .find(|broker| broker.as_str() == named)
        .map_or(OTHER, BrokerId::as_str)
}

/// Returns a duration as it is held.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns how much of a limit is used, as ratios are held; `None` where there is no limit.
pub fn share(used: i64, limit: i64) -> Option<u64> {
    if limit <= 0 {
        return None;
    }
    let millionths = i128::from(used.max(0)) * WHOLE / i128::from(limit);
    Some(u64::try_from(millionths).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "telemetry/telemetry_tests.rs"]
mod tests;
