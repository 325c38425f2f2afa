//! The journal: one writer task per process behind a bounded queue, and a reader that detects missing entries.
//!
//! What the archiver has moved into the archive is read from there, as if the journal still had it.
//!
//! Start with [`JournalWriter::append`] and [`JournalReader::replay`].

pub(super) mod append;
mod archive;
mod entry;
pub mod limits;
mod loss;
mod reader;
mod replay;
pub mod snapshots;
mod watermark;
mod writer;

pub use crate::bus::journal::archive::archiver::{
    ArchiveAudit, ArchiveError, ArchivedEntries, DroppedEntries, JournalArchiver,
};
pub use crate::bus::journal::entry::{AppendError, JournalEntry};
pub use crate::bus::journal::loss::{AcceptLossError, JournalLoss, accept_loss};
pub use crate::bus::journal::reader::{JournalExtent, JournalReader};
pub use crate::bus::journal::writer::{JournalWriter, JournalWriterTask};
