//! Snapshots of the shared state, as a stream of their own: what the journal's entries up to a sequence make.
//!
//! A snapshot is a manifest and its parts. The stream keeps one message a subject: parts go to numbered subjects that no
//! kept manifest names, and the manifest, which is written last, replaces the older of two. So the last two snapshots are
//! whole at every moment, nothing has to be deleted, and a kill leaves parts that the next snapshot writes over.

mod error;
mod manifest;
mod writer;

use std::io::Read;

use async_nats::jetstream::stream::{DirectGetErrorKind, LastRawMessageErrorKind};
use bytes::Bytes;
use flate2::read::GzDecoder;

use crate::bus::connection::{Bus, with_timeout};
use crate::bus::headers;
use crate::bus::journal::archive::read_stream_info;
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;

pub use crate::bus::journal::snapshots::error::SnapshotError;
pub use crate::bus::journal::snapshots::manifest::{IdSegment, SNAPSHOT_FORMAT, SnapshotManifest, SnapshotPart};
pub use crate::bus::journal::snapshots::writer::SnapshotWriter;

/// How many snapshots are kept.
const KEPT_SNAPSHOTS: u32 = 2;
const OPERATION: &str = "reading the snapshots of the shared state";

/// A manifest that the stream holds.
#[derive(Debug)]
pub struct StoredManifest {
    /// The manifest, or why it is not usable.
    pub manifest: Result<SnapshotManifest, SnapshotError>,
    /// Which of the kept snapshots it is, from 0.
    slot: u32,
    /// The sequence of its message.
    position: u64,
}

/// Reads and writes snapshots.
#[derive(Debug, Clone)]
pub struct JournalSnapshots {
    bus: Bus,
}

impl JournalSnapshots {
    /// Returns the snapshots of the journal on this connection.
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Returns the manifests of the kept snapshots, the newest first.
    ///
    /// # Errors
    /// When the server does not reply.
    pub async fn read_manifests(&self) -> Result<Vec<StoredManifest>, SnapshotError> {
        let stream = self.bus.jetstream.get_stream_no_info(subjects::STREAM_SNAPSHOTS);
        let stream = with_timeout(self.bus.request_timeout(), OPERATION, stream).await?;
        let mut found = Vec::new();
        for slot in 0..KEPT_SNAPSHOTS {
            let subject = subjects::snapshot_manifest(slot);
            let read = async {
                // The leader replies: a replica that lags would name parts that are free for the next snapshot.
                match stream.get_last_raw_message_by_subject(&subject).await {
                    Ok(message) => Ok(Some(message)),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                    Err(error) => Err(error),
                }
            };
            let message = with_timeout(self.bus.request_timeout(), OPERATION, read).await?;
            let Some(message) = message else { continue };
            let checksum = headers::single_text(Some(&message.headers), headers::SNAPSHOT_CHECKSUM);
            found.push(StoredManifest {
                manifest: decode_manifest(&message.payload, checksum).map_err(|reason| SnapshotError::Damaged {
                    position: message.sequence,
                    reason,
                }),
                slot,
                position: message.sequence,
            });
        }
        found.sort_by_key(|stored| std::cmp::Reverse(stored.position));
        Ok(found)
    }

    /// Returns the bytes of a part.
    ///
    /// # Errors
    /// When the server does not reply, or the part is missing or damaged.
    pub async fn read_part(&self, part: &SnapshotPart) -> Result<Bytes, SnapshotError> {
        let damaged = |reason: String| SnapshotError::Damaged {
            position: part.position,
            reason,
        };
        let stream = self.bus.jetstream.get_stream_no_info(subjects::STREAM_SNAPSHOTS);
        let stream = with_timeout(self.bus.request_timeout(), OPERATION, stream).await?;
        let read = async {
            match stream.direct_get(part.position).await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let body = with_timeout(self.bus.request_timeout(), OPERATION, read).await?;
        let body = body.ok_or_else(|| damaged("is missing".to_owned()))?;
        let part = part.clone();
        let decoded = tokio::task::spawn_blocking(move || decode_part(&part, &body)).await;
        decoded
            .unwrap_or_else(|error| Err(format!("could not be decoded: {error}")))
            .map_err(damaged)
    }

    /// Begins a snapshot, which replaces the older of the kept ones. Another one that is written at the same time makes it
    /// fail.
    ///
    /// # Errors
    /// When the server does not reply, or the stream is missing.
    pub async fn begin(&self, kept: &[StoredManifest]) -> Result<SnapshotWriter, SnapshotError> {
        let info = read_stream_info(&self.bus, subjects::STREAM_SNAPSHOTS, OPERATION).await?;
        let info = info.ok_or(SnapshotError::NoStream)?;
        let newest_valid = kept.iter().find(|stored| stored.manifest.is_ok());
        let slot = newest_valid.map_or(0, |stored| (stored.slot + 1) % KEPT_SNAPSHOTS);
        let manifests = kept.iter().filter_map(|stored| stored.manifest.as_ref().ok());
        let taken = manifests.flat_map(SnapshotManifest::parts).map(|part| part.slot);
        Ok(SnapshotWriter::new(
            self.bus.clone(),
            slot,
            info.state.last_sequence,
            taken.collect(),
        ))
    }
}

fn decode_manifest(body: &[u8], checksum: Option<&str>) -> Result<SnapshotManifest, String> {
    if checksum != Some(&*ContentHash::of(body).0) {
        return Err("does not have the SHA-256 of its header".to_owned());
    }
    let manifest: SnapshotManifest =
        serde_json::from_slice(body).map_err(|error| format!("cannot be decoded: {error}"))?;
    if manifest.format != SNAPSHOT_FORMAT {
        return Err(format!("has the format {}, not {SNAPSHOT_FORMAT}", manifest.format));
    }
    Ok(manifest)
}

fn decode_part(part: &SnapshotPart, body: &[u8]) -> Result<Bytes, String> {
    if *ContentHash::of(body).0 != *part.sha256 {
        return Err("does not have the SHA-256 of its manifest".to_owned());
    }
    let mut decoded = Vec::new();
    // The manifest bounds the size.
    let mut decoder = GzDecoder::new(body).take(part.item_bytes.saturating_add(1));
    let read = decoder.read_to_end(&mut decoded);
    read.map_err(|error| format!("cannot be decompressed: {error}"))?;
    if decoded.len() as u64 != part.item_bytes {
        return Err(format!("does not hold {} bytes", part.item_bytes));
    }
    Ok(decoded.into())
}
