//! Group commit: calls that wait together share one script call. There is no timer: a lone call is sent at once.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::store::connection::call_pace::CallPace;
use crate::store::error::StoreError;
use crate::store::script::BatchReplies;

/// The most script calls of one kind in flight at a time; meanwhile the next batch gathers. Calls are short, so that several
/// wait at Redis at once: it runs them one behind the other, without a round trip between them.
pub const MAX_BATCHES_IN_FLIGHT: usize = 8;

type QueuedCall<C, R> = (C, oneshot::Sender<Result<R, StoreError>>);

/// A bounded queue of commands for a script that executes a batch in one call.
#[derive(Debug)]
pub struct ScriptBatcher<C, R> {
    queue: mpsc::Sender<QueuedCall<C, R>>,
}

impl<C, R> Clone for ScriptBatcher<C, R> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<C: Clone + Send + Sync + 'static, R: Send + 'static> ScriptBatcher<C, R> {
    /// Starts the queue. `run` takes 1 to `batch_max` commands, fewer where they would take Redis too long, and returns a
    /// result for each, in order, or one error for all of them. Where the call has taken too long it has results for the
    /// first commands only, at least one: the others, which did not run, go into a call of their own. The task ends when
    /// every handle is dropped and the queue is empty.
    pub fn spawn<F, Fut>(queue_max: usize, batch_max: usize, run: F) -> Self
    where
        F: Fn(Arc<[C]>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<BatchReplies<R>, StoreError>> + Send + 'static,
    {
        let (queue, mut waiting) = mpsc::channel::<QueuedCall<C, R>>(queue_max);
        let (run, pace) = (Arc::new(run), Arc::new(CallPace::new(batch_max)));
        let permits = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
        tokio::spawn(async move {
            loop {
                let Ok(permit) = permits.clone().acquire_owned().await else {
                    return;
                };
                let most = pace.next_batch();
                let mut batch = Vec::with_capacity(most.min(waiting.len()).max(1));
                if waiting.recv_many(&mut batch, most).await == 0 {
                    return;
                }
                let (run, pace) = (run.clone(), pace.clone());
                tokio::spawn(async move {
                    run_batch(batch, run.as_ref(), &pace).await;
                    drop(permit);
                });
            }
        });
        Self { queue }
    }

    /// Returns how many commands wait in the queue, and how many may.
    pub fn queue_level(&self) -> (usize, usize) {
        let max = self.queue.max_capacity();
        (max - self.queue.capacity(), max)
    }

    /// Queues one command and returns its result.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`] at once when the queue is full; otherwise the error of the script call.
    pub async fn call(&self, command: C) -> Result<R, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.queue
            .try_send((command, sender))
            .map_err(|_| StoreError::QueueFull)?;
        receiver
            .await
            .unwrap_or_else(|_| Err(StoreError::OutcomeUnknown("the call was dropped".to_owned())))
    }
}

async fn run_batch<C: Clone, R, F, Fut>(batch: Vec<QueuedCall<C, R>>, run: &F, pace: &CallPace)
where
    F: Fn(Arc<[C]>) -> Fut,
    Fut: Future<Output = Result<BatchReplies<R>, StoreError>>,
{
    let (commands, callers): (Vec<C>, Vec<_>) = batch.into_iter().unzip();
    let (mut commands, mut callers): (Arc<[C]>, _) = (commands.into(), callers.into_iter());
    while !commands.is_empty() {
        let results = run(commands.clone())
            .await
            .and_then(|replies| match replies.results.len() {
                count if (1..=commands.len()).contains(&count) => {
                    pace.record(count, replies.took);
                    Ok(replies.results)
                }
                count => Err(StoreError::corrupt(format!(
                    "a script replied to {count} of {} commands",
                    commands.len()
                ))),
            });
        let results = match results {
            Ok(results) => results,
            Err(error) => {
                for caller in callers {
                    let _ = caller.send(Err(error.clone()));
                }
                return;
            }
        };
        commands = commands[results.len()..].into();
        for (result, caller) in results.into_iter().zip(callers.by_ref()) {
            // A caller that stopped waiting needs no result.
            let _ = caller.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn waiting_calls_share_a_batch_and_a_full_queue_refuses_at_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (count, open) = (calls.clone(), gate.clone());
        let batcher = ScriptBatcher::spawn(8, 4, move |commands: Arc<[usize]>| {
            count.fetch_add(1, Ordering::SeqCst);
            let open = open.clone();
            async move {
                open.acquire().await.unwrap().forget();
                let results = commands.iter().map(|n| Ok(n * 2)).collect();
                Ok(BatchReplies {
                    results,
                    took: Duration::ZERO,
                })
            }
        });
        let spawn_call = |n: usize| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.call(n).await })
        };
        let mut waiting = Vec::new();
        for n in 0..MAX_BATCHES_IN_FLIGHT {
            waiting.push(spawn_call(n));
            while calls.load(Ordering::SeqCst) <= n {
                tokio::task::yield_now().await;
            }
        }
        for n in 0..8 {
            waiting.push(spawn_call(n));
        }
        while batcher.queue.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(batcher.call(0).await, Err(StoreError::QueueFull));
        gate.add_permits(100);
        for (n, call) in waiting.into_iter().enumerate() {
            let n = if n < MAX_BATCHES_IN_FLIGHT {
                n
            } else {
                n - MAX_BATCHES_IN_FLIGHT
            };
            assert_eq!(call.await.unwrap(), Ok(n * 2));
        }
        assert_eq!(calls.load(Ordering::SeqCst), MAX_BATCHES_IN_FLIGHT + 2);
    }

    #[tokio::test]
    async fn commands_without_a_result_go_into_a_call_of_their_own_and_an_error_in_it_is_theirs_alone() {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let batcher = ScriptBatcher::spawn(8, 8, move |commands: Arc<[usize]>| {
            let call = count.fetch_add(1, Ordering::SeqCst);
            async move {
                let first: Vec<_> = commands.iter().take(3).map(|n| Ok((call, *n))).collect();
                let replies = BatchReplies {
                    results: first,
                    took: Duration::from_micros(1),
                };
                (call < 2)
                    .then_some(replies)
                    .ok_or_else(|| StoreError::OutcomeUnknown("lost".to_owned()))
            }
        });
        let results = futures_util::future::join_all((0..8).map(|n| batcher.call(n))).await;
        let lost = || Err(StoreError::OutcomeUnknown("lost".to_owned()));
        let mut expected: Vec<_> = (0..6).map(|n| Ok((n / 3, n))).collect();
        expected.extend([lost(), lost()]);
        assert_eq!(results, expected);
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn reply_without_any_result_or_with_too_many_is_an_error_for_all() {
        for count in [0, 3] {
            let batcher = ScriptBatcher::spawn(8, 8, move |_: Arc<[usize]>| async move {
                Ok(BatchReplies {
                    results: vec![Ok(()); count],
                    took: Duration::ZERO,
                })
            });
            let results = futures_util::future::join_all([batcher.call(1), batcher.call(2)]).await;
            assert!(
                results
                    .iter()
                    .all(|result| matches!(result, Err(StoreError::Corrupt(_)))),
                "{results:?}"
            );
        }
    }
}
