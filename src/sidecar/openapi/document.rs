//! The OpenAPI document of a table of operations, as JSON.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::sidecar::middleware::auth::RequiredAccess;
use crate::sidecar::openapi::operation::{
    NamedExample, Operation, RequestBodyDescription, ResponseDescription, ResponseLink,
};
use crate::sidecar::openapi::parameter::{Parameter, ParameterLocation};
use crate::sidecar::openapi::problem_responses::{response_headers, shared_header_components};
use crate::sidecar::openapi::schema::SchemaFn;
use crate::sidecar::openapi::tag::OperationTag;
use crate::sidecar::response::media_type::APPLICATION_JSON;
use crate::wire::problem::Problem;

const OPENAPI_VERSION: &str = "3.1.0";
/// The location of named schemas.
const SCHEMAS_POINTER: &str = "/components/schemas";
/// The name of the security scheme.
const KEY_SCHEME: &str = "key";
const API_DESCRIPTION: &str = "Routes orders from trading algorithms to brokers, at most once per account and client order \
    id.\n\nNumbers are exact decimals: requests accept a JSON number or a string in JSON number grammar; responses contain \
    plain JSON numbers, or strings if the request has the header `Accept: application/json; numbers=string` (the content \
    type then has the same parameter). Unknown and duplicate fields or parameters are refused.\n\n**A 5xx means that this call sent nothing \
    to a broker**: retry it with the same `client_order_id`; the order cannot be duplicated. An unknown outcome is a 202 \
    with status `unknown`. Errors are problem documents (RFC 9457); programs should branch on `code`.";

/// Returns the document of a table of operations.
pub(in crate::sidecar) fn build_document(operations: &[Operation]) -> Value {
    // The schemas describe serialized values, so a field that responses always contain is required. Optional fields of
    // requests are skipped when they are serialized, and so they are not required.
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
                "description": "An API key. Without configured keys, the sidecar accepts loopback connections only and requires no key.",
            }},
        },
    });
    // A feature of serde_json that another crate enables must not change the order of the keys.
    document.sort_all_objects();
    document
}

fn describe_tags(operations: &[Operation]) -> Vec<Value> {
    let used = |tag: &&OperationTag| operations.iter().any(|operation| operation.description.tag == **tag);
    let describe = |tag: &OperationTag| {
        let (name, text) = tag.name_and_description();
        json!({"name": name, "description": text})
    };
    OperationTag::ALL.iter().filter(used).map(describe).collect()
}

fn describe_operation(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let description = &operation.description;
    let mut common = vec![Parameter::request_id()];
    if description.calls_worker {
        common.extend([Parameter::deadline(), Parameter::traceparent()]);
    }
    let parameters: Vec<Value> = description
        .parameters
        .iter()
        .chain(&common)
        .map(|parameter| describe_parameter(parameter, generator))
        .collect();
    let fields: Map<String, Value> = description
        .problem_fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema(generator).to_value()))
        .collect();
    let mut responses: Map<String, Value> = operation
        .problem_responses(&fields)
        .into_iter()
        .map(|(status, response)| (status.to_string(), response))
        .collect();
    for response in &description.responses {
        let (status, media_type) = (response.status.to_string(), response.media_type);
        let described = describe_response(response, generator);
        match responses.get_mut(&status) {
            // Another media type of the same response.
            Some(known) => known["content"][media_type] = described["content"][media_type].clone(),
            None => drop(responses.insert(status, described)),
        }
    }
    let mut value = json!({
        "operationId": description.operation_id,
        "tags": [description.tag.name_and_description().0],
        "summary": description.summary,
        "description": operation_text(operation),
        "parameters": parameters,
        "responses": responses,
        "security": security_requirements(operation.access),
    });
    if let Some(body) = &description.body {
        value["requestBody"] = describe_request_body(body, generator);
    }
    value
}

fn operation_text(operation: &Operation) -> String {
    let text = operation.description.description;
    let needed = operation.access.required_capabilities();
    let needed: Vec<&str> = needed.iter().map(|capability| capability.as_str()).collect();
    match needed.as_slice() {
        [] => text.to_owned(),
        needed => format!(
            "{text}\n\nIf API keys are configured, the key needs the capability `{}`.",
            needed.join("` or `")
        ),
    }
}

/// Returns the security requirement. The empty alternative is for a sidecar without keys.
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

fn describe_response(response: &ResponseDescription, generator: &mut SchemaGenerator) -> Value {
    let mut headers = response_headers(response.status);
    for header in &response.headers {
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
    let is_json = response.media_type == APPLICATION_JSON;
    let mut value = json!({
        "description": response.description,
        "headers": headers,
        "content": {response.media_type: media_type_object(response.schema, &response.examples, generator, is_json)},
    });
    if !response.links.is_empty() {
        value["links"] = response.links.iter().map(describe_link).collect();
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
        let describe = |example: &NamedExample| {
            let value = if is_json {
                parse_example(example.value)
            } else {
                json!(example.value)
            };
            (example.name.to_owned(), json!({"value": value}))
        };
        content["examples"] = examples.iter().map(describe).collect();
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

/// Returns an example's value, null if it is not JSON. A test validates every example against its schema.
fn parse_example(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
