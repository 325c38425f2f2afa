//! The last line of a page: which part of all items it shows.

use crate::cli::output::table::TextTable;
use crate::cli::output::text::group_digits;
use crate::wire::order_record::PageMetadata;

/// Returns a page as people read it. `table` has a row for each of its `shown` items, which `noun` names in the plural.
pub(crate) fn render_page(noun: &str, table: &TextTable, shown: usize, metadata: &PageMetadata) -> String {
    let PageMetadata {
        offset, total, next, ..
    } = metadata;
    let is_filtered = *metadata
        != PageMetadata {
            limit: metadata.limit,
            offset: *offset,
            total: *total,
            sort: metadata.sort,
            after: metadata.after.clone(),
            next: next.clone(),
            ..PageMetadata::default()
        };
    let next = next
        .as_ref()
        .map_or_else(String::new, |id| format!("; next: --after {id}"));
    let all = group_digits(*total);
    match u64::try_from(shown).unwrap_or(u64::MAX) {
        0 if *total > 0 && metadata.after.is_some() => format!("no more {noun}"),
        0 if *total > 0 => format!("offset {} is beyond the last of {all} {noun}", group_digits(*offset)),
        0 if is_filtered => format!("no {noun} match"),
        0 => format!("no {noun}"),
        1 => format!("{table}\n\n{} of {all}{next}", group_digits(offset.saturating_add(1))),
        shown => {
            let (first, last) = (offset.saturating_add(1), offset.saturating_add(shown));
            format!(
                "{table}\n\n{}–{} of {all}{next}",
                group_digits(first),
                group_digits(last)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::table::ColumnAlign;

    #[test]
    fn footer_names_the_shown_part() {
        let mut table = TextTable::new(&[("id", ColumnAlign::Left)]);
        table.push_row(["7".to_owned()]);
        for (shown, offset, total, symbol, expected) in [
            (100, 0, 4_711, None, "id\n7\n\n1–100 of 4 711"),
            (11, 4_700, 4_711, None, "id\n7\n\n4 701–4 711 of 4 711"),
            (1, 0, 1, Some("AAPL"), "id\n7\n\n1 of 1"),
            (0, 0, 0, None, "no orders"),
            (0, 0, 0, Some("AAPL"), "no orders match"),
            (0, 5_000, 4_711, None, "offset 5 000 is beyond the last of 4 711 orders"),
        ] {
            let metadata = PageMetadata {
                limit: 100,
                offset,
                total,
                symbol: symbol.map(str::to_owned),
                ..PageMetadata::default()
            };
            assert_eq!(render_page("orders", &table, shown, &metadata), expected);
        }
        let metadata = |next: Option<&str>, after: Option<&str>| PageMetadata {
            offset: 2,
            total: 9,
            next: next.map(str::to_owned),
            after: after.map(str::to_owned),
            ..PageMetadata::default()
        };
        for (shown, next, after, expected) in [
            (2, Some("17"), Some("21"), "id\n7\n\n3–4 of 9; next: --after 17"),
            (1, Some("17"), None, "id\n7\n\n3 of 9; next: --after 17"),
            (0, None, Some("1"), "no more orders"),
        ] {
            assert_eq!(render_page("orders", &table, shown, &metadata(next, after)), expected);
        }
    }
}
