//! A metric's series: one value per combination of its labels' values.
//!
//! `prometheus-client` holds the values and writes the text. Its own `Family` accepts any number of series and writes
//! them in a random order, so the map of series is ours: bounded, and in the order of the labels.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::telemetry::table::{Metric, MetricKind};

/// The maximum number of series of one metric: far more than statuses, codes and configured brokers make.
pub const MAX_SERIES: usize = 2_000;

/// The names of a series' labels with their values.
type Labels = Vec<(&'static str, String)>;

/// The value of one combination of labels; clones share it.
#[derive(Debug, Clone)]
pub(super) enum MetricSeries {
    /// A counter.
    Counter(Counter),
    /// A gauge in whole units.
    Whole(Gauge<u64, AtomicU64>),
    /// A gauge that is set in millionths of its unit.
    Fraction(Gauge<f64, AtomicU64>),
    /// A histogram of durations, in seconds.
    Histogram(Histogram),
}

impl MetricSeries {
    fn new(metric: &Metric) -> Self {
        match metric.kind {
            MetricKind::Counter => Self::Counter(Counter::default()),
            MetricKind::Gauge if metric.unit.is_in_millionths() => Self::Fraction(Gauge::default()),
            MetricKind::Gauge => Self::Whole(Gauge::default()),
            MetricKind::Histogram(bounds) => Self::Histogram(Histogram::new(bounds.iter().map(Duration::as_secs_f64))),
        }
    }

    /// Adds one to a counter or to a gauge in whole units.
    pub(super) fn increment(&self) {
        match self {
            Self::Counter(counter) => _ = counter.inc(),
            Self::Whole(gauge) => _ = gauge.inc(),
            Self::Fraction(_) | Self::Histogram(_) => {}
        }
    }

    /// Adds to a counter.
    pub(super) fn add(&self, count: u64) {
        if let Self::Counter(counter) = self {
            counter.inc_by(count);
        }
    }

    /// Subtracts one from a gauge in whole units.
    pub(super) fn decrement(&self) {
        if let Self::Whole(gauge) = self {
            gauge.dec();
        }
    }

    /// Sets a gauge, in whole units or in millionths.
    fn set(&self, value: u64) {
        match self {
            Self::Whole(gauge) => _ = gauge.set(value),
            // A duration divides by a million.
            Self::Fraction(gauge) => _ = gauge.set(Duration::from_micros(value).as_secs_f64()),
            Self::Counter(_) | Self::Histogram(_) => {}
        }
    }

    /// Adds a duration to a histogram.
    pub(super) fn observe(&self, elapsed: Duration) {
        if let Self::Histogram(histogram) = self {
            histogram.observe(elapsed.as_secs_f64());
        }
    }

    fn as_metric(&self) -> &dyn EncodeMetric {
        match self {
            Self::Counter(counter) => counter,
            Self::Whole(gauge) => gauge,
            Self::Fraction(gauge) => gauge,
            Self::Histogram(histogram) => histogram,
        }
    }
}

/// A metric with its series.
#[derive(Debug)]
pub(super) struct MetricFamily {
    metric: &'static Metric,
    series: RwLock<BTreeMap<Labels, MetricSeries>>,
}

impl MetricFamily {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self {
            metric,
            series: RwLock::default(),
        }
    }

    /// Returns the labels of these values. A label without a value has an empty one.
    fn labels(&self, values: &[&str]) -> Labels {
        let values = values.iter().copied().chain(std::iter::repeat(""));
        let labels = self.metric.labels.iter().zip(values);
        labels.map(|(name, value)| (*name, value.to_owned())).collect()
    }

    /// Returns the series of these labels' values, which starts at zero; `None` if it is new and the metric has
    /// [`MAX_SERIES`] already.
    pub(super) fn series(&self, values: &[&str]) -> Option<MetricSeries> {
        let labels = self.labels(values);
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&labels) {
            return Some(series.clone());
        }
        drop(known);
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_SERIES && !known.contains_key(&labels) {
            return None;
        }
        let new = || MetricSeries::new(self.metric);
        Some(known.entry(labels).or_insert_with(new).clone())
    }

    /// Sets a gauge, or removes it if its value is unknown. Returns whether the series is stored.
    pub(super) fn set(&self, values: &[&str], value: Option<u64>) -> bool {
        let Some(value) = value else {
            let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
            known.remove(&self.labels(values));
            return true;
        };
        let series = self.series(values);
        series.inspect(|series| series.set(value)).is_some()
    }
}

impl Collector for MetricFamily {
    /// Encodes the family; nothing if it has no series.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(first) = known.values().next() else {
            return Ok(());
        };
        let Metric { name, help, .. } = self.metric;
        // The encoder appends `_total` to the name of a counter.
        let name = name.strip_suffix("_total").unwrap_or(name);
        let mut family = encoder.encode_descriptor(name, help, None, first.as_metric().metric_type())?;
        for (labels, series) in &known {
            series.as_metric().encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}
