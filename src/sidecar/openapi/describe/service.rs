//! The router itself: its health, its brokers, and this description of it.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::fault::FaultCode;
use crate::sidecar::handlers::service::docs;
use crate::sidecar::handlers::service::docs::TEXT_HTML;
use crate::sidecar::handlers::service::events::TEXT_EVENT_STREAM;
use crate::sidecar::handlers::service::health::{HealthChecks, HealthReport};
use crate::sidecar::openapi::describe::published;
use crate::sidecar::openapi::operation::{
    OperationDescription, OperationTag, ResponseDescription, schema_of, text_schema,
};
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::response::json::APPLICATION_JSON;
use crate::telemetry;
use crate::wire::brokers::BrokerList;

/// `GET /health`.
pub(in crate::sidecar) fn get_health() -> OperationDescription {
    let text = "Tells whether orders can be taken. A problem names, in `checks`, the part that fails.";
    OperationDescription::new("getHealth", OperationTag::Service, "Tell whether orders can be taken", text)
        .ignores_query()
        .response(
            ResponseDescription::json::<HealthReport>(200, "They can.").example(
                "ok",
                r#"{"status": "ok", "checks": {"bus": {"status": "ok"}, "worker": {"status": "ok"}, "redis": {"status": "ok"}, "order_log": {"status": "ok"}}}"#,
            ),
        )
        .problem_codes(&[FaultCode::NoWorker, FaultCode::BusUnavailable, FaultCode::StoreUnavailable])
        .problem_field("checks", schema_of::<HealthChecks>)
}

/// `GET /health/live`.
pub(in crate::sidecar) fn get_liveness() -> OperationDescription {
    let text = "Tells that the process is there, however much is under way.";
    OperationDescription::new(
        "getLiveness",
        OperationTag::Service,
        "Tell that the process is there",
        text,
    )
    .ignores_query()
    .without_request_permit()
    .response(
        ResponseDescription::new(200, "It is.", APPLICATION_JSON, liveness_schema).example("ok", r#"{"status": "ok"}"#),
    )
}

/// `GET /events`.
pub(in crate::sidecar) fn follow_events() -> OperationDescription {
    let about = "Tells what happens, as server-sent events, as long as the client listens: `report`, `alert`, `state`, \
        `lock`, `adjustment`, `note` and `day`; `reset` where what follows does not continue what was told before. Each \
        `id` is a place in both streams: whoever sends the last one it has seen is told everything after it.";
    let seen = "The id of the last event that was seen; what comes after it is told.";
    OperationDescription::new("followEvents", OperationTag::Service, "Follow what happens", about)
        .parameter(Parameter::account("Of this account and of none alone."))
        .parameter(Parameter::query("last_event_id", seen, event_id_schema, r#""0-0""#))
        .parameter(Parameter::header("Last-Event-ID", seen, event_id_schema))
        .response(ResponseDescription::new(
            200,
            "The events, until either side closes.",
            TEXT_EVENT_STREAM,
            text_schema,
        ))
        .problem_codes(&[FaultCode::BusUnavailable, FaultCode::QueueFull])
}

/// `GET /brokers`.
pub(in crate::sidecar) fn list_brokers() -> OperationDescription {
    let text = "Tells which brokers the router routes to, and what each of them can do.";
    OperationDescription::new("listBrokers", OperationTag::Service, "List the brokers", text)
        .calls_worker()
        .response(
            ResponseDescription::json::<BrokerList>(200, "The brokers.")
                .example("default", published!("brokers.default")),
        )
}

/// `GET /metrics`.
pub(in crate::sidecar) fn get_metrics() -> OperationDescription {
    let about = "Tells what this process measures, in the text format of Prometheus.";
    OperationDescription::new("getMetrics", OperationTag::Service, "Tell what is measured", about)
        .ignores_query()
        .without_request_permit()
        .response(ResponseDescription::new(
            200,
            "The metrics.",
            telemetry::CONTENT_TYPE,
            text_schema,
        ))
}

/// `GET /openapi.json`.
pub(in crate::sidecar) fn get_openapi() -> OperationDescription {
    OperationDescription::new(
        "getOpenApi",
        OperationTag::Service,
        "This document",
        "The OpenAPI document of this API.",
    )
    .ignores_query()
    .response(ResponseDescription::new(
        200,
        "The document.",
        APPLICATION_JSON,
        openapi_schema,
    ))
}

/// `GET /docs`.
pub(in crate::sidecar) fn get_docs() -> OperationDescription {
    let about = "A page that shows this document; it brings all it needs.";
    OperationDescription::new("getDocs", OperationTag::Service, "This document as a page", about)
        .ignores_query()
        .response(ResponseDescription::new(200, "The page.", TEXT_HTML, text_schema))
}

/// `GET /docs/{file}`.
pub(in crate::sidecar) fn get_docs_file() -> OperationDescription {
    let about = "The script and the style sheet of the page.";
    let description = OperationDescription::new("getDocsFile", OperationTag::Service, "A file of the page", about)
        .ignores_query()
        .parameter(Parameter::path("file", "Its name.", page_file_schema, r#""page.js""#))
        .problem_codes(&[FaultCode::NotFound]);
    docs::page_file_names()
        .into_iter()
        .fold(description, |description, name| {
            description.response(ResponseDescription::new(
                200,
                "The file.",
                docs::file_media_type(name),
                text_schema,
            ))
        })
}

fn event_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9]{1,19}-[0-9]{1,19}(-[0-9a-f]{16})?$"})
}

fn liveness_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}})
}

fn openapi_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "required": ["openapi", "info", "paths"]})
}

fn page_file_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": docs::page_file_names()})
}
