//! Notes on orders: text and tags that people and programs add to an order.

use std::fmt;

use uuid::Uuid;

use crate::domain::content_hash::{ContentHash, ContentHasher};
use crate::domain::id::{AccountId, BrokerId, OrderId, Tag};

/// The most characters of one note.
pub const MAX_NOTE_TEXT_CHARACTERS: usize = 2_000;

/// The error of a text that is not a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1-{MAX_NOTE_TEXT_CHARACTERS} characters, not only white space, without control characters other than line feeds \
     and tabs"
)]
pub struct NoteTextError;

/// The text of a note: 1–2000 characters, without control characters other than line feeds and tabs, and without white
/// space around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteText(String);

impl NoteText {
    /// Returns the text of a note, trimmed, after checking it.
    ///
    /// # Errors
    /// When the text is empty or only white space, too long, or contains a control character other than a line feed or a tab.
    pub fn new(text: &str) -> Result<Self, NoteTextError> {
        let is_short = text.chars().count() <= MAX_NOTE_TEXT_CHARACTERS;
        let is_plain = !text
            .chars()
            .any(|character| character.is_control() && !['\n', '\t'].contains(&character));
        let trimmed = text.trim();
        if is_short && is_plain && !trimmed.is_empty() {
            Ok(Self(trimmed.to_owned()))
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
    /// The note's id: a note is recorded once per id.
    pub note_id: Uuid,
    /// The order, by the router's id.
    pub order_id: OrderId,
    /// The text to add, if any.
    pub text: Option<NoteText>,
    /// The tags to add to the order's.
    pub tags: Vec<Tag>,
    /// The author.
    pub actor: String,
}

impl Note {
    /// Returns the hash that identifies a repetition under the same id. It covers every field except the id, the tags in any
    /// order, and the broker and account of the order.
    pub fn content_hash(&self, broker: &BrokerId, account_id: &AccountId) -> ContentHash {
        let mut hasher = ContentHasher::default();
        hasher.add(broker.as_str());
        hasher.add(account_id.as_str());
        hasher.add(self.order_id.as_str());
        hasher.add(self.text.as_ref().map_or("", NoteText::as_str));
        hasher.add(&self.actor);
        let mut tags: Vec<&str> = self.tags.iter().map(Tag::as_str).collect();
        tags.sort_unstable();
        for tag in tags {
            hasher.add(tag);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_allows_line_feeds_and_tabs_and_no_other_control_character() {
        for text in [
            "x",
            "two\nlines",
            "a\ttab",
            "ümlaut 漢字",
            &"x".repeat(2_000),
            &"ü".repeat(2_000),
        ] {
            assert_eq!(NoteText::new(text).unwrap().as_str(), text);
        }
        assert_eq!(NoteText::new(" \n\ta b\u{3000}\n").unwrap().as_str(), "a b");
        let long = format!("{} ", "x".repeat(2_000));
        for text in ["", " ", "\n\t\u{a0}", "return\r\n", "\u{7f}", "\u{85}", "\0", &long] {
            assert!(NoteText::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn content_hash_covers_everything_but_the_id() {
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
        assert_eq!(
            note("BN-1", Some("x"), &["t", "u"], "mira"),
            note("BN-1", Some("x"), &["u", "t"], "mira"),
            "tags are a set"
        );
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
