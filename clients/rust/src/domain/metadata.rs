//! Named measurements that explain a reason, a signal or a problem.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::decimal::Decimal;
use crate::domain::money::Micros;

/// The most entries of one metadata object.
pub const MAX_METADATA_ENTRIES: usize = 32;

/// A number or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataValue {
    /// An exact number.
    Number(Decimal),
    /// A text.
    Text(String),
}

impl From<Decimal> for MetadataValue {
    fn from(number: Decimal) -> Self {
        Self::Number(number)
    }
}

impl From<Micros> for MetadataValue {
    fn from(amount: Micros) -> Self {
        Self::Number(amount.decimal())
    }
}

impl From<i64> for MetadataValue {
    fn from(number: i64) -> Self {
        Self::Number(Decimal::from(number))
    }
}

impl From<&str> for MetadataValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for MetadataValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Measurements by name, in the order in which they were added; at most [`MAX_METADATA_ENTRIES`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata(Vec<(Cow<'static, str>, MetadataValue)>);

impl Metadata {
    /// Returns metadata without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the metadata with one more entry. Metadata with [`MAX_METADATA_ENTRIES`] entries is returned unchanged.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<MetadataValue>) -> Self {
        if self.0.len() < MAX_METADATA_ENTRIES {
            self.0.push((name.into(), value.into()));
        }
        self
    }

    /// Returns a value by its name.
    pub fn get(&self, name: &str) -> Option<&MetadataValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Returns a text by its name; `None` for a number.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(MetadataValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Reports whether the metadata has no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetadataValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl fmt::Display for MetadataValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

impl Serialize for MetadataValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;
        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of numbers and strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = Metadata::new();
                while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
                    metadata = metadata.with(name, parse_value(raw.get()));
                }
                Ok(metadata)
            }
        }
        deserializer.deserialize_map(MetadataVisitor)
    }
}

fn parse_value(raw: &str) -> MetadataValue {
    match raw.parse::<Decimal>() {
        Ok(number) => MetadataValue::Number(number),
        Err(_) => MetadataValue::Text(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned())),
    }
}

impl JsonSchema for Metadata {
    fn schema_name() -> Cow<'static, str> {
        "Metadata".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "Named numbers and texts that explain the entry.",
            "additionalProperties": {"type": ["number", "string"]}
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_a_round_trip_exactly() {
        let metadata = Metadata::new()
            .with("value", "0.10000000000000000001".parse::<Decimal>().unwrap())
            .with("rule_id", "max_notional");
        let text = serde_json::to_string(&metadata).unwrap();
        assert_eq!(text, r#"{"value":0.10000000000000000001,"rule_id":"max_notional"}"#);
        assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap(), metadata);
    }
}
