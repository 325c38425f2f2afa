//! The generated tables in `docs/` match the code: settings, instruments, rules, metrics and the rooms of the crate.

use std::collections::BTreeMap;
use std::path::Path;

use order_router::chaos::FaultKind;
use order_router::config::Settings;
use order_router::config::guards::Guard;
use order_router::config::load::{environment_name, setting_paths};
use order_router::config::risk::RiskSettings;
use order_router::risk;
use order_router::telemetry::METRICS;
use toml::{Table, Value};

use crate::generated::{assert_part, path, table, text};

const SETTINGS: &str = "docs/settings.md";
const METRICS_PAGE: &str = "docs/metrics.md";
const RISK: &str = "docs/risk.md";
const ARCHITECTURE: &str = "docs/architecture.md";

#[test]
fn reliability_page_lists_every_fault_and_every_guard_has_a_test() {
    let (page, tests) = (text("docs/reliability.md"), text("tests/integration/chaos.rs"));
    for kind in FaultKind::ALL {
        let row = format!("| `{}` |", kind.as_str());
        assert!(
            page.contains(&row),
            "docs/reliability.md has no row of {}",
            kind.as_str()
        );
    }
    for guard in Guard::ALL {
        let test = format!(": {guard:?},");
        assert!(
            tests.contains(&test),
            "tests/integration/chaos.rs has no test of {guard:?}"
        );
    }
}

#[test]
fn settings_table_matches_the_code() {
    let defaults = Table::try_from(Settings::default()).expect("the defaults are TOML");
    let rows = setting_paths().into_iter().map(|path| {
        let default = default_of(&defaults, &path).map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        let (name, description) = (environment_name(&path), description(&path));
        vec![format!("`{path}`"), format!("`{name}`"), default, description]
    });
    let head = ["setting", "environment variable", "default", "description"];
    assert_part(SETTINGS, "settings", &table(&head, rows));
}

fn default_of(defaults: &Table, path: &str) -> Option<String> {
    let mut parts = path.split('.');
    let first = defaults.get(parts.next()?)?;
    let value = parts.try_fold(first, |value, part| value.get(part))?;
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => return None,
        Value::Table(table) if table.is_empty() => return None,
        Value::Table(table) => {
            let pairs = table.iter();
            let pair = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
            pairs.map(pair).collect::<Vec<_>>().join(",")
        }
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    })
}

/// Returns the doc comment of a setting's field without the clause of its default, which has its own column.
#[track_caller]
fn description(path: &str) -> String {
    let mut parts = path.split('.');
    let (section, field) = (
        parts.next().unwrap_or_default(),
        path.rsplit('.').next().unwrap_or_default(),
    );
    // A part of a section may have a file of its own; a setting outside of a section is a field of the top-level settings.
    let part = path.split('.').nth(1);
    let own = part.map(|part| format!("src/config/{part}.rs"));
    let of_client = part.map(|part| format!("clients/rust/src/config/{part}.rs"));
    let file = match own.into_iter().chain(of_client).find(|file| Path::new(file).is_file()) {
        Some(part) => part,
        None if part.is_some() => format!("src/config/{section}.rs"),
        None => "src/config.rs".to_owned(),
    };
    let source = text(&file);
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begin = format!("pub {field}: ");
    let at: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].starts_with(&begin)).collect();
    assert_eq!(at.len(), 1, "{path} is one field of {file}");
    let above = lines[..at[0]].iter().rev().skip_while(|line| line.starts_with("#["));
    let comment = above.map_while(|line| line.strip_prefix("/// "));
    let mut words: Vec<&str> = comment.collect();
    words.reverse();
    let whole = words.join(" ");
    let start = ["; default", ". Default", ", default"]
        .iter()
        .filter_map(|cut| whole.find(cut))
        .min()
        .unwrap_or(whole.len());
    let (description, rest) = whole.split_at(start);
    // The sentences after the default belong to the description.
    let further = rest
        .get(1..)
        .and_then(|rest| rest.split_once(". "))
        .map_or("", |(_, further)| further.trim_end_matches('.'));
    let description = description.trim_end_matches('.');
    match further {
        "" => description.to_owned(),
        _ => format!("{description}. {further}"),
    }
}

