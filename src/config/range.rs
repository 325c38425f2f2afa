//! The check of a number's range, with one wording for every setting.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// Adds a sentence to `errors` if the value of the setting `name` is out of its range.
pub(super) fn check_range<T: PartialOrd + Display>(
    errors: &mut Vec<String>,
    name: &str,
    value: T,
    bounds: &RangeInclusive<T>,
) {
    if !bounds.contains(&value) {
        let (low, high) = (bounds.start(), bounds.end());
        errors.push(format!("{name} is {value}; it must be between {low} and {high}"));
    }
}
