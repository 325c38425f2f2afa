//! The router itself: health, metrics, brokers, events, and the API's documentation.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::fault::FaultCode;
use crate::sidecar::handlers::service::health::{HealthChecks, HealthReport};
use crate::sidecar::handlers::service::{console, docs};
use crate::sidecar::openapi::describe::published_example;
use crate::sidecar::openapi::operation::{OperationDescription, ResponseDescription};
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::openapi::schema::{schema_of, text_schema};
use crate::sidecar::openapi::tag::OperationTag;
use crate::sidecar::response::media_type::{APPLICATION_JSON, TEXT_EVENT_STREAM, TEXT_HTML, media_type_of_file};
use crate::telemetry;
use crate::wire::brokers::BrokerList;

/// `GET /health`.
pub(in crate::sidecar) fn get_health() -> OperationDescription {
    let text = "Reports whether the router would accept an order now. If not, the problem's `checks` name the failing \
        component. A worker checks Redis with a write, and the journal's existence and room, once a second.";
    OperationDescription::new("getHealth", OperationTag::Service, "Get the router's health", text)
        .ignores_query()
        .response(
            ResponseDescription::json::<HealthReport>(200, "The router accepts orders.").example(
                "ok",
                r#"{"status": "ok", "checks": {"bus": {"status": "ok"}, "worker": {"status": "ok"}, "redis": {"status": "ok"}, "journal": {"status": "ok"}, "order_log": {"status": "ok"}}}"#,
            ),
        )
        .problem_codes(&[FaultCode::NoWorker, FaultCode::BusUnavailable, FaultCode::StoreUnavailable])
        .problem_field("checks", schema_of::<HealthChecks>)
}

/// `GET /health/live`.
pub(in crate::sidecar) fn get_liveness() -> OperationDescription {
    let text = "Reports that the process is running. Not subject to the limit of requests in flight.";
    OperationDescription::new("getLiveness", OperationTag::Service, "Get liveness", text)
        .ignores_query()
        .without_request_permit()
        .response(
            ResponseDescription::new(200, "The process is running.", APPLICATION_JSON, liveness_schema)
                .example("ok", r#"{"status": "ok"}"#),
        )
}

/// `GET /events`.
pub(in crate::sidecar) fn follow_events() -> OperationDescription {
    let text = "Streams `report`, `alert`, `state`, `lock`, `adjustment`, `note` and `day` as server-sent events until the \
        client disconnects. `reset` marks a gap: the next events do not continue the previous ones. Each `id` is a \
        position in both the journal and the alerts; reconnect with the last one to receive everything after it.";
    let last_event_id = "The last event id received; the stream continues after it.";
    OperationDescription::new("followEvents", OperationTag::Service, "Stream events", text)
        .parameter(Parameter::account(
            "Return only events of this account and events without an account.",
        ))
        .parameter(Parameter::query(
            "last_event_id",
            last_event_id,
            event_id_schema,
            r#""0-0""#,
        ))
        .parameter(Parameter::header("Last-Event-ID", last_event_id, event_id_schema))
        .response(ResponseDescription::new(
            200,
            "The events, until either side closes the connection.",
            TEXT_EVENT_STREAM,
            text_schema,
        ))
        .problem_codes(&[FaultCode::BusUnavailable, FaultCode::QueueFull])
}

/// `GET /brokers`.
pub(in crate::sidecar) fn list_brokers() -> OperationDescription {
    let text = "Lists the brokers and their capabilities.";
    OperationDescription::new("listBrokers", OperationTag::Service, "List brokers", text)
        .calls_worker()
        .response(
            ResponseDescription::json::<BrokerList>(200, "The brokers.")
                .example("default", published_example!("brokers.default")),
        )
}

/// `GET /metrics`.
pub(in crate::sidecar) fn get_metrics() -> OperationDescription {
    let text =
        "Returns this process's metrics in the Prometheus text format. Not subject to the limit of requests in flight.";
    OperationDescription::new("getMetrics", OperationTag::Service, "Get metrics", text)
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
        "Get the OpenAPI document",
        "Returns the OpenAPI document of this API.",
    )
    .ignores_query()
    .response(ResponseDescription::new(
        200,
        "The OpenAPI document.",
        APPLICATION_JSON,
        openapi_schema,
    ))
}

/// `GET /`.
pub(in crate::sidecar) fn get_console() -> OperationDescription {
    let text = "Serves the console: a page that shows and changes what this API does, without external resources. Where keys are \
        configured, the page asks for one.";
    OperationDescription::new("getConsole", OperationTag::Service, "Show the console", text)
        .ignores_query()
        .response(ResponseDescription::new(200, "The page.", TEXT_HTML, text_schema))
}

/// `GET /console/{file}`.
pub(in crate::sidecar) fn get_console_file() -> OperationDescription {
    let text = "Serves the console's script, style sheet and icon.";
    let parameter = Parameter::path("file", "The file name.", console_file_schema, r#""console.js""#);
    let title = "Get a file of the console";
    let description = OperationDescription::new("getConsoleFile", OperationTag::Service, title, text);
    with_files(description, parameter, console::console_file_names())
}

/// `GET /docs`.
pub(in crate::sidecar) fn get_docs() -> OperationDescription {
    let text = "Serves Swagger UI for this document, without external resources.";
    OperationDescription::new("getDocs", OperationTag::Service, "Show the API documentation", text)
        .ignores_query()
        .response(ResponseDescription::new(200, "The page.", TEXT_HTML, text_schema))
}

/// `GET /docs/{file}`.
pub(in crate::sidecar) fn get_docs_file() -> OperationDescription {
    let text = "Serves the page's scripts, style sheet and icon.";
    let parameter = Parameter::path("file", "The file name.", page_file_schema, r#""page.js""#);
    let title = "Get a file of the documentation page";
    let description = OperationDescription::new("getDocsFile", OperationTag::Service, title, text);
    with_files(description, parameter, docs::page_file_names())
}

/// Describes a path that serves the files of a page, named by a parameter.
fn with_files(
    description: OperationDescription,
    parameter: Parameter,
    names: impl IntoIterator<Item = &'static str>,
) -> OperationDescription {
    let description = description
        .ignores_query()
        .parameter(parameter)
        .problem_codes(&[FaultCode::NotFound]);
    names.into_iter().fold(description, |description, name| {
        let media_type = media_type_of_file(name);
        description.response(ResponseDescription::new(200, "The file.", media_type, text_schema))
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

fn console_file_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": console::console_file_names()})
}

fn page_file_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": docs::page_file_names()})
}
