//! `GET /health` and `GET /health/live`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::config::api_keys::Capability;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::order_log::{OrderLogStatus, SyncState};
use crate::sidecar::bus_bridge::EMPTY_OBJECT;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::{json, problem};
use crate::wire::problem::Problem;

/// The maximum time for a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// The status of one component.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "HealthCheck")]
struct HealthCheck {
    /// `unknown`: the check depends on a component that fails.
    #[schemars(extend("enum" = ["ok", "failing", "unknown"]))]
    status: &'static str,
    /// Why it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// The status of the order log.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "OrderLogCheck")]
struct OrderLogCheck {
    /// `ok`: it is current. `opening`: its file is being opened. `catching_up`: it reads the journal from the past.
    /// `behind`: its file or the journal is unavailable; it retries. `refused`: the journal is not the one it was built
    /// from, or has lost entries; an operator has to act.
    #[schemars(extend("enum" = ["ok", "opening", "catching_up", "behind", "refused"]))]
    status: &'static str,
    /// Why it is not current, or how many journal entries it skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// The status of every component.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "HealthChecks")]
pub(in crate::sidecar) struct HealthChecks {
    /// The connection to NATS.
    bus: HealthCheck,
    /// Whether a worker replies.
    worker: HealthCheck,
    /// Redis, as a worker reports it.
    redis: HealthCheck,
    /// The order log. It never fails the health check, since orders do not depend on it.
    order_log: OrderLogCheck,
}

impl HealthChecks {
    /// Removes every detail and keeps the status of each component.
    fn strip_details(&mut self) {
        for check in [&mut self.bus, &mut self.worker, &mut self.redis] {
            check.detail = None;
        }
        self.order_log.detail = None;
    }
}

/// The router accepts orders.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Health")]
pub(in crate::sidecar) struct HealthReport {
    /// Always `ok`.
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    /// The status of every component.
    checks: HealthChecks,
}

/// A problem document with the checks.
#[derive(Debug, Serialize)]
struct HealthProblem {
    #[serde(flatten)]
    problem: Problem,
    checks: HealthChecks,
}

/// Reports that the process is running.
pub(in crate::sidecar) async fn get_liveness() -> Response {
    json::raw_response(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}

/// Reports whether the router accepts orders. Details may name servers: only a sender with `can.read` gets them.
pub(in crate::sidecar) async fn get_health(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
) -> Response {
    let limit = CHECK_TIMEOUT.min(context.request_timeout);
    let (bus, worker) = tokio::join!(check_bus(&context, limit), check_worker(&context, limit));
    let (mut checks, mut failing) = evaluate_health(bus, worker, &context.order_log.status());
    if !principal.has_capability(Capability::Read) {
        checks.strip_details();
        failing = failing.map(|fault| Fault::new(fault.code, fault.code.title()));
    }
    match failing {
        None => json::encode_response(StatusCode::OK, &HealthReport { status: "ok", checks }),
        Some(fault) => {
            let problem = Problem::from(&fault);
            let status = problem.status;
            problem::response_from_body(status, json::encode(&HealthProblem { problem, checks }))
        }
    }
}

async fn check_bus(context: &SidecarContext, limit: Duration) -> Result<(), String> {
    let bus = context.bus_client.bus();
    if !bus.is_connected() {
        return Err("disconnected".to_owned());
    }
    match timeout(limit, bus.round_trip()).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no reply within {limit:?}")),
    }
}

async fn check_worker(context: &SidecarContext, limit: Duration) -> Result<(), RequestError> {
    let request = context.bus_client.request(
        subjects::STATE_GET,
        EMPTY_OBJECT,
        Timestamp::now().saturating_add(limit),
    );
    match timeout(limit, request).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(RequestError::Timeout),
    }
}

/// Returns every check, and the root cause as a fault: a component's failure precedes those that depend on it.
fn evaluate_health(
    bus: Result<(), String>,
    worker: Result<(), RequestError>,
    order_log_status: &OrderLogStatus,
) -> (HealthChecks, Option<Fault>) {
    let order_log = OrderLogCheck {
        status: order_log_status.sync_state.as_str(),
        detail: (order_log_status.sync_state != SyncState::Current || order_log_status.skipped_entries > 0)
            .then(|| order_log_status.to_string()),
    };
    let ok = || HealthCheck {
        status: "ok",
        detail: None,
    };
    let failing = |detail: &str| HealthCheck {
        status: "failing",
        detail: Some(detail.to_owned()),
    };
    let unknown = || HealthCheck {
        status: "unknown",
        detail: None,
    };
    if let Err(reason) = bus {
        let checks = HealthChecks {
            bus: failing(&reason),
            worker: unknown(),
            redis: unknown(),
            order_log,
        };
        let detail = format!("NATS is unreachable: {reason}");
        return (checks, Some(Fault::new(FaultCode::BusUnavailable, detail)));
    }
    let (worker, redis, fault) = match worker {
        Ok(()) => (ok(), ok(), None),
        Err(RequestError::Fault(fault)) if fault.code == FaultCode::StoreUnavailable => {
            (ok(), failing(&fault.detail), Some(fault))
        }
        Err(error) => {
            let reason = error.to_string();
            let detail = format!("no worker replies correctly: {reason}");
            (
                failing(&reason),
                unknown(),
                Some(Fault::new(FaultCode::NoWorker, detail)),
            )
        }
    };
    let bus = ok();
    let checks = HealthChecks {
        bus,
        worker,
        redis,
        order_log,
    };
    (checks, fault)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn schema_lists_every_status_of_the_order_log() {
        let reason = || "a reason".to_owned();
        let states = [
            SyncState::Opening,
            SyncState::CatchingUp,
            SyncState::Current,
            SyncState::WriteFailed(reason()),
            SyncState::StreamUnavailable(reason()),
            SyncState::JournalMismatch(reason()),
        ];
        let statuses: BTreeSet<&str> = states.iter().map(SyncState::as_str).collect();
        let schema = schemars::schema_for!(OrderLogCheck).to_value();
        let listed = schema["properties"]["status"]["enum"].as_array().unwrap();
        let listed: BTreeSet<&str> = listed.iter().filter_map(|status| status.as_str()).collect();
        assert_eq!(listed, statuses);
    }

    #[test]
    fn health_names_the_root_cause() {
        let worker_fault = |code| Err(RequestError::Fault(Fault::new(code, "a reason")));
        for (bus, worker, code, statuses) in [
            (Ok(()), Ok(()), None, ["ok", "ok", "ok"]),
            (
                Err("disconnected".to_owned()),
                Ok(()),
                Some(FaultCode::BusUnavailable),
                ["failing", "unknown", "unknown"],
            ),
            (
                Ok(()),
                worker_fault(FaultCode::StoreUnavailable),
                Some(FaultCode::StoreUnavailable),
                ["ok", "ok", "failing"],
            ),
            (
                Ok(()),
                Err(RequestError::Timeout),
                Some(FaultCode::NoWorker),
                ["ok", "failing", "unknown"],
            ),
        ] {
            let (checks, fault) = evaluate_health(bus, worker, &OrderLogStatus::default());
            assert_eq!(fault.map(|fault| fault.code), code);
            assert_eq!(
                [&checks.bus, &checks.worker, &checks.redis].map(|check| check.status),
                statuses
            );
            assert_eq!(checks.order_log.status, "opening");
        }
    }
}
