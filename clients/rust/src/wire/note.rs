//! Notes on orders: the request, and the event that is both the journal's record and the reply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::domain::id::{AccountId, BrokerId, OrderId, Tag};
use crate::domain::intent::MAX_TAGS;
use crate::domain::note::{MAX_NOTE_TEXT_CHARACTERS, Note, NoteText};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::field_checks::{MAX_OPERATOR_TEXT_CHARACTERS, parse_operator_text, parse_plain_text};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{NoteTagsInput, UtcTimestamp};
use crate::wire::strict_object::StrictObject;

/// The maximum length of the tags of a note in one text, in characters.
const MAX_TAG_LIST_CHARACTERS: usize = 2_048;
/// The maximum length of one entry of a list of tags, in characters.
const MAX_TAG_ENTRY_CHARACTERS: usize = 64;

/// A note on an order: a text, tags, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NoteRequest {
    /// The idempotency key, a UUID: a repeated note under the same id counts once. Assigned if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note_id: Option<Uuid>,
    /// The router's id of the order, 1-36 characters of `[A-Za-z0-9_-]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::ORDER_ID))]
    pub order_id: Option<String>,
    /// The text to add to the order's notes, 1-2000 characters, not only white space. White space around it is removed. The
    /// line feed and the tab are the only control characters allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::NOTE), length(min = 1, max = MAX_NOTE_TEXT_CHARACTERS))]
    pub notes: Option<String>,
    /// The tags to add to the order, at most 32, each of 1-64 characters without control characters. Commas separate tags
    /// within a text: `"a, b"` is two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NoteTagsInput>")]
    pub tags: Option<Vec<String>>,
    /// The person or system that adds the note, 1-256 characters without control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: Option<String>,
}

/// A note on an order over REST: a text, tags, or both. The path names the order, and the sidecar adds the actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = json!([{"required": ["notes"]}, {"required": ["tags"], "properties": {"tags": {"minItems": 1, "type": ["array", "string"]}}}])))]
pub struct NoteBody {
    /// The idempotency key, a UUID: a repeated note under the same id counts once. Assigned if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note_id: Option<Uuid>,
    /// The text to add to the order's notes, 1-2000 characters, not only white space. White space around it is removed. The
    /// line feed and the tab are the only control characters allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::NOTE), length(min = 1, max = MAX_NOTE_TEXT_CHARACTERS))]
    pub notes: Option<String>,
    /// The tags to add to the order, at most 32, each of 1-64 characters without control characters. Commas separate tags
    /// within a text: `"a, b"` is two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NoteTagsInput>")]
    pub tags: Option<Vec<String>>,
}

/// A note on an order (`orders.events.note.{account}`), also the reply to the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoteEvent {
    /// The idempotency key, a UUID. Of two events with one id, the first on the journal counts.
    pub note_id: Uuid,
    /// The router's id of the order. A consumer ignores a note on an order that it does not know.
    pub order_id: String,
    /// The account that the order belongs to.
    pub account_id: String,
    /// The broker that the order is routed to.
    pub broker: String,
    /// The text that is added to the order's notes, 1-2000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The tags that are added to the order, at most 32. A tag that the order already has, in upper or lower case, is not
    /// added again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The person or system that added the note.
    pub actor: String,
    /// When the note was added.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

impl NoteEvent {
    /// Returns the event of a note on an order of an account at a broker.
    pub fn of(note: &Note, broker: &BrokerId, account_id: &AccountId) -> Self {
        Self {
            note_id: note.note_id,
            order_id: note.order_id.to_string(),
            account_id: account_id.to_string(),
            broker: broker.to_string(),
            notes: note.text.as_ref().map(ToString::to_string),
            tags: note.tags.iter().map(Tag::to_string).collect(),
            actor: note.actor.clone(),
            timestamp: Timestamp::now(),
        }
    }

    /// Returns the event's JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Cannot fail: the event holds only strings.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Decodes an event of the journal.
    ///
    /// # Errors
    /// When the body is not a note event.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// Decodes a [`NoteRequest`]. Assigns an id to a request without one.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when the request adds neither text nor tags.
pub fn decode_note_request(body: &[u8]) -> Result<Note, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let note_id = object.optional_text("note_id", |text| {
        Uuid::try_parse(text).map_err(|_| "must be a UUID, such as one of version 4 or 7")
    })?;
    let order_id = object.required_text("order_id", OrderId::new)?;
    let text = object.optional_text("notes", NoteText::new)?;
    let tags = decode_note_tags(&mut object)?;
    let actor = object.required_text("actor", parse_operator_text)?;
    if text.is_none() && tags.is_empty() {
        return Err(object.invalid_field("notes", "is required unless tags is given"));
    }
    object.reject_unknown()?;
    Ok(Note {
        note_id: note_id.unwrap_or_else(Uuid::now_v7),
        order_id,
        text,
        tags,
        actor,
    })
}

/// The tags of a note in a request: a list, or one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum NoteTags {
    List(Vec<String>),
    Text(String),
}

