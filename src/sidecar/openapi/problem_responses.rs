//! The problem responses of an operation: its own fault codes, and those of its body, query, key and worker.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::fault::{Fault, FaultCode};
use crate::sidecar::middleware::auth::RequiredAccess;
use crate::sidecar::openapi::operation::Operation;
use crate::sidecar::response::media_type::PROBLEM_JSON;
use crate::sidecar::response::problem::{internal_error, retry_after_seconds};
use crate::wire::problem::Problem;

/// The codes of every operation: cross-origin requests are refused, and a path supports certain methods.
const COMMON_CODES: &[FaultCode] = &[FaultCode::NotEntitled, FaultCode::MethodNotAllowed];
/// The codes of operations that need a key.
const KEY_CODES: &[FaultCode] = &[
    FaultCode::Unauthenticated,
    FaultCode::AccountMismatch,
    FaultCode::RateLimited,
];
/// The codes of operations that read their query, which they do strictly.
const QUERY_CODES: &[FaultCode] = &[FaultCode::Malformed, FaultCode::InvalidField, FaultCode::UnknownField];
/// The codes of operations that send a request on the bus.
const WORKER_CODES: &[FaultCode] = &[
    FaultCode::InvalidField,
    FaultCode::IntentExpired,
    FaultCode::PersistenceFailed,
    FaultCode::NoWorker,
    FaultCode::BusUnavailable,
    FaultCode::StoreUnavailable,
];
/// The codes of operations with a body.
const BODY_CODES: &[FaultCode] = &[
    FaultCode::Malformed,
    FaultCode::InvalidField,
    FaultCode::UnknownField,
    FaultCode::PayloadTooLarge,
    FaultCode::UnsupportedMediaType,
];

impl Operation {
    /// Returns every code of the operation, in the order of the table of fault codes.
    fn all_problem_codes(&self) -> Vec<FaultCode> {
        let mut codes: Vec<FaultCode> = [COMMON_CODES, &self.description.problem_codes].concat();
        if self.access != RequiredAccess::Open {
            codes.extend(KEY_CODES);
        }
        if self.description.calls_worker {
            codes.extend(WORKER_CODES);
        }
        if self.description.reads_query {
            codes.extend(QUERY_CODES);
        }
        if self.description.body.is_some() {
            codes.extend(BODY_CODES);
        }
        if self.description.needs_request_permit {
            codes.push(FaultCode::QueueFull);
        }
        FaultCode::ALL
            .iter()
            .copied()
            .filter(|code| codes.contains(code))
            .collect()
    }

    /// Returns an example of every problem, by status.
    fn example_problems(&self) -> BTreeMap<u16, Vec<Problem>> {
        let mut problems: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
        let examples = self
            .all_problem_codes()
            .into_iter()
            .map(|code| Problem::from(&Fault::new(code, format!("{}.", code.title()))));
        for problem in examples.chain([internal_error()]) {
            problems.entry(problem.status).or_default().push(problem);
        }
        problems
    }

    /// Returns the problem responses by status. `fields` are properties that the operation adds to its problems.
    pub(in crate::sidecar) fn problem_responses(&self, fields: &Map<String, Value>) -> BTreeMap<u16, Value> {
        let problems = self.example_problems();
        problems
            .into_iter()
            .map(|(status, problems)| (status, problem_response(status, &problems, fields)))
            .collect()
    }
}

fn problem_response(status: u16, problems: &[Problem], fields: &Map<String, Value>) -> Value {
    let codes: BTreeSet<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    let titles: Vec<String> = problems
        .iter()
        .map(|problem| format!("`{}`: {}.", problem.code, problem.title))
        .collect();
    let examples: Map<String, Value> = problems
        .iter()
        .map(|problem| (problem.code.clone(), json!({"value": problem})))
        .collect();
    let mut properties = fields.clone();
    properties.insert("status".to_owned(), json!({"const": status}));
    properties.insert("code".to_owned(), json!({"enum": codes}));
    let schema = json!({"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": properties}]});
    json!({
        "description": titles.join(" "),
        "headers": response_headers(status),
        "content": {PROBLEM_JSON: {"schema": schema, "examples": examples}},
    })
}

/// Returns the headers that every response with this status has.
pub(in crate::sidecar) fn response_headers(status: u16) -> Map<String, Value> {
    let header = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    let own = match status {
        405 => Some(header("Allow")),
        429 | 503 => Some(header("Retry-After")),
        _ => None,
    };
    own.into_iter().chain([header("X-Request-Id")]).collect()
}

/// Returns the headers that responses share, by name.
pub(in crate::sidecar) fn shared_header_components() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The request's id: the client's, or one that the sidecar generated.",
            "required": true,
            "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
            "example": "rebalance-17",
        },
        "Retry-After": {
            "description": "Seconds to wait before retrying the request.",
            "required": true,
            "schema": {"type": "integer", "minimum": 1},
            "example": retry_after_seconds(),
        },
        "Allow": {
            "description": "The methods that this path supports.",
            "required": true,
            "schema": {"type": "string"},
            "example": "GET,HEAD",
        },
    })
}
