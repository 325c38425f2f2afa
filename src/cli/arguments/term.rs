//! Arguments that are one of the field's terms.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Returns a parser for one of the field's terms.
pub(crate) fn term_parser<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    as_str: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let words = all.iter().map(|&value| as_str(value));
    PossibleValuesParser::new(words).try_map(move |text| {
        let found = all
            .iter()
            .copied()
            .find(|&value| as_str(value).eq_ignore_ascii_case(&text));
        found.ok_or("is none of the possible values")
    })
}
