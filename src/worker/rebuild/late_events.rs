//! Late events: what workers of the previous epoch append after a rebuild has started. They are replayed for as long as
//! they may arrive, because a store that was restored from an older copy may lack what they settled.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::Timestamp;
use crate::store::rebuild::epoch::{LateEvents, StoreStatus};
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::replay;
use crate::worker::rebuild::replay_target::ReplayTarget;
use crate::worker::router::Router;

/// How long after a rebuild late events may still arrive: longer than any append is tried.
const LATE_EVENT_WINDOW: Duration = Duration::from_secs(30);

/// The late events that are still to be replayed.
#[derive(Debug)]
pub struct LateEventFollowUp {
    /// The first sequence that has not been replayed.
    next_sequence: u64,
    /// The moment after which no late event is expected.
    ends_at: Instant,
}

impl LateEventFollowUp {
    /// Returns the follow-up of a rebuild that ends now and has replayed every sequence before `next_sequence`.
    pub(super) fn start(next_sequence: u64) -> Self {
        Self {
            next_sequence,
            ends_at: Instant::now() + LATE_EVENT_WINDOW,
        }
    }

    /// Returns the follow-up of a rebuild by another worker, which may have died since; `None` if it has ended.
    pub(super) fn from_status(status: &StoreStatus) -> Option<Self> {
        let until = Timestamp::from_milliseconds(status.late_until_ms);
        let left = until.saturating_duration_since(Timestamp::now());
        (!left.is_zero()).then(|| Self {
            next_sequence: status.late_from_sequence,
            ends_at: Instant::now() + left,
        })
    }

    /// Returns the store's record of the follow-up from `next_sequence` on, by which other workers continue it.
    pub(super) fn record(next_sequence: u64) -> LateEvents {
        LateEvents {
            from_sequence: next_sequence,
            window_ms: u64::try_from(LATE_EVENT_WINDOW.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Replays what has been appended since the last call. Reports whether more may arrive.
///
/// # Errors
/// If store or journal do not reply; the caller tries again.
pub(super) async fn replay_late_events(
    router: &Router,
    late: &mut Option<LateEventFollowUp>,
) -> Result<bool, StoreRebuildError> {
    let Some(open) = late else { return Ok(false) };
    let last = router.journal_reader.read_extent().await?.last_sequence;
    if open.next_sequence <= last {
        let replayed = replay::replay_range(router, ReplayTarget::InUse, open.next_sequence, last).await?;
        if replayed.changed > 0 {
            tracing::warn!(
                events = replayed.changed,
                "replayed late events of the epoch before the rebuild"
            );
        }
        open.next_sequence = last + 1;
    }
    if Instant::now() < open.ends_at {
        return Ok(true);
    }
    *late = None;
    Ok(false)
}
