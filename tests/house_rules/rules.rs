//! The rules. Each checks sources and returns its violations, with what to do instead.

use std::fmt;

use crate::source::Source;

/// A room of `src/` and the rooms it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("cli", ANY),
    ("client", &["bus", "wire", "fault", "config", "domain"]),
    ("bench", &["bus", "wire", "fault", "config", "domain"]),
    ("chaos", &["bus", "wire", "fault", "config", "domain"]),
    (
        "audit",
        &[
            "worker",
            "order_log",
            "bus",
            "store",
            "wire",
            "fault",
            "config",
            "domain",
        ],
    ),
    (
        "sidecar",
        &[
            "bus",
            "order_log",
            "telemetry",
            "http",
            "repeated_log",
            "wire",
            "fault",
            "config",
            "domain",
        ],
    ),
    ("order_log", &["bus", "wire", "fault", "config", "domain"]),
    (
        "worker",
        &[
            "bus",
            "store",
            "brokers",
            "risk",
            "telemetry",
            "repeated_log",
            "wire",
            "fault",
            "config",
            "domain",
        ],
    ),
    ("venue", &["config"]),
    ("telemetry", &["http", "repeated_log", "config", "domain"]),
    ("http", &["repeated_log"]),
    ("repeated_log", &[]),
    ("bus", &["repeated_log", "wire", "fault", "config", "domain"]),
    ("store", &["risk", "fault", "config", "domain"]),
    ("brokers", &["risk", "fault", "config", "domain"]),
    ("wire", &["fault", "domain"]),
    ("risk", &["domain"]),
    ("fault", &["domain"]),
    ("config", &["domain"]),
    ("domain", &[]),
];
const ANY: &[&str] = &["*"];

/// The crate of the client, as Rust names it.
const CLIENT_CRATE: &str = "order_router_client";

/// A word that is banned in the product's code: the word, the directories exempt from the ban, and its replacement.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "println!",
        &["src/cli"],
        "return the text to `cli`, or log it with `tracing`",
    ),
    (
        "print!",
        &["src/cli"],
        "return the text to `cli`, or log it with `tracing`",
    ),
    (
        "eprintln!",
        &["src/cli"],
        "log it with `tracing::warn!` or `tracing::error!`",
    ),
    (
        "eprint!",
        &["src/cli"],
        "log it with `tracing::warn!` or `tracing::error!`",
    ),
    (
        "thread::sleep",
        &[],
        "wait with `tokio::time::sleep`; a thread that sleeps holds up every task on it",
    ),
    (
        "unbounded_channel",
        &[],
        "use `tokio::sync::mpsc::channel` with a named maximum and answer `queue_full`",
    ),
    (
        "f64",
        &["src/bench", "src/cli", "src/telemetry"],
        "use `domain`'s exact numbers; for shares and ratios, integers",
    ),
    (
        "f32",
        &["src/bench", "src/cli"],
        "use `domain`'s exact numbers; for shares and ratios, integers",
    ),
    (
        "todo!",
        &[],
        "write it, or return an error that names what is not served",
    ),
    (
        "unimplemented!",
        &[],
        "write it, or return an error that names what is not served",
    ),
    ("dbg!", &[], "log it with `tracing::debug!`"),
];

const SUBJECTS_FILE: &str = "clients/rust/src/bus/subjects.rs";
/// "risk." alone would be the field `risk` of an intent too.
const SUBJECT_BEGINNINGS: &[&str] = &["orders.", "risk.alerts", "router.", "market."];
/// Settings have dotted names too ("orders.rate_per_second"), and no subject can get into `config`: it does not see the bus.
const SETTINGS: &str = "src/config";

const KEYS_FILE: &str = "src/store/keys.rs";
const KEY_TAG: &str = "{or}";

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 80;
const LONGEST_ROOTS: &[(&str, usize)] = &[("src/main.rs", 40), ("src/lib.rs", 90)];

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "subjects",
    "clients",
    "console",
    "deploy",
    "tests",
    "docker-compose.yml",
    "README.md",
    "CHANGELOG.md",
    "docs",
    "Makefile",
    "examples",
    "fuzz",
    "benches",
    "LICENSE",
];

