//! Notes on orders: what people and programs write beside an order, and the tags they add to it.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::id::{AccountId, BrokerId, ContentHash, OrderId, Tag};

/// The most characters of one note.
pub const MAX_NOTE_TEXT_CHARACTERS: usize = 2_000;

/// Why a text is no note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1-{MAX_NOTE_TEXT_CHARACTERS} characters without control characters other than line feeds")]
pub struct NoteTextError;

/// The text of a note: 1–2000 characters, of the control characters the line feed alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteText(String);

impl NoteText {
    /// Returns a text as a note.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character that is no line feed.
    pub fn new(text: &str) -> Result<Self, NoteTextError> {
        let is_of_length = (1..=MAX_NOTE_TEXT_CHARACTERS).contains(&text.chars().count());
        let is_plain = !text
            .chars()
            .any(|character| character.is_control() && character != '\n');
        if is_of_length && is_plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoteTextError)
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NoteText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One note on an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is noted once by.
    pub note_id: Uuid,
    /// The order, by the router's id.
    pub order_id: OrderId,
    /// What is added to the order's notes.
    pub text: Option<NoteText>,
    /// What is added to the order's tags.
    pub tags: Vec<Tag>,
    /// Who notes it.
    pub actor: String,
}

impl Note {
    /// Returns the hash of everything but the id, as it is noted in an account at a broker: what tells a repetition from
    /// another note under the same id.
    pub fn content_hash(&self, broker: &BrokerId, account_id: &AccountId) -> ContentHash {
        let mut hasher = Sha256::new();
        let mut field = |text: &str| {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        field(broker.as_str());
        field(account_id.as_str());
        field(self.order_id.as_str());
        field(self.text.as_ref().map_or("", NoteText::as_str));
        field(&self.actor);
        for tag in &self.tags {
            field(tag.as_str());
        }
        ContentHash::from_digest(&hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_lines_and_no_other_control_characters() {
        for text in ["x", "two\nlines", "ümlaut 漢字", &"x".repeat(2_000), &"ü".repeat(2_000)] {
            assert!(NoteText::new(text).is_ok(), "{text:?}");
        }
        for text in ["", "tab\t", "return\r\n", "\u{7f}", "\u{85}", "\0", &"x".repeat(2_001)] {
            assert!(NoteText::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_content_is_everything_but_the_id() {
        let (broker, account) = (BrokerId::new("b").unwrap(), AccountId::new("a").unwrap());
        let note = |order: &str, text: Option<&str>, tags: &[&str], actor: &str| {
            let note = Note {
                note_id: Uuid::now_v7(),
                order_id: OrderId::new(order).unwrap(),
                text: text.map(|text| NoteText::new(text).unwrap()),
                tags: tags.iter().map(|tag| Tag::new(tag).unwrap()).collect(),
                actor: actor.to_owned(),
            };
            note.content_hash(&broker, &account)
        };
        let first = note("BN-1", Some("x"), &["t"], "mira");
        assert_eq!(note("BN-1", Some("x"), &["t"], "mira"), first);
        for other in [
            note("BN-2", Some("x"), &["t"], "mira"),
            note("BN-1", Some("y"), &["t"], "mira"),
            note("BN-1", None, &["t"], "mira"),
            note("BN-1", Some("x"), &["t", "u"], "mira"),
            note("BN-1", Some("x"), &["t"], "noa"),
        ] {
            assert_ne!(other, first);
        }
    }
}
