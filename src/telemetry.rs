//! What operators measure: counters, gauges and histograms, in the text format of Prometheus.
//!
//! [`table`] names every metric; `prometheus-client` holds the values and writes the text. A [`Telemetry`] belongs to one
//! process; the worker and the sidecar of one process share it, so that both expose the same metrics. It is not global:
//! two workers in one process count separately.
//!
//! A metric has at most [`MAX_SERIES`] series, and a gauge whose value is unknown is absent from the text. The histograms
//! of the pipeline's stages are kept at hand, so that an order costs one lookup, for its outcome.
//!
//! Values become binary floats here and only here, for Prometheus.

mod family;
mod listener;
mod spans;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::registry::Registry;

use crate::config::otlp::OtlpSettings;
use crate::domain::id::BrokerId;
use crate::domain::order::Order;
use crate::domain::order_terms::OrderStatus;
use crate::domain::rule_signal::SignalLevel;
use crate::domain::time::Timestamp;
use crate::domain::trace_context::TraceContext;
use crate::telemetry::family::{MetricFamily, MetricSeries};
use crate::telemetry::spans::{QUEUE_FULL, SpanQueue};

pub use crate::telemetry::family::MAX_SERIES;
pub use crate::telemetry::listener::MetricsListener;
pub use crate::telemetry::spans::{Span, SpanExportError, SpanKind, SpanValue};
pub use crate::telemetry::table::{METRICS, Metric, MetricId, MetricKind, MetricUnit};
/// The media type of the exposition.
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// The label of a value without code, status or route.
pub const NO_LABEL: &str = "none";
/// The label of a broker that the settings do not name: names that callers choose create no series.
pub const OTHER_LABEL: &str = "other";
/// The ratio 1, in millionths.
const RATIO_SCALE: i128 = 1_000_000;

/// A stage of the submission pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipelineStage {
    /// From a request's arrival to its handling.
    Queue,
    /// Rules and limits.
    Reserve,
    /// From the queue of the broker's task to the broker's response.
    Broker,
    /// From the queue of the journal's writer to the acknowledgement.
    Journal,
    /// From arrival, or delivery, to the reply.
    Total,
}

impl PipelineStage {
    /// Every stage, in the pipeline's order.
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

/// All metrics of one process; clones share them.
#[derive(Debug, Clone)]
pub struct Telemetry(Arc<TelemetryState>);

#[derive(Debug)]
struct TelemetryState {
    families: Vec<Arc<MetricFamily>>,
    /// The same families, as the exposition reads them.
    registry: Registry,
    /// The histograms of the stages, since every order passes them.
    stages: Vec<MetricSeries>,
    /// Why the process accepts no orders; `None` while it does.
    obstacle: Mutex<Option<String>>,
    is_stopping: AtomicBool,
    /// The queue of spans; `None` where nothing is traced.
    spans: Option<SpanQueue>,
}

/// Something in flight; it is counted until this is dropped.
#[derive(Debug)]
pub struct InFlightGuard(Option<MetricSeries>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(series) = &self.0 {
            series.decrement();
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        // Only the exporter of spans can fail.
        Self::build(|_| Ok(None)).unwrap_or_else(|never: std::convert::Infallible| match never {})
    }
}

impl Telemetry {
    fn build<E>(start_spans: impl FnOnce(&MetricFamily) -> Result<Option<SpanQueue>, E>) -> Result<Self, E> {
        let families: Vec<_> = METRICS
            .iter()
            .map(|metric| Arc::new(MetricFamily::new(metric)))
            .collect();
        let mut registry = Registry::default();
        for family in &families {
            registry.register_collector(Box::new(Arc::clone(family)));
        }
        let stage = |stage: &PipelineStage| families[MetricId::Stages as usize].series(&[stage.as_str()]);
        let stages = PipelineStage::ALL.iter().filter_map(stage).collect();
        let spans = start_spans(&families[MetricId::Spans as usize])?;
        let telemetry = Self(Arc::new(TelemetryState {
            families,
            registry,
            stages,
            obstacle: Mutex::new(Some("it is starting".to_owned())),
            is_stopping: AtomicBool::new(false),
            spans,
        }));
        telemetry.set_gauge(MetricId::Build, &[env!("CARGO_PKG_VERSION")], Some(1));
        let start_time = Timestamp::now().saturating_duration_since(Timestamp::from_milliseconds(0));
        telemetry.set_gauge(MetricId::StartTime, &[], Some(duration_micros(start_time)));
        Ok(telemetry)
    }

    /// Returns a telemetry as the settings say: with the export of spans where they name a collector.
    ///
    /// # Errors
    /// When the export cannot be set up. A collector that is out of reach is no error: spans are dropped and counted.
    pub fn start(settings: &OtlpSettings) -> Result<Self, SpanExportError> {
        match settings.endpoint() {
            None => Ok(Self::default()),
            Some(endpoint) => Self::build(|outcomes| SpanQueue::start(settings, endpoint, outcomes).map(Some)),
        }
    }

