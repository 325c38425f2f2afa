//! Spans of traces: recorded by the worker and the sidecar, exported to an OpenTelemetry collector.
//!
//! Written here, and not with the crates of OpenTelemetry: a span's ids are those of the `traceparent` that already travels
//! from REST to the journal, and a span is made of measurements that are taken anyway. Without `otlp.endpoint` there is no
//! queue, and a call costs one comparison.

mod exporter;
mod protobuf;
mod span;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::otlp::OtlpSettings;
use crate::domain::trace_context::TraceContext;
use crate::telemetry::family::MetricFamily;
use crate::telemetry::spans::exporter::{SpanExporter, SpanReceiver};
use crate::telemetry::spans::span::TimedSpan;

pub use crate::telemetry::spans::exporter::SpanExportError;
pub use crate::telemetry::spans::span::{Span, SpanKind, SpanValue};

/// The outcome of spans that a collector has taken.
const EXPORTED: &str = "exported";
/// The outcome of spans that no collector took.
const EXPORT_FAILED: &str = "export_failed";
/// The outcome of spans for which the queue had no place.
pub(super) const QUEUE_FULL: &str = "queue_full";

/// The queue of an exporter, and its task.
#[derive(Debug)]
pub(super) struct SpanQueue {
    sender: mpsc::Sender<TimedSpan>,
    sample_percent: u8,
    stop: CancellationToken,
    exporter: Mutex<Option<JoinHandle<()>>>,
}

impl SpanQueue {
    /// Starts the exporter to a collector; `outcomes` counts its spans.
    ///
    /// # Errors
    /// When the HTTP client cannot be created.
    pub(super) fn start(
        settings: &OtlpSettings,
        endpoint: &str,
        outcomes: &MetricFamily,
    ) -> Result<Self, SpanExportError> {
        let (sender, receiver) = mpsc::channel(settings.queue_max);
        let stop = CancellationToken::new();
        let counts = [EXPORTED, EXPORT_FAILED].map(|outcome| outcomes.series(&[outcome]));
        let exporter = SpanExporter::new(settings, endpoint, counts)?;
        let source = SpanReceiver {
            receiver,
            stop: stop.clone(),
        };
        Ok(Self {
            sender,
            sample_percent: settings.sample_percent,
            stop,
            exporter: Mutex::new(Some(tokio::spawn(exporter.run(source)))),
        })
    }

    /// Returns the context of a new trace, which is recorded as often as the settings say.
    pub(super) fn new_trace(&self) -> TraceContext {
        let (drawn, _) = uuid::Uuid::new_v4().as_u64_pair();
        TraceContext::new_trace(drawn % 100 < u64::from(self.sample_percent))
    }

    /// Queues a span that ends now; returns whether there was a place.
    pub(super) fn offer(&self, context: TraceContext, span: Span) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ended_at = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let timed = TimedSpan {
            context,
            span,
            ended_at,
        };
        self.sender.try_send(timed).is_ok()
    }

    /// Exports what is queued and ends the exporter, within `limit`.
    pub(super) async fn finish(&self, limit: Duration) {
        self.stop.cancel();
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter
            && tokio::time::timeout(limit, exporter).await.is_err()
        {
            tracing::warn!("the last spans were not exported within {limit:?}");
        }
    }
}
