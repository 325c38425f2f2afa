//! Every relative link in the documentation leads to a file, and its anchor to a heading of that file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::generated::{path, text};

/// Documents outside of the folders below.
const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md"];
/// Folders whose Markdown files are checked.
const FOLDERS: &[&str] = &["docs", "subjects", "examples", "clients/python", "clients/rust"];
/// README.md is an entry page; details belong in `docs/`.
const README_LINES_MAX: usize = 170;

/// Returns the path of every document, relative to the top of the repository.
fn documents() -> Vec<String> {
    let mut found: Vec<String> = DOCUMENTS.iter().map(|&name| name.to_owned()).collect();
    for folder in FOLDERS {
        for entry in fs::read_dir(path(folder)).expect("the folder exists") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found
}

/// Returns the lines of a document outside of its code blocks.
fn prose(document: &str) -> Vec<&str> {
    let mut is_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    document.lines().filter(is_prose).collect()
}

/// Returns a heading's anchor as GitHub builds it: lower case, spaces as hyphens, punctuation dropped.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|character| match character {
        ' ' | '-' => Some('-'),
        '_' => Some('_'),
        letter if letter.is_alphanumeric() => Some(letter),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// Returns every anchor of a document: its headings, repeated ones numbered, and its `<a id="…">`.
fn anchors(document: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in prose(document) {
        if let Some(heading) = line.strip_prefix('#') {
            let name = anchor(heading.trim_start_matches('#').trim());
            let count = seen.entry(name.clone()).or_default();
            found.push(if *count == 0 { name } else { format!("{name}-{count}") });
            *count += 1;
        }
        let named = line.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(named.map(str::to_owned));
    }
    found
}

/// Returns the targets of a document's links that lead into the repository.
fn relative_links(document: &str) -> Vec<&str> {
    let lines = prose(document).into_iter();
    let targets = lines.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// Resolves `..` and `.` without reading the file system.
fn normalised(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            other => whole.push(other),
        }
    }
    whole
}

#[test]
fn every_link_and_anchor_has_a_target() {
    for document in documents() {
        let source = text(&document);
        let folder = Path::new(&document).parent().expect("a folder");
        for link in relative_links(&source) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => PathBuf::from(&document),
                file => normalised(&folder.join(file)),
            };
            let target = target.to_string_lossy().into_owned();
            assert!(
                path(&target).exists(),
                "{document} links to {link}, which does not exist"
            );
            assert!(
                anchor.is_empty() || anchors(&text(&target)).iter().any(|known| known == anchor),
                "{document} links to {link}: {target} has no such anchor"
            );
        }
    }
}

#[test]
fn readme_is_an_entry_page() {
    let lines = text("README.md").lines().count();
    assert!(
        lines <= README_LINES_MAX,
        "README.md has {lines} lines, {README_LINES_MAX} at most: move details to docs/"
    );
}

#[test]
fn anchors_match_github() {
    for (heading, expected) in [
        ("Law 1", "law-1"),
        ("`GET /orders/log`", "get-orderslog"),
        ("What to do when …", "what-to-do-when-"),
        ("Keys, epoch & outbox", "keys-epoch--outbox"),
    ] {
        assert_eq!(anchor(heading), expected, "{heading}");
    }
}

#[test]
fn every_source_path_in_the_documentation_exists() {
    let roots = [
        "src/",
        "tests/",
        "deploy/",
        "examples/",
        "docs/",
        "subjects/",
        "clients/",
    ];
    let mut missing = Vec::new();
    for document in documents() {
        let text = text(&document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = roots.iter().any(|root| quoted.starts_with(root))
                && quoted
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            if is_path && !path(quoted).exists() {
                missing.push(format!("{document}: {quoted}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "documents name files that do not exist: {missing:#?}"
    );
}
