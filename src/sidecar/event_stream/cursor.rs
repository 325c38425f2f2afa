//! Where a client is on its stream: what `id:` tells and `Last-Event-ID` brings back.

use std::fmt;

use crate::domain::time::Timestamp;

/// How many digits a sequence may have: every such number can be held.
const MAX_SEQUENCE_DIGITS: usize = 19;
/// How many hexadecimal digits name one stream.
const STREAM_TAG_DIGITS: usize = 8;

/// The last entries of both streams that were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) struct EventCursor {
    pub(in crate::sidecar) journal: StreamCursor,
    pub(in crate::sidecar) alerts: StreamCursor,
}

/// The last entry of one stream that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) struct StreamCursor {
    /// Its sequence; 0 before the first.
    pub(in crate::sidecar) sequence: u64,
    /// Which stream it is of; `None` where a person has written the place by hand.
    pub(in crate::sidecar) stream_tag: Option<u32>,
}

impl StreamCursor {
    /// Whether a stream created at this moment may be the one it is of.
    pub(in crate::sidecar) fn matches_stream(self, created_at: Timestamp) -> bool {
        self.stream_tag.is_none_or(|known| known == stream_tag(created_at))
    }
}

/// Returns what tells a stream from one that was made in its place: the end of the milliseconds of its creation.
pub(in crate::sidecar) fn stream_tag(created_at: Timestamp) -> u32 {
    (created_at.as_milliseconds() & i64::from(u32::MAX))
        .try_into()
        .unwrap_or(0)
}

impl EventCursor {
    /// Reads a place.
    ///
    /// # Errors
    /// A sentence where it is none.
    pub(in crate::sidecar) fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "must be the id of an event, such as 1234-56";
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
        let (of_journal, of_alerts) = match (parts.next(), parts.next()) {
            (None, _) => (None, None),
            (Some(tags), None) if is_tags(tags) => {
                let (of_journal, of_alerts) = tags.split_at(STREAM_TAG_DIGITS);
                (tag(of_journal), tag(of_alerts))
            }
            _ => return Err(RULE),
        };
        Ok(Self {
            journal: StreamCursor {
                sequence: journal,
                stream_tag: of_journal,
            },
            alerts: StreamCursor {
                sequence: alerts,
                stream_tag: of_alerts,
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
    fn a_place_is_read_as_it_was_told() {
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
            let place = EventCursor::parse(text).ok();
            let read = place.map(|place| (place.journal.sequence, place.alerts.sequence));
            assert_eq!(read, sequences, "{text}");
            if let Some(place) = place {
                assert_eq!(place.to_string(), text);
            }
        }
        let place = EventCursor::parse("1-1-00ab00cdffffffff").unwrap();
        assert_eq!(
            (place.journal.stream_tag, place.alerts.stream_tag),
            (Some(0x00ab_00cd), Some(u32::MAX))
        );
    }

    #[test]
    fn a_mark_knows_its_stream() {
        let (created, other) = (Timestamp::from_milliseconds(7), Timestamp::from_milliseconds(8));
        let mark = StreamCursor {
            sequence: 1,
            stream_tag: Some(stream_tag(created)),
        };
        assert!(mark.matches_stream(created) && !mark.matches_stream(other));
        assert!(
            StreamCursor {
                stream_tag: None,
                ..mark
            }
            .matches_stream(other)
        );
    }
}
