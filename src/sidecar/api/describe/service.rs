//! The router itself: its health, its brokers, and this description of it.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::published;
use crate::fault::Code;
use crate::sidecar::api::operation::{Answer, Description, Tag, of, text};
use crate::sidecar::api::parameter::Parameter;
use crate::sidecar::handlers::docs::{self, TEXT_HTML};
use crate::sidecar::handlers::events::TEXT_EVENT_STREAM;
use crate::sidecar::handlers::health::{Checks, Healthy};
use crate::sidecar::json::APPLICATION_JSON;
use crate::telemetry;
use crate::wire::brokers::BrokersAnswer;

/// `GET /health`.
pub(in crate::sidecar) fn health() -> Description {
    let text = "Tells whether orders can be taken. A problem names, in `checks`, the part that fails.";
    Description::new("getHealth", Tag::Service, "Tell whether orders can be taken", text)
        .ignores_query()
        .answer(
            Answer::json::<Healthy>(200, "They can.").example(
                "ok",
                r#"{"status": "ok", "checks": {"bus": {"status": "ok"}, "worker": {"status": "ok"}, "redis": {"status": "ok"}, "order_log": {"status": "ok"}}}"#,
            ),
        )
        .codes(&[Code::NoWorker, Code::BusUnavailable, Code::StoreUnavailable])
        .problem_field("checks", of::<Checks>)
}

/// `GET /health/live`.
pub(in crate::sidecar) fn live() -> Description {
    let text = "Tells that the process is there, however much is under way.";
    Description::new("getLiveness", Tag::Service, "Tell that the process is there", text)
        .ignores_query()
        .needs_no_place()
        .answer(Answer::of(200, "It is.", APPLICATION_JSON, alive).example("ok", r#"{"status": "ok"}"#))
}

/// `GET /events`.
pub(in crate::sidecar) fn events() -> Description {
    let about = "Tells what happens, as server-sent events, as long as the client listens: `report`, `alert`, `state`, \
        `lock`, `adjustment`, `note` and `day`; `reset` where what follows does not continue what was told before. Each \
        `id` is a place in both streams: whoever sends the last one it has seen is told everything after it.";
    let seen = "The id of the last event that was seen; what comes after it is told.";
    Description::new("followEvents", Tag::Service, "Follow what happens", about)
        .parameter(Parameter::account("Of this account and of none alone."))
        .parameter(Parameter::query("last_event_id", seen, event_id, r#""0-0""#))
        .parameter(Parameter::header("Last-Event-ID", seen, event_id))
        .answer(Answer::of(
            200,
            "The events, until either side closes.",
            TEXT_EVENT_STREAM,
            text,
        ))
        .codes(&[Code::BusUnavailable, Code::QueueFull])
}

/// `GET /brokers`.
pub(in crate::sidecar) fn brokers() -> Description {
    let text = "Tells which brokers the router routes to, and what each of them can do.";
    Description::new("listBrokers", Tag::Service, "List the brokers", text)
        .asks_worker()
        .answer(Answer::json::<BrokersAnswer>(200, "The brokers.").example("default", published!("brokers.default")))
}

/// `GET /metrics`.
pub(in crate::sidecar) fn metrics() -> Description {
    let about = "Tells what this process measures, in the text format of Prometheus.";
    Description::new("getMetrics", Tag::Service, "Tell what is measured", about)
        .ignores_query()
        .needs_no_place()
        .answer(Answer::of(200, "The metrics.", telemetry::CONTENT_TYPE, text))
}

/// `GET /openapi.json`.
pub(in crate::sidecar) fn openapi() -> Description {
    Description::new(
        "getOpenApi",
        Tag::Service,
        "This document",
        "The OpenAPI document of this API.",
    )
    .ignores_query()
    .answer(Answer::of(200, "The document.", APPLICATION_JSON, any_object))
}

/// `GET /docs`.
pub(in crate::sidecar) fn page() -> Description {
    let about = "A page that shows this document; it brings all it needs.";
    Description::new("getDocs", Tag::Service, "This document as a page", about)
        .ignores_query()
        .answer(Answer::of(200, "The page.", TEXT_HTML, text))
}

/// `GET /docs/{file}`.
pub(in crate::sidecar) fn page_file() -> Description {
    let about = "The script and the style sheet of the page.";
    let description = Description::new("getDocsFile", Tag::Service, "A file of the page", about)
        .ignores_query()
        .parameter(Parameter::path("file", "Its name.", file, r#""page.js""#))
        .codes(&[Code::NotFound]);
    docs::names().into_iter().fold(description, |description, name| {
        description.answer(Answer::of(200, "The file.", docs::media_type(name), text))
    })
}

fn event_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9]{1,19}-[0-9]{1,19}(-[0-9a-f]{16})?$"})
}

fn alive(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}})
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "required": ["openapi", "info", "paths"]})
}

fn file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": docs::names()})
}
