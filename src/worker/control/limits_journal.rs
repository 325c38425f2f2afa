//! The limits and the journal: the newest event of limits is in force. Any worker puts it in force; one that finds a journal
//! without limits appends those that it enforces.

use crate::bus::journal::limits::{JournaledLimits, LimitsChangeError, change_limits};
use crate::bus::subjects;
use crate::fault::{Fault, FaultCode};
use crate::store::control::limits::LimitsToEnforce;
use crate::store::rebuild::lease::StoreRebuild;
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::router::Router;
use crate::worker::stop_point;

/// The actor of the first limits of a journal.
const FIRST_ACTOR: &str = "order-router worker";
/// The reason of the first limits of a journal.
const FIRST_REASON: &str = "the journal had no limits: those of this worker are in force";

/// Puts the journal's newest limits in force unless they are: their worker may have died before, or they were journaled
/// without a worker.
///
/// # Errors
/// If store or journal do not reply.
pub async fn enforce_journaled_limits(router: &Router) -> Result<(), Fault> {
    let known = router.store.read_limits().await.map_err(store_unavailable)?;
    if known.sequence > 0 {
        let subject = subjects::event(subjects::LIMITS_EVENT_KIND, None);
        let later = router
            .journal_reader
            .read_next_for_subject(&subject, known.sequence + 1, 1)
            .await;
        if later.map_err(|error| bus_unavailable(&error))?.is_empty() {
            return Ok(());
        }
    }
    let newest = router.journal_reader.read_limits().await;
    let newest = match newest.map_err(|error| bus_unavailable(&error))? {
        Some(newest) => newest,
        None => journal_first_limits(router).await?,
    };
    enforce(router, None, &newest).await
}

/// Puts the journal's newest limits in force in a store that is being rebuilt.
///
/// # Errors
/// If store or journal do not reply.
pub async fn restore_limits(router: &Router, rebuild: &StoreRebuild) -> Result<(), Fault> {
    let newest = router.journal_reader.read_limits().await;
    match newest.map_err(|error| bus_unavailable(&error))? {
        Some(newest) => enforce(router, Some(rebuild), &newest).await,
        None => Ok(()),
    }
}

/// Puts journaled limits in force, for all workers from the next order on.
///
/// # Errors
/// If the store does not reply.
pub(super) async fn enforce(
    router: &Router,
    rebuild: Option<&StoreRebuild>,
    limits: &JournaledLimits,
) -> Result<(), Fault> {
    let enforced = router.store.enforce_limits(
        rebuild,
        LimitsToEnforce {
            sequence: limits.sequence,
            hash: &limits.event.hash,
            document: &limits.document,
        },
    );
    enforced.await.map_err(store_unavailable)?;
    stop_point::reach("limits_enforced");
    Ok(())
}

/// Journals the limits that this worker enforces as the journal's first ones; returns those of another worker that came
/// first.
async fn journal_first_limits(router: &Router) -> Result<JournaledLimits, Fault> {
    let limits = router.control.limits();
    let audit = (FIRST_ACTOR, FIRST_REASON);
    let (reader, writer) = (&router.journal_reader, &router.journal_writer);
    let journaled = change_limits(reader, writer, &limits.settings, None, audit).await;
    let journaled = journaled.map_err(change_fault)?;
    stop_point::reach("limits_journaled");
    tracing::info!(version = journaled.event.version, "journaled the first limits");
    Ok(journaled)
}

/// Returns the fault of a change that the journal does not have, or may not have.
pub(super) fn change_fault(error: LimitsChangeError) -> Fault {
    let detail = error.to_string();
    match error {
        LimitsChangeError::Bus(_) | LimitsChangeError::Append(_) => Fault::new(FaultCode::BusUnavailable, detail),
        LimitsChangeError::Contention => Fault::new(FaultCode::StoreUnavailable, detail),
        LimitsChangeError::BaseChanged { .. } => Fault::for_field(FaultCode::InvalidField, "base_hash", detail),
        LimitsChangeError::Packed(_)
        | LimitsChangeError::Encode(_)
        | LimitsChangeError::TooLarge(_)
        | LimitsChangeError::BaseCurrency { .. } => Fault::for_field(FaultCode::InvalidField, "limits", detail),
    }
}