/// An offence against a rule.
#[derive(Debug)]
pub struct Violation {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Returns a violation at a line, counted from 1.
pub fn violation(path: &str, line: usize, message: String) -> Violation {
    Violation {
        path: path.to_owned(),
        line,
        message,
    }
}

fn at(source: &Source, offset: usize, message: String) -> Violation {
    violation(&source.path, source.line(offset), message)
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// Rooms import only what the map of the crate allows, in tests too.
pub fn imports(source: &Source) -> Vec<Violation> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        let rooms = room_names();
        return vec![at(
            source,
            0,
            format!("`{room}` is not a room of the crate; move this into one of {rooms}"),
        )];
    };
    let mut found = Vec::new();
    for (offset, name) in names_from_root(source) {
        let is_room = ROOMS.iter().any(|(known, _)| *known == name);
        if !is_room {
            let hint = "name its room (`crate::<room>::…`), so that the edge shows";
            found.push(at(
                source,
                offset,
                format!("`{name}` is imported from the crate's root: {hint}"),
            ));
        } else if name != room && *allowed != ANY && !allowed.contains(&name.as_str()) {
            let may = if allowed.is_empty() {
                "no other room".to_owned()
            } else {
                allowed.join(", ")
            };
            let hint = "move what both need into one of these, or have `worker` or `cli` hand it over";
            found.push(at(
                source,
                offset,
                format!("`{room}` must not import `{name}`: it may import {may}; {hint}"),
            ));
        }
    }
    found
}

