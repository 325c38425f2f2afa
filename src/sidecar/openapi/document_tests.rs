use std::collections::BTreeSet;

use crate::fault::FaultCode;
use crate::sidecar::openapi::document::*;
use crate::sidecar::router::operations;

/// The operations of the contract.
const PROMISED_OPERATIONS: &[(&str, &str)] = &[
    ("get", "/health"),
    ("get", "/health/live"),
    ("get", "/brokers"),
    ("post", "/orders"),
    ("get", "/orders/{order_id}"),
    ("get", "/orders/by-client-id/{client_order_id}"),
    ("post", "/orders/{broker}/cancel"),
    ("post", "/orders/{broker}/replace"),
    ("post", "/orders/{broker}/cancel-all"),
    ("get", "/orders/log"),
    ("post", "/orders/{id}/notes"),
    ("get", "/executions"),
    ("get", "/events"),
    ("get", "/positions"),
    ("post", "/positions/{id}/close"),
    ("get", "/state"),
    ("put", "/state"),
    ("get", "/mode"),
    ("post", "/mode"),
    ("get", "/risk/alerts"),
    ("get", "/risk/locks"),
    ("post", "/risk/locks/{latch_id}/lift"),
    ("post", "/accounts/{account_id}/heartbeat"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/docs"),
];

fn full_document() -> Value {
    build_document(&operations())
}

/// Returns every operation of the document, with its method and path.
fn all_operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| (method.as_str(), path.as_str(), operation))
        })
        .collect()
}

/// Calls `visitor` with every value of the document and its key.
fn visit_values<'a>(name: &'a str, value: &'a Value, visitor: &mut dyn FnMut(&'a str, &'a Value)) {
    visitor(name, value);
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| visit_values(name, value, visitor)),
        Value::Array(items) => items.iter().for_each(|value| visit_values("", value, visitor)),
        _ => {}
    }
}

#[test]
fn document_has_every_operation_of_the_contract() {
    let document = full_document();
    for (method, path) in PROMISED_OPERATIONS {
        assert!(document["paths"][path][method].is_object(), "{method} {path}");
    }
    assert_eq!(
        all_operations(&document).len(),
        operations().len(),
        "two operations share a method and a path"
    );
}

#[test]
fn every_operation_has_a_unique_id_and_texts() {
    let document = full_document();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in all_operations(&document) {
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{method} {path}"
        );
        for name in ["summary", "description"] {
            assert!(
                !operation[name].as_str().unwrap().is_empty(),
                "{name} of {method} {path}"
            );
        }
        let description = operation["description"].as_str().unwrap();
        assert!(description.ends_with('.'), "{method} {path}: {description}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let description = response["description"].as_str().unwrap();
            assert!(description.ends_with('.'), "{status} of {method} {path}: {description}");
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{method} {path}"
        );
    }
}

#[test]
fn only_the_operations_of_old_clients_are_deprecated() {
    let document = full_document();
    let mut deprecated: Vec<(&str, &str)> = all_operations(&document)
        .into_iter()
        .filter(|(.., operation)| operation["deprecated"] == true)
        .map(|(method, path, _)| (method, path))
        .collect();
    deprecated.sort_unstable();
    assert_eq!(deprecated, [("get", "/mode"), ("post", "/mode")]);
}

#[test]
fn path_parameters_are_those_in_braces() {
    let document = full_document();
    for (method, path, operation) in all_operations(&document) {
        let in_braces = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let parameters = operation["parameters"].as_array().unwrap();
        let described = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let described: Vec<&str> = described.filter_map(|parameter| parameter["name"].as_str()).collect();
        assert_eq!(in_braces.collect::<Vec<_>>(), described, "{method} {path}");
    }
}

#[test]
fn every_reference_resolves() {
    let document = full_document();
    let ids: Vec<&Value> = all_operations(&document)
        .iter()
        .map(|(.., operation)| &operation["operationId"])
        .collect();
    visit_values("", &document, &mut |name, value| match name {
        "$ref" => {
            let pointer = value.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{value}");
        }
        "links" => {
            for link in value.as_object().unwrap().values() {
                assert!(ids.contains(&&link["operationId"]), "{link}");
            }
        }
        _ => {}
    });
}

#[test]
fn every_schema_name_is_one_type() {
    let document = full_document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        // schemars appends a number to the name of a second type.
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
        assert!(
            bare == name || !schemas.contains_key(bare),
            "{name} and {bare} are two types"
        );
    }
}

#[test]
fn every_example_is_json_and_every_body_has_one() {
    let document = full_document();
    visit_values("", &document, &mut |name, value| match name {
        "examples" => {
            for (name, example) in value.as_object().unwrap() {
                assert!(!example["value"].is_null(), "{name} is not JSON");
            }
        }
        "example" => assert!(!value.is_null(), "an example is not JSON"),
        _ => {}
    });
    for (method, path, operation) in all_operations(&document) {
        let body = &operation["requestBody"];
        let content = &body["content"][APPLICATION_JSON];
        assert!(body.is_null() || content["examples"].is_object(), "{method} {path}");
    }
}

#[test]
fn every_fault_code_belongs_to_an_operation() {
    let document = full_document();
    let text = document.to_string();
    for code in FaultCode::ALL {
        assert!(
            text.contains(&format!("\"{}\":{{\"value\"", code.as_str())),
            "{}",
            code.as_str()
        );
    }
}

#[test]
fn statuses_follow_from_the_form_of_an_operation() {
    let document = full_document();
    let statuses = |method: &str, path: &str| -> Vec<String> {
        let operation = &document["paths"][path][method];
        operation["responses"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(statuses("get", "/health/live"), ["200", "403", "405", "500"]);
    assert_eq!(
        statuses("get", "/risk/locks"),
        ["200", "400", "401", "403", "405", "429", "500", "503"]
    );
    assert_eq!(
        statuses("put", "/state"),
        [
            "200", "202", "400", "401", "403", "405", "409", "413", "415", "429", "500", "503"
        ]
    );
    let refused = &document["paths"]["/state"]["put"]["responses"]["429"];
    assert!(refused["headers"]["Retry-After"].is_object(), "{refused}");
}
