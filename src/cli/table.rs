//! Compact tables with aligned columns.

use std::fmt;

/// On which side a column's cells line up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table; it has a header line where a column has a name.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table without rows.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells that are missing are empty, and those beyond the columns are left out.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| plain(&cell)).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let has_header = names.iter().any(|name| !name.is_empty());
        let lines: Vec<&Vec<String>> = has_header.then_some(&names).into_iter().chain(&self.rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for (index, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(&self.columns).zip(&widths);
            let cells = cells.map(|((cell, (_, align)), width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let text = cells.collect::<Vec<_>>().join("  ");
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// Returns a text that a terminal shows as it is: somebody else's text may hold escape sequences.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_escapes_are_shown() {
        let mut table = Table::new(&[
            ("symbol", Align::Left),
            ("quantity", Align::Right),
            ("note", Align::Left),
        ]);
        assert!(table.is_empty());
        table.row(["BTCUSDT".to_owned(), "0.001".to_owned(), "a\u{1b}b".to_owned()]);
        table.row(["Ä".to_owned(), "12".to_owned()]);
        let expected = "symbol   quantity  note\nBTCUSDT     0.001  a?b\nÄ              12";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn without_names_there_is_no_header() {
        let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
        table.row(["status".to_owned(), "filled".to_owned()]);
        assert_eq!(table.to_string(), "status  filled");
    }
}
