//! A metric's series: one number, or one histogram, per combination of its labels' values.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::table::{Kind, Metric};
use super::text;

/// The most series of one metric: far more than statuses, codes and configured brokers make.
pub const MAX_SERIES: usize = 2_000;

/// The value of one combination of labels. All its operations are single steps without a lock.
#[derive(Debug)]
pub(super) enum Series {
    /// A counter or a gauge, in whole units or in millionths, as the metric's unit says.
    Number(AtomicU64),
    /// A histogram.
    Histogram(Histogram),
}

/// Durations, counted by bucket.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [Duration],
    /// One more than there are bounds: the last is for what lies beyond them.
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

impl Series {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Counter | Kind::Gauge => Self::Number(AtomicU64::new(0)),
            Kind::Histogram(bounds) => Self::Histogram(Histogram {
                bounds,
                counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
                sum_micros: AtomicU64::new(0),
            }),
        }
    }

    pub(super) fn add(&self, count: u64) {
        if let Self::Number(value) = self {
            value.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn subtract(&self, count: u64) {
        if let Self::Number(value) = self {
            value.fetch_sub(count, Ordering::Relaxed);
        }
    }

    fn set(&self, to: u64) {
        if let Self::Number(value) = self {
            value.store(to, Ordering::Relaxed);
        }
    }

    pub(super) fn observe(&self, duration: Duration) {
        if let Self::Histogram(histogram) = self {
            let place = histogram.bounds.partition_point(|bound| *bound < duration);
            if let Some(count) = histogram.counts.get(place) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            histogram
                .sum_micros
                .fetch_add(super::micros(duration), Ordering::Relaxed);
        }
    }
}

/// A metric with its series.
#[derive(Debug)]
pub(super) struct Family {
    metric: &'static Metric,
    /// By their labels as the text format writes them.
    series: RwLock<BTreeMap<String, Arc<Series>>>,
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self {
            metric,
            series: RwLock::default(),
        }
    }

    /// Returns the series of these labels' values, which begins at zero; `None` where there are too many.
    pub(super) fn series(&self, values: &[&str]) -> Option<Arc<Series>> {
        let labels = text::labels(self.metric.labels, values);
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&labels) {
            return Some(series.clone());
        }
        drop(known);
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_SERIES && !known.contains_key(&labels) {
            return None;
        }
        let new = || Arc::new(Series::of(self.metric.kind));
        Some(known.entry(labels).or_insert_with(new).clone())
    }

    /// Sets a gauge, or takes it out where its value is not known.
    pub(super) fn set(&self, values: &[&str], to: Option<u64>) -> bool {
        let Some(to) = to else {
            let labels = text::labels(self.metric.labels, values);
            let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
            known.remove(&labels);
            return true;
        };
        let series = self.series(values);
        series.inspect(|series| series.set(to)).is_some()
    }

    /// Writes the family in the text format; nothing where it has no series.
    pub(super) fn write(&self, into: &mut String) {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_empty() {
            return;
        }
        let Metric {
            name, kind, unit, help, ..
        } = self.metric;
        // Writing to a string cannot fail.
        let _ = writeln!(
            into,
            "# HELP {name} {}\n# TYPE {name} {}",
            text::help(help),
            kind.as_str()
        );
        for (labels, series) in &known {
            match &**series {
                Series::Number(value) => {
                    let value = text::number(value.load(Ordering::Relaxed), *unit);
                    let _ = writeln!(into, "{name}{} {value}", text::braces(labels));
                }
                Series::Histogram(histogram) => histogram.write(into, self.metric, labels),
            }
        }
    }
}

impl Histogram {
    fn write(&self, into: &mut String, metric: &Metric, labels: &str) {
        let (name, mut count) = (metric.name, 0);
        let bounds = self.bounds.iter().map(|bound| text::seconds(*bound));
        for (bucket, bound) in self.counts.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            // The count is made of the buckets, so that they agree while others count on.
            count += bucket.load(Ordering::Relaxed);
            let separator = if labels.is_empty() { "" } else { "," };
            let _ = writeln!(into, "{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {count}");
        }
        let sum = text::number(self.sum_micros.load(Ordering::Relaxed), metric.unit);
        let labels = text::braces(labels);
        let _ = writeln!(into, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}");
    }
}
