//! `GET /health` and `GET /health/live`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::config::api_keys::Capability;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::order_log::{OrderLogStatus, SyncState};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::{json, problem};
use crate::wire::problem::Problem;

/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");

/// How one part is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "HealthCheck")]
struct HealthCheck {
    /// `unknown` where a part behind it fails.
    #[schemars(extend("enum" = ["ok", "failing", "unknown"]))]
    status: &'static str,
    /// Why it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// How every part is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "HealthChecks")]
pub(in crate::sidecar) struct HealthChecks {
    /// NATS.
    bus: HealthCheck,
    /// Whether a worker answers.
    worker: HealthCheck,
    /// Redis, as the worker sees it.
    redis: HealthCheck,
    /// Whether the log is whole is told, and fails nothing: orders do not need it.
    order_log: HealthCheck,
}

impl HealthChecks {
    /// Leaves nothing but how each part is.
    fn strip_details(&mut self) {
        for check in [&mut self.bus, &mut self.worker, &mut self.redis, &mut self.order_log] {
            check.detail = None;
        }
    }
}

/// All parts are well.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Health")]
pub(in crate::sidecar) struct HealthReport {
    /// `ok`.
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    /// Every part.
    checks: HealthChecks,
}

/// A problem document with the checks in it.
#[derive(Debug, Serialize)]
struct HealthProblem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    checks: &'a HealthChecks,
}

/// Tells that the process is there.
pub(in crate::sidecar) async fn get_liveness() -> Response {
    json::raw_response(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}

/// Tells whether orders can be taken. What errors say may name servers: it is for those who may read.
pub(in crate::sidecar) async fn get_health(State(context): State<Arc<SidecarContext>>, caller: Principal) -> Response {
    let limit = CHECK_TIMEOUT.min(context.request_timeout);
    let (bus, worker) = tokio::join!(check_bus(&context, limit), check_worker(&context, limit));
    let (mut checks, mut failing) = evaluate_health(bus, worker, &context.order_log.status());
    if !caller.has_capability(Capability::Read) {
        checks.strip_details();
        failing = failing.map(|fault| Fault::new(fault.code, fault.code.title()));
    }
    // Texts only: there is nothing in them that JSON cannot hold.
    match failing {
        None => {
            let healthy = HealthReport { status: "ok", checks };
            json::raw_response(StatusCode::OK, serde_json::to_vec(&healthy).unwrap_or_default())
        }
        Some(fault) => {
            let problem = Problem::from(&fault);
            let unhealthy = HealthProblem {
                kind: &problem.kind,
                title: &problem.title,
                status: problem.status,
                detail: &problem.detail,
                code: &problem.code,
                checks: &checks,
            };
            problem::response_from_body(problem.status, serde_json::to_vec(&unhealthy).unwrap_or_default())
        }
    }
}

async fn check_bus(context: &SidecarContext, limit: Duration) -> Result<(), String> {
    let bus = context.bus_client.bus();
    if !bus.is_connected() {
        return Err("the connection is down".to_owned());
    }
    match timeout(limit, bus.round_trip()).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

async fn check_worker(context: &SidecarContext, limit: Duration) -> Result<(), RequestError> {
    let asked = context.bus_client.request(
        subjects::STATE_GET,
        EMPTY_OBJECT,
        Timestamp::now().saturating_add(limit),
    );
    match timeout(limit, asked).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(RequestError::Timeout),
    }
}

/// Returns every check, and the first that fails as a fault: whoever the fault is at comes before whoever suffers from it.
fn evaluate_health(
    bus: Result<(), String>,
    worker: Result<(), RequestError>,
    order_log_status: &OrderLogStatus,
) -> (HealthChecks, Option<Fault>) {
    let order_log = HealthCheck {
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
        let detail = format!("the bus is out of reach: {reason}");
        return (checks, Some(Fault::new(FaultCode::BusUnavailable, detail)));
    }
    let (worker, redis, fault) = match worker {
        Ok(()) => (ok(), ok(), None),
        Err(RequestError::Fault(fault)) if fault.code == FaultCode::StoreUnavailable => {
            (ok(), failing(&fault.detail), Some(fault))
        }
        Err(error) => {
            let reason = error.to_string();
            let detail = format!("no worker answers as it should: {reason}");
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
