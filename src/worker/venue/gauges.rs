//! The gauges of a live venue's session.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::brokers::binance::session::VenueSession;
use crate::brokers::paper::binance::BROKER;
use crate::brokers::port::{LimitLedger, VenueInbox};
use crate::telemetry::{MetricId, Telemetry};
use crate::worker::periodic::repeat_every;

/// The pause between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Samples whether a session takes orders, and how far the venue's clock is from this machine's, until the worker stops.
pub(super) async fn run<L: LimitLedger, I: VenueInbox>(
    session: Arc<VenueSession<L, I>>,
    key_number: usize,
    telemetry: Telemetry,
    stop: CancellationToken,
) {
    let key = key_number.to_string();
    let mut runs = repeat_every(SAMPLE_INTERVAL, &stop);
    while runs.next().await {
        let offset = session.client.clock.offset_micros();
        let is_ready = session.client.is_key_accepted() && session.reports.is_complete() && offset.is_some();
        let labels = [BROKER, &key];
        telemetry.set_gauge(MetricId::VenueReady, &labels, Some(is_ready.into()));
        telemetry.set_gauge(MetricId::VenueClockOffset, &labels, offset.map(i64::unsigned_abs));
    }
}
