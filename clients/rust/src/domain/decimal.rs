//! Exact decimal numbers: parsed from JSON without an intermediate float, formatted without exponent or trailing zeros.
//!
//! Written here, over `rust_decimal`: its own deserializer reads a JSON number through a binary float, and its parsers accept
//! texts that JSON's grammar forbids or round silently beyond 28 digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// The longest text of a number, in bytes; a longer one is refused before it is parsed.
pub const MAX_NUMBER_TEXT_LENGTH: usize = 64;
/// The most significant digits a number may have.
pub const MAX_SIGNIFICANT_DIGITS: usize = 28;
/// The most decimals a number may have.
pub const MAX_SCALE: u32 = 28;
/// The longest text that [`parse_short`] reads, in bytes: its digits fit an `i64`.
const MAX_SHORT_TEXT_LENGTH: usize = 18;

/// The powers of ten that fit 64 bits.
const POWERS_OF_TEN: [i64; 19] = {
    let mut powers = [1; 19];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// An exact decimal number of at most 28 significant digits.
///
/// Arithmetic is exact or refused: no operation rounds silently.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(rust_decimal::Decimal);

/// Why a text is not a number that can be represented exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The text does not follow JSON's number grammar (RFC 8259 §6).
    #[error("is not a number in JSON number grammar")]
    InvalidGrammar,
    /// The number has more digits than can be represented exactly.
    #[error("has more digits than can be represented exactly (at most 28)")]
    ExceedsPrecision,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(rust_decimal::Decimal::ZERO);

    /// Returns `mantissa` × 10^-`scale`, or `None` when it cannot be represented exactly.
    pub fn from_parts(mantissa: i128, scale: u32) -> Option<Self> {
        let (mut mantissa, mut scale) = (mantissa, scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        rust_decimal::Decimal::try_from_i128_with_scale(mantissa, scale)
            .ok()
            .map(Self)
    }

    /// Returns the number's mantissa and scale, without trailing zeros.
    pub fn parts(self) -> (i128, u32) {
        (self.0.mantissa(), self.0.scale())
    }

    /// Returns the number of decimals, without trailing zeros.
    pub fn scale(self) -> u32 {
        self.0.scale()
    }

    /// Reports whether the number is above zero.
    pub fn is_positive(self) -> bool {
        self.0.mantissa() > 0
    }

    /// Reports whether the number is zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Returns the absolute value.
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// Returns the number with the opposite sign.
    pub fn negated(self) -> Self {
        Self::from_parts(-self.0.mantissa(), self.0.scale()).unwrap_or(Self::ZERO)
    }

    /// Returns the number as an integer of 10^-`scale`, or `None` when it has more decimals than that or is too large.
    pub fn to_scaled_integer(self, scale: u32) -> Option<i128> {
        let missing = scale.checked_sub(self.0.scale())?;
        let factor = usize::try_from(missing)
            .ok()
            .and_then(|missing| POWERS_OF_TEN.get(missing));
        if let (Ok(mantissa), Some(factor)) = (i64::try_from(self.0.mantissa()), factor) {
            // The product of two 64-bit integers is in the range of 128 bits.
            return Some(i128::from(mantissa) * i128::from(*factor));
        }
        self.0.mantissa().checked_mul(10i128.checked_pow(missing)?)
    }

    /// Returns the exact sum, or `None` when it cannot be represented.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale().max(other.scale());
        Self::from_parts(
            self.to_scaled_integer(scale)?
                .checked_add(other.to_scaled_integer(scale)?)?,
            scale,
        )
    }

    /// Returns the exact difference, or `None` when it cannot be represented.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(other.negated())
    }

    /// Returns the exact product, or `None` when it cannot be represented.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let mantissa = self.0.mantissa().checked_mul(other.0.mantissa())?;
        Self::from_parts(mantissa, self.scale() + other.scale())
    }

    /// Returns the number divided by `unit`, or `None` when it is not a whole multiple of it.
    pub fn count_multiples_of(self, unit: Self) -> Option<i128> {
        let scale = self.scale().max(unit.scale());
        let (number, unit) = (self.to_scaled_integer(scale)?, unit.to_scaled_integer(scale)?);
        (unit != 0 && number % unit == 0).then(|| number / unit)
    }

    /// Returns the quotient with `decimals` decimals, ties to even, computed by integer long division so that the
    /// rounding happens once. `None` for a zero divisor or a quotient out of range.
    pub fn div_half_even(self, divisor: Self, decimals: u32) -> Option<Self> {
        let negative = (self.0.mantissa() < 0) != (divisor.0.mantissa() < 0);
        let shared = self.scale().max(divisor.scale());
        let (number, by) = (
            self.to_scaled_integer(shared)?.checked_abs()?,
            divisor.to_scaled_integer(shared)?.checked_abs()?,
        );
        let mut quotient = number.checked_div(by)?;
        let mut rest = number.checked_rem(by)?;
        for _ in 0..decimals {
            rest = rest.checked_mul(10)?;
            quotient = quotient.checked_mul(10)?.checked_add(rest / by)?;
            rest %= by;
        }
        let twice = rest.checked_mul(2)?;
        if twice > by || (twice == by && quotient % 2 == 1) {
            quotient += 1;
        }
        Self::from_parts(if negative { -quotient } else { quotient }, decimals)
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Parses a number in JSON number grammar, including exponents, exactly.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        if let Some(number) = parse_short(text.as_bytes()) {
            return Ok(number);
        }
        if text.len() > MAX_NUMBER_TEXT_LENGTH {
            return Err(DecimalError::ExceedsPrecision);
        }
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (number, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
            Some(_) => return Err(DecimalError::InvalidGrammar),
            None => (number, ""),
        };
        if !is_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(DecimalError::InvalidGrammar);
        }
        let exponent = exponent.map_or(Ok(0), parse_exponent)?;
        let digits: String = [whole, fraction].concat();
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok(Self::ZERO);
        }
        if significant.len() > MAX_SIGNIFICANT_DIGITS {
            return Err(DecimalError::ExceedsPrecision);
        }
        let dropped = (digits.len() - digits.trim_end_matches('0').len()) as i64;
        let power = exponent + dropped - fraction.len() as i64;
        let mantissa: i128 = significant.parse().map_err(|_| DecimalError::InvalidGrammar)?;
        let mantissa = if negative { -mantissa } else { mantissa };
        let (mantissa, scale) = match power {
            0.. => {
                let factor = u32::try_from(power).ok().and_then(|power| 10i128.checked_pow(power));
                (
                    factor
                        .and_then(|factor| mantissa.checked_mul(factor))
                        .ok_or(DecimalError::ExceedsPrecision)?,
                    0,
                )
            }
            _ => (
                mantissa,
                u32::try_from(-power).map_err(|_| DecimalError::ExceedsPrecision)?,
            ),
        };
        if scale > MAX_SCALE {
            return Err(DecimalError::ExceedsPrecision);
        }
        Self::from_parts(mantissa, scale).ok_or(DecimalError::ExceedsPrecision)
    }
}

