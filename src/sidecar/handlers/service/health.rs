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
use crate::wire::health::{ComponentHealth, ComponentStatus, WorkerHealth};
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
    /// Why it fails; of a worker also which open live orders no key serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// The status of the journal.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "JournalCheck")]
struct JournalCheck {
    /// `incomplete`: it takes orders and has lost old entries, which an operator has to restore or to accept as lost.
    /// `behind`: it lacks entries that it acknowledged, was replaced or was deleted; an operator has to act. `failing`: it
    /// is nearly full or out of reach. `unknown`: the check depends on a component that fails.
    #[schemars(extend("enum" = ["ok", "incomplete", "behind", "failing", "unknown"]))]
    status: &'static str,
    /// Why it is not `ok`, and what to do.
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
    /// Whether a worker replies, and took the last orders.
    worker: HealthCheck,
    /// Redis, as a worker reports it: whether it takes the writes of a new order, and the shared state is complete.
    redis: HealthCheck,
    /// The journal, as a worker reports it.
    journal: JournalCheck,
    /// The order log. It never fails the health check, since orders do not depend on it.
    order_log: OrderLogCheck,
}

impl HealthChecks {
    /// Removes every detail and keeps the status of each component.
    fn strip_details(&mut self) {
        for check in [&mut self.bus, &mut self.worker, &mut self.redis] {
            check.detail = None;
        }
        self.journal.detail = None;
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

async fn check_worker(context: &SidecarContext, limit: Duration) -> Result<WorkerHealth, String> {
    let request = context
        .bus_client
        .request(subjects::HEALTH, EMPTY_OBJECT, Timestamp::now().saturating_add(limit));
    let reply = timeout(limit, request).await.unwrap_or(Err(RequestError::Timeout));
    let reply = reply.map_err(|error| error.to_string())?;
    serde_json::from_slice(&reply.body).map_err(|error| format!("its reply is unreadable: {error}"))
}

/// Returns every check, and the root cause as a fault: a component's failure precedes those that depend on it.
fn evaluate_health(
    bus: Result<(), String>,
    worker: Result<WorkerHealth, String>,
    order_log_status: &OrderLogStatus,
) -> (HealthChecks, Option<Fault>) {
    let unknown = || ComponentHealth {
        status: ComponentStatus::Unknown,
        detail: None,
    };
    let failing = |detail: String| ComponentHealth::new(ComponentStatus::Failing, detail);
    let (bus, worker, redis, journal, fault) = match (bus, worker) {
        (Err(reason), _) => {
            let detail = format!("NATS is unreachable: {reason}");
            let fault = Fault::new(FaultCode::BusUnavailable, detail);
            (failing(reason), unknown(), unknown(), unknown(), Some(fault))
        }
        (Ok(()), Err(reason)) => {
            let fault = Fault::new(FaultCode::NoWorker, format!("no worker replies correctly: {reason}"));
            (
                ComponentHealth::ok(),
                failing(reason),
                unknown(),
                unknown(),
                Some(fault),
            )
        }
        (Ok(()), Ok(health)) => {
            let fault = worker_fault(&health);
            (
                ComponentHealth::ok(),
                health.orders,
                health.redis,
                health.journal,
                fault,
            )
        }
    };
    let checks = HealthChecks {
        bus: bus.into(),
        worker: worker.into(),
        redis: redis.into(),
        journal: JournalCheck {
            status: journal.status.as_str(),
            detail: journal.detail,
        },
        order_log: OrderLogCheck {
            status: order_log_status.sync_state.as_str(),
            detail: (order_log_status.sync_state != SyncState::Current || order_log_status.skipped_entries > 0)
                .then(|| order_log_status.to_string()),
        },
    };
    (checks, fault)
}

/// Returns why a worker takes no orders; `None` if it does.
fn worker_fault(health: &WorkerHealth) -> Option<Fault> {
    let is_failing = |component: &ComponentHealth| {
        let status = component.status;
        !status.accepts_orders() && status != ComponentStatus::Unknown
    };
    let code = match health {
        health if health.accepts_orders => return None,
        health if is_failing(&health.journal) => FaultCode::BusUnavailable,
        _ => FaultCode::StoreUnavailable,
    };
    Some(Fault::new(code, health.obstacle().unwrap_or_default()))
}

impl From<ComponentHealth> for HealthCheck {
    fn from(component: ComponentHealth) -> Self {
        Self {
            status: component.status.as_str(),
            detail: component.detail,
        }
    }
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
        let ok = ComponentHealth::ok;
        let with = |status| ComponentHealth::new(status, "a reason");
        let healthy = || WorkerHealth::of(ok(), ok(), ok());
        let unknown = || with(ComponentStatus::Unknown);
        let failing = || with(ComponentStatus::Failing);
        for (bus, worker, code, statuses) in [
            (Ok(()), Ok(healthy()), None, ["ok", "ok", "ok", "ok"]),
            (
                Err("disconnected".to_owned()),
                Ok(healthy()),
                Some(FaultCode::BusUnavailable),
                ["failing", "unknown", "unknown", "unknown"],
            ),
            (
                Ok(()),
                Err("no reply".to_owned()),
                Some(FaultCode::NoWorker),
                ["ok", "failing", "unknown", "unknown"],
            ),
            (
                Ok(()),
                Ok(WorkerHealth::of(failing(), ok(), ok())),
                Some(FaultCode::StoreUnavailable),
                ["ok", "ok", "failing", "ok"],
            ),
            (
                Ok(()),
                Ok(WorkerHealth::of(unknown(), with(ComponentStatus::Behind), ok())),
                Some(FaultCode::BusUnavailable),
                ["ok", "ok", "unknown", "behind"],
            ),
            (
                Ok(()),
                Ok(WorkerHealth::of(ok(), with(ComponentStatus::Incomplete), ok())),
                None,
                ["ok", "ok", "ok", "incomplete"],
            ),
            (
                Ok(()),
                Ok(WorkerHealth::of(ok(), ok(), failing())),
                Some(FaultCode::StoreUnavailable),
                ["ok", "failing", "ok", "ok"],
            ),
        ] {
            let (checks, fault) = evaluate_health(bus, worker, &OrderLogStatus::default());
            assert_eq!(fault.as_ref().map(|fault| fault.code), code, "{fault:?}");
            let journal = checks.journal.status;
            assert_eq!(
                [checks.bus.status, checks.worker.status, checks.redis.status, journal],
                statuses
            );
            assert_eq!(checks.order_log.status, "opening");
        }
    }
}
