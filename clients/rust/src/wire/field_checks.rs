//! The rules of fields that several requests share: texts, tags and amounts. Each names the rule that a value breaks.

use crate::domain::decimal::Decimal;
use crate::domain::id::Tag;
use crate::domain::intent::MAX_TAGS;
use crate::domain::money::{MICROS_SCALE, Micros, Rounding};
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, QUANTITY_BOUND};
use crate::fault::Fault;
use crate::wire::strict_object::StrictObject;

/// The maximum length of an `actor` or `reason`, in characters.
pub const MAX_OPERATOR_TEXT_CHARACTERS: usize = 256;

/// The maximum length of the name of a currency, in characters.
const MAX_CURRENCY_CHARACTERS: usize = 32;

/// Checks an operator's text: an actor or a reason.
///
/// # Errors
/// The rule that the text breaks.
pub fn parse_operator_text(text: &str) -> Result<String, String> {
    parse_plain_text(text, MAX_OPERATOR_TEXT_CHARACTERS)
}

/// Checks a text of 1 to `max_characters` characters without control characters.
///
/// # Errors
/// The rule that the text breaks.
pub fn parse_plain_text(text: &str, max_characters: usize) -> Result<String, String> {
    let characters = text.chars().count();
    if (1..=max_characters).contains(&characters) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1-{max_characters} characters without control characters"
        ))
    }
}

/// Takes the tags of an intent.
///
/// # Errors
/// `invalid_field` when there are more than 32 tags, or one of them is invalid.
pub fn decode_tags(object: &mut StrictObject<'_>) -> Result<Vec<Tag>, Fault> {
    let texts = object
        .optional::<Vec<String>>("tags", "must be an array of strings")?
        .unwrap_or_default();
    if texts.len() > MAX_TAGS {
        return Err(object.invalid_field("tags", format!("must be at most {MAX_TAGS}")));
    }
    texts
        .iter()
        .map(|text| Tag::new(text).map_err(|rule| object.invalid_field("tags", format!("each {rule}"))))
        .collect()
}

/// Checks an amount of the base currency that the shared sums can count, with at most 8 decimals.
///
/// # Errors
/// The rule that the amount breaks.
pub fn parse_money(number: Decimal) -> Result<Decimal, &'static str> {
    Micros::from_decimal(number, Rounding::Down)
        .filter(|_| number.scale() <= MAX_AMOUNT_DECIMALS)
        .map(|_| number)
        .ok_or("must be within ±9007199254.740991 and have at most 8 decimals")
}

/// Checks a limit in the base currency.
///
/// # Errors
/// The rule that the amount breaks.
pub fn parse_limit(number: Decimal) -> Result<Micros, &'static str> {
    Micros::from_decimal(number, Rounding::Down)
        .filter(|limit| limit.units() > 0)
        .ok_or("must be above zero and at most 9007199254.740991")
}

/// Checks a deposit or, below zero, a withdrawal in the base currency, with at most 6 decimals.
///
/// # Errors
/// The rule that the amount breaks.
pub fn parse_cash(number: Decimal) -> Result<Micros, &'static str> {
    Micros::from_decimal(number, Rounding::Down)
        .filter(|_| number.scale() <= MICROS_SCALE && !number.is_zero())
        .ok_or("must not be zero, lie within ±9007199254.740991, and have at most 6 decimals")
}

/// Checks the name of a currency.
///
/// # Errors
/// The rule that the name breaks.
pub fn parse_currency(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=MAX_CURRENCY_CHARACTERS).contains(&text.len()) && text.bytes().all(is_name) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be 1-{MAX_CURRENCY_CHARACTERS} characters of [A-Za-z0-9._-]"
        ))
    }
}

/// Checks a quantity that may be zero or below.
///
/// # Errors
/// The rule that the quantity breaks.
pub fn parse_signed_quantity(number: Decimal) -> Result<Decimal, &'static str> {
    is_signed_quantity(number)
        .then_some(number)
        .ok_or("must be within ±10^11 and have at most 8 decimals")
}

/// Checks a change of a position: a quantity that may be below zero, but not zero.
///
/// # Errors
/// The rule that the quantity breaks.
pub fn parse_quantity_change(number: Decimal) -> Result<Decimal, &'static str> {
    (is_signed_quantity(number) && !number.is_zero())
        .then_some(number)
        .ok_or("must not be zero, lie within ±10^11, and have at most 8 decimals")
}

fn is_signed_quantity(number: Decimal) -> bool {
    number.abs() < Decimal::from(QUANTITY_BOUND) && number.scale() <= MAX_AMOUNT_DECIMALS
}
