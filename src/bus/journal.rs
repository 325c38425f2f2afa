//! The journal: one writer task per process behind a bounded queue, and a reader that notices what is missing.

pub(crate) mod append;
pub(crate) mod reader;
mod watermark;
mod writer;

pub use crate::bus::journal::append::{AppendError, JournalEntry};
pub use crate::bus::journal::reader::{JournalExtent, JournalReader, StoredEntry};
pub use crate::bus::journal::writer::{JournalWriter, JournalWriterTask};