    /// Reports whether calls are traced.
    pub fn is_tracing(&self) -> bool {
        self.0.spans.is_some()
    }

    /// Returns the context of a new trace; `None` where nothing is traced.
    pub fn new_trace(&self) -> Option<TraceContext> {
        self.0.spans.as_ref().map(SpanQueue::new_trace)
    }

    /// Records a span that ends now, if its trace is recorded. It never waits: a span without a place in the queue is
    /// counted and dropped.
    pub fn record_span(&self, context: TraceContext, span: impl FnOnce() -> Span) {
        if let Some(queue) = &self.0.spans
            && context.is_sampled()
            && !queue.offer(context, span())
        {
            self.increment(MetricId::Spans, &[QUEUE_FULL]);
        }
    }

    /// Exports the spans that are queued and ends the export, within `limit`.
    pub async fn finish_spans(&self, limit: Duration) {
        if let Some(queue) = &self.0.spans {
            queue.finish(limit).await;
        }
    }

    /// Returns a telemetry in which nothing has been counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records how long a stage took.
    pub fn observe_stage(&self, stage: PipelineStage, elapsed: Duration) {
        if let Some(series) = self.0.stages.get(stage as usize) {
            series.observe(elapsed);
        }
    }

    /// Counts a settled report.
    pub fn count_report(&self, order: &Order) {
        let status = order.status;
        // Other statuses have no reason: the one recorded while an order was unknown does not explain its fill.
        let has_reason = |status| {
            use OrderStatus::{Cancelled, Expired, Rejected, Unknown};
            matches!(status, Rejected | Cancelled | Expired | Unknown)
        };
        let reason = order.reason.as_ref().filter(|_| status.is_some_and(has_reason));
        let reason = reason.map_or(NO_LABEL, |reason| reason.code.as_str());
        let status = status.map_or(NO_LABEL, OrderStatus::as_str);
        self.increment(MetricId::Reports, &[order.broker.as_str(), status, reason]);
    }

    /// Counts a signal of a risk rule.
    pub fn count_signal(&self, rule_id: &'static str, level: SignalLevel) {
        self.increment(MetricId::Signals, &[rule_id, level.as_str()]);
    }

    /// Adds one to a counter.
    pub fn increment(&self, id: MetricId, labels: &[&str]) {
        match self.family(id).series(labels) {
            Some(series) => series.increment(),
            None => self.count_dropped_series(id),
        }
    }

    /// Adds a duration to a histogram.
    pub fn observe_duration(&self, id: MetricId, labels: &[&str], elapsed: Duration) {
        match self.family(id).series(labels) {
            Some(series) => series.observe(elapsed),
            None => self.count_dropped_series(id),
        }
    }

    /// Sets a gauge, in whole units, microseconds or millionths as its unit says. `None` removes it: an unknown value is
    /// absent, not old.
    pub fn set_gauge(&self, id: MetricId, labels: &[&str], to: Option<u64>) {
        if !self.family(id).set(labels, to) {
            self.count_dropped_series(id);
        }
    }

    /// Counts something as in flight until the returned guard is dropped.
    pub fn track_in_flight(&self, id: MetricId, labels: &[&str]) -> InFlightGuard {
        let series = self.family(id).series(labels);
        if let Some(series) = &series {
            series.increment();
        }
        InFlightGuard(series)
    }

    /// Records that the process accepts orders, or why it does not.
    pub fn set_ready(&self, ready: Result<(), String>) {
        *self.0.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = ready.err();
    }

    /// Records that the process accepts no more orders, regardless of later calls of [`Telemetry::set_ready`].
    pub fn set_stopping(&self) {
        self.0.is_stopping.store(true, Ordering::Release);
    }

    /// Returns why the process accepts no orders, as last recorded; `None` while it does.
    pub fn obstacle(&self) -> Option<String> {
        if self.0.is_stopping.load(Ordering::Acquire) {
            return Some("it is stopping".to_owned());
        }
        self.0.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns every metric in the text format of Prometheus ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    fn family(&self, id: MetricId) -> &MetricFamily {
        &self.0.families[id as usize]
    }

    fn count_dropped_series(&self, id: MetricId) {
        if let Some(series) = self.family(MetricId::SeriesDropped).series(&[id.metric().name]) {
            series.increment();
        }
    }
}

/// Returns the label of a broker: only the brokers of the settings have one of their own.
pub fn broker_label<'a>(named: &'a str, mut known: impl Iterator<Item = &'a BrokerId>) -> &'a str {
    known
        .find(|broker| broker.as_str() == named)
        .map_or(OTHER_LABEL, BrokerId::as_str)
}

/// Returns a duration in microseconds.
pub fn duration_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the used part of a limit, in millionths; `None` if there is no limit.
pub fn limit_ratio(used: i64, limit: i64) -> Option<u64> {
    if limit <= 0 {
        return None;
    }
    let millionths = i128::from(used.max(0)) * RATIO_SCALE / i128::from(limit);
    Some(u64::try_from(millionths).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "telemetry/telemetry_tests.rs"]
mod tests;
