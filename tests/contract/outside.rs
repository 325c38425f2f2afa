//! Checks by third-party programs: Python's `jsonschema` on schemas and examples, AsyncAPI's own parser on the bus
//! document. Without them the checks are skipped with a message on standard error; with `CI=true` they fail.

use std::path::PathBuf;
use std::process::Command;

use crate::generated::path;

/// The exit status of `validate.sh` when the parser cannot be installed (EX_TEMPFAIL).
const NOT_INSTALLED: i32 = 75;
/// The variable that names another Python than that of `make setup`.
const PYTHON_VARIABLE: &str = "CONTRACT_PYTHON";

fn skip(why: &str) {
    let must_run = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must_run, "{why}, and with CI=true no check is skipped");
    eprintln!("SKIPPED: {why}");
}

/// Runs a program and returns its exit status.
///
/// # Panics
/// When it ends with neither 0 nor `allowed`; the message shows its output.
fn run(command: &mut Command, allowed: Option<i32>) -> i32 {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = output.status.code().unwrap_or(-1);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        status == 0 || Some(status) == allowed,
        "{command:?} exits with {status}\n{out}{err}"
    );
    if status != 0 {
        eprint!("{err}");
    }
    status
}

fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Runs a script with the packages of `.tools/venv`.
fn run_python(script: &str, arguments: &[&str]) {
    let python = std::env::var_os(PYTHON_VARIABLE).map_or_else(|| path(".tools/venv/bin/python"), PathBuf::from);
    if !python.exists() {
        return skip(&format!(
            "there is no .tools/venv (`make setup` creates it) to run {script}"
        ));
    }
    run(Command::new(python).arg(path(script)).args(arguments), None);
}

#[test]
fn schemas_and_examples_validate_in_python() {
    run_python("subjects/check_examples.py", &[]);
}

#[test]
fn compose_file_has_the_structure_that_the_documentation_promises() {
    run_python("tests/contract/compose.py", &[]);
}

#[test]
fn python_models_match_the_schemas() {
    run_python("clients/python/generate_models.py", &["--check"]);
}

#[test]
fn asyncapi_document_is_valid() {
    if !is_installed("node") || !is_installed("npm") {
        return skip("there is no node and npm to check subjects/asyncapi.yaml with");
    }
    if run(&mut Command::new(path("subjects/validate.sh")), Some(NOT_INSTALLED)) == NOT_INSTALLED {
        skip("the AsyncAPI parser cannot be installed");
    }
}

#[test]
fn alert_rules_and_dashboard_name_metrics_that_exist() {
    run_python("tests/contract/monitoring.py", &[]);
}

#[test]
fn kubernetes_overlays_are_valid_and_agree_with_the_repository() {
    run_python("tests/contract/kubernetes.py", &[]);
}
