//! The position of a client in its stream: the value of `id:` and `Last-Event-ID`.

use std::fmt;

use crate::domain::time::Timestamp;

/// The maximum number of digits of a sequence. Every such number fits `u64`.
const MAX_SEQUENCE_DIGITS: usize = 19;
/// The number of hexadecimal digits of a stream tag.
const STREAM_TAG_DIGITS: usize = 8;

/// The last delivered entries of both streams. Its text is `<journal>-<alerts>`, with `-<tags>` if the streams are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) struct EventCursor {
    pub(in crate::sidecar) journal: StreamCursor,
    pub(in crate::sidecar) alerts: StreamCursor,
}

/// The last delivered entry of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) struct StreamCursor {
    /// The entry's sequence; 0 before the first entry.
    pub(in crate::sidecar) sequence: u64,
    /// The tag of the stream, or `None` in a cursor without tags, which a person may write by hand.
    pub(in crate::sidecar) stream_tag: Option<u32>,
}

impl StreamCursor {
    /// Returns whether a stream created at this time may be the cursor's stream.
    pub(in crate::sidecar) fn matches_stream(self, created_at: Timestamp) -> bool {
        self.stream_tag.is_none_or(|known| known == stream_tag(created_at))
    }
}

/// Returns a stream's tag: the low 32 bits of its creation time in milliseconds. It distinguishes a stream from its
/// replacement.
pub(in crate::sidecar) fn stream_tag(created_at: Timestamp) -> u32 {
    (created_at.as_milliseconds() & i64::from(u32::MAX))
        .try_into()
        .unwrap_or(0)
}

impl EventCursor {
    /// Parses a cursor.
    ///
    /// # Errors
    /// The rule, if the text is not an event id.
    pub(in crate::sidecar) fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "must be an event id, such as 1234-56";
        let sequence = |text: &str| {
            let is_number = (1..=MAX_SEQUENCE_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| text.parse::<u64>().ok()).flatten()
        };
        let tag = |text: &str| u32::from_str_radix(text, 16).ok();
        let is_tags = |text: &str| {
            text.len() == 2 * STREAM_TAG_DIGITS
                && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let mut parts = text.split('-');
        let (Some(journal), Some(alerts)) = (parts.next().and_then(sequence), parts.next().and_then(sequence)) else {
            return Err(RULE);
        };
        let (journal_tag, alerts_tag) = match (parts.next(), parts.next()) {
            (None, _) => (None, None),
            (Some(tags), None) if is_tags(tags) => {
                let (journal_tag, alerts_tag) = tags.split_at(STREAM_TAG_DIGITS);
                (tag(journal_tag), tag(alerts_tag))
            }
            _ => return Err(RULE),
        };
        Ok(Self {
            journal: StreamCursor {
                sequence: journal,
                stream_tag: journal_tag,
            },
            alerts: StreamCursor {
                sequence: alerts,
                stream_tag: alerts_tag,
            },
        })
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.journal.sequence, self.alerts.sequence)?;
        match (self.journal.stream_tag, self.alerts.stream_tag) {
            (Some(journal), Some(alerts)) => write!(formatter, "-{journal:08x}{alerts:08x}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_round_trips_through_its_text() {
        for (text, sequences) in [
            ("0-0", Some((0, 0))),
            ("1234-56", Some((1_234, 56))),
            ("1234-56-00ab00cdffffffff", Some((1_234, 56))),
            ("9999999999999999999-1", Some((9_999_999_999_999_999_999, 1))),
            ("18446744073709551615-1", None),
            ("000000000000000000001-1", None),
            ("+1-1", None),
            ("1", None),
            ("1-", None),
            ("-1-1", None),
            ("1-1-", None),
            ("1-1-00ab00cdfffffff", None),
            ("1-1-00AB00CDFFFFFFFF", None),
            ("1-1-+0ab00cd+fffffff", None),
            ("1-1-00ab00cdffffffff-1", None),
            ("1-1-00ab00cdfffffffé", None),
            ("", None),
            (" 1-1", None),
        ] {
            let cursor = EventCursor::parse(text).ok();
            let parsed = cursor.map(|cursor| (cursor.journal.sequence, cursor.alerts.sequence));
            assert_eq!(parsed, sequences, "{text}");
            if let Some(cursor) = cursor {
                assert_eq!(cursor.to_string(), text);
            }
        }
        let cursor = EventCursor::parse("1-1-00ab00cdffffffff").unwrap();
        assert_eq!(
            (cursor.journal.stream_tag, cursor.alerts.stream_tag),
            (Some(0x00ab_00cd), Some(u32::MAX))
        );
    }

    #[test]
    fn cursor_matches_its_own_stream_only() {
        let (created, other) = (Timestamp::from_milliseconds(7), Timestamp::from_milliseconds(8));
        let cursor = StreamCursor {
            sequence: 1,
            stream_tag: Some(stream_tag(created)),
        };
        assert!(cursor.matches_stream(created) && !cursor.matches_stream(other));
        assert!(
            StreamCursor {
                stream_tag: None,
                ..cursor
            }
            .matches_stream(other)
        );
    }
}
