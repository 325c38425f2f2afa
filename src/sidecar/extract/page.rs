//! The size of a page, and the grammar of whole numbers in a query.

/// The number of items of a page without `limit`.
pub(in crate::sidecar) const DEFAULT_PAGE_LIMIT: u64 = 100;
/// The largest number of items of a page.
pub(in crate::sidecar) const MAX_PAGE_LIMIT: u64 = 500;

/// Parses the `limit` of a page.
///
/// # Errors
/// The rule, if the text is not an integer from 1 to [`MAX_PAGE_LIMIT`].
pub(in crate::sidecar) fn parse_limit(text: &str) -> Result<u64, String> {
    let number = parse_whole_number(text).filter(|number| (1..=MAX_PAGE_LIMIT).contains(number));
    number.ok_or_else(|| format!("must be an integer from 1 to {MAX_PAGE_LIMIT}"))
}

/// Parses digits only: no sign, no space. Returns `None` for any other text, and beyond `u64`.
pub(in crate::sidecar) fn parse_whole_number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_digits_within_its_range() {
        for (text, limit) in [
            ("1", Some(1)),
            ("500", Some(500)),
            ("0100", Some(100)),
            ("0", None),
            ("501", None),
            ("+5", None),
            ("-5", None),
            (" 5", None),
            ("5.0", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_limit(text).ok(), limit, "{text:?}");
        }
    }
}
