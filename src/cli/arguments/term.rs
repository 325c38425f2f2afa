//! Values of closed sets, such as sides and statuses.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Returns a parser for one of `all` values; help and errors list them by `as_str`.
pub(crate) fn term_parser<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    as_str: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let names = all.iter().map(|&value| as_str(value));
    PossibleValuesParser::new(names).try_map(move |text| {
        let found = all
            .iter()
            .copied()
            .find(|&value| as_str(value).eq_ignore_ascii_case(&text));
        found.ok_or("is not one of the possible values")
    })
}
