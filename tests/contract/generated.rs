//! Files, and parts of files, that are generated from the code: compared, or rewritten with `UPDATE_SCHEMAS=1`.

use std::fs;
use std::path::{Path, PathBuf};

/// How to regenerate the files.
const REMEDY: &str = "if the change is intended, regenerate it with `UPDATE_SCHEMAS=1 cargo test --test contract`";

/// Returns a path below the top of the repository.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Reads a text file of the repository.
#[track_caller]
pub fn text(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("reading {relative}: {error}"))
}

/// Compares a file with its expected content.
#[track_caller]
pub fn assert_file(relative: &str, wanted: &str) {
    if fs::read_to_string(path(relative)).ok().as_deref() == Some(wanted) {
        return;
    }
    assert!(is_update(), "{relative} is not what the code gives; {REMEDY}");
    fs::write(path(relative), wanted).unwrap_or_else(|error| panic!("writing {relative}: {error}"));
}

/// Compares the part of a file between the markers `<!-- name -->` and `<!-- /name -->` with its expected content.
#[track_caller]
pub fn assert_part(relative: &str, name: &str, wanted: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let whole = text(relative);
    let (before, rest) = whole
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{relative} has no marker {begin:?}"));
    let (_, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("{relative} has no marker {end:?}"));
    assert_file(relative, &format!("{before}{begin}\n{wanted}\n{end}{after}"));
}

/// Returns a table in Markdown.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let owned = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = line(owned(head));
    text.push_str(&format!("|{}\n", "---|".repeat(head.len())));
    for row in rows {
        text.push_str(&line(row.iter().map(|cell| cell.replace('|', "\\|")).collect()));
    }
    text
}

fn is_update() -> bool {
    std::env::var("UPDATE_SCHEMAS").is_ok_and(|value| value == "1")
}
