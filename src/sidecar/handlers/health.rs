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

use crate::bus::client::CallError;
use crate::bus::subjects;
use crate::config::keys::Capability;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::sidecar::auth::Caller;
use crate::sidecar::context::Context;
use crate::sidecar::order_log::{Standing, Status};
use crate::sidecar::{json, problem};
use crate::wire::problem::Problem;

/// How long a check may take.
const CHECK_TIME: Duration = Duration::from_secs(1);
const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");

/// How one part is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "HealthCheck")]
struct Check {
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
pub(in crate::sidecar) struct Checks {
    /// NATS.
    bus: Check,
    /// Whether a worker answers.
    worker: Check,
    /// Redis, as the worker sees it.
    redis: Check,
    /// Whether the log is whole is told, and fails nothing: orders do not need it.
    order_log: Check,
}

impl Checks {
    /// Leaves nothing but how each part is.
    fn bare(&mut self) {
        for check in [&mut self.bus, &mut self.worker, &mut self.redis, &mut self.order_log] {
            check.detail = None;
        }
    }
}

/// All parts are well.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Health")]
pub(in crate::sidecar) struct Healthy {
    /// `ok`.
    #[schemars(extend("const" = "ok"))]
    status: &'static str,
    /// Every part.
    checks: Checks,
}

/// A problem document with the checks in it.
#[derive(Debug, Serialize)]
struct Unhealthy<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    checks: &'a Checks,
}

/// Tells that the process is there.
pub(in crate::sidecar) async fn live() -> Response {
    json::response(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}

/// Tells whether orders can be taken. What errors say may name servers: it is for those who may read.
pub(in crate::sidecar) async fn health(State(context): State<Arc<Context>>, caller: Caller) -> Response {
    let limit = CHECK_TIME.min(context.request_timeout);
    let (bus, worker) = tokio::join!(reach_bus(&context, limit), ask_worker(&context, limit));
    let (mut checks, mut failing) = judge(bus, worker, &context.log.status());
    if !caller.has(Capability::Read) {
        checks.bare();
        failing = failing.map(|fault| Fault::new(fault.code, fault.code.title()));
    }
    // Texts only: there is nothing in them that JSON cannot hold.
    match failing {
        None => {
            let healthy = Healthy { status: "ok", checks };
            json::response(StatusCode::OK, serde_json::to_vec(&healthy).unwrap_or_default())
        }
        Some(fault) => {
            let problem = Problem::from(&fault);
            let unhealthy = Unhealthy {
                kind: &problem.kind,
                title: &problem.title,
                status: problem.status,
                detail: &problem.detail,
                code: &problem.code,
                checks: &checks,
            };
            problem::of_body(problem.status, serde_json::to_vec(&unhealthy).unwrap_or_default())
        }
    }
}

async fn reach_bus(context: &Context, limit: Duration) -> Result<(), String> {
    let bus = context.caller.bus();
    if !bus.is_connected() {
        return Err("the connection is down".to_owned());
    }
    match timeout(limit, bus.round_trip()).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

async fn ask_worker(context: &Context, limit: Duration) -> Result<(), CallError> {
    let asked = context
        .caller
        .request(subjects::STATE_GET, EMPTY_OBJECT, Timestamp::now().after(limit));
    match timeout(limit, asked).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(CallError::Timeout),
    }
}

/// Returns every check, and the first that fails as a fault: whoever the fault is at comes before whoever suffers from it.
fn judge(bus: Result<(), String>, worker: Result<(), CallError>, log: &Status) -> (Checks, Option<Fault>) {
    let order_log = Check {
        status: log.standing.as_str(),
        detail: (log.standing != Standing::Current || log.skipped > 0).then(|| log.to_string()),
    };
    let ok = || Check {
        status: "ok",
        detail: None,
    };
    let failing = |detail: &str| Check {
        status: "failing",
        detail: Some(detail.to_owned()),
    };
    let unknown = || Check {
        status: "unknown",
        detail: None,
    };
    if let Err(reason) = bus {
        let checks = Checks {
            bus: failing(&reason),
            worker: unknown(),
            redis: unknown(),
            order_log,
        };
        let detail = format!("the bus is out of reach: {reason}");
        return (checks, Some(Fault::new(Code::BusUnavailable, detail)));
    }
    let (worker, redis, fault) = match worker {
        Ok(()) => (ok(), ok(), None),
        Err(CallError::Fault(fault)) if fault.code == Code::StoreUnavailable => {
            (ok(), failing(&fault.detail), Some(fault))
        }
        Err(error) => {
            let reason = error.to_string();
            let detail = format!("no worker answers as it should: {reason}");
            (failing(&reason), unknown(), Some(Fault::new(Code::NoWorker, detail)))
        }
    };
    let bus = ok();
    let checks = Checks {
        bus,
        worker,
        redis,
        order_log,
    };
    (checks, fault)
}
