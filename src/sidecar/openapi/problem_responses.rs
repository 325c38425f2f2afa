//! Which problems an operation can end in: its own codes, and those that come with its form.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::fault::{Fault, FaultCode, RETRY_AFTER};
use crate::sidecar::middleware::auth::RequiredAccess;
use crate::sidecar::openapi::operation::Operation;
use crate::sidecar::response::problem::{PROBLEM_JSON, internal_error};
use crate::wire::problem::Problem;

/// The codes of every operation: pages of foreign origins are kept out, and a path has its methods.
const COMMON_CODES: &[FaultCode] = &[FaultCode::NotEntitled, FaultCode::MethodNotAllowed];
/// The codes of operations that a key is needed for.
const KEY_CODES: &[FaultCode] = &[
    FaultCode::Unauthenticated,
    FaultCode::AccountMismatch,
    FaultCode::RateLimited,
];
/// The codes of operations that read their query: strictly.
const QUERY_CODES: &[FaultCode] = &[FaultCode::Malformed, FaultCode::InvalidField, FaultCode::UnknownField];
/// The codes of operations that put a request on the bus.
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
    /// Returns every code it can end in, in the order of the table of errors.
    fn all_problem_codes(&self) -> Vec<FaultCode> {
        let mut codes: Vec<FaultCode> = [COMMON_CODES, &self.about.problem_codes].concat();
        if self.access != RequiredAccess::Open {
            codes.extend(KEY_CODES);
        }
        if self.about.calls_worker {
            codes.extend(WORKER_CODES);
        }
        if self.about.reads_query {
            codes.extend(QUERY_CODES);
        }
        if self.about.body.is_some() {
            codes.extend(BODY_CODES);
        }
        if self.about.needs_request_permit {
            codes.push(FaultCode::QueueFull);
        }
        FaultCode::ALL
            .iter()
            .copied()
            .filter(|code| codes.contains(code))
            .collect()
    }

    /// Returns an example of every problem it can end in, by status.
    fn example_problems(&self) -> BTreeMap<u16, Vec<Problem>> {
        let mut problems: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
        let told = self
            .all_problem_codes()
            .into_iter()
            .map(|code| Problem::from(&Fault::new(code, format!("{}.", code.title()))));
        for problem in told.chain([internal_error()]) {
            problems.entry(problem.status).or_default().push(problem);
        }
        problems
    }

    /// Returns the answers that are problems, by status.
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

/// Returns the headers of an answer with this status, besides its own.
pub(in crate::sidecar) fn response_headers(status: u16) -> Map<String, Value> {
    let header = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    let own = match status {
        405 => Some(header("Allow")),
        429 | 503 => Some(header("Retry-After")),
        _ => None,
    };
    own.into_iter().chain([header("X-Request-Id")]).collect()
}

/// Returns the headers that answers share, by name.
pub(in crate::sidecar) fn shared_header_components() -> Value {
    let seconds = RETRY_AFTER.as_secs().max(1);
    json!({
        "X-Request-Id": {
            "description": "The id of the request: the client's own, or one the sidecar has given it.",
            "required": true,
            "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
            "example": "rebalance-17",
        },
        "Retry-After": {
            "description": "After how many seconds the same request may come again.",
            "required": true,
            "schema": {"type": "integer", "minimum": 1},
            "example": seconds,
        },
        "Allow": {
            "description": "The methods there are at this path.",
            "required": true,
            "schema": {"type": "string"},
            "example": "GET,HEAD",
        },
    })
}
