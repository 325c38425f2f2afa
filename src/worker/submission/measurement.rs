//! What is measured of one intent: how long it waited and took, and what came of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::request::BusRequest;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::telemetry::{self, MetricId, PipelineStage};
use crate::worker::journaling::append::SubmissionOutcome;
use crate::worker::router::Router;

/// Where an intent's answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum OutcomeSource {
    /// It was judged, and refused or sent.
    New,
    /// It was decided on without being sent.
    Decided,
    /// Its id was known.
    Known,
}

/// An intent under way.
pub(in crate::worker) struct IntentMeasurement<'a> {
    router: &'a Router,
    call: &'a BusRequest,
    started_at: Instant,
    /// How long it had waited in this process before.
    queue_wait: Duration,
}

impl<'a> IntentMeasurement<'a> {
    /// Counts how long the intent has waited. A request has done so in this process; a durable intent may have waited in
    /// its stream for as long as no worker was there, and each of its deliveries begins anew.
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

    /// Counts what came of the intent, and how long it took.
    pub(in crate::worker) fn finish(self, source: OutcomeSource, outcome: &Result<SubmissionOutcome, Fault>) {
        let Self { router, call, .. } = self;
        router
            .telemetry
            .observe_stage(PipelineStage::Total, self.queue_wait + self.started_at.elapsed());
        let named = call.broker.as_deref().unwrap_or(telemetry::NO_LABEL);
        let broker = telemetry::broker_label(named, router.brokers.keys());
        let (outcome, code) = outcome_labels(source, outcome);
        router
            .telemetry
            .increment(MetricId::Intents, &[broker, door_label(call), outcome, code]);
    }
}

/// Returns the label of the door a call came by.
pub(in crate::worker) fn door_label(call: &BusRequest) -> &'static str {
    if call.is_durable { "durable" } else { "request" }
}

fn outcome_labels(way: OutcomeSource, told: &Result<SubmissionOutcome, Fault>) -> (&'static str, &'static str) {
    match (way, told) {
        (_, Ok(told)) => {
            let reason = told.report.reason.as_ref();
            let outcome = if told.is_replay {
                "replayed"
            } else {
                told.report.status.as_str()
            };
            (
                outcome,
                reason.map_or(telemetry::NO_LABEL, |reason| reason.code.as_str()),
            )
        }
        (OutcomeSource::Decided, Err(denial)) => ("denied", denial.code.as_str()),
        // A denial told again names its rule; a conflict, or a journal that cannot be read, does not.
        (OutcomeSource::Known, Err(denial)) if denial.rule_id.is_some() => ("replayed", denial.code.as_str()),
        (_, Err(fault)) => ("refused", fault.code.as_str()),
    }
}
