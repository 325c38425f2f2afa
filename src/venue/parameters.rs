//! The parameters of a request: from a query string, a form body or the `params` of a WebSocket request.

use std::cell::Cell;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::venue::amount::{Amount, AmountError};
use crate::venue::error::VenueError;
use crate::venue::signature::{DEFAULT_WINDOW_MS, MAX_WINDOW_MS};

/// The most parameters of a request: the bits that remember which were read.
const MAX_PARAMETERS: usize = 64;
/// The characters of a client's id.
const CLIENT_ID_RANGE: &str = "^[a-zA-Z0-9-_]{1,36}$";
/// The most characters of a client's id.
const MAX_CLIENT_ID: usize = 36;
/// The characters of a symbol.
const SYMBOL_RANGE: &str = "^[A-Z0-9-_.]{1,20}$";

/// Decoded parameters, and which of them were read.
#[derive(Debug, Default)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    read: Cell<u64>,
}

impl Parameters {
    /// Parses a query string and a form body.
    ///
    /// # Errors
    /// When there are too many, one is there twice, or a percent sign is not followed by two digits.
    pub fn from_forms(query: &str, body: &str) -> Result<Self, VenueError> {
        let parts = query.split('&').chain(body.split('&'));
        let mut pairs = Vec::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let decoded = decode(name).zip(decode(value));
            pairs.push(decoded.ok_or_else(|| VenueError::new(-1100, "Illegal characters found in a parameter."))?);
        }
        Self::new(pairs)
    }

    /// Takes the members of a JSON object; numbers and truth values as their text.
    ///
    /// # Errors
    /// As [`Self::from_forms`], and when a member is an object or a list.
    pub fn from_json(members: &Map<String, Value>) -> Result<Self, VenueError> {
        let mut pairs = Vec::new();
        for (name, value) in members {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(is_true) => is_true.to_string(),
                Value::Array(_) if name == "symbols" => value.to_string(),
                Value::Null => continue,
                Value::Array(_) | Value::Object(_) => return Err(VenueError::invalid_parameter(name)),
            };
            pairs.push((name.clone(), text));
        }
        Self::new(pairs)
    }

    fn new(pairs: Vec<(String, String)>) -> Result<Self, VenueError> {
        let is_repeated = |at: usize| pairs[..at].iter().any(|(name, _)| *name == pairs[at].0);
        if pairs.len() > MAX_PARAMETERS {
            let text = format!(
                "Too many parameters; expected '{MAX_PARAMETERS}' and received '{}'.",
                pairs.len()
            );
            return Err(VenueError::new(-1101, text));
        }
        if (0..pairs.len()).any(is_repeated) {
            return Err(VenueError::new(-1101, "Duplicate values for a parameter detected."));
        }
        Ok(Self {
            pairs,
            read: Cell::new(0),
        })
    }

    /// Returns the value of a parameter; `None` if it was not sent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.iter().position(|(sent, _)| sent == name)?;
        self.read.set(self.read.get() | 1 << at);
        Some(&self.pairs[at].1)
    }

    /// Returns the value of a parameter that has one if it is sent.
    ///
    /// # Errors
    /// When it was sent empty.
    pub fn optional(&self, name: &str) -> Result<Option<&str>, VenueError> {
        match self.get(name) {
            Some("") => Err(VenueError::empty(name)),
            value => Ok(value),
        }
    }

    /// Returns the value of a mandatory parameter.
    ///
    /// # Errors
    /// When it was not sent, or empty.
    pub fn mandatory(&self, name: &str) -> Result<&str, VenueError> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| VenueError::mandatory(name))
    }

    /// Returns an amount; zero if it was not sent.
    ///
    /// # Errors
    /// When it is no decimal number, is negative, or has too many digits.
    pub fn amount(&self, name: &str) -> Result<Option<Amount>, VenueError> {
        let Some(text) = self.optional(name)? else {
            return Ok(None);
        };
        let amount = match text.starts_with('-') {
            true => Err(AmountError::Malformed),
            false => text.parse::<Amount>(),
        };
        amount.map(Some).map_err(|error| VenueError::amount(name, error))
    }

    /// Returns a whole number.
    ///
    /// # Errors
    /// When it is none, or too great.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, VenueError> {
        let Some(text) = self.optional(name)? else {
            return Ok(None);
        };
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VenueError::illegal_characters(name, "^[0-9]{1,20}$"));
        }
        let number = text.parse();
        let overflow = || VenueError::amount(name, AmountError::TooLarge);
        number.map(Some).map_err(|_| overflow())
    }

    /// Returns a word that a list of words knows.
    ///
    /// # Errors
    /// The given error where the list does not know it.
    pub fn word<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        error: impl Fn() -> VenueError,
    ) -> Result<Option<T>, VenueError> {
        let text = self.optional(name)?;
        text.map(|text| parse(text).ok_or_else(&error)).transpose()
    }

    /// Returns a client's id.
    ///
    /// # Errors
    /// When it has a character that it must not have, or too many.
    pub fn client_id(&self, name: &str) -> Result<Option<String>, VenueError> {
        let Some(text) = self.optional(name)? else {
            return Ok(None);
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        match text.len() <= MAX_CLIENT_ID && text.bytes().all(is_word) {
            true => Ok(Some(text.to_owned())),
            false => Err(VenueError::illegal_characters(name, CLIENT_ID_RANGE)),
        }
    }

    /// Returns the symbol, which has at most 20 characters.
    ///
    /// # Errors
    /// When it is missing or malformed.
    pub fn symbol(&self) -> Result<&str, VenueError> {
        let symbol = self.mandatory("symbol")?;
        check_symbol(symbol)?;
        Ok(symbol)
    }

    /// Returns the symbol, if one was sent.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn optional_symbol(&self) -> Result<Option<&str>, VenueError> {
        let symbol = self.optional("symbol")?;
        symbol.map_or(Ok(()), check_symbol)?;
        Ok(symbol)
    }

    /// Returns the timestamp and the window of a signed request, in milliseconds. Timestamps in microseconds are accepted.
    ///
    /// # Errors
    /// When the timestamp is missing, or one of them is out of range.
    pub fn timing(&self) -> Result<(u64, u64), VenueError> {
        const FIRST_MICROSECONDS: u64 = 100_000_000_000_000;
        let timestamp: u64 = self
            .number("timestamp")?
            .ok_or_else(|| VenueError::mandatory("timestamp"))?;
        let timestamp = match timestamp >= FIRST_MICROSECONDS {
            true => timestamp / 1_000,
            false => timestamp,
        };
        let window = match self.optional("recvWindow")? {
            None => DEFAULT_WINDOW_MS,
            Some(text) => {
                // Up to three decimals are accepted; what is below a millisecond is dropped.
                let whole = text.split('.').next().unwrap_or_default();
                whole.parse().map_err(|_| VenueError::invalid_parameter("recvWindow"))?
            }
        };
        match window <= MAX_WINDOW_MS {
            true => Ok((timestamp, window)),
            false => {
                let text = format!("'recvWindow' contains unexpected value. Cannot be greater than '{MAX_WINDOW_MS}'.");
                Err(VenueError::new(-1102, text))
            }
        }
    }

    /// Refuses parameters that no step has read.
    ///
    /// # Errors
    /// When there are some.
    pub fn finish(&self) -> Result<(), VenueError> {
        let (read, sent) = (self.read.get().count_ones() as usize, self.pairs.len());
        match read == sent {
            true => Ok(()),
            false => {
                let text =
                    format!("Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.");
                Err(VenueError::new(-1104, text))
            }
        }
    }

    /// Returns the payload that a WebSocket request signs: its parameters but the signature, sorted by name.
    pub fn sorted_payload(&self) -> String {
        let mut pairs: Vec<String> = self
            .pairs
            .iter()
            .filter(|(name, _)| name != "signature")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.sort_unstable();
        pairs.join("&")
    }
}

