//! The task that sends spans to a collector: OTLP over HTTP, in protobuf.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, redirect};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::https;
use crate::config::otlp::OtlpSettings;
use crate::repeated_log::log_at_intervals;
use crate::telemetry::family::MetricSeries;
use crate::telemetry::spans::protobuf;
use crate::telemetry::spans::span::TimedSpan;

/// The path of traces below the collector's URL (OTLP 1.x, section "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";
/// The media type of protobuf (the same section).
const PROTOBUF: &str = "application/x-protobuf";
/// How long the first span of a batch waits for others.
const BATCH_WAIT: Duration = Duration::from_millis(500);

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be exported to otlp.endpoint: {0}")]
pub struct SpanExportError(String);

/// What an exporter reads.
#[derive(Debug)]
pub(super) struct SpanReceiver {
    pub(super) receiver: mpsc::Receiver<TimedSpan>,
    /// Cancelled when what is queued is the rest.
    pub(super) stop: CancellationToken,
}

/// A client of one collector.
pub(super) struct SpanExporter {
    /// The counters of spans that were exported, and of those that were not.
    counts: [Option<MetricSeries>; 2],
    client: Client,
    url: String,
    batch_max: usize,
}

impl SpanExporter {
    pub(super) fn new(
        settings: &OtlpSettings,
        endpoint: &str,
        counts: [Option<MetricSeries>; 2],
    ) -> Result<Self, SpanExportError> {
        let tls = https::system_client_config(endpoint.starts_with("https://")).map_err(SpanExportError)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(Duration::from_millis(settings.timeout_ms))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| SpanExportError(error.to_string()))?;
        Ok(Self {
            counts,
            client,
            url: format!("{endpoint}{TRACES_PATH}"),
            batch_max: settings.batch_max,
        })
    }

    /// Exports batches until the queue is stopped and empty.
    pub(super) async fn run(self, mut queue: SpanReceiver) {
        let mut batch = Vec::with_capacity(self.batch_max);
        while self.collect(&mut queue, &mut batch).await {
            let [exported, failed] = &self.counts;
            let count = match self.export(&batch).await {
                Ok(()) => exported,
                Err(reason) => {
                    let url = &self.url;
                    log_at_intervals!(warn, url, reason, "the collector did not take spans; they are dropped");
                    failed
                }
            };
            if let Some(count) = count {
                count.add(batch.len() as u64);
            }
            batch.clear();
        }
    }

    /// Fills a batch; returns false if there is nothing left.
    async fn collect(&self, queue: &mut SpanReceiver, batch: &mut Vec<TimedSpan>) -> bool {
        tokio::select! {
            biased;
            received = queue.receiver.recv_many(batch, self.batch_max) => if received == 0 {
                return false;
            },
            () = queue.stop.cancelled() => return false,
        }
        let end = Instant::now() + BATCH_WAIT;
        while batch.len() < self.batch_max && !queue.stop.is_cancelled() {
            let room = self.batch_max - batch.len();
            let more = tokio::select! {
                more = timeout_at(end, queue.receiver.recv_many(batch, room)) => more,
                () = queue.stop.cancelled() => break,
            };
            if !matches!(more, Ok(received) if received > 0) {
                break;
            }
        }
        true
    }

    async fn export(&self, batch: &[TimedSpan]) -> Result<(), String> {
        let request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, PROTOBUF)
            .body(protobuf::encode_export_request(batch));
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("it replied {}", response.status())),
            Err(error) => Err(error.to_string()),
        }
    }
}
