//! Import circles: no files of a room import each other in a circle. A re-export (`pub use`) is no import.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::{Violation, violation};
use crate::source::Source;

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Returns one violation for each file that a circle of imports leads back to.
pub fn import_circles(sources: &[Source]) -> Vec<Violation> {
    let edges = import_edges(sources);
    let mut found = Vec::new();
    for start in edges.keys() {
        if let Some(circle) = path_back(&edges, start) {
            let hint = "move what both need into a third file";
            found.push(violation(start, 1, format!("imports itself through {circle}: {hint}")));
        }
    }
    found
}

/// Returns, for each file, the other files of its room that its product code imports by `crate::…`.
fn import_edges(sources: &[Source]) -> Edges {
    let product = || sources.iter().filter(|source| !source.is_test_file());
    let files: BTreeMap<String, &str> = product()
        .map(|source| (module_path(source), source.path.as_str()))
        .collect();
    let rooms: BTreeMap<&str, Option<&str>> = product().map(|source| (source.path.as_str(), source.room())).collect();
    let mut edges = Edges::new();
    for source in product() {
        let targets = edges.entry(source.path.clone()).or_default();
        for offset in source.words("crate").filter(|&at| !source.is_test(at)) {
            if !is_import(source, offset) {
                continue;
            }
            for path in paths_behind(source, offset + "crate".len(), "") {
                let target = longest_module(&files, &path);
                let is_same_room = |target: &&str| rooms[*target] == source.room() && **target != source.path;
                targets.extend(target.filter(is_same_room).map(str::to_owned));
            }
        }
    }
    edges
}

/// Reports whether `crate` at an offset begins an import: no visibility (`pub(in crate::…)`), and no re-export.
fn is_import(source: &Source, offset: usize) -> bool {
    let before = source.code[..offset].trim_end();
    let statement = before.rsplit([';', '}', '{']).next().unwrap_or_default().trim();
    let is_visibility = before.ends_with("(in") || before.ends_with("pub(");
    let is_reexport = statement.starts_with("pub") && statement.ends_with("use");
    !is_visibility && !is_reexport
}

/// Returns every path that begins behind an offset, joined by `::`: `a::b` and `a::c::d` for `::a::{b, c::d}`.
fn paths_behind(source: &Source, offset: usize, prefix: &str) -> Vec<String> {
    let Some(next) = source.after_colons(offset) else {
        return vec![prefix.to_owned()];
    };
    let heads = source.path_heads(next).into_iter();
    heads
        .flat_map(|head| {
            let name = source.word_at(head);
            let path = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}::{name}")
            };
            paths_behind(source, head + name.len(), &path)
        })
        .collect()
}

fn longest_module<'a>(files: &BTreeMap<String, &'a str>, path: &str) -> Option<&'a str> {
    let mut path = path;
    loop {
        if let Some(file) = files.get(path) {
            return Some(file);
        }
        path = path.rsplit_once("::")?.0;
    }
}

fn module_path(source: &Source) -> String {
    let inside = source.inside().unwrap_or(&source.path);
    inside.trim_end_matches(".rs").replace('/', "::")
}

/// Returns the names of the files on a way from a file back to itself.
fn path_back(edges: &Edges, start: &str) -> Option<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![vec![start.to_owned()]];
    while let Some(way) = waiting.pop() {
        let last = way.last().map(String::as_str).unwrap_or_default();
        for next in edges.get(last).into_iter().flatten() {
            if next == start {
                return Some(way[1..].iter().map(String::as_str).collect::<Vec<_>>().join(", "));
            }
            if reached.insert(next.clone()) {
                let mut further = way.clone();
                further.push(next.clone());
                waiting.push(further);
            }
        }
    }
    None
}

#[test]
fn circles_of_imports_are_found() {
    let files = |second: &str| {
        [
            Source::new("src/a.rs", "mod b;\nmod c;\npub use crate::a::b::X;\n"),
            Source::new("src/a/b.rs", "use crate::a::{c::Y, d};\n"),
            Source::new("src/a/c.rs", second),
        ]
    };
    assert_eq!(import_circles(&files("pub(in crate::a::b) struct Y;")).len(), 0);
    assert_eq!(
        import_circles(&files("#[cfg(test)]\nmod tests { use crate::a::b::X; }")).len(),
        0
    );
    assert_eq!(import_circles(&files("fn y() { crate::a::b::x() }")).len(), 2);
    assert_eq!(import_circles(&files("use crate::a::{\n    b::X,\n};")).len(), 2);
}