fn check_symbol(symbol: &str) -> Result<(), VenueError> {
    let is_word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    match symbol.len() <= 20 && symbol.bytes().all(is_word) {
        true => Ok(()),
        false => Err(VenueError::illegal_characters("symbol", SYMBOL_RANGE)),
    }
}

/// Returns the payload that a REST request signs: query string and body as they were sent, without the signature.
pub fn signed_payload(query: &str, body: &str) -> String {
    let without_signature = |form: &str| {
        let parts = form.split('&').filter(|part| !part.starts_with("signature="));
        parts.collect::<Vec<_>>().join("&")
    };
    // The documentation signs both one after the other, with nothing between them.
    format!("{}{}", without_signature(query), without_signature(body))
}

fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let digits = text.get(at + 1..at + 3)?;
                decoded.push(u8::from_str_radix(digits, 16).ok()?);
                at += 2;
            }
            b'+' => decoded.push(b' '),
            other => decoded.push(other),
        }
        at += 1;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_judged() {
        let parameters = Parameters::from_forms("symbol=BTCUSDT&newClientOrderId=a%2Db", "recvWindow=5.5&x=1").unwrap();
        assert_eq!(parameters.symbol().unwrap(), "BTCUSDT");
        assert_eq!(
            parameters.client_id("newClientOrderId").unwrap().as_deref(),
            Some("a-b")
        );
        assert_eq!(parameters.timing().unwrap_err().code, -1102);
        assert_eq!(parameters.finish().unwrap_err().code, -1104);
        assert_eq!(Parameters::from_forms("a=1", "a=2").unwrap_err().code, -1101);
        assert_eq!(Parameters::from_forms("a=%zz", "").unwrap_err().code, -1100);
        let id = |text: &str| {
            Parameters::from_forms(&format!("id={text}"), "")
                .unwrap()
                .client_id("id")
        };
        assert_eq!(id(&"a".repeat(37)).unwrap_err().code, -1100);
        assert_eq!(id("a.b").unwrap_err().code, -1100);
        assert_eq!(id("").unwrap_err().code, -1105);
    }

    #[test]
    fn payloads_leave_the_signature_out() {
        assert_eq!(signed_payload("a=1&signature=x&b=%2F", ""), "a=1&b=%2F");
        assert_eq!(signed_payload("a=1", "b=2&signature=x"), "a=1b=2");
    }
}
