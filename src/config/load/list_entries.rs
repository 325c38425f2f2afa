//! The entries of lists such as `[[keys]]`: each field is parsed by itself, so that an error hides no other.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::config::accounts::AccountSettings;
use crate::config::api_keys::KeySettings;
use crate::config::instruments::InstrumentSettings;
use crate::config::load::source_map::SourceMap;
use crate::config::risk::RiskSettings;

/// One entry of a list in the settings file.
pub(super) trait ListEntry: DeserializeOwned + Serialize {
    /// Returns a valid entry with a value for every required field.
    fn sample() -> Self;

    /// Adds a sentence for each field that is invalid by itself.
    fn field_errors(&self, risk: &RiskSettings, errors: &mut Vec<String>);
}

impl ListEntry for KeySettings {
    fn sample() -> Self {
        Self::sample()
    }

    fn field_errors(&self, _: &RiskSettings, errors: &mut Vec<String>) {
        self.validate(errors);
    }
}

impl ListEntry for InstrumentSettings {
    fn sample() -> Self {
        Self::sample()
    }

    fn field_errors(&self, risk: &RiskSettings, errors: &mut Vec<String>) {
        errors.extend(self.parse_fields(risk).err().into_iter().flatten());
    }
}

impl ListEntry for AccountSettings {
    fn sample() -> Self {
        Self {
            account_id: "default".to_owned(),
            daily_notional_limit: None,
            daily_loss_limit: None,
            stop_loss: None,
            max_open_orders: None,
            heartbeat_timeout_ms: None,
            max_positions: std::collections::BTreeMap::new(),
        }
    }

    /// An account's limits are compared with each other and with the instruments, once all of them can be parsed.
    fn field_errors(&self, _: &RiskSettings, _: &mut Vec<String>) {}
}

/// Returns the entries that can be parsed, and adds the errors of each field of the others.
pub(super) fn parse_entries<T: ListEntry>(
    list: &str,
    entries: &[Value],
    risk: &RiskSettings,
    source: &SourceMap,
    errors: &mut Vec<String>,
) -> Vec<T> {
    let mut good = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        if let Ok(parsed) = entry.clone().try_into() {
            good.push(parsed);
            continue;
        }
        let path = format!("{list}[{place}]");
        let name = format!("{list}, entry {}", place + 1);
        let Value::Table(entry) = entry else {
            errors.push(format!("{name}: must be a table{}", source.place(&path)));
            continue;
        };
        // A sample that does not parse would report errors of its own; a test parses all of them.
        let sample = Table::try_from(T::sample()).unwrap_or_default();
        let mut repaired = sample.clone();
        for (field, value) in entry {
            let mut tried = sample.clone();
            tried.insert(field.clone(), value.clone());
            match tried.try_into::<T>() {
                Ok(_) => drop(repaired.insert(field.clone(), value.clone())),
                Err(error) => {
                    let at = source.place(&format!("{path}.{field}"));
                    errors.push(format!("{name}: {field}: {}{at}", error.message().trim()));
                }
            }
        }
        for field in sample.keys().filter(|field| !entry.contains_key(*field)) {
            let mut without = sample.clone();
            without.remove(field);
            if without.try_into::<T>().is_err() {
                errors.push(format!("{name}: {field} is missing{}", source.place(&path)));
            }
        }
        if let Ok(repaired) = repaired.try_into::<T>() {
            let mut of_fields = Vec::new();
            repaired.field_errors(risk, &mut of_fields);
            let at = source.place(&path);
            errors.extend(of_fields.into_iter().map(|error| format!("{name}: {error}{at}")));
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_sample_is_valid<T: ListEntry>() {
        let table = Table::try_from(T::sample()).unwrap();
        let mut errors = Vec::new();
        let parsed: T = table.try_into().unwrap();
        parsed.field_errors(&RiskSettings::default(), &mut errors);
        assert_eq!(errors, Vec::<String>::new());
    }

    #[test]
    fn samples_are_valid() {
        assert_sample_is_valid::<KeySettings>();
        assert_sample_is_valid::<InstrumentSettings>();
        assert_sample_is_valid::<AccountSettings>();
    }
}
