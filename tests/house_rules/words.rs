//! Plain words: a comment, a text or a name that reads translated has a better one.

use crate::rules::{Violation, violation};

/// A phrase that reads translated, and what the field says instead.
const TRANSLATED: &[(&str, &str)] = &[
    ("told", "return, reply, report, publish, log or notify: whichever it is"),
    ("tells", "returns, reports, publishes: whichever it is"),
    ("nobody", "name the subject: \"no worker\", \"the outcome is unknown\""),
    ("somebody", "name the subject: the operator, the caller"),
    ("whoever", "name the subject: the worker, the caller"),
    ("looked at", "read, checked, evaluated"),
    ("given back", "released"),
    ("gives back", "releases"),
    ("give back", "release"),
    ("made anew", "rebuilt, recreated"),
    ("anew", "again"),
    ("comes again", "is redelivered, is retried"),
    ("under way", "in flight"),
    ("the way of", "pipeline, path"),
    ("patience", "timeout, retry delay, backoff"),
    ("brought", "appended, delivered, drained"),
    ("heal", "recover, rebuild"),
    ("heals", "recovers, rebuilds"),
    ("healed", "recovered, rebuilt"),
    ("healing", "rebuild"),
];

/// Files that use a phrase for a reason: names in Redis and Lua, which scripts and stores share.
const EXEMPT: &[(&str, &str)] = &[
    ("src/store/keys.rs", "healing"),
    ("src/store/rebuild/epoch.rs", "healing"),
    ("src/store/lua/begin_rebuild.lua", "healing"),
    ("src/store/lua/replay_submission.lua", "healing"),
];

/// Returns every translated phrase in a file, whole words in any case.
pub fn translated(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let lower = line.to_ascii_lowercase();
        for (phrase, better) in TRANSLATED {
            if has_phrase(&lower, phrase) && !EXEMPT.contains(&(path, phrase)) {
                found.push(violation(
                    path,
                    index + 1,
                    format!("\"{phrase}\" reads translated; say: {better}"),
                ));
            }
        }
    }
    found
}

/// Whether a line has a phrase that no letter, digit or underscore adjoins.
fn has_phrase(line: &str, phrase: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    line.match_indices(phrase).any(|(at, _)| {
        let before = line[..at].bytes().next_back();
        let after = line[at + phrase.len()..].bytes().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn translated_phrases_are_found_as_whole_words() {
    for (line, count) in [
        ("/// The caller is told nothing.", 1),
        ("/// Nobody knows; Whoever asks is told.", 3),
        ("let told_twice = untold;", 0),
        ("/// Returns the report.", 0),
        ("made anew", 2),
    ] {
        assert_eq!(translated("src/x.rs", line).len(), count, "{line}");
    }
}
