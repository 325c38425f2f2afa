//! Strict decoding of a JSON object: a repeated or unknown field is refused, and every error names its field.
//!
//! Written here: serde's derive reports an error as one text without the field's name, and knows no rule of a field; a fault
//! carries both. Numbers stay raw text until their field parses them.

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::decimal::Decimal;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};

/// The maximum size of a body, in bytes.
pub const MAX_BODY_BYTES: usize = 1_048_576;
/// The maximum number of fields of an object.
pub const MAX_FIELDS: usize = 64;

/// The fields of a JSON object that the caller has not taken yet.
#[derive(Debug)]
pub struct StrictObject<'a> {
    prefix: &'static str,
    fields: Vec<(String, &'a RawValue)>,
}

impl<'a> StrictObject<'a> {
    /// Parses the body as an object.
    ///
    /// # Errors
    /// `malformed` when the body is not a JSON object of at most [`MAX_FIELDS`] fields, `invalid_field` for a repeated key,
    /// `payload_too_large` beyond [`MAX_BODY_BYTES`].
    pub fn from_body(body: &'a [u8]) -> Result<Self, Fault> {
        if body.len() > MAX_BODY_BYTES {
            return Err(Fault::new(
                FaultCode::PayloadTooLarge,
                format!("the body is larger than {MAX_BODY_BYTES} bytes"),
            ));
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(Fault::new(
                FaultCode::Malformed,
                "the body is empty; it must be a JSON object",
            ));
        }
        if let Some(mark) = byte_order_mark(body) {
            return Err(Fault::new(
                FaultCode::Malformed,
                format!("the body begins with a byte order mark (BOM, {mark}); send UTF-8 without one"),
            ));
        }
        let text =
            std::str::from_utf8(body).map_err(|_| Fault::new(FaultCode::Malformed, "the body is not valid UTF-8"))?;
        Self::parse(text, "")
    }

