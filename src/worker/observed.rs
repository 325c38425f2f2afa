//! What is measured of one intent: how long it waited and took, and what came of it.

use std::time::Duration;

use tokio::time::Instant;

use super::recording::Told;
use super::router::Router;
use crate::bus::call::Call;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::telemetry::{self, Id, Stage};

/// Where an intent's answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It was judged, and refused or sent.
    New,
    /// It was decided on without being sent.
    Decided,
    /// Its id was known.
    Known,
}

/// An intent under way.
pub(super) struct Observed<'a> {
    router: &'a Router,
    call: &'a Call,
    begun: Instant,
    /// How long it had waited in this process before.
    waited: Duration,
}

impl<'a> Observed<'a> {
    /// Counts how long the intent has waited. A request has done so in this process; a durable intent may have waited in
    /// its stream for as long as no worker was there, and each of its deliveries begins anew.
    pub(super) fn begin(router: &'a Router, call: &'a Call) -> Self {
        let waited = Timestamp::now().since(call.arrived_at);
        if call.durable {
            router.telemetry.observe(Id::DurableWait, &[], waited);
        } else {
            router.telemetry.stage(Stage::Queue, waited);
        }
        Self {
            router,
            call,
            begun: Instant::now(),
            waited: if call.durable { Duration::ZERO } else { waited },
        }
    }

    /// Counts what came of the intent, and how long it took.
    pub(super) fn end(self, way: Way, told: &Result<Told, Fault>) {
        let Self { router, call, .. } = self;
        router.telemetry.stage(Stage::Total, self.waited + self.begun.elapsed());
        let named = call.broker.as_deref().unwrap_or(telemetry::NONE);
        let broker = telemetry::broker_label(named, router.brokers.keys());
        let (outcome, code) = outcome(way, told);
        router
            .telemetry
            .count(Id::Intents, &[broker, door(call), outcome, code]);
    }
}

/// Returns the label of the door a call came by.
pub(super) fn door(call: &Call) -> &'static str {
    if call.durable { "durable" } else { "request" }
}

fn outcome(way: Way, told: &Result<Told, Fault>) -> (&'static str, &'static str) {
    match (way, told) {
        (_, Ok(told)) => {
            let reason = told.report.reason.as_ref();
            let outcome = if told.is_replay {
                "replayed"
            } else {
                told.report.status.as_str()
            };
            (outcome, reason.map_or(telemetry::NONE, |reason| reason.code.as_str()))
        }
        (Way::Decided, Err(denial)) => ("denied", denial.code.as_str()),
        // A denial told again names its rule; a conflict, or a journal that cannot be read, does not.
        (Way::Known, Err(denial)) if denial.rule_id.is_some() => ("replayed", denial.code.as_str()),
        (_, Err(fault)) => ("refused", fault.code.as_str()),
    }
}
