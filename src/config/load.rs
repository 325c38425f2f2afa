//! Loads the settings from file, environment and flags, in this order; reports all errors at once.
//!
//! Written here: the `config` crate holds TOML numbers as floats, stops at the first error, and knows no table that makes
//! file, environment variables and flags of one list.

mod environment;
mod list_entries;
mod source_map;

use std::path::Path;

use toml::{Table, Value};

use crate::config::Settings;
use crate::config::load::list_entries::parse_entries;
use crate::config::load::source_map::SourceMap;

pub use crate::config::load::environment::{ENVIRONMENT_PREFIX, environment_name};

/// The list of instruments; each entry is parsed by itself.
const INSTRUMENTS_KEY: &str = "instruments";
/// The list of accounts with limits of their own; each entry is parsed by itself.
const ACCOUNTS_KEY: &str = "accounts";
/// The list of API keys; each entry is parsed by itself.
const KEYS_KEY: &str = "keys";
/// Lists without environment variables and flags.
const FILE_ONLY_LISTS: &[&str] = &[INSTRUMENTS_KEY, ACCOUNTS_KEY, KEYS_KEY];
/// Settings without a default.
const OPTIONAL_SETTINGS: &[&str] = &[
    "metrics.addr",
    "nats.credentials_file",
    "nats.nkey_file",
    "nats.password",
    "nats.tls.ca_file",
    "nats.tls.cert_file",
    "nats.tls.key_file",
    "nats.user",
    "otlp.endpoint",
    "redis.tls.ca_file",
    "redis.tls.cert_file",
    "redis.tls.key_file",
];
/// Tables with keys chosen by the user.
const OPEN_TABLES: &[&str] = &["risk.rates", "brokers.binance_live.keys"];

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub Vec<String>);

impl std::fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the settings cannot be used:")?;
        self.0.iter().try_for_each(|error| write!(formatter, "\n  - {error}"))
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Loads the settings from a file (if named), an environment and flags (path and value).
    ///
    /// # Errors
    /// All errors of the settings, at once.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, SettingsError> {
        let mut errors = Vec::new();
        let mut settings = default_table();
        let mut source = SourceMap::default();
        if let Some(path) = file {
            let (table, map) = SourceMap::read(path, &mut errors);
            source = map;
            merge_table(&mut settings, table, "", &source, &mut errors);
        }
        let known: Vec<String> = leaf_paths(&settings).into_iter().chain(open_tables()).collect();
        for (name, text) in environment {
            if !name.starts_with(ENVIRONMENT_PREFIX) {
                continue;
            }
            // Another one with the prefix is a warning: see `unknown_variable_warnings`.
            if let Some(path) = known.iter().find(|path| environment_name(path) == name) {
                set_from_text(&mut settings, path, &text, &name, &mut errors);
                source.forget(path);
            }
        }
        for (path, text) in flags {
            set_from_text(&mut settings, path, text, path, &mut errors);
            source.forget(path);
        }
        let read = parse_each_setting(&settings, &source, &mut errors);
        let invalid = read.validation_errors().into_iter();
        errors.extend(invalid.map(|error| add_place(error, &settings, &source)));
        if errors.is_empty() {
            Ok(read)
        } else {
            Err(SettingsError(errors))
        }
    }
}

/// Returns a warning for each variable with the prefix that names no setting. It may belong to another program: it stops
/// no command, and least of all a halt.
pub fn unknown_variable_warnings<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    environment::unknown_variable_warnings(&setting_paths(), names)
}

/// Returns the path of every setting, sorted.
pub fn setting_paths() -> Vec<String> {
    let mut paths: Vec<String> = leaf_paths(&default_table()).into_iter().chain(open_tables()).collect();
    paths.sort();
    paths
}

fn open_tables() -> impl Iterator<Item = String> {
    OPEN_TABLES.iter().map(|&path| path.to_owned())
}

fn default_table() -> Table {
    // The defaults contain only TOML values; a test parses them back.
    Table::try_from(Settings::default()).unwrap_or_default()
}

fn leaf_paths(settings: &Table) -> Vec<String> {
    fn collect_paths(table: &Table, prefix: &str, into: &mut Vec<String>) {
        for (key, value) in table {
            let path = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            match value {
                Value::Table(_) if OPEN_TABLES.contains(&path.as_str()) => {}
                Value::Table(table) => collect_paths(table, &path, into),
                Value::Array(_) if FILE_ONLY_LISTS.contains(&path.as_str()) => {}
                _ => into.push(path),
            }
        }
    }
    let mut paths: Vec<String> = OPTIONAL_SETTINGS.iter().map(|&path| path.to_owned()).collect();
    collect_paths(settings, "", &mut paths);
    paths.sort();
    paths.dedup();
    paths
}

