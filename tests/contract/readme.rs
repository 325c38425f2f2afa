//! README.md tells the settings, the instruments, the rules and the rooms as they are.

use std::collections::BTreeMap;

use order_router::config::Settings;
use order_router::config::load::{environment_name, known_paths};
use order_router::risk;
use toml::{Table, Value};

use crate::generated::{assert_part, path, table, text};

const README: &str = "README.md";

#[test]
fn the_table_of_settings_is_that_of_the_code() {
    let defaults = Table::try_from(Settings::default()).expect("the defaults are TOML");
    let rows = known_paths().into_iter().map(|path| {
        let default = default_of(&defaults, &path).map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        let (name, meaning) = (environment_name(&path), meaning(&path));
        vec![format!("`{path}`"), format!("`{name}`"), default, meaning]
    });
    let head = ["setting", "environment variable", "default", "what it is"];
    assert_part(README, "settings", &table(&head, rows));
}

fn default_of(defaults: &Table, path: &str) -> Option<String> {
    let mut parts = path.split('.');
    let first = defaults.get(parts.next()?)?;
    let value = parts.try_fold(first, |value, part| value.get(part))?;
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    })
}

/// Returns what the comment at a setting's field says, its range and default left out.
#[track_caller]
fn meaning(path: &str) -> String {
    let mut parts = path.split('.');
    let (section, field) = (
        parts.next().unwrap_or_default(),
        path.rsplit('.').next().unwrap_or_default(),
    );
    let source = text(&format!("src/config/{section}.rs"));
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begin = format!("pub {field}: ");
    let at: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].starts_with(&begin)).collect();
    assert_eq!(at.len(), 1, "{path} is one field of src/config/{section}.rs");
    let comment = lines[..at[0]].iter().rev().map_while(|line| line.strip_prefix("/// "));
    let mut words: Vec<&str> = comment.collect();
    words.reverse();
    let whole = words.join(" ");
    let cuts = [" (1–", "; default", ". Default", ", default", ". Less than"];
    let end = cuts
        .iter()
        .filter_map(|cut| whole.find(cut))
        .min()
        .unwrap_or(whole.len());
    let kept = whole[..end].trim_end_matches('.');
    let is_open = kept.matches('(').count() > kept.matches(')').count();
    format!("{kept}{}", if is_open { ")" } else { "" })
}

#[test]
fn the_table_of_instruments_is_that_of_the_code() {
    let rows = Settings::default().instruments.0.into_iter().map(|one| {
        vec![
            format!("`{}`", one.venue),
            format!("`{}`", one.symbol),
            one.reference_price,
            one.tick_size,
            one.lot_size,
            one.max_order_size,
            one.max_notional,
            one.quote,
        ]
    });
    let head = [
        "venue",
        "symbol",
        "reference price",
        "tick",
        "lot",
        "largest order",
        "notional cap",
        "quote",
    ];
    assert_part(README, "instruments", &table(&head, rows));
}

#[test]
fn the_rules_are_those_of_the_code() {
    let settings = Settings::default().risk;
    let told: BTreeMap<&str, (&str, String, &str)> = [
        (
            "order_size",
            (
                "one order's quantity",
                "the instrument's largest order".to_owned(),
                "`order_size_exceeded`",
            ),
        ),
        (
            "max_notional",
            (
                "per account and symbol: the order alone, and the position with every open order of its side filled, \
                 at the higher of limit and reference price",
                "the instrument's notional cap".to_owned(),
                "`risk_locked`",
            ),
        ),
        (
            "max_daily_notional",
            (
                "what is routed in one day (UTC) over all accounts, at the limit price, for market orders at the \
                 reference price",
                format!("{}, until an operator sets another", settings.daily_notional_limit),
                "`daily_notional_exceeded`",
            ),
        ),
        (
            "stop_loss",
            (
                "the loss by the intent's own figures, `risk.realized_pnl` and `risk.unrealized_pnl`; its own \
                 `risk.stop_loss` counts where it is tighter",
                settings.account_stop_loss,
                "`risk_locked`",
            ),
        ),
    ]
    .into();
    let rows = risk::rule_ids().map(|id| {
        let (what, default, code) = told
            .get(id)
            .unwrap_or_else(|| panic!("{README} does not explain the rule {id}"));
        vec![
            format!("`{id}`"),
            (*what).to_owned(),
            default.clone(),
            (*code).to_owned(),
        ]
    });
    let head = ["rule", "what it limits", "default", "code"];
    assert_part(README, "rules", &table(&head, rows));
}

#[test]
fn the_map_names_every_room_and_no_other() {
    let readme = text(README);
    let mut told: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `src/")?.split(['/', '`', '.']).next())
        .collect();
    told.sort_unstable();
    told.dedup();
    for entry in std::fs::read_dir(path("src")).expect("src") {
        let entry = entry.expect("an entry").file_name();
        let name = entry.to_string_lossy();
        let room = name.split('.').next().unwrap_or_default();
        let is_told = ["lib", "main"].contains(&room) || told.contains(&room);
        assert!(is_told, "the map in {README} does not name src/{room}");
    }
}

#[test]
fn every_file_it_links_to_is_there() {
    for document in [README, "subjects/README.md", "examples/README.md"] {
        let source = text(document);
        let folder = path(document);
        let folder = folder.parent().expect("a folder");
        for link in source
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next())
        {
            if !link.is_empty() && !link.contains("://") {
                assert!(
                    folder.join(link).exists(),
                    "{document} links to {link}, which is not there"
                );
            }
        }
    }
}