    fn parse(text: &'a str, prefix: &'static str) -> Result<Self, Fault> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = deserializer
            .deserialize_map(FieldsVisitor)
            .and_then(|fields| deserializer.end().map(|()| fields));
        let fields = fields.map_err(|error| match prefix {
            "" => Fault::new(FaultCode::Malformed, format!("the body is not a JSON object: {error}")),
            _ => Fault::for_field(
                FaultCode::InvalidField,
                prefix.trim_end_matches('.'),
                "must be an object",
            ),
        })?;
        let object = Self { prefix, fields };
        if object.fields.len() > MAX_FIELDS {
            return Err(Fault::new(
                FaultCode::Malformed,
                format!("the object has more than {MAX_FIELDS} fields"),
            ));
        }
        for (at, (name, _)) in object.fields.iter().enumerate() {
            if object.fields[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(object.invalid_field(name, "is given twice"));
            }
        }
        Ok(object)
    }

    /// Returns an `invalid_field` fault about one field of this object.
    pub fn invalid_field(&self, name: &str, rule: impl std::fmt::Display) -> Fault {
        Fault::for_field(FaultCode::InvalidField, &format!("{}{name}", self.prefix), rule)
    }

    /// Takes a field's raw JSON. `null` counts as absent.
    fn take_raw(&mut self, name: &str) -> Option<&'a str> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        let raw = self.fields.swap_remove(at).1.get();
        (raw != "null").then_some(raw)
    }

    /// Drops a field, whatever it holds.
    pub fn ignore(&mut self, name: &str) {
        self.take_raw(name);
    }

    /// Takes a field of any type.
    ///
    /// # Errors
    /// `invalid_field` with `rule` when the field has another type.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str, rule: &str) -> Result<Option<T>, Fault> {
        match self.take_raw(name) {
            None => Ok(None),
            Some(raw) => serde_json::from_str(raw)
                .map(Some)
                .map_err(|_| self.invalid_field(name, rule)),
        }
    }

    /// Takes a string and checks it with `parse`.
    ///
    /// # Errors
    /// `invalid_field` when the field is not a string or `parse` refuses it.
    pub fn optional_text<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.optional::<String>(name, "must be a string")? else {
            return Ok(None);
        };
        parse(&text).map(Some).map_err(|rule| self.invalid_field(name, rule))
    }

    /// Takes a required string and checks it with `parse`.
    ///
    /// # Errors
    /// As [`StrictObject::optional_text`]; also when the field is absent.
    pub fn required_text<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        self.optional_text(name, parse)?
            .ok_or_else(|| self.invalid_field(name, "is required"))
    }

    /// Takes an exact number: a JSON number, or a string in JSON number grammar.
    ///
    /// # Errors
    /// `invalid_field` when the field is neither.
    pub fn optional_number(&mut self, name: &str) -> Result<Option<Decimal>, Fault> {
        let Some(raw) = self.take_raw(name) else {
            return Ok(None);
        };
        let text = raw
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(raw);
        text.parse().map(Some).map_err(|rule| self.invalid_field(name, rule))
    }

    /// Takes an exact number and checks it with `parse`.
    ///
    /// # Errors
    /// As [`StrictObject::optional_number`]; also when `parse` refuses the number.
    pub fn optional_amount<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Decimal) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        let Some(number) = self.optional_number(name)? else {
            return Ok(None);
        };
        parse(number).map(Some).map_err(|rule| self.invalid_field(name, rule))
    }

    /// Takes a timestamp.
    ///
    /// # Errors
    /// `invalid_field` when the field is not a strict RFC 3339 timestamp.
    pub fn optional_timestamp(&mut self, name: &str) -> Result<Option<Timestamp>, Fault> {
        self.optional_text(name, Timestamp::parse)
    }

    /// Takes a nested object. `prefix` is the field's name with a dot, which the errors of its fields begin with.
    ///
    /// # Errors
    /// `invalid_field` when the field is not an object or has a repeated key.
    pub fn optional_object(&mut self, prefix: &'static str) -> Result<Option<StrictObject<'a>>, Fault> {
        self.take_raw(prefix.trim_end_matches('.'))
            .map(|raw| StrictObject::parse(raw, prefix))
            .transpose()
    }

    /// Refuses the fields that were not taken. Call it last.
    ///
    /// # Errors
    /// `unknown_field` when a field was not taken.
    pub fn reject_unknown(self) -> Result<(), Fault> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name = format!("{}{name}", self.prefix);
                Err(Fault::for_field(
                    FaultCode::UnknownField,
                    &name,
                    "is not a field of this request",
                ))
            }
        }
    }
}

/// Returns the name of the encoding whose byte order mark the body begins with. Some editors and libraries write one.
fn byte_order_mark(body: &[u8]) -> Option<&'static str> {
    let marks: [(&[u8], &str); 3] = [
        (b"\xEF\xBB\xBF", "UTF-8"),
        (b"\xFF\xFE", "UTF-16 little endian"),
        (b"\xFE\xFF", "UTF-16 big endian"),
    ];
    let known = marks.into_iter().find(|(mark, _)| body.starts_with(mark));
    known.map(|(_, encoding)| encoding)
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(16);
        while let Some(entry) = map.next_entry()? {
            // One field beyond the maximum is enough to refuse the object. The rest is checked as JSON but not kept.
            if fields.len() <= MAX_FIELDS {
                fields.push(entry);
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_mark_is_named() {
        for (body, name) in [
            (&b"\xEF\xBB\xBF{}"[..], "UTF-8"),
            (b"\xEF\xBB\xBF", "UTF-8"),
            (b"\xFF\xFE{\0}\0", "UTF-16 little endian"),
            (b"\xFE\xFF\0{\0}", "UTF-16 big endian"),
        ] {
            let fault = StrictObject::from_body(body).unwrap_err();
            assert_eq!(fault.code, FaultCode::Malformed);
            assert!(
                fault.detail.contains(&format!("byte order mark (BOM, {name})")),
                "{}",
                fault.detail
            );
        }
    }
}