fn merge_table(settings: &mut Table, overrides: Table, prefix: &str, source: &SourceMap, errors: &mut Vec<String>) {
    for (key, value) in overrides {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        let is_free = OPEN_TABLES.contains(&prefix) || OPTIONAL_SETTINGS.contains(&path.as_str());
        match (settings.get_mut(&key), value) {
            (Some(Value::Table(table)), Value::Table(over)) => merge_table(table, over, &path, source, errors),
            (None, _) if !is_free => errors.push(format!("{path} is not a setting{}", source.place(&path))),
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
}

fn set_from_text(settings: &mut Table, path: &str, text: &str, source: &str, errors: &mut Vec<String>) {
    let (table, key) = path.rsplit_once('.').map_or(("", path), |(table, key)| (table, key));
    let mut at = settings;
    for part in table.split('.').filter(|part| !part.is_empty()) {
        let Some(Value::Table(inner)) = at.get_mut(part) else {
            errors.push(format!("{source}: {path} is not a setting"));
            return;
        };
        at = inner;
    }
    let value = match at.get(key) {
        Some(Value::Integer(_)) => text.parse().map(Value::Integer).map_err(|_| "a whole number"),
        Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).map_err(|_| "true or false"),
        Some(Value::Array(_)) if text.trim().is_empty() => Ok(Value::Array(Vec::new())),
        Some(Value::Array(_)) => Ok(Value::Array(
            text.split(',')
                .map(|part| Value::String(part.trim().to_owned()))
                .collect(),
        )),
        Some(Value::Table(_)) => parse_pairs(text)
            .map(Value::Table)
            .ok_or("a list such as NAME=VALUE,NAME=VALUE"),
        _ => Ok(Value::String(text.to_owned())),
    };
    match value {
        Ok(value) => {
            at.insert(key.to_owned(), value);
        }
        Err(kind) => errors.push(format!("{source} must be {kind}")),
    }
}

/// Parses the text of a table whose keys the user chooses: it replaces the whole table.
fn parse_pairs(text: &str) -> Option<Table> {
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), Value::String(value.trim().to_owned())))
    });
    pairs.collect()
}

/// Parses each setting by itself over the defaults, so that an error names its setting and hides no other. A setting that
/// does not parse keeps its default while the others are checked.
fn parse_each_setting(settings: &Table, source: &SourceMap, errors: &mut Vec<String>) -> Settings {
    let mut good = default_table();
    let lists = FILE_ONLY_LISTS.iter().map(|&path| path.to_owned());
    let mut failed_lists = Vec::new();
    for path in leaf_paths(settings).into_iter().chain(open_tables()).chain(lists) {
        let Some(value) = value_at(settings, &path) else {
            continue;
        };
        let mut tried = good.clone();
        set_value(&mut tried, &path, value.clone());
        match (tried.clone().try_into::<Settings>(), value) {
            (Ok(_), _) => good = tried,
            (Err(_), Value::Array(entries)) if FILE_ONLY_LISTS.contains(&path.as_str()) => {
                failed_lists.push((path, entries));
            }
            (Err(error), _) => errors.push(format!("{path}: {}{}", error.message().trim(), source.place(&path))),
        }
    }
    let mut read: Settings = good.try_into().unwrap_or_default();
    for (path, entries) in failed_lists {
        let risk = &read.risk;
        match path.as_str() {
            KEYS_KEY => read.keys.0 = parse_entries(&path, entries, risk, source, errors),
            ACCOUNTS_KEY => read.accounts.0 = parse_entries(&path, entries, risk, source, errors),
            _ => {
                read.instruments.0 = parse_entries(&path, entries, risk, source, errors);
                // Accounts may name the instruments that are missing now.
                read.accounts
                    .0
                    .iter_mut()
                    .for_each(|account| account.max_positions.clear());
            }
        }
    }
    read
}

/// Adds the place in the file to an error that names a setting or an entry of a list.
fn add_place(error: String, settings: &Table, source: &SourceMap) -> String {
    let is_named = |label: &str| {
        let rest = error.split_once(label).map(|(_, rest)| rest);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ':', ',']))
    };
    let mut named = Vec::new();
    for list in FILE_ONLY_LISTS {
        let entries = settings.get(*list).and_then(Value::as_array);
        for (place, entry) in entries.into_iter().flatten().enumerate() {
            if entry_label(list, entry).is_some_and(|label| is_named(&label)) {
                named.push(format!("{list}[{place}]"));
            }
        }
    }
    let place = match named.is_empty() {
        true => source.place(error.split([' ', ':', ',']).next().unwrap_or_default()),
        false => source.places(&named),
    };
    error + &place
}

