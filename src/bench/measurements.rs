//! Counts and latencies of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The precision of latencies, in significant digits.
const SIGNIFICANT_DIGITS: u8 = 3;
/// The longest recorded latency, one hour: longer than any order's deadline.
const MAX_LATENCY_US: u64 = 3_600_000_000;

/// The measurements of a load.
#[derive(Debug)]
pub struct LoadMeasurements {
    /// Orders with a report.
    pub orders: u64,
    /// Orders without one, by error code; `no_answer` and `unknown` are among the codes.
    pub errors: BTreeMap<&'static str, u64>,
    /// Orders that were due at a fixed rate and never sent; their waiting is among the latencies.
    pub unsent: u64,
    /// The time from the first order to the last reply.
    pub elapsed: Duration,
    /// The latencies of the orders, in microseconds.
    latencies: Option<Histogram<u64>>,
}

impl Default for LoadMeasurements {
    fn default() -> Self {
        Self {
            orders: 0,
            errors: BTreeMap::new(),
            unsent: 0,
            elapsed: Duration::ZERO,
            // The histogram supports this precision and range.
            latencies: Histogram::new_with_max(MAX_LATENCY_US, SIGNIFICANT_DIGITS).ok(),
        }
    }
}

impl LoadMeasurements {
    /// Counts an order with its latency.
    pub(in crate::bench) fn record_order(&mut self, latency: Duration) {
        self.orders += 1;
        self.record_latency(latency);
    }

    /// Counts an order that was due and not sent, with the time it has waited.
    pub(in crate::bench) fn record_unsent(&mut self, waited: Duration) {
        self.unsent += 1;
        self.record_latency(waited);
    }

    fn record_latency(&mut self, latency: Duration) {
        if let Some(latencies) = &mut self.latencies {
            latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_US));
        }
    }

    /// Counts an error.
    pub(in crate::bench) fn record_error(&mut self, code: &'static str) {
        *self.errors.entry(code).or_default() += 1;
    }

    /// Adds the measurements of another lane.
    pub(in crate::bench) fn merge(&mut self, other: &Self) {
        self.orders += other.orders;
        self.unsent += other.unsent;
        for (code, count) in &other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        if let (Some(latencies), Some(others)) = (&mut self.latencies, &other.latencies) {
            // Both histograms have the same range.
            let _ = latencies.add(others);
        }
    }

    /// Returns how many orders have no report.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Returns the throughput in orders a second, rounded down.
    pub fn throughput_per_s(&self) -> u64 {
        let per_second = u128::from(self.orders) * 1_000_000 / self.elapsed.as_micros().max(1);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }

    /// Returns the latency, in microseconds, that this share of the orders does not exceed; 0 without orders.
    pub fn latency_us(&self, share: f64) -> u64 {
        self.latencies
            .as_ref()
            .map_or(0, |latencies| latencies.value_at_quantile(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_of_lanes_are_merged() {
        let (mut all, mut lane) = (LoadMeasurements::default(), LoadMeasurements::default());
        for latency in 1..=1_000 {
            lane.record_order(Duration::from_millis(latency));
        }
        lane.record_error("queue_full");
        lane.record_unsent(Duration::from_secs(1));
        all.merge(&lane);
        all.merge(&lane);
        all.elapsed = Duration::from_secs(4);
        assert_eq!(
            (all.orders, all.errors_total(), all.throughput_per_s()),
            (2_000, 2, 500)
        );
        assert_eq!((all.latency_us(0.5), all.latency_us(1.0)), (501_247, 1_000_447));
        assert_eq!(all.unsent, 2);
        assert_eq!(LoadMeasurements::default().latency_us(0.5), 0);
    }
}
