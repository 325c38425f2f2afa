//! Compact tables with aligned columns.

use std::fmt;

use crate::domain::time::Timestamp;

/// On which side a column's cells line up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnAlign {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table; it has a header line where a column has a name.
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

    /// Adds a row; cells that are missing are empty, and those beyond the columns are left out.
    pub(crate) fn push_row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| strip_control_characters(&cell)).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Whether it has no rows.
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

/// Returns a time to the millisecond, which is as much of it as a table has room for.
pub(crate) fn format_time(at: Timestamp) -> String {
    let text = at.to_string();
    let cut = text.trim_end_matches('Z').split_once('.');
    let cut = cut.and_then(|(seconds, fraction)| Some(format!("{seconds}.{}Z", fraction.get(..3)?)));
    cut.unwrap_or(text)
}

/// Returns what there is to tell, or a dash.
pub(crate) fn text_or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Returns a count with its digits in groups of three.
pub(crate) fn group_digits(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Returns a text that a terminal shows as it is: somebody else's text may hold escape sequences.
pub(crate) fn strip_control_characters(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_escapes_are_shown() {
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
    fn without_names_there_is_no_header() {
        let mut table = TextTable::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Left)]);
        table.push_row(["status".to_owned(), "filled".to_owned()]);
        assert_eq!(table.to_string(), "status  filled");
    }

    #[test]
    fn counts_and_times_are_short() {
        for (count, text) in [(0, "0"), (999, "999"), (4_711, "4 711"), (1_234_567, "1 234 567")] {
            assert_eq!(group_digits(count), text);
        }
        let at = Timestamp::parse("2026-03-01T10:00:00.123987+01:00").unwrap();
        assert_eq!(format_time(at), "2026-03-01T09:00:00.123Z");
    }
}
