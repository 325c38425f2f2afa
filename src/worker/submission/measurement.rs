//! The metrics of one intent: its wait, its duration and its outcome.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::request::BusRequest;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::telemetry::{self, MetricId, PipelineStage};
use crate::worker::router::Router;
use crate::worker::submission::outcome::SubmissionOutcome;

/// Where an intent's outcome came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum OutcomeSource {
    /// The intent was evaluated, and refused or sent.
    New,
    /// The order was decided and not sent: a denial or a dry run.
    Decided,
    /// The id was known.
    Known,
}

/// An intent in flight.
pub(in crate::worker) struct IntentMeasurement<'a> {
    router: &'a Router,
    call: &'a BusRequest,
    started_at: Instant,
    /// How long the intent had waited in this process before.
    queue_wait: Duration,
}

impl<'a> IntentMeasurement<'a> {
    /// Observes how long the intent has waited. A request has waited in this process. A durable intent may have waited
    /// in its stream for as long as no worker was there; each of its deliveries starts a new measurement.
    pub(in crate::worker) fn start(router: &'a Router, call: &'a BusRequest) -> Self {
        let waited = Timestamp::now().saturating_duration_since(call.received_at);
        if call.is_durable {
            router.telemetry.observe_duration(MetricId::DurableWait, &[], waited);
        } else {
            router.telemetry.observe_stage(PipelineStage::Queue, waited);
        }
        Self {
            router,
            call,
            started_at: Instant::now(),
            queue_wait: if call.is_durable { Duration::ZERO } else { waited },
        }
    }

    /// Observes the intent's outcome and duration.
    pub(in crate::worker) fn finish(self, source: OutcomeSource, outcome: &Result<SubmissionOutcome, Fault>) {
        let Self { router, call, .. } = self;
        router
            .telemetry
            .observe_stage(PipelineStage::Total, self.queue_wait + self.started_at.elapsed());
        let broker = call.broker.as_deref().unwrap_or(telemetry::NO_LABEL);
        let broker = telemetry::broker_label(broker, router.brokers.ids());
        let (outcome, code) = outcome_labels(source, outcome);
        router
            .telemetry
            .increment(MetricId::Intents, &[broker, door_label(call), outcome, code]);
    }
}

/// Returns the label of a call's door.
pub(in crate::worker) fn door_label(call: &BusRequest) -> &'static str {
    if call.is_durable { "durable" } else { "request" }
}

fn outcome_labels(source: OutcomeSource, result: &Result<SubmissionOutcome, Fault>) -> (&'static str, &'static str) {
    match (source, result) {
        (_, Ok(outcome)) => {
            let reason = outcome.report.reason.as_ref();
            let label = if outcome.is_replay {
                "replayed"
            } else {
                outcome.report.status.as_str()
            };
            (label, reason.map_or(telemetry::NO_LABEL, |reason| reason.code.as_str()))
        }
        (OutcomeSource::Decided, Err(denial)) => ("denied", denial.code.as_str()),
        // A replayed denial names its rule; a conflict, or a journal that cannot be read, does not.
        (OutcomeSource::Known, Err(denial)) if denial.rule_id.is_some() => ("replayed", denial.code.as_str()),
        (_, Err(fault)) => ("refused", fault.code.as_str()),
    }
}
