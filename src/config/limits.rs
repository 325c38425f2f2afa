//! The limits: the part of the settings that decides what is enforced. All workers of a router enforce the same ones, so
//! they have one form: numbers without trailing zeros, lists in order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Settings;
use crate::config::accounts::AccountList;
use crate::config::instruments::InstrumentList;
use crate::config::load::SettingsError;
use crate::config::risk::RiskSettings;
use crate::domain::content_hash::ContentHash;
use crate::domain::decimal::Decimal;

/// The limits of the settings: `[risk]`, `[[instruments]]` and `[[accounts]]`, in their one form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    risk: RiskSettings,
    instruments: InstrumentList,
    accounts: AccountList,
}

/// A limit that two sets of limits do not share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitDifference {
    /// Its name: `risk.daily_loss_limit`, `instruments.ibkr.paper:AAPL.max_position`, `accounts.fund_7.stop_loss`; an
    /// instrument or an account without a field where only one of the sets has it.
    pub name: String,
    /// Its value in the first set; `None` where that has none.
    pub before: Option<String>,
    /// Its value in the second set; `None` where that has none.
    pub after: Option<String>,
}

impl LimitSettings {
    /// Returns the limits of the settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            risk: settings.risk.clone(),
            instruments: settings.instruments.clone(),
            accounts: settings.accounts.clone(),
        }
        .normalized()
    }

    /// Decodes limits from their JSON. A limit that it lacks has its default.
    ///
    /// # Errors
    /// Every reason why they cannot be enforced: a limit that this release does not know, or a value out of range.
    pub fn from_json(json: &[u8]) -> Result<Self, SettingsError> {
        let limits: Self = serde_json::from_slice(json).map_err(|error| SettingsError(vec![error.to_string()]))?;
        let mut errors = Vec::new();
        limits.risk.validate(&mut errors);
        limits.instruments.validate(&limits.risk, &mut errors);
        limits.accounts.validate(&limits.instruments, &mut errors);
        if errors.is_empty() {
            Ok(limits.normalized())
        } else {
            Err(SettingsError(errors))
        }
    }

    /// Returns the limits as JSON; equal limits have equal bytes.
    ///
    /// # Errors
    /// When they have no JSON, which no valid settings cause.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Returns the hash of the limits' JSON.
    ///
    /// # Errors
    /// As [`LimitSettings::to_json`].
    pub fn hash(&self) -> Result<ContentHash, serde_json::Error> {
        self.to_json().map(|json| ContentHash::of(&json))
    }

    /// Returns the limits that are independent of the instrument.
    pub fn risk(&self) -> &RiskSettings {
        &self.risk
    }

    /// Returns the instruments.
    pub fn instruments(&self) -> &InstrumentList {
        &self.instruments
    }

    /// Returns the accounts with limits of their own.
    pub fn accounts(&self) -> &AccountList {
        &self.accounts
    }

    /// Returns every limit that differs from those of another set, in the order of their names.
    pub fn differences(&self, after: &Self) -> Vec<LimitDifference> {
        compare(&self.leaves(), &after.leaves())
    }

    /// Returns every limit that differs from the JSON of another set, in the order of their names. A limit that this
    /// release does not know differs.
    pub fn differences_from_json(before: &[u8], after: &Self) -> Vec<LimitDifference> {
        match Self::from_json(before) {
            Ok(before) => before.differences(after),
            Err(_) => compare(
                &leaves_of(&serde_json::from_slice(before).unwrap_or_default()),
                &after.leaves(),
            ),
        }
    }

    fn normalized(mut self) -> Self {
        let risk = &mut self.risk;
        for text in [
            &mut risk.daily_notional_limit,
            &mut risk.daily_loss_limit,
            &mut risk.max_live_order_notional,
            &mut risk.account_stop_loss,
        ] {
            normalize(text);
        }
        risk.rates.values_mut().for_each(normalize);
        for one in &mut self.instruments.0 {
            for text in [
                &mut one.reference_price,
                &mut one.tick_size,
                &mut one.lot_size,
                &mut one.max_order_size,
                &mut one.max_position,
                &mut one.max_notional,
            ] {
                normalize(text);
            }
        }
        for one in &mut self.accounts.0 {
            let limits = [
                &mut one.daily_notional_limit,
                &mut one.daily_loss_limit,
                &mut one.stop_loss,
            ];
            limits.into_iter().flatten().for_each(normalize);
            one.max_positions.values_mut().for_each(normalize);
        }
        self.instruments
            .0
            .sort_by(|one, other| (&one.venue, &one.symbol).cmp(&(&other.venue, &other.symbol)));
        self.accounts
            .0
            .sort_by(|one, other| one.account_id.cmp(&other.account_id));
        self
    }

    /// Returns each limit by its name.
    fn leaves(&self) -> BTreeMap<String, String> {
        leaves_of(&serde_json::to_value(self).unwrap_or_default())
    }
}

