//! The bytes of a segment: per entry one line of JSON and the body, compressed with gzip.
//!
//! The line names the number of the body's bytes, so that a body is kept byte for byte. `zcat` shows a segment.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::bus::journal::archive::manifest::SegmentManifest;
use crate::bus::journal::replay::ReplayedEntry;
use crate::bus::stream_entry::StoredEntry;
use crate::domain::content_hash::ContentHash;
use crate::domain::time::Timestamp;

/// The line before a body.
#[derive(Debug, Serialize, Deserialize)]
struct EntryLine {
    sequence: u64,
    subject: String,
    stored_at: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Vec<String>>,
    /// The number of bytes of the body that follows.
    body_bytes: usize,
}

/// Appends an entry to the bytes of a segment before compression.
///
/// # Errors
/// When the entry cannot be encoded.
pub(super) fn append_entry(segment: &mut Vec<u8>, replayed: &ReplayedEntry) -> std::io::Result<()> {
    let entry = &replayed.entry;
    let line = EntryLine {
        sequence: entry.sequence,
        subject: entry.subject.clone(),
        stored_at: entry.stored_at,
        headers: replayed.headers.clone(),
        body_bytes: entry.body.len(),
    };
    serde_json::to_writer(&mut *segment, &line)?;
    segment.push(b'\n');
    segment.extend_from_slice(&entry.body);
    segment.push(b'\n');
    Ok(())
}

/// Returns a segment's bytes, compressed.
///
/// # Errors
/// When the compression fails.
pub(super) fn compress(segment: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(segment)?;
    Ok(encoder.finish()?.into())
}

/// Returns the entries of a segment in their order.
///
/// # Errors
/// What the manifest says and the bytes do not hold.
pub(super) fn decode(manifest: &SegmentManifest, body: &[u8]) -> Result<Vec<ReplayedEntry>, String> {
    let hash = ContentHash::of(body);
    if *hash.0 != *manifest.sha256 {
        return Err(format!(
            "its SHA-256 is {}, and its manifest has {}",
            hash.0, manifest.sha256
        ));
    }
    let mut segment = Vec::new();
    // The manifest bounds the size, so that a damaged segment cannot fill the memory.
    let limit = manifest.entry_bytes.saturating_add(1);
    let mut decoder = GzDecoder::new(body).take(limit);
    let read = decoder.read_to_end(&mut segment);
    read.map_err(|error| format!("it cannot be decompressed: {error}"))?;
    if segment.len() as u64 != manifest.entry_bytes {
        return Err(format!("it does not have {} bytes", manifest.entry_bytes));
    }
    let (mut rest, mut entries) = (Bytes::from(segment), Vec::new());
    for sequence in manifest.first_sequence..=manifest.last_sequence {
        let entry = split_entry(&mut rest).filter(|entry| entry.entry.sequence == sequence);
        entries.push(entry.ok_or_else(|| format!("it has no readable entry {sequence}"))?);
    }
    if !rest.is_empty() || entries.len() as u64 != manifest.entries {
        return Err(format!("it does not have {} entries", manifest.entries));
    }
    Ok(entries)
}

/// Splits the first entry off; `None` if the bytes do not begin with one.
fn split_entry(rest: &mut Bytes) -> Option<ReplayedEntry> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line: EntryLine = serde_json::from_slice(&rest.split_to(end)).ok()?;
    // The line's end, the body and its end.
    let framed = rest.len().checked_sub(2).is_some_and(|most| line.body_bytes <= most);
    if !framed || rest.get(line.body_bytes + 1) != Some(&b'\n') {
        return None;
    }
    let framed = rest.split_to(line.body_bytes + 2);
    Some(ReplayedEntry {
        entry: StoredEntry {
            subject: line.subject,
            sequence: line.sequence,
            body: framed.slice(1..=line.body_bytes),
            stored_at: line.stored_at,
        },
        headers: line.headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, body: &'static [u8]) -> ReplayedEntry {
        ReplayedEntry {
            entry: StoredEntry {
                subject: "s".to_owned(),
                sequence,
                body: Bytes::from_static(body),
                stored_at: Timestamp::from_microseconds(1_700_000_000_123_456),
            },
            headers: BTreeMap::from([("Name".to_owned(), vec!["a".to_owned(), "b\u{e9}".to_owned()])]),
        }
    }

    fn manifest(entries: &[ReplayedEntry], segment: &[u8], body: &[u8]) -> SegmentManifest {
        let at = Timestamp::from_milliseconds(0);
        SegmentManifest {
            journal_created: at,
            first_sequence: 7,
            last_sequence: 6 + entries.len() as u64,
            entries: entries.len() as u64,
            entry_bytes: segment.len() as u64,
            sha256: ContentHash::of(body).0.to_string(),
            newest_by_kind: BTreeMap::new(),
            archived_at: at,
            actor: "a".to_owned(),
            reason: "r".to_owned(),
        }
    }

    #[test]
    fn segment_returns_every_byte_and_refuses_another() {
        let entries = [entry(7, b"{}"), entry(8, b""), entry(9, b"\n\xff\n{\"a\":\n1}")];
        let mut segment = Vec::new();
        for one in &entries {
            append_entry(&mut segment, one).unwrap();
        }
        let body = compress(&segment).unwrap();
        let manifest = manifest(&entries, &segment, &body);
        assert_eq!(decode(&manifest, &body).unwrap(), entries);
        let mut damaged = body.to_vec();
        damaged[12] ^= 1;
        assert!(decode(&manifest, &damaged).unwrap_err().contains("SHA-256"));
        for wrong in [
            SegmentManifest {
                first_sequence: 6,
                ..manifest.clone()
            },
            SegmentManifest {
                last_sequence: 10,
                ..manifest.clone()
            },
            SegmentManifest {
                last_sequence: 8,
                ..manifest.clone()
            },
            SegmentManifest {
                entries: 4,
                ..manifest.clone()
            },
            SegmentManifest {
                entry_bytes: 9,
                ..manifest.clone()
            },
        ] {
            assert!(decode(&wrong, &body).is_err(), "{wrong:?}");
        }
    }
}
