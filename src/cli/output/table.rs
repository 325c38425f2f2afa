//! Compact tables with aligned columns.

use std::fmt;

use crate::cli::output::text::strip_control_characters;

/// The side at which a column's cells are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnAlign {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A table. It has a header line when a column has a name.
#[derive(Debug)]
pub(crate) struct TextTable {
    columns: Vec<(&'static str, ColumnAlign)>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Returns a table without rows.
    pub(crate) fn new(columns: &[(&'static str, ColumnAlign)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Returns a table of names and their values, without a header line.
    pub(crate) fn key_value() -> Self {
        Self::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Left)])
    }

    /// Appends a row. Missing cells are empty; cells beyond the last column are dropped.
    pub(crate) fn push_row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| strip_control_characters(&cell)).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Reports whether the table has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let has_header = names.iter().any(|name| !name.is_empty());
        let lines: Vec<&Vec<String>> = has_header.then_some(&names).into_iter().chain(&self.rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for (index, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(&self.columns).zip(&widths);
            let cells = cells.map(|((cell, (_, align)), width)| match align {
                ColumnAlign::Left => format!("{cell:<width$}"),
                ColumnAlign::Right => format!("{cell:>width$}"),
            });
            let text = cells.collect::<Vec<_>>().join("  ");
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_escapes_are_visible() {
        let mut table = TextTable::new(&[
            ("symbol", ColumnAlign::Left),
            ("quantity", ColumnAlign::Right),
            ("note", ColumnAlign::Left),
        ]);
        assert!(table.is_empty());
        table.push_row(["BTCUSDT".to_owned(), "0.001".to_owned(), "a\u{1b}b".to_owned()]);
        table.push_row(["Ä".to_owned(), "12".to_owned()]);
        let expected = "symbol   quantity  note\nBTCUSDT     0.001  a?b\nÄ              12";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn key_value_table_has_no_header() {
        let mut table = TextTable::key_value();
        table.push_row(["status".to_owned(), "filled".to_owned()]);
        assert_eq!(table.to_string(), "status  filled");
    }
}
