//! The settings file as TOML: its syntax errors with line and column, and the line of every key.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

/// Where each key of the settings file is. Empty without a file.
#[derive(Debug, Default)]
pub(super) struct SourceMap {
    file: String,
    text: String,
    /// Byte offset in the text by path, such as `nats.url`, `keys` and `keys[0].id`.
    starts: BTreeMap<String, usize>,
}

impl SourceMap {
    /// Reads a file. Returns its settings, and where they are; adds every error of its syntax.
    pub(super) fn read(path: &Path, errors: &mut Vec<String>) -> (Table, Self) {
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                errors.push(format!("{file} cannot be read: {error}"));
                return Default::default();
            }
        };
        let (document, faults) = DeTable::parse_recoverable(&text);
        if !faults.is_empty() {
            errors.extend(faults.iter().map(|fault| {
                let (line, column) = position(&text, fault.span().unwrap_or_default().start);
                format!("{file}, line {line}, column {column} is not TOML: {}", fault.message())
            }));
            return Default::default();
        }
        let mut map = Self {
            file,
            ..Self::default()
        };
        map.add_table("", document.get_ref());
        match Table::deserialize(toml::Deserializer::from(document)) {
            Ok(table) => {
                map.text = text;
                (table, map)
            }
            Err(error) => {
                errors.push(format!("{} is not TOML: {}", map.file, error.message()));
                Default::default()
            }
        }
    }

    fn add_table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            self.starts.insert(path.clone(), key.span().start);
            self.add_value(&path, value);
        }
    }

    fn add_value(&mut self, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(path, table),
            DeValue::Array(entries) => {
                for (place, entry) in entries.iter().enumerate() {
                    let path = format!("{path}[{place}]");
                    self.starts.insert(path.clone(), entry.span().start);
                    self.add_value(&path, entry);
                }
            }
            _ => {}
        }
    }

    /// Forgets a setting: another source overrides it.
    pub(super) fn forget(&mut self, path: &str) {
        self.starts.remove(path);
    }

    /// Returns the place of a setting for the end of an error, such as ` (router.toml, line 7)`; nothing if the setting is
    /// not from the file.
    pub(super) fn place(&self, path: &str) -> String {
        self.places(&[path.to_owned()])
    }

    /// Returns the places of several settings, as [`Self::place`] does.
    pub(super) fn places(&self, paths: &[String]) -> String {
        let lines: Vec<String> = paths
            .iter()
            .filter_map(|path| self.starts.get(path))
            .map(|start| position(&self.text, *start).0.to_string())
            .collect();
        match lines.as_slice() {
            [] => String::new(),
            [line] => format!(" ({}, line {line})", self.file),
            lines => format!(" ({}, lines {})", self.file, lines.join(" and ")),
        }
    }
}

/// Returns line and column of a byte offset, both from 1; the column counts characters.
fn position(text: &str, start: usize) -> (usize, usize) {
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[line_start..].chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}
