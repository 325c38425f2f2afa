//! The normalised symbol of an instrument.

use std::fmt;
use std::sync::Arc;

/// The most characters of a symbol.
pub const MAX_SYMBOL_LENGTH: usize = 32;

/// A normalised symbol: `btc/usdt` is `BTCUSDT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

/// The error of a text that is not a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1-32 printable ASCII characters (`/`, `-` and spaces are removed)")]
pub struct SymbolError;

impl Symbol {
    /// Returns the symbol with `/`, `-` and spaces removed, in upper case.
    ///
    /// # Errors
    /// When no character is left, more than 32 are, or one is not printable ASCII.
    pub fn parse(text: &str) -> Result<Self, SymbolError> {
        if text.len() > 4 * MAX_SYMBOL_LENGTH || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(SymbolError);
        }
        let is_normal =
            |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_lowercase() && !matches!(byte, b'/' | b'-');
        if (1..=MAX_SYMBOL_LENGTH).contains(&text.len()) && text.bytes().all(is_normal) {
            return Ok(Self(Arc::from(text)));
        }
        let normalized: String = text
            .chars()
            .filter(|c| !matches!(c, '/' | '-' | ' '))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        if normalized.is_empty() || normalized.len() > MAX_SYMBOL_LENGTH {
            return Err(SymbolError);
        }
        Ok(Self(Arc::from(normalized)))
    }

    /// Returns the symbol's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_removed_and_letters_upper_cased() {
        for text in ["btc/usdt", "BTC-USDT", " b t c usdt", "BTCUSDT"] {
            assert_eq!(Symbol::parse(text).unwrap().as_str(), "BTCUSDT");
        }
        for text in ["B", "1INCH.X_Y", &"X".repeat(MAX_SYMBOL_LENGTH)] {
            assert_eq!(Symbol::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "/- ", "BTC\n", "ÄPFEL", &"x".repeat(33)] {
            assert!(Symbol::parse(text).is_err(), "{text:?}");
        }
    }
}
