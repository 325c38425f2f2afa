#!/usr/bin/env python3
"""Checks a running sidecar against the OpenAPI document it serves.

    .tools/venv/bin/python tests/integration/rest_properties.py http://127.0.0.1:8100 [--examples 30] [--seed 1]

1. The document is valid OpenAPI 3.1, and every example in it matches its schema.
2. schemathesis sends valid and invalid requests, alone and in sequences, and finds no 5xx, no undocumented status, header
   or field, and no invalid request that is accepted.

The script submits orders and changes the state: run it against a router without other users. `SIDECAR_KEY` may hold an API
key. The script connects only to the given address. Exit status: 0 nothing found, 1 findings (on standard output).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

# A well-formed intent can be denied by a rule, or refused because its symbol does not exist.
CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
# The operations that change the state run last: a halted router accepts no orders.
STATE_CHANGES = ["changeState", "changeMode"]
# They have no links to other operations.
WITHOUT_SEQUENCES = "examples,coverage,fuzzing"
# Event streams do not end, so schemathesis skips them.
STREAM = "text/event-stream"
DOCUMENT_URI = "urn:document"


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", ["paths", path, method], operation


def examples(document):
    """Yields the name, the path of the schema and the value of every example."""
    for name, at, operation in operations(document):
        for index, parameter in enumerate(operation["parameters"]):
            if "example" in parameter:
                yield f"{parameter['name']} of {name}", [*at, "parameters", str(index), "schema"], parameter["example"]
        contents = [([*at, "requestBody"], operation.get("requestBody", {}))]
        contents += [([*at, "responses", status], response) for status, response in operation["responses"].items()]
        for base, holder in contents:
            for media_type, content in holder.get("content", {}).items():
                for title, example in content.get("examples", {}).items():
                    schema = [*base, "content", media_type, "schema"]
                    yield f"{title} of {' '.join(base[3:])} of {name}", schema, example["value"]


def pointer(parts):
    """Returns a JSON pointer as a URI fragment."""
    escaped = (part.replace("~", "~0").replace("/", "~1") for part in parts)
    return "#/" + "/".join(urllib.parse.quote(part, safe="~") for part in escaped)


def check_document(document):
    findings = [f"the document: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
    registry = Registry().with_resource(DOCUMENT_URI, DRAFT202012.create_resource(document))
    count = 0
    for name, schema, value in examples(document):
        validator = Draft202012Validator({"$ref": DOCUMENT_URI + pointer(schema)}, registry=registry)
        findings += [f"the example {name}: {error.message}" for error in validator.iter_errors(value)]
        count += 1
    print(f"{count} examples are checked against their schemas", flush=True)
    if count == 0:
        findings.append("the document has no example")
    return findings


def streams(document):
    for _, _, operation in operations(document):
        if any(STREAM in response.get("content", {}) for response in operation["responses"].values()):
            yield operation["operationId"]


def run_schemathesis(url, key, arguments, which):
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json", *CHECKS, *which]
    command += ["--max-examples", str(arguments.examples), "--seed", str(arguments.seed), "--request-timeout", "20"]
    command += ["--generation-database", "none", "--continue-on-failure", "--no-color", "--warnings", "off"]
    if key:
        command += ["--header", f"Authorization: Bearer {key}"]
    # An empty working directory: no schemathesis settings of another directory apply.
    with tempfile.TemporaryDirectory() as directory:
        return subprocess.run(command, cwd=directory).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="where the sidecar listens")
    parser.add_argument("--examples", type=int, default=30, help="test cases per operation and phase, at most")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same test cases")
    arguments = parser.parse_args()
    url, key = arguments.url.rstrip("/"), os.environ.get("SIDECAR_KEY")

    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as response:
        document = json.load(response)
    findings = check_document(document)
    for finding in findings:
        print(f"finding: {finding}", flush=True)
    excluded = [f"--exclude-operation-id={name}" for name in [*STATE_CHANGES, *streams(document)]]
    changes = [f"--include-operation-id={name}" for name in STATE_CHANGES]
    # Both runs always execute, so findings of the first do not hide those of the second.
    is_clean = [
        run_schemathesis(url, key, arguments, excluded),
        run_schemathesis(url, key, arguments, [*changes, "--phases", WITHOUT_SEQUENCES]),
    ]
    return 0 if not findings and all(is_clean) else 1


if __name__ == "__main__":
    sys.exit(main())
