//! Notes on the bus: the request, and the event that is both the journal's record and the answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::domain::id::{AccountId, BrokerId, OrderId, Tag};
use crate::domain::intent::MAX_TAGS;
use crate::domain::note::{MAX_NOTE_TEXT_CHARACTERS, Note, NoteText};
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::intent::decode_tags;
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{TagInput, UtcTimestamp};
use crate::wire::state::{MAX_OPERATOR_TEXT_CHARACTERS, parse_operator_text};
use crate::wire::strict_object::StrictObject;

/// What is added to an order: `notes`, `tags`, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NoteRequest {
    /// What it is noted once by, whatever is sent again; assigned where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note_id: Option<Uuid>,
    /// The order, by the router's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::ORDER_ID))]
    pub order_id: Option<String>,
    /// A text beside the order, of the control characters the line feed alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::NOTE), length(min = 1, max = MAX_NOTE_TEXT_CHARACTERS))]
    pub notes: Option<String>,
    /// Tags the order gets beside those it has; at most 32, each of 1-64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<TagInput>>", length(max = MAX_TAGS))]
    pub tags: Option<Vec<String>>,
    /// Who notes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, regex(pattern = schema_patterns::PLAIN_TEXT), length(min = 1, max = MAX_OPERATOR_TEXT_CHARACTERS))]
    pub actor: Option<String>,
}

/// What is added to an order, over REST: the path names the order, and the sidecar who notes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = json!([{"required": ["notes"]}, {"required": ["tags"], "properties": {"tags": {"minItems": 1}}}])))]
pub struct NoteBody {
    /// What it is noted once by, whatever is sent again; assigned where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note_id: Option<Uuid>,
    /// A text beside the order, of the control characters the line feed alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::NOTE), length(min = 1, max = MAX_NOTE_TEXT_CHARACTERS))]
    pub notes: Option<String>,
    /// Tags the order gets beside those it has; at most 32, each of 1-64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<TagInput>>", length(max = MAX_TAGS))]
    pub tags: Option<Vec<String>>,
}

/// What was noted on an order: the journal's record of it (`orders.events.note.{account}`), and the answer to who noted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoteEvent {
    /// What it is noted once by: of two events of one id the first on the journal counts.
    pub note_id: Uuid,
    /// The order, by the router's id. Whoever does not know it passes the event over.
    pub order_id: String,
    /// The order's account.
    pub account_id: String,
    /// The order's broker.
    pub broker: String,
    /// What is added to the order's notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// What is added to the order's tags; those it has, in whichever case, stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Who noted it.
    pub actor: String,
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

impl NoteEvent {
    /// Returns the event of a note in an account at a broker.
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
        // Nothing but strings: there is nothing in it that JSON cannot hold.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an event of the journal.
    ///
    /// # Errors
    /// When it does not tell a note.
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// Reads a request; an id is assigned where it brings none.
///
/// # Errors
/// `malformed`, `invalid_field` or `unknown_field`; also when it adds nothing.
pub fn decode_note_request(body: &[u8]) -> Result<Note, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let note_id = object.optional_text("note_id", |text| {
        Uuid::try_parse(text).map_err(|_| "must be a UUID, such as one of version 4 or 7")
    })?;
    let order_id = object.required_text("order_id", OrderId::new)?;
    let text = object.optional_text("notes", NoteText::new)?;
    let tags = decode_tags(&mut object)?;
    let actor = object.required_text("actor", parse_operator_text)?;
    if text.is_none() && tags.is_empty() {
        return Err(object.invalid_field("notes", "is required, or else tags"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    fn read(fields: &str) -> Result<Note, Fault> {
        decode_note_request(format!(r#"{{"order_id":"BN-1","actor":"mira"{fields}}}"#).as_bytes())
    }

    #[test]
    fn a_request_adds_a_text_or_tags() {
        let both =
            read(r#","notes":"two\nlines","tags":["Late","desk:7"],"note_id":"0195561F-2A00-7C3E-9D1B-2F4A6C8E0D12""#);
        let both = both.unwrap();
        assert_eq!(both.note_id.to_string(), "0195561f-2a00-7c3e-9d1b-2f4a6c8e0d12");
        assert_eq!(both.text.unwrap().as_str(), "two\nlines");
        assert_eq!(both.tags, [Tag::new("Late").unwrap(), Tag::new("desk:7").unwrap()]);
        assert!(read(r#","notes":"x""#).unwrap().tags.is_empty());
        assert!(read(r#","tags":["x"]"#).unwrap().text.is_none());
        assert_ne!(
            read(r#","notes":"x""#).unwrap().note_id,
            read(r#","notes":"x""#).unwrap().note_id
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many: Vec<String> = (0..=MAX_TAGS).map(|number| format!("\"t{number}\"")).collect();
        for (fields, field) in [
            ("".to_owned(), "notes"),
            (r#","tags":[]"#.to_owned(), "notes"),
            (r#","notes":null,"tags":null"#.to_owned(), "notes"),
            (r#","notes":"""#.to_owned(), "notes"),
            (r#","notes":"a\tb""#.to_owned(), "notes"),
            (r#","notes":7"#.to_owned(), "notes"),
            (format!(r#","notes":"{}""#, "x".repeat(2_001)), "notes"),
            (r#","tags":[""]"#.to_owned(), "tags"),
            (r#","tags":"x""#.to_owned(), "tags"),
            (format!(r#","tags":[{}]"#, many.join(",")), "tags"),
            (r#","notes":"x","note_id":"n1""#.to_owned(), "note_id"),
            (r#","notes":"x","colour":1"#.to_owned(), "colour"),
        ] {
            let fault = read(&fields).unwrap_err();
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
    fn an_event_is_read_as_it_was_written() {
        let note = read(r#","notes":"x","tags":["t"]"#).unwrap();
        let event = NoteEvent::of(
            &note,
            &BrokerId::new("binance").unwrap(),
            &AccountId::new("fund").unwrap(),
        );
        assert_eq!(NoteEvent::decode(&event.encode()).unwrap(), event);
    }
}