fn compare(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<LimitDifference> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        // The fields of an entry that one of the sets lacks say nothing beyond its name.
        .filter(|name| entry_of(name).is_none_or(|entry| before.contains_key(entry) == after.contains_key(entry)));
    differing
        .map(|name| LimitDifference {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

/// Returns each limit of a document by its name, and each instrument and account.
fn leaves_of(document: &Value) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    collect_leaves("risk".to_owned(), &document["risk"], &mut leaves);
    let entries = |section: &str| document[section].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let instruments = entries("instruments").into_iter().map(|entry| {
        let name = format!("instruments.{}:{}", text(&entry, "venue"), text(&entry, "symbol"));
        (name, entry)
    });
    let accounts = entries("accounts")
        .into_iter()
        .map(|entry| (format!("accounts.{}", text(&entry, "account_id")), entry));
    for (name, entry) in instruments.chain(accounts) {
        collect_leaves(name.clone(), &entry, &mut leaves);
        leaves.insert(name, "present".to_owned());
    }
    leaves
}

/// Writes a number without trailing zeros; leaves a text that is none.
fn normalize(text: &mut String) {
    if let Ok(number) = text.parse::<Decimal>() {
        *text = number.to_string();
    }
}

fn collect_leaves(name: String, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                collect_leaves(format!("{name}.{field}"), value, into);
            }
        }
        Value::String(text) => drop(into.insert(name, text.clone())),
        other => drop(into.insert(name, other.to_string())),
    }
}

/// Returns the name of the instrument or account of a limit; `None` for a limit of neither. Names of venues have dots,
/// symbols and accounts have none.
fn entry_of(name: &str) -> Option<&str> {
    let end_of = |from: usize| name[from..].find('.').map(|at| &name[..from + at]);
    if let Some(rest) = name.strip_prefix("instruments.") {
        return end_of(name.len() - rest.len() + rest.find(':')?);
    }
    name.strip_prefix("accounts.")
        .and_then(|rest| end_of(name.len() - rest.len()))
}

impl std::fmt::Display for LimitDifference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        write!(
            formatter,
            "{}: {} to {}",
            self.name,
            value(&self.before),
            value(&self.after)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_one_form_whatever_the_file_writes() {
        let plain = Settings::default();
        let mut other = plain.clone();
        other.risk.daily_loss_limit = "50000.00".to_owned();
        other.instruments.0.reverse();
        other.instruments.0[0].max_position = "4000.0".to_owned();
        other.redis.lease_ms += 1;
        let (one, two) = (LimitSettings::of(&plain), LimitSettings::of(&other));
        assert_eq!(one.hash().unwrap(), two.hash().unwrap());
        assert_eq!(one.differences(&two), Vec::new());
        let read = LimitSettings::from_json(&one.to_json().unwrap()).unwrap();
        assert_eq!(read, one);
    }

    #[test]
    fn differences_are_named_with_both_values() {
        let before = Settings::default();
        let mut after = before.clone();
        after.risk.daily_loss_limit = "40000".to_owned();
        after.risk.rates.insert("EUR".to_owned(), "1.1".to_owned());
        after.instruments.0[2].max_position = "4999".to_owned();
        after.instruments.0.remove(3);
        after
            .accounts
            .0
            .push(toml::from_str("account_id = \"fund_7\"\nstop_loss = \"5\"\n").unwrap());
        let differences = LimitSettings::of(&before).differences(&LimitSettings::of(&after));
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "accounts.fund_7: absent to present",
                "instruments.ibkr.paper:AAPL.max_position: 5000 to 4999",
                "instruments.ibkr.paper:MSFT: present to absent",
                "risk.daily_loss_limit: 50000 to 40000",
                "risk.rates.EUR: absent to 1.1",
            ]
        );
    }

    #[test]
    fn limits_of_another_release_are_refused_or_have_their_defaults() {
        let json = LimitSettings::of(&Settings::default()).to_json().unwrap();
        let mut document: Value = serde_json::from_slice(&json).unwrap();
        document["risk"].as_object_mut().unwrap().remove("alert_percent");
        let read = LimitSettings::from_json(&serde_json::to_vec(&document).unwrap()).unwrap();
        assert_eq!(read, LimitSettings::of(&Settings::default()));
        document["risk"]["colour"] = "red".into();
        let error = LimitSettings::from_json(&serde_json::to_vec(&document).unwrap()).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
        document["risk"].as_object_mut().unwrap().remove("colour");
        document["risk"]["alert_percent"] = 0.into();
        let error = LimitSettings::from_json(&serde_json::to_vec(&document).unwrap()).unwrap_err();
        assert!(error.to_string().contains("alert_percent"), "{error}");
    }
}
