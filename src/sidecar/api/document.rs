//! The OpenAPI document: the table of operations as JSON.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::operation::{Answer, Body, Example, Link, Operation, SchemaOf, Tag};
use super::parameter::{Parameter, Place};
use super::problems::{headers, shared_headers};
use crate::sidecar::auth::Access;
use crate::sidecar::json::APPLICATION_JSON;
use crate::wire::problem::Problem;

const OPENAPI_VERSION: &str = "3.1.0";
/// Where schemas with a name stand.
const SCHEMAS: &str = "/components/schemas";
/// The name of the way to show a key.
const KEY: &str = "key";
const ABOUT: &str = "Takes orders from trading algorithms and brings them to brokers, each at most once per account and \
    client order id.\n\nNumbers are exact decimals: a request may give a JSON number or a string in JSON number grammar, \
    answers are plain JSON numbers. An unknown field or parameter, or one that stands twice, is refused.\n\n**A 5xx says \
    that this call sent nothing to a broker**: whoever repeats it under the same `client_order_id` cannot double an \
    order. What is not known is told as 202, in status `unknown`. Errors are problem documents (RFC 9457); programs \
    decide by their `code`.";

/// Returns the document of a table of operations.
pub(in crate::sidecar) fn document(operations: &[Operation]) -> Value {
    // As answers are written: a field that is always there is required. A request's field that may be left out is left
    // out of what is required here, too.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| settings.definitions_path = SCHEMAS.into());
    let mut generator = settings.into_generator();
    generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in operations {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method] = one(operation, &mut generator);
    }
    let mut document = json!({
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "order-router",
            "summary": "The REST sidecar of an order execution router",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "The sidecar that serves this document"}],
        "tags": tags(operations),
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "headers": shared_headers(),
            "securitySchemes": {KEY: {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key. A sidecar without keys serves its own machine only and asks for none.",
            }},
        },
    });
    // The order of keys must not depend on how some other crate has serde_json built.
    document.sort_all_objects();
    document
}

fn tags(operations: &[Operation]) -> Vec<Value> {
    let used = |tag: &&Tag| operations.iter().any(|operation| operation.about.tag == **tag);
    let told = |tag: &Tag| {
        let (name, text) = tag.about();
        json!({"name": name, "description": text})
    };
    Tag::ALL.iter().filter(used).map(told).collect()
}

fn one(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let about = &operation.about;
    let mut common = vec![Parameter::request_id()];
    if about.asks_worker {
        common.extend([Parameter::deadline(), Parameter::traceparent()]);
    }
    let parameters: Vec<Value> = about
        .parameters
        .iter()
        .chain(&common)
        .map(|one| parameter(one, generator))
        .collect();
    let fields: Map<String, Value> = about
        .problem_fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema(generator).to_value()))
        .collect();
    let mut answers: Map<String, Value> = operation
        .problem_answers(&fields)
        .into_iter()
        .map(|(status, answer)| (status.to_string(), answer))
        .collect();
    for one in &about.answers {
        let (status, told) = (one.status.to_string(), answer(one, generator));
        match answers.get_mut(&status) {
            // Another media type of the same answer.
            Some(known) => known["content"][one.media_type] = told["content"][one.media_type].clone(),
            None => drop(answers.insert(status, told)),
        }
    }
    let mut value = json!({
        "operationId": about.id,
        "tags": [about.tag.about().0],
        "summary": about.summary,
        "description": description(operation),
        "parameters": parameters,
        "responses": answers,
        "security": security(operation.access),
    });
    if let Some(one) = &about.body {
        value["requestBody"] = body(one, generator);
    }
    value
}

fn description(operation: &Operation) -> String {
    let text = operation.about.text;
    let needed = operation.access.needs();
    let needed: Vec<&str> = needed.iter().map(|capability| capability.as_str()).collect();
    match needed.as_slice() {
        [] => text.to_owned(),
        needed => format!(
            "{text}\n\nWhere there are keys, it takes one with `{}`.",
            needed.join("` or `")
        ),
    }
}

/// A sidecar without keys asks for none, hence the empty alternative.
fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        _ => json!([{KEY: []}, {}]),
    }
}

fn parameter(parameter: &Parameter, generator: &mut SchemaGenerator) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": parameter.place.as_str(),
        "required": parameter.place == Place::Path,
        "description": parameter.text,
        "schema": (parameter.schema)(generator),
    });
    if let Some(text) = parameter.example {
        value["example"] = json_of(text);
    }
    value
}

fn body(body: &Body, generator: &mut SchemaGenerator) -> Value {
    json!({
        "required": body.is_required,
        "content": {APPLICATION_JSON: content(body.schema, &body.examples, generator, true)},
    })
}

fn answer(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut headers = headers(answer.status);
    for header in &answer.headers {
        headers.insert(
            header.name.to_owned(),
            json!({
                "description": header.text,
                "required": true,
                "schema": {"type": "string"},
                "example": header.example,
            }),
        );
    }
    let is_json = answer.media_type == APPLICATION_JSON;
    let mut value = json!({
        "description": answer.text,
        "headers": headers,
        "content": {answer.media_type: content(answer.schema, &answer.examples, generator, is_json)},
    });
    if !answer.links.is_empty() {
        value["links"] = answer.links.iter().map(link).collect();
    }
    value
}

fn content(schema: SchemaOf, examples: &[Example], generator: &mut SchemaGenerator, is_json: bool) -> Value {
    let mut content = json!({"schema": schema(generator)});
    if !examples.is_empty() {
        let told = |example: &Example| {
            let value = if is_json {
                json_of(example.text)
            } else {
                json!(example.text)
            };
            (example.name.to_owned(), json!({"value": value}))
        };
        content["examples"] = examples.iter().map(told).collect();
    }
    content
}

fn link(link: &Link) -> (String, Value) {
    let expressions = |pairs: &[(&str, &str)]| -> Map<String, Value> {
        pairs.iter().map(|(name, at)| ((*name).to_owned(), json!(at))).collect()
    };
    let mut value = json!({"operationId": link.operation_id, "parameters": expressions(link.parameters)});
    if !link.body.is_empty() {
        value["requestBody"] = Value::Object(expressions(link.body));
    }
    (link.name.to_owned(), value)
}

/// Returns an example's value. A test holds every one of them against its schema, what is no JSON included.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
