//! Whether a journal can be relied on: it has what the store has seen, and all of its own entries.

use crate::bus::journal::{JournalExtent, JournalReader};
use crate::store::Store;
use crate::store::rebuild::epoch::StoreStatus;
use crate::worker::rebuild::error::StoreRebuildError;

/// Checks that a journal has what a store has seen, and all of its own entries but those whose loss an operator accepted.
/// Returns its extent.
///
/// # Errors
/// Why the journal cannot be relied on: it does not exist, is behind the store or has lost entries; or the store follows
/// another schema.
pub async fn check_journal(reader: &JournalReader, store: Option<&Store>) -> Result<JournalExtent, StoreRebuildError> {
    // The store is read first: what is appended meanwhile must not make the journal appear to be behind.
    let status = match store {
        Some(store) => Some(store.read_status().await?),
        None => None,
    };
    let extent = reader.find_extent().await?.ok_or(StoreRebuildError::JournalMissing)?;
    if let Some(status) = status {
        if let Some(found) = status.foreign_schema() {
            return Err(StoreRebuildError::foreign_schema(found));
        }
        check_journal_not_behind(&status, &extent)?;
    }
    match reader.find_unaccepted_loss(&extent).await? {
        Some(loss) => Err(StoreRebuildError::JournalIncomplete(loss)),
        None => Ok(extent),
    }
}

/// Checks that the journal has every entry that the store has seen.
pub(super) fn check_journal_not_behind(status: &StoreStatus, extent: &JournalExtent) -> Result<(), StoreRebuildError> {
    let created = extent.created_at.to_string();
    let seen = status.journal_sequence.max(status.lock_watermark);
    let is_same = status.journal_created.is_empty() || status.journal_created == created;
    if is_same && extent.last_sequence >= seen {
        return Ok(());
    }
    Err(StoreRebuildError::JournalBehind {
        last_sequence: extent.last_sequence,
        created,
        seen,
        seen_created: status.journal_created.clone(),
    })
}