/// Takes the tags of a note. Commas separate tags within a text, and white space around a tag is removed.
///
/// # Errors
/// `invalid_field` when there are more than 32 tags, one of them is invalid, or a text has none.
fn decode_note_tags(object: &mut StrictObject<'_>) -> Result<Vec<Tag>, Fault> {
    let given = object.optional::<NoteTags>("tags", "must be an array of strings, or a string")?;
    let (texts, max_characters) = match given {
        None => return Ok(Vec::new()),
        Some(NoteTags::List(texts)) => (texts, MAX_TAG_ENTRY_CHARACTERS),
        Some(NoteTags::Text(text)) => (vec![text], MAX_TAG_LIST_CHARACTERS),
    };
    let invalid = |rule: &dyn std::fmt::Display| object.invalid_field("tags", format!("each {rule}"));
    let mut tags = Vec::new();
    for text in &texts {
        parse_plain_text(text, max_characters).map_err(|rule| invalid(&rule))?;
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let split: Result<Vec<Tag>, _> = words.map(Tag::new).collect();
        let split = split.map_err(|rule| invalid(&rule))?;
        if split.is_empty() {
            return Err(invalid(&"must name a tag"));
        }
        tags.extend(split);
    }
    if tags.len() > MAX_TAGS {
        return Err(object.invalid_field("tags", format!("must be at most {MAX_TAGS}")));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    fn decode(fields: &str) -> Result<Note, Fault> {
        decode_note_request(format!(r#"{{"order_id":"BN-1","actor":"mira"{fields}}}"#).as_bytes())
    }

    #[test]
    fn request_adds_text_or_tags() {
        let both = decode(
            r#","notes":"two\nlines\tand a tab","tags":["Late","desk:7"],"note_id":"0195561F-2A00-7C3E-9D1B-2F4A6C8E0D12""#,
        );
        let both = both.unwrap();
        assert_eq!(both.note_id.to_string(), "0195561f-2a00-7c3e-9d1b-2f4a6c8e0d12");
        assert_eq!(both.text.unwrap().as_str(), "two\nlines\tand a tab");
        assert_eq!(both.tags, [Tag::new("Late").unwrap(), Tag::new("desk:7").unwrap()]);
        assert!(decode(r#","notes":"x""#).unwrap().tags.is_empty());
        assert!(decode(r#","tags":["x"]"#).unwrap().text.is_none());
        assert_ne!(
            decode(r#","notes":"x""#).unwrap().note_id,
            decode(r#","notes":"x""#).unwrap().note_id
        );
    }

    #[test]
    fn text_is_trimmed_and_commas_separate_tags() {
        assert_eq!(
            decode(r#","notes":" two\n\tlines \n""#).unwrap().text.unwrap().as_str(),
            "two\n\tlines"
        );
        for tags in [
            r#"["a, b"]"#,
            r#"["a","b"]"#,
            r#"[" a ","b,"]"#,
            r#""a, b""#,
            r#""a,,b""#,
        ] {
            let note = decode(&format!(r#","tags":{tags}"#)).unwrap();
            assert_eq!(note.tags, [Tag::new("a").unwrap(), Tag::new("b").unwrap()], "{tags}");
        }
    }

    #[test]
    fn error_names_its_field() {
        let many: Vec<String> = (0..=MAX_TAGS).map(|number| format!("\"t{number}\"")).collect();
        for (fields, field) in [
            ("".to_owned(), "notes"),
            (r#","tags":[]"#.to_owned(), "notes"),
            (r#","notes":null,"tags":null"#.to_owned(), "notes"),
            (r#","notes":"""#.to_owned(), "notes"),
            (r#","notes":" \t\n""#.to_owned(), "notes"),
            (r#","notes":"a\rb""#.to_owned(), "notes"),
            (r#","tags":[" , "]"#.to_owned(), "tags"),
            (r#","tags":"""#.to_owned(), "tags"),
            (r#","tags":7"#.to_owned(), "tags"),
            (format!(r#","tags":"{}""#, "x,".repeat(33)), "tags"),
            (r#","notes":7"#.to_owned(), "notes"),
            (format!(r#","notes":"{}""#, "x".repeat(2_001)), "notes"),
            (r#","tags":[""]"#.to_owned(), "tags"),
            (format!(r#","tags":[{}]"#, many.join(",")), "tags"),
            (r#","notes":"x","note_id":"n1""#.to_owned(), "note_id"),
            (r#","notes":"x","colour":1"#.to_owned(), "colour"),
        ] {
            let fault = decode(&fields).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{fields}");
            assert!(
                [FaultCode::InvalidField, FaultCode::UnknownField].contains(&fault.code),
                "{fields}"
            );
        }
        for (body, field) in [
            (r#"{"order_id":"BN-1","notes":"x"}"#, "actor"),
            (r#"{"order_id":"BN-1","notes":"x","actor":"a\nb"}"#, "actor"),
            (r#"{"actor":"mira","notes":"x"}"#, "order_id"),
            (r#"{"order_id":"a.b","actor":"mira","notes":"x"}"#, "order_id"),
        ] {
            assert_eq!(
                decode_note_request(body.as_bytes()).unwrap_err().field.as_deref(),
                Some(field),
                "{body}"
            );
        }
    }

    #[test]
    fn event_survives_encoding() {
        let note = decode(r#","notes":"x","tags":["t"]"#).unwrap();
        let event = NoteEvent::of(
            &note,
            &BrokerId::new("binance").unwrap(),
            &AccountId::new("fund").unwrap(),
        );
        assert_eq!(NoteEvent::decode(&event.encode()).unwrap(), event);
    }
}