/// A room of the router re-exports its own part of the client and no other, so that every edge between rooms shows.
pub fn client_paths(source: &Source) -> Vec<Violation> {
    let Some(room) = source.room().filter(|_| !source.is_client()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for offset in source.words(CLIENT_CRATE) {
        let mut names = Vec::new();
        match source.after_colons(offset + CLIENT_CRATE.len()) {
            Some(next) => collect_first_names(source, next, &mut names),
            None => names.push((offset, CLIENT_CRATE.to_owned())),
        }
        found.extend(
            names
                .into_iter()
                .filter(|(_, name)| name != room)
                .map(|(offset, name)| {
                    let message = format!("`{CLIENT_CRATE}::{name}` hides the room: write `crate::{name}::…`");
                    at(source, offset, message)
                }),
        );
    }
    found
}

fn room_names() -> String {
    ROOMS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Returns the names that a source imports from the crate's root, by `crate::…` in any position or by enough `super::`.
fn names_from_root(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for offset in source.words("crate") {
        match source.after_colons(offset + "crate".len()) {
            Some(next) => collect_first_names(source, next, &mut found),
            // `use crate as root` would hide every edge behind it; `pub(crate)` is none.
            None if source.word_at(offset + "crate".len()) == "as" => found.push((offset, "crate".to_owned())),
            None => {}
        }
    }
    for offset in source.words("super") {
        let (mut count, mut next) = (0, offset);
        if source.code[..offset].trim_end().ends_with("::") {
            continue; // not the first of its chain
        }
        while source.word_at(next) == "super" {
            count += 1;
            let end = next + source.code[next..].find("super").unwrap_or(0) + "super".len();
            match source.after_colons(end) {
                Some(behind) => next = behind,
                None => break,
            }
        }
        if count == source.depth(offset) {
            let mut imported = Vec::new();
            collect_first_names(source, next, &mut imported);
            // Other names are the crate's root itself, as seen from a room's first file: `super::domain` counts.
            found.extend(
                imported
                    .into_iter()
                    .filter(|(_, name)| ROOMS.iter().any(|(room, _)| room == name)),
            );
        }
    }
    found
}

/// Collects the first name of a path, or of every path of a group.
fn collect_first_names(source: &Source, offset: usize, found: &mut Vec<(usize, String)>) {
    found.extend(source.path_heads(offset).into_iter().map(|head| {
        let name = source.word_at(head);
        let symbol = || source.code[head..].chars().take(1).collect();
        (head, if name.is_empty() { symbol() } else { name.to_owned() })
    }));
}

/// Banned words do not occur in the product's code.
pub fn banned_words(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (word, exempt, replacement) in BANNED {
        if exempt.iter().any(|directory| is_below(&source.path, directory)) {
            continue;
        }
        for offset in source.words(word).filter(|&offset| !source.is_test(offset)) {
            found.push(at(source, offset, format!("`{word}` has no place here: {replacement}")));
        }
    }
    found
}

/// Subjects and Redis keys are spelled in one file each; tests may spell them out.
pub fn literals(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for literal in source.literals.iter().filter(|literal| !source.is_test(literal.offset)) {
        let text = &literal.text;
        let is_subject = SUBJECT_BEGINNINGS.iter().any(|beginning| text.starts_with(beginning));
        if is_subject && source.path != SUBJECTS_FILE && !is_below(&source.path, SETTINGS) {
            let message =
                format!("the subject {text:?} is spelled out: give it a name in {SUBJECTS_FILE} and use that");
            found.push(at(source, literal.offset, message));
        }
        if text.contains(KEY_TAG) && source.path != KEYS_FILE {
            let message = format!("the Redis key {text:?} is spelled out: give it a name in {KEYS_FILE} and use that");
            found.push(at(source, literal.offset, message));
        }
    }
    found
}

/// Lua scripts get their keys as KEYS; a header may show an example.
pub fn script_keys(path: &str, text: &str) -> Vec<Violation> {
    let lines = text.lines().enumerate();
    let spelled = lines.filter(|(_, line)| line.split("--").next().is_some_and(|code| code.contains(KEY_TAG)));
    let message = || format!("a Redis key is spelled out: name it in {KEYS_FILE} and pass it in KEYS");
    spelled
        .map(|(index, _)| violation(path, index + 1, message()))
        .collect()
}

/// Files and functions stay short; a test may be one long table.
pub fn lengths(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let root = LONGEST_ROOTS.iter().find(|(path, _)| *path == source.path);
    let longest = root.map_or(LONGEST_FILE, |(_, lines)| *lines);
    if source.lines() > longest {
        let message = format!(
            "{} lines, where {longest} are the most: split it by its nouns",
            source.lines()
        );
        found.push(violation(&source.path, longest + 1, message));
    }
    for offset in source.words("fn") {
        let name = source.word_at(offset + "fn".len());
        let lines = source.line(source.item_end(offset).saturating_sub(1)) - source.line(offset) + 1;
        if !name.is_empty() && lines > LONGEST_FUNCTION && !source.is_test(offset) {
            let message = format!(
                "`{name}` has {lines} lines, where {LONGEST_FUNCTION} are the most: move its steps into functions"
            );
            found.push(at(source, offset, message));
        }
    }
    found
}

/// A module's file is `foo.rs` beside `foo/`.
pub fn file_name(path: &str) -> Vec<Violation> {
    let directory = path.strip_suffix("/mod.rs");
    let message = |directory| format!("call this file {directory}.rs");
    directory
        .map(|directory| violation(path, 1, message(directory)))
        .into_iter()
        .collect()
}

/// A file named as a test file is compiled for tests only; the other rules rely on its name.
pub fn test_files(sources: &[Source]) -> Vec<Violation> {
    let names_it = |source: &Source, file: &str| {
        let stem = file.trim_end_matches(".rs");
        let by_path = source
            .literals
            .iter()
            .find(|literal| literal.text.rsplit('/').next() == Some(file));
        let by_name = source.words("mod").find(|&at| source.word_at(at + "mod".len()) == stem);
        by_path
            .map(|literal| literal.offset)
            .or(by_name)
            .is_some_and(|offset| source.is_test(offset))
    };
    let mut found = Vec::new();
    for tests in sources.iter().filter(|source| source.is_test_file()) {
        let file = tests.path.rsplit('/').next().unwrap_or_default();
        let outer = || sources.iter().filter(|source| source.path != tests.path);
        if !outer().any(|source| names_it(source, file)) {
            let message = "its `mod` has no `#[cfg(test)]`: add it, or rename the file";
            found.push(violation(&tests.path, 1, message.to_owned()));
        }
    }
    found
}

/// The top level contains only listed entries, dotfiles and ignored files.
pub fn top_level(entries: &[String], ignored: &str) -> Vec<Violation> {
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim().trim_matches('/')).collect();
    let is_fine = |name: &str| name.starts_with('.') || TOP_LEVEL.contains(&name) || ignored.contains(&name);
    let unlisted = entries.iter().filter(|name| !is_fine(name));
    let message = "does not belong at the top level: programs go to examples/, set-up to deploy/, settings of tools into \
                   dotfiles";
    unlisted.map(|name| violation(name, 1, message.to_owned())).collect()
}

/// Every rule on one Rust source.
pub fn all(source: &Source) -> Vec<Violation> {
    [imports, client_paths, banned_words, literals, lengths]
        .iter()
        .flat_map(|rule| rule(source))
        .collect()
}