/// Returns how errors name an entry of a list.
fn entry_label(list: &str, entry: &Value) -> Option<String> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str);
    match list {
        KEYS_KEY => Some(format!("the key {:?}", text("id")?)),
        ACCOUNTS_KEY => Some(format!("the account {}", text("account_id")?)),
        _ => Some(format!("the instrument {} at {}", text("symbol")?, text("venue")?)),
    }
}

fn value_at<'a>(settings: &'a Table, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let mut value = settings.get(parts.next()?)?;
    for part in parts {
        value = value.as_table()?.get(part)?;
    }
    Some(value)
}

fn set_value(settings: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            settings.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            if let Some(Value::Table(table)) = settings.get_mut(section) {
                set_value(table, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)], flags: &[(&str, String)]) -> Result<Settings, SettingsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(Some(file.path()), environment, flags)
    }

    #[test]
    fn defaults_are_valid_and_survive_toml() {
        assert_eq!(Settings::default().validation_errors(), Vec::<String>::new());
        assert_eq!(load("", &[], &[]).unwrap(), Settings::default());
        assert_eq!(
            Settings::default()
                .instruments
                .to_instruments(&Settings::default().risk)
                .len(),
            4
        );
    }

    #[test]
    fn flags_override_environment_and_environment_overrides_file() {
        let text = "[redis]\nurl = \"redis://a\"\nbatch_max = 7\nsentinels = [\"redis://s:1\"]\n[brokers]\nenabled = [\"ibkr\"]\n[nats]\nuser = \"u\"\npassword = \"p\"\n";
        let environment = [
            ("ORDER_ROUTER_REDIS_URL", "redis://b"),
            ("ORDER_ROUTER_NATS_URL", "nats://b"),
            ("ORDER_ROUTER_BROKERS_ENABLED", "binance, ibkr"),
            ("ORDER_ROUTER_RISK_RATES", "USD=1, USDT=0.99"),
            ("ORDER_ROUTER_CONFIG", "ignored here"),
            ("HOME", "/"),
        ];
        let settings = load(
            text,
            &environment,
            &[("nats.url", "nats://c".to_owned()), ("redis.sentinels", String::new())],
        )
        .unwrap();
        assert!(settings.redis.sentinels.is_empty());
        assert_eq!(
            (settings.redis.url.as_str(), settings.redis.batch_max),
            ("redis://b", 7)
        );
        assert_eq!(settings.nats.url, "nats://c");
        assert_eq!(settings.nats.user.as_deref(), Some("u"));
        assert_eq!(settings.brokers.enabled, ["binance", "ibkr"]);
        let rates: Vec<(&str, &str)> = settings
            .risk
            .rates
            .iter()
            .map(|(name, rate)| (&**name, &**rate))
            .collect();
        assert_eq!(rates, [("USD", "1"), ("USDT", "0.99")]);
        assert!(load("", &[("ORDER_ROUTER_RISK_RATES", "USD")], &[]).is_err());
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let text = "colour = 1\n[redis]\nbatch_maximum = 1\nlease_ms = 1\n[http]\naddr = \"nowhere\"\n[risk]\nalert_percent = 0\n";
        let environment = [
            ("ORDER_ROUTER_NATS_PORT", "1"),
            ("ORDER_ROUTER_REDIS_QUEUE_MAX", "many"),
        ];
        let SettingsError(errors) = load(text, &environment, &[]).unwrap_err();
        for part in [
            "colour",
            "redis.batch_maximum",
            "redis.lease_ms",
            "http",
            "alert_percent",
            "QUEUE_MAX",
        ] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part} in {errors:?}");
        }
        // A variable that names no setting is a warning.
        assert_eq!(errors.len(), 6, "{errors:?}");
    }

    #[test]
    fn each_key_in_the_file_reports_its_own_errors() {
        let key = |id: &str, rest: &str| {
            let hash = id.repeat(64);
            format!("[[keys]]\nid = \"{id}\"\ncustomer = \"c\"\nsha256 = \"{hash}\"\naccounts = [\"*\"]\n{rest}\n")
        };
        let can = "capabilities = [\"can.read\"]";
        let of_the_command_line = [("ORDER_ROUTER_API_KEY", "ork_x")];
        let settings = load(&(key("a", can) + &key("b", can)), &of_the_command_line, &[]).unwrap();
        assert_eq!(settings.keys.0.len(), 2);
        let text = key("a", can) + &key("b", "capabilities = [\"can.fly\"]") + &key("c", "");
        let SettingsError(errors) = load(&text, &[], &[]).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(
            errors[0].starts_with("keys, entry 2") && errors[1].starts_with("keys, entry 3"),
            "{errors:?}"
        );
    }

    #[test]
    fn money_is_a_quoted_string_and_an_instrument_needs_a_rate() {
        assert!(load("[risk]\ndaily_notional_limit = 1000000.0\n", &[], &[]).is_err());
        let text = r#"[[instruments]]
broker = "ibkr"
venue = "ibkr.paper"
symbol = "SAP"
quote = "EUR"
reference_price = "180"
tick_size = "0.01"
lot_size = "1"
max_order_size = "10"
max_position = "20"
max_notional = "5000"
"#;
        let SettingsError(errors) = load(text, &[], &[]).unwrap_err();
        assert!(errors[0].contains("no rate for EUR"), "{errors:?}");
        let settings = load(&format!("{text}[risk.rates]\nEUR = \"1.08\"\n"), &[], &[]).unwrap();
        assert_eq!(settings.instruments.0.len(), 1);
    }

    #[test]
    fn errors_of_the_file_have_their_place() {
        let place = |text: &str| {
            let SettingsError(errors) = load(text, &[], &[]).unwrap_err();
            let places: Vec<String> = errors.iter().map(|error| error.replace("\n", " ")).collect();
            places
        };
        let errors = place("[nats]\nurl = \"nats://a\"\nreplicas = = 3\n\n[redis]\nurl = 'x\n");
        assert!(errors.len() >= 2, "{errors:?}");
        assert!(errors[0].contains("line 3, column 12 is not TOML"), "{errors:?}");
        let errors = place("[nats]\nreplicas = 1\nreplicas = 2\n");
        assert!(
            errors[0].contains("line 3, column 1 ") && errors[0].contains("duplicate key"),
            "{errors:?}"
        );
        for (text, line) in [
            ("\n[nats]\nreplicas = \"three\"\n", "line 3)"),
            ("[nats]\nreplicas = 9\n", "line 2)"),
            ("[nats]\n\nport = 4222\n", "line 3)"),
            ("[nats]\nurl = \"http://a\"\n", "line 2)"),
        ] {
            let errors = place(text);
            assert!(errors.len() == 1 && errors[0].ends_with(line), "{text}: {errors:?}");
        }
        // A value of another source has no line.
        let environment = [("ORDER_ROUTER_NATS_REPLICAS", "9")];
        let SettingsError(errors) = load("[nats]\nreplicas = 1\n", &environment, &[]).unwrap_err();
        assert!(!errors[0].contains("line"), "{errors:?}");
    }

    #[test]
    fn every_field_of_an_entry_reports_its_error() {
        let hash = "0".repeat(64);
        let text = format!(
            "[[keys]]\nid = \"a b\"\ncustomer = 7\nsha256 = \"12\"\ncapabilities = [\"can.fly\"]\ncolour = 1\n\n\
             [[keys]]\nid = \"c\"\ncustomer = \"C\"\nsha256 = \"{hash}\"\ncapabilities = [\"can.read\"]\naccounts = [\"*\"]\n\n\
             [[keys]]\nid = \"c\"\ncustomer = \"C\"\nsha256 = \"{}\"\ncapabilities = [\"can.read\"]\naccounts = [\"*\"]\n",
            "1".repeat(64)
        );
        let SettingsError(errors) = load(&text, &[], &[]).unwrap_err();
        for part in [
            "entry 1: customer: ",
            "entry 1: capabilities: ",
            "entry 1: colour: ",
            "entry 1: accounts is missing",
            "entry 1: the key \"a b\" needs an id",
            "entry 1: sha256 of the key",
            "the key \"c\" is listed twice",
        ] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part} in {errors:?}");
        }
        assert_eq!(errors.len(), 7, "{errors:?}");
        assert!(errors[6].ends_with("lines 8 and 15)"), "{errors:?}");
        let text = "[[instruments]]\nbroker = \"b.c\"\nvenue = \"v\"\nsymbol = \"S\"\nquote = \"USD\"\n\
                    reference_price = \"x\"\ntick_size = \"0\"\nlot_size = 1\nmax_order_size = \"1\"\nmax_position = \"-1\"\n";
        let SettingsError(errors) = load(text, &[], &[]).unwrap_err();
        for part in [
            "broker",
            "reference_price",
            "tick_size",
            "lot_size",
            "max_position",
            "max_notional is missing",
        ] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part} in {errors:?}");
        }
        assert_eq!(errors.len(), 6, "{errors:?}");
    }
}