/// Parses a short number without an exponent, as nearly all are, without allocating. Returns `None` for any other text: the
/// general parser reads it or refuses it.
fn parse_short(text: &[u8]) -> Option<Decimal> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] | [b'0', b'.', ..] | [b'1'..=b'9', ..] => digits.last().is_some_and(u8::is_ascii_digit),
        _ => false,
    };
    if !is_plain || text.len() > MAX_SHORT_TEXT_LENGTH {
        return None;
    }
    let (mut mantissa, mut decimals) = (0_i64, None);
    for byte in digits {
        match (byte, &mut decimals) {
            (b'0'..=b'9', decimals) => {
                mantissa = mantissa * 10 + i64::from(byte - b'0');
                *decimals = decimals.map(|decimals| decimals + 1);
            }
            (b'.', None) => decimals = Some(0),
            _ => return None,
        }
    }
    let mut scale = decimals.unwrap_or(0);
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    let mantissa = if digits.len() < text.len() { -mantissa } else { mantissa };
    rust_decimal::Decimal::try_new(mantissa, scale).ok().map(Decimal)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns an exponent, clamped to ±10 000: beyond every range, so that the caller refuses it without overflow.
fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if !is_digits(digits) {
        return Err(DecimalError::InvalidGrammar);
    }
    let value = digits.parse::<i64>().unwrap_or(10_000).min(10_000);
    Ok(if negative { -value } else { value })
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self(rust_decimal::Decimal::from(value))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string())
            .map_err(ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    /// Parses a JSON number, or a JSON string that contains one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let text = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn numbers_parse_exactly_and_format_plainly() {
        for (text, formatted) in [
            ("0.1", "0.1"),
            ("0.30e5", "30000"),
            ("30000.00", "30000"),
            ("-0", "0"),
            ("0e400", "0"),
            ("1e-8", "0.00000001"),
            ("100E-2", "1"),
            ("1e+3", "1000"),
            ("1234567890123456789.123456789", "1234567890123456789.123456789"),
            ("0.10000000000000000001", "0.10000000000000000001"),
        ] {
            assert_eq!(decimal(text).to_string(), formatted, "{text}");
            assert_eq!(serde_json::to_string(&decimal(text)).unwrap(), formatted);
        }
    }

    #[test]
    fn text_outside_the_json_grammar_is_refused() {
        for text in [
            "", "-", ".5", "5.", "01", "1_000", "+1", "1e", "1e-+5", "NaN", "Infinity", "0x10", " 1", "1 ",
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError::InvalidGrammar), "{text:?}");
        }
        for text in [
            "1e400",
            "1e-400",
            "1e99999999999999999999",
            "1234567890123456789012345678901234567890",
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError::ExceedsPrecision), "{text}");
        }
    }

    /// Compares the two parsers: an exponent of zero changes no number, and leaves it to the general one.
    fn assert_parsed_alike(text: &str) {
        let general = format!("{text}e0").parse::<Decimal>().ok();
        let short = parse_short(text.as_bytes());
        assert_eq!(short.map(Decimal::parts), general.map(Decimal::parts), "{text:?}");
        assert_eq!(
            short.map(|number| number.to_string()),
            general.map(|number| number.to_string())
        );
    }

    #[test]
    fn short_numbers_are_read_as_the_general_parser_reads_them() {
        let mut texts = vec![String::new()];
        for _ in 0..6 {
            let longer = texts
                .iter()
                .flat_map(|text| ["0", "1", "9", ".", "-"].map(|next| format!("{text}{next}")));
            texts = longer.collect();
            texts.iter().for_each(|text| assert_parsed_alike(text));
        }
        for text in [
            "",
            "0.00000001",
            "-0.00000001",
            "100.5000",
            "999999999999999999",
            "-99999999999999999",
            "1.0000000000000000",
            "0.1234567890123456",
            "+1",
            "1,5",
            "0x1",
            "1 ",
            " 1",
            "\u{663}",
            "1\0",
            "1_0",
        ] {
            assert_parsed_alike(text);
        }
        for long in ["9999999999999999999", "-999999999999999999", "1e5", "1E5"] {
            assert_eq!(parse_short(long.as_bytes()), None, "{long}");
        }
    }

    #[test]
    fn scaled_integers_are_exact_or_none() {
        let largest = i128::from(i64::MAX);
        for (text, scale, expected) in [
            ("0", 8, Some(0)),
            ("0.002", 8, Some(200_000)),
            ("-1.5", 1, Some(-15)),
            ("1.5", 0, None),
            ("9223372036854775807", 18, Some(largest * 10_i128.pow(18))),
            ("-9223372036854775808", 18, Some((-largest - 1) * 10_i128.pow(18))),
            ("9223372036854775808", 18, Some((largest + 1) * 10_i128.pow(18))),
            ("1", 19, Some(10_i128.pow(19))),
            ("1", 38, Some(10_i128.pow(38))),
            ("2", 38, None),
            ("1", 40, None),
        ] {
            assert_eq!(decimal(text).to_scaled_integer(scale), expected, "{text} {scale}");
        }
    }

    #[test]
    fn division_rounds_once_half_to_even() {
        for (number, by, decimals, quotient) in [
            ("1", "3", 12, "0.333333333333"),
            ("2", "3", 12, "0.666666666667"),
            ("1", "8", 2, "0.12"),
            ("3", "8", 2, "0.38"),
            ("-1", "8", 2, "-0.12"),
            ("60000.01", "2", 12, "30000.005"),
        ] {
            assert_eq!(
                decimal(number).div_half_even(decimal(by), decimals),
                Some(decimal(quotient)),
                "{number}/{by}"
            );
        }
        assert_eq!(decimal("1").div_half_even(Decimal::ZERO, 2), None);
    }

    #[test]
    fn products_and_sums_are_exact_or_none() {
        assert_eq!(decimal("0.1").checked_add(decimal("0.2")), Some(decimal("0.3")));
        assert_eq!(
            decimal("0.00001").checked_mul(decimal("30000.01")),
            Some(decimal("0.3000001"))
        );
        let long = decimal("1234567890123456789.123456789");
        assert_eq!(long.checked_mul(long), None);
        assert_eq!(decimal("0.75").count_multiples_of(decimal("0.00001")), Some(75_000));
        assert_eq!(decimal("0.000015").count_multiples_of(decimal("0.00001")), None);
    }
}
