//! The settings file as TOML: its syntax errors with line and column, and the line of every key.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

/// Where each key of the settings file is. Empty without a file.
#[derive(Debug, Default)]
pub(super) struct SourceMap {
    file: String,
    /// Line and column by path, such as `nats.url`, `keys` and `keys[0].id`.
    lines: BTreeMap<String, usize>,
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
                let (line, column) = position(&text, &fault.span().unwrap_or_default());
                format!("{file}, line {line}, column {column} is not TOML: {}", fault.message())
            }));
            return Default::default();
        }
        let mut map = Self {
            file: file.clone(),
            lines: BTreeMap::new(),
        };
        map.add_table(&text, "", document.get_ref());
        match text.parse() {
            Ok(table) => (table, map),
            Err(error) => {
                errors.push(format!("{file} is not TOML: {}", error.message()));
                Default::default()
            }
        }
    }

    fn add_table(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            self.lines.insert(path.clone(), position(text, &key.span()).0);
            self.add_value(text, &path, value);
        }
    }

    fn add_value(&mut self, text: &str, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(text, path, table),
            DeValue::Array(entries) => {
                for (place, entry) in entries.iter().enumerate() {
                    let path = format!("{path}[{place}]");
                    self.lines.insert(path.clone(), position(text, &entry.span()).0);
                    self.add_value(text, &path, entry);
                }
            }
            _ => {}
        }
    }

    /// Forgets a setting: another source overrides it.
    pub(super) fn forget(&mut self, path: &str) {
        self.lines.remove(path);
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
            .filter_map(|path| self.lines.get(path))
            .map(ToString::to_string)
            .collect();
        match lines.as_slice() {
            [] => String::new(),
            [line] => format!(" ({}, line {line})", self.file),
            lines => format!(" ({}, lines {})", self.file, lines.join(" and ")),
        }
    }
}

/// Returns line and column of the beginning of a span, both from 1; the column counts characters.
fn position(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[line_start..].chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}
