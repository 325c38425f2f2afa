//! The house rules as a test: who may import whom, and never in a circle; how long files and functions may be; which calls
//! and phrases have a better replacement; where subjects and Redis keys are spelled. A message names file, line and what to
//! do instead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

mod circles;
mod rules;
mod samples;
mod source;
mod words;

use std::fs::{read_dir, read_to_string};
use std::path::Path;

use rules::Violation;
use source::Source;

/// The crate of the client.
const CLIENT: &str = "clients/rust";

/// The files below a directory with one of these extensions, as paths from the top of the repository.
fn files(directory: &str, extensions: &[&str]) -> Vec<String> {
    let Ok(entries) = read_dir(root().join(directory)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.expect("an entry of a directory");
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a file's type").is_dir() {
            found.extend(files(&path, extensions));
        } else if extensions.iter().any(|extension| path.ends_with(extension)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    read_to_string(root().join(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

/// The sources of both crates. The rooms of the client are rooms of the router, which re-exports them.
fn source_files() -> Vec<String> {
    [files("src", &[".rs"]), files(&format!("{CLIENT}/src"), &[".rs"])].concat()
}

fn sources() -> Vec<Source> {
    source_files()
        .iter()
        .map(|path| Source::new(path, &text(path)))
        .collect()
}

#[track_caller]
fn assert_none(violations: &[Violation]) {
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(
        list.is_empty(),
        "offences against the house rules: {}\n{}",
        list.len(),
        list.join("\n")
    );
}

#[test]
fn sources_keep_the_rules() {
    let sources = sources();
    for root in ["src/lib.rs".to_owned(), format!("{CLIENT}/src/lib.rs")] {
        assert!(sources.iter().any(|source| source.path == root), "{root} is found");
    }
    assert_none(&sources.iter().flat_map(rules::all).collect::<Vec<_>>());
}

#[test]
fn no_file_imports_itself_through_others() {
    assert_none(&circles::import_circles(&sources()));
}

#[test]
fn sources_and_documents_use_plain_words() {
    let mut paths = source_files();
    for (directory, extensions) in [
        ("src", &[".lua"][..]),
        ("docs", &[".md"]),
        ("subjects", &[".md", ".yaml", ".schema.json"]),
        ("examples", &[".md", ".py"]),
        ("clients", &[".md", ".py"]),
        ("console/src", &[".ts", ".tsx"]),
        ("console/tests", &[".py"]),
    ] {
        paths.extend(files(directory, extensions));
    }
    paths.push("README.md".to_owned());
    assert_none(
        &paths
            .iter()
            .flat_map(|path| words::translated(path, &text(path)))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn test_files_are_compiled_for_tests_only() {
    assert_none(&rules::test_files(&sources()));
}

#[test]
fn lua_scripts_contain_no_redis_key() {
    let scripts = files("src", &[".lua"]);
    assert_none(
        &scripts
            .iter()
            .flat_map(|path| rules::script_keys(path, &text(path)))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn module_files_are_named_after_their_module() {
    let directories = ["src", "tests", "benches", "examples", "clients"];
    let files = directories.iter().flat_map(|directory| files(directory, &[".rs"]));
    assert_none(&files.flat_map(|path| rules::file_name(&path)).collect::<Vec<_>>());
}

#[test]
fn top_level_contains_only_listed_entries() {
    let entries = read_dir(root())
        .expect("the top level")
        .map(|entry| entry.expect("an entry").file_name());
    let entries: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_none(&rules::top_level(&entries, &text(".gitignore")));
}
