//! Writing a snapshot: parts first, the manifest last. Every message is conditional on the stream's newest one, so that two
//! writers cannot mix their parts: the second to write fails.

use std::collections::HashSet;
use std::io::Write;

use async_nats::HeaderMap;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::bus::connection::{Bus, with_timeout};
use crate::bus::headers;
use crate::bus::journal::snapshots::error::SnapshotError;
use crate::bus::journal::snapshots::manifest::{SnapshotManifest, SnapshotPart};

use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;

/// The size of the items that one part gathers, in bytes; a single item may be larger.
const PART_ITEM_BYTES: usize = 1_024 * 1_024;
/// The share of the server's largest message that a part may have, in percent; the rest is for its headers.
const MAX_MESSAGE_PERCENT: usize = 75;
/// The maximum number of parts of the kept snapshots together.
const MAX_PARTS: usize = 8_192;
const OPERATION: &str = "writing a snapshot of the shared state";

/// A snapshot in progress.
#[derive(Debug)]
pub struct SnapshotWriter {
    bus: Bus,
    manifest_slot: u32,
    /// The sequence of the stream's newest message.
    position: u64,
    /// The numbers of subjects that kept snapshots and this one use.
    taken: HashSet<u32>,
    /// Every number below it is taken.
    next_slot: u32,
    items: Vec<Vec<u8>>,
    item_bytes: usize,
    section: Vec<SnapshotPart>,
}

impl SnapshotWriter {
    pub(super) fn new(bus: Bus, manifest_slot: u32, position: u64, taken: HashSet<u32>) -> Self {
        Self {
            bus,
            manifest_slot,
            position,
            taken,
            next_slot: 0,
            items: Vec::new(),
            item_bytes: 0,
            section: Vec::new(),
        }
    }

    /// Adds an item to the present section.
    ///
    /// # Errors
    /// When a part cannot be written: another snapshot is being written, or the server does not reply.
    pub async fn push(&mut self, item: Vec<u8>) -> Result<(), SnapshotError> {
        self.item_bytes += item.len();
        self.items.push(item);
        if self.item_bytes >= PART_ITEM_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Ends the section. Returns its parts.
    ///
    /// # Errors
    /// As [`SnapshotWriter::push`].
    pub async fn end_section(&mut self) -> Result<Vec<SnapshotPart>, SnapshotError> {
        self.flush().await?;
        Ok(std::mem::take(&mut self.section))
    }

    /// Writes the manifest: from here on the snapshot exists.
    ///
    /// # Errors
    /// As [`SnapshotWriter::push`].
    pub async fn finish(mut self, manifest: &SnapshotManifest) -> Result<(), SnapshotError> {
        let body = serde_json::to_vec(manifest).map_err(|error| SnapshotError::Unwritable(error.to_string()))?;
        if body.len() > self.max_body() {
            return Err(SnapshotError::Unwritable(format!(
                "the manifest of the snapshot has {} bytes, more than a message may",
                body.len()
            )));
        }
        self.publish(subjects::snapshot_manifest(self.manifest_slot), body.into())
            .await
    }

    /// Writes the items that have gathered, as several parts where one would exceed a message.
    async fn flush(&mut self) -> Result<(), SnapshotError> {
        self.item_bytes = 0;
        let mut waiting = vec![std::mem::take(&mut self.items)];
        while let Some(mut items) = waiting.pop() {
            if items.is_empty() {
                continue;
            }
            let compressed = tokio::task::spawn_blocking(move || compress(&items).map(|body| (items, body))).await;
            let unwritable = |error: String| SnapshotError::Unwritable(format!("a part is not compressed: {error}"));
            let compressed = compressed.map_err(|error| unwritable(error.to_string()))?;
            let body: Bytes;
            (items, body) = compressed.map_err(|error| unwritable(error.to_string()))?;
            if body.len() > self.max_body() {
                if items.len() == 1 {
                    return Err(SnapshotError::Unwritable(format!(
                        "an item of the snapshot has {} bytes, more than a message may",
                        body.len()
                    )));
                }
                let back = items.split_off(items.len() / 2);
                waiting.extend([back, items]);
                continue;
            }
            self.write_part(items.iter().map(Vec::len).sum(), body).await?;
        }
        Ok(())
    }

    async fn write_part(&mut self, item_bytes: usize, body: Bytes) -> Result<(), SnapshotError> {
        if self.taken.len() >= MAX_PARTS {
            return Err(SnapshotError::Unwritable(format!(
                "the kept snapshots have {MAX_PARTS} parts, their maximum"
            )));
        }
        while !self.taken.insert(self.next_slot) {
            self.next_slot += 1;
        }
        let (slot, sha256) = (self.next_slot, ContentHash::of(&body).0.to_string());
        self.publish(subjects::snapshot_part(slot), body).await?;
        self.section.push(SnapshotPart {
            slot,
            position: self.position,
            item_bytes: item_bytes as u64,
            sha256,
        });
        Ok(())
    }

    /// Publishes a message after the stream's newest one.
    async fn publish(&mut self, subject: String, body: Bytes) -> Result<(), SnapshotError> {
        let mut map = HeaderMap::new();
        headers::set(&mut map, headers::EXPECTED_STREAM, subjects::STREAM_SNAPSHOTS);
        headers::set(&mut map, headers::EXPECTED_LAST_SEQUENCE, &self.position.to_string());
        headers::set(&mut map, headers::SNAPSHOT_CHECKSUM, &ContentHash::of(&body).0);
        let jetstream = &self.bus.jetstream;
        let appended = async { jetstream.publish_with_headers(subject, map, body).await?.await };
        let acknowledged = with_timeout(self.bus.request_timeout(), OPERATION, appended).await?;
        self.position = acknowledged.sequence;
        Ok(())
    }

    fn max_body(&self) -> usize {
        self.bus.client.server_info().max_payload * MAX_MESSAGE_PERCENT / 100
    }
}

fn compress(items: &[Vec<u8>]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for item in items {
        encoder.write_all(item)?;
    }
    Ok(encoder.finish()?.into())
}