#[test]
fn instrument_fields_match_the_code() {
    let source = text("src/config/instruments.rs");
    let start = source.find("pub struct InstrumentSettings").expect("the struct");
    let body = &source[start..start + source[start..].find("\n}").expect("its end")];
    let mut rows = Vec::new();
    let mut is_optional = false;
    for line in body.lines().map(str::trim) {
        is_optional |= line.starts_with("#[serde(default");
        if let Some((field, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            let needed = if is_optional { "no" } else { "yes" };
            let field_path = format!("instruments.{field}");
            rows.push(vec![format!("`{field}`"), needed.to_owned(), description(&field_path)]);
            is_optional = false;
        }
    }
    assert_part(
        SETTINGS,
        "instrument-fields",
        &table(&["field", "required", "description"], rows),
    );
}

#[test]
fn instrument_table_matches_the_code() {
    let rows = Settings::default().instruments.0.into_iter().map(|one| {
        vec![
            format!("`{}`", one.venue),
            format!("`{}`", one.symbol),
            one.reference_price,
            one.tick_size,
            one.lot_size,
            one.max_order_size,
            one.max_position,
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
        "max order size",
        "max position",
        "notional cap",
        "quote",
    ];
    assert_part(SETTINGS, "instruments", &table(&head, rows));
}

#[test]
fn rule_table_matches_the_code() {
    let settings = Settings::default().risk;
    let documented: BTreeMap<&str, (&str, String, &str)> = documented_rules(&settings);
    let rows = risk::rule_ids().map(|id| {
        let (what, default, code) = documented
            .get(id)
            .unwrap_or_else(|| panic!("{RISK} does not explain the rule {id}"));
        vec![
            format!("`{id}`"),
            (*what).to_owned(),
            default.clone(),
            (*code).to_owned(),
        ]
    });
    let head = ["rule", "limits", "default", "code"];
    assert_part(RISK, "rules", &table(&head, rows));
}

/// Returns what each rule limits, its default, and the codes it denies or refuses with.
fn documented_rules(settings: &RiskSettings) -> BTreeMap<&'static str, (&'static str, String, &'static str)> {
    let rates = format!(
        "{} per account, {} per broker",
        settings.orders_per_second_and_account, settings.orders_per_second_and_broker
    );
    let duplicates = if settings.duplicate_window_ms == 0 {
        "off".to_owned()
    } else {
        format!("{} ms", settings.duplicate_window_ms)
    };
    let instruments = |what: &str| format!("the instrument's {what}");
    [
        ("trading_state", "Trading state (`reduce_only`, `halted`); locks on the account, the symbol, the broker or everything; `reduce_only` of an intent", "active".to_owned(), "`trading_halted`, `reduce_only`, `daily_loss_exceeded`"),
        ("intent_age", "Time since the intent's deadline. The id stays free", "see `doors.*`".to_owned(), "`intent_expired`"),
        ("order_size", "Quantity of one order", instruments("max order size"), "`order_size_exceeded`"),
        ("live_order_size", "Notional of one live order", "none: live needs one".to_owned(), "`order_size_exceeded`"),
        ("max_notional", "Per account and symbol: notional of the order alone, and of the position after every open order of its side fills, at the higher of limit price and reference price", instruments("notional cap"), "`risk_locked`"),
        ("position_limit", "Per account and symbol: the position after every open order of its side fills, long or short", format!("{}; selling into a short position is denied in live", instruments("max position")), "`risk_locked`"),
        ("price_collar", "Distance of a limit price beyond the reference price on the losing side", format!("{} %", settings.price_collar_percent), "`risk_locked`, `reference_price_missing`"),
        ("max_daily_notional", "Notional routed in one trading day, over all accounts and, where configured, per account; at the limit price, for market orders at the reference price", settings.daily_notional_limit.clone(), "`daily_notional_exceeded`"),
        ("max_daily_loss", "Loss of the trading day, per account and over all accounts, including fees and the expected losses of open orders; the caller's values count where they are worse. A realised breach sets a lock", settings.daily_loss_limit.clone(), "`daily_loss_exceeded`, `reference_price_missing`"),
        ("stop_loss", "The account's loss of the day by the router's or the caller's values, whichever is worse; `risk.stop_loss` of an intent applies where it is tighter", settings.account_stop_loss.clone(), "`risk_locked`"),
        ("unpriced_fee", "Fees in a currency without a rate: from the fill on until an adjustment [prices the fee](#fees-without-a-price). It sets a lock on the account", "none unpriced".to_owned(), "`risk_locked`"),
        ("order_rate", "New orders within one second, denied orders included. The id stays free", rates, "`rate_limited`"),
        ("max_open_orders", "Open orders per account and symbol", settings.max_open_orders.to_string(), "`risk_locked`"),
        ("duplicate_order", "An order with the same account, symbol, side, quantity and price under another id", duplicates, "`risk_locked`"),
    ]
    .map(|(id, what, default, code)| (id, (what, default, code)))
    .into()
}

#[test]
fn metrics_table_matches_the_code() {
    let rows = METRICS.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        vec![
            format!("`{}`", metric.name),
            metric.kind.as_str().to_owned(),
            labels,
            metric.help.to_owned(),
        ]
    });
    assert_part(
        METRICS_PAGE,
        "metrics",
        &table(&["metric", "kind", "labels", "description"], rows),
    );
}

#[test]
fn map_names_every_room() {
    let architecture = text(ARCHITECTURE);
    let mut documented: Vec<&str> = architecture
        .lines()
        .filter_map(|line| {
            let path = line.strip_prefix("| `")?;
            let inside = path
                .strip_prefix("src/")
                .or_else(|| path.strip_prefix("clients/rust/src/"))?;
            inside.split(['/', '`', '.']).next()
        })
        .collect();
    documented.sort_unstable();
    documented.dedup();
    let mut rooms = Vec::new();
    let directories = ["src", "clients/rust/src"].map(|directory| std::fs::read_dir(path(directory)).expect("sources"));
    for entry in directories.into_iter().flatten() {
        let entry = entry.expect("an entry").file_name();
        let name = entry.to_string_lossy();
        let room = name.split('.').next().unwrap_or_default().to_owned();
        if !["lib", "main"].contains(&room.as_str()) && !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    rooms.sort_unstable();
    assert_eq!(documented, rooms, "the table of rooms in {ARCHITECTURE}");
}
