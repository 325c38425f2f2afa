#!/usr/bin/env python3
"""Checks schemas and examples with a JSON Schema implementation independent of the router.

Every schema must be valid draft 2020-12, every good example must match the schema in its name, and every bad one
must have the verdict in examples/bad/index.json (`json_schema`: refuses, accepts, not_json).

Needs jsonschema: `make setup`, then `.tools/venv/bin/python subjects/check_examples.py`. Exit status: 0 all pass,
1 something fails (errors on stderr).
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator

HERE = pathlib.Path(__file__).parent
SUFFIX = ".schema.json"


def load_validators():
    by_name = {}
    for path in sorted((HERE / "schemas").glob("*" + SUFFIX)):
        schema = json.loads(path.read_text("utf-8"))
        Draft202012Validator.check_schema(schema)
        by_name[path.name.removesuffix(SUFFIX)] = Draft202012Validator(schema)
    return by_name


def evaluate(validator, body):
    """Returns the schema's verdict on a body, and the errors."""
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return "not_json", str(error)
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    return ("refuses", "; ".join(errors)) if errors else ("accepts", "")


def main():
    by_name, failures, count = load_validators(), [], 0
    for path in sorted((HERE / "examples/good").glob("*.json")):
        verdict, detail = evaluate(by_name[path.name.split(".")[0]], path.read_bytes())
        count += 1
        if verdict != "accepts":
            failures.append(f"good/{path.name}: {verdict}: {detail}")
    for bad in json.loads((HERE / "examples/bad/index.json").read_text("utf-8")):
        body = (HERE / "examples/bad" / bad["file"]).read_bytes()
        verdict, detail = evaluate(by_name[bad["schema"]], body)
        count += 1
        if verdict != bad["json_schema"]:
            failures.append(f"bad/{bad['file']}: {verdict}, not {bad['json_schema']}: {detail}")
    for line in failures:
        print(line, file=sys.stderr)
    print(f"{len(by_name)} schemas and {count} examples, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
