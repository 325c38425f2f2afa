//! The OpenAPI document: the table of operations as JSON.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::sidecar::middleware::auth::RequiredAccess;
use crate::sidecar::openapi::operation::{
    NamedExample, Operation, OperationTag, RequestBodyDescription, ResponseDescription, ResponseLink, SchemaFn,
};
use crate::sidecar::openapi::parameter::{Parameter, ParameterLocation};
use crate::sidecar::openapi::problem_responses::{response_headers, shared_header_components};
use crate::sidecar::response::json::APPLICATION_JSON;
use crate::wire::problem::Problem;

const OPENAPI_VERSION: &str = "3.1.0";
/// Where schemas with a name stand.
const SCHEMAS_POINTER: &str = "/components/schemas";
/// The name of the way to show a key.
const KEY_SCHEME: &str = "key";
const API_DESCRIPTION: &str = "Takes orders from trading algorithms and brings them to brokers, each at most once per account and \
    client order id.\n\nNumbers are exact decimals: a request may give a JSON number or a string in JSON number grammar, \
    answers are plain JSON numbers. An unknown field or parameter, or one that stands twice, is refused.\n\n**A 5xx says \
    that this call sent nothing to a broker**: whoever repeats it under the same `client_order_id` cannot double an \
    order. What is not known is told as 202, in status `unknown`. Errors are problem documents (RFC 9457); programs \
    decide by their `code`.";

/// Returns the document of a table of operations.
pub(in crate::sidecar) fn build_document(operations: &[Operation]) -> Value {
    // As answers are written: a field that is always there is required. A request's field that may be left out is left
    // out of what is required here, too.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| settings.definitions_path = SCHEMAS_POINTER.into());
    let mut generator = settings.into_generator();
    generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in operations {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method] = describe_operation(operation, &mut generator);
    }
    let mut document = json!({
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "order-router",
            "summary": "The REST sidecar of an order execution router",
            "description": API_DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "The sidecar that serves this document"}],
        "tags": describe_tags(operations),
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "headers": shared_header_components(),
            "securitySchemes": {KEY_SCHEME: {
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

fn describe_tags(operations: &[Operation]) -> Vec<Value> {
    let used = |tag: &&OperationTag| operations.iter().any(|operation| operation.about.tag == **tag);
    let told = |tag: &OperationTag| {
        let (name, text) = tag.name_and_description();
        json!({"name": name, "description": text})
    };
    OperationTag::ALL.iter().filter(used).map(told).collect()
}

fn describe_operation(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let about = &operation.about;
    let mut common = vec![Parameter::request_id()];
    if about.calls_worker {
        common.extend([Parameter::deadline(), Parameter::traceparent()]);
    }
    let parameters: Vec<Value> = about
        .parameters
        .iter()
        .chain(&common)
        .map(|one| describe_parameter(one, generator))
        .collect();
    let fields: Map<String, Value> = about
        .problem_fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema(generator).to_value()))
        .collect();
    let mut answers: Map<String, Value> = operation
        .problem_responses(&fields)
        .into_iter()
        .map(|(status, answer)| (status.to_string(), answer))
        .collect();
    for one in &about.responses {
        let (status, told) = (one.status.to_string(), describe_response(one, generator));
        match answers.get_mut(&status) {
            // Another media type of the same answer.
            Some(known) => known["content"][one.media_type] = told["content"][one.media_type].clone(),
            None => drop(answers.insert(status, told)),
        }
    }
    let mut value = json!({
        "operationId": about.operation_id,
        "tags": [about.tag.name_and_description().0],
        "summary": about.summary,
        "description": operation_text(operation),
        "parameters": parameters,
        "responses": answers,
        "security": security_requirements(operation.access),
    });
    if let Some(one) = &about.body {
        value["requestBody"] = describe_request_body(one, generator);
    }
    value
}

fn operation_text(operation: &Operation) -> String {
    let text = operation.about.description;
    let needed = operation.access.required_capabilities();
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
fn security_requirements(access: RequiredAccess) -> Value {
    match access {
        RequiredAccess::Open => json!([]),
        _ => json!([{KEY_SCHEME: []}, {}]),
    }
}

fn describe_parameter(parameter: &Parameter, generator: &mut SchemaGenerator) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": parameter.location.as_str(),
        "required": parameter.location == ParameterLocation::Path,
        "description": parameter.description,
        "schema": (parameter.schema)(generator),
    });
    if let Some(text) = parameter.example {
        value["example"] = parse_example(text);
    }
    value
}

fn describe_request_body(body: &RequestBodyDescription, generator: &mut SchemaGenerator) -> Value {
    json!({
        "required": body.is_required,
        "content": {APPLICATION_JSON: media_type_object(body.schema, &body.examples, generator, true)},
    })
}

fn describe_response(answer: &ResponseDescription, generator: &mut SchemaGenerator) -> Value {
    let mut headers = response_headers(answer.status);
    for header in &answer.headers {
        headers.insert(
            header.name.to_owned(),
            json!({
                "description": header.description,
                "required": true,
                "schema": {"type": "string"},
                "example": header.example,
            }),
        );
    }
    let is_json = answer.media_type == APPLICATION_JSON;
    let mut value = json!({
        "description": answer.description,
        "headers": headers,
        "content": {answer.media_type: media_type_object(answer.schema, &answer.examples, generator, is_json)},
    });
    if !answer.links.is_empty() {
        value["links"] = answer.links.iter().map(describe_link).collect();
    }
    value
}

fn media_type_object(
    schema: SchemaFn,
    examples: &[NamedExample],
    generator: &mut SchemaGenerator,
    is_json: bool,
) -> Value {
    let mut content = json!({"schema": schema(generator)});
    if !examples.is_empty() {
        let told = |example: &NamedExample| {
            let value = if is_json {
                parse_example(example.value)
            } else {
                json!(example.value)
            };
            (example.name.to_owned(), json!({"value": value}))
        };
        content["examples"] = examples.iter().map(told).collect();
    }
    content
}

fn describe_link(link: &ResponseLink) -> (String, Value) {
    let expressions = |pairs: &[(&str, &str)]| -> Map<String, Value> {
        pairs.iter().map(|(name, at)| ((*name).to_owned(), json!(at))).collect()
    };
    let mut value = json!({"operationId": link.operation_id, "parameters": expressions(link.parameters)});
    if !link.request_body.is_empty() {
        value["requestBody"] = Value::Object(expressions(link.request_body));
    }
    (link.name.to_owned(), value)
}

/// Returns an example's value. A test holds every one of them against its schema, what is no JSON included.
fn parse_example(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
