//! A script call that is sent again until its reply arrives. The script recognises the effect by its id and books it once.

use std::future::Future;
use std::time::Duration;

use crate::store::StoreError;

/// How often a call is sent if its reply is lost.
const MAX_SEND_ATTEMPTS: u32 = 5;
/// The pause between two sends.
const SEND_RETRY_DELAY: Duration = Duration::from_millis(100);

/// What a caller does whose queue is full before anything was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum WhenQueueFull {
    /// It returns at once.
    Return,
    /// It sends again.
    SendAgain,
}

/// A reply, and whether an earlier attempt may have been executed.
pub(in crate::worker) struct Reply<T> {
    pub(in crate::worker) outcome: T,
    pub(in crate::worker) may_have_executed_before: bool,
}

/// The last error of a call without a reply, and whether one of its attempts may have been executed.
pub(in crate::worker) struct Unanswered {
    pub(in crate::worker) error: StoreError,
    pub(in crate::worker) may_have_executed: bool,
}

/// Sends a call until its reply arrives, at most [`MAX_SEND_ATTEMPTS`] times.
///
/// # Errors
/// [`Unanswered`] when no reply arrives, or when another attempt cannot bring one.
pub(in crate::worker) async fn send_until_answered<T, Fut>(
    when_queue_full: WhenQueueFull,
    mut send: impl FnMut() -> Fut,
) -> Result<Reply<T>, Unanswered>
where
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut may_have_executed = false;
    let mut attempts = 1;
    loop {
        let error = match send().await {
            Ok(outcome) => {
                return Ok(Reply {
                    outcome,
                    may_have_executed_before: may_have_executed,
                });
            }
            Err(error) => error,
        };
        may_have_executed |= error.may_have_executed();
        let is_sent_again = match error {
            StoreError::OutcomeUnknown(_) | StoreError::Corrupt(_) => true,
            StoreError::QueueFull => may_have_executed || when_queue_full == WhenQueueFull::SendAgain,
            StoreError::NotExecuted(_) | StoreError::Stale(_) | StoreError::Settings(_) => false,
        };
        if !is_sent_again || attempts == MAX_SEND_ATTEMPTS {
            return Err(Unanswered {
                error,
                may_have_executed,
            });
        }
        attempts += 1;
        tokio::time::sleep(SEND_RETRY_DELAY).await;
    }
}
