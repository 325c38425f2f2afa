//! Group commit: calls that wait together travel in one script call. There is no timer: a lone call goes at once.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::store::error::StoreError;

/// How many script calls of one kind may be under way at a time: while they are, the next batch gathers.
pub const MAX_BATCHES_IN_FLIGHT: usize = 4;

type QueuedCall<C, A> = (C, oneshot::Sender<Result<A, StoreError>>);

/// A queue of calls in front of a script that takes many at once.
#[derive(Debug)]
pub struct ScriptBatcher<C, A> {
    queue: mpsc::Sender<QueuedCall<C, A>>,
}

impl<C, A> Clone for ScriptBatcher<C, A> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<C: Send + 'static, A: Send + 'static> ScriptBatcher<C, A> {
    /// Starts the queue. `run` is given 1 to `batch_max` commands and answers each, in order. The task ends when every
    /// handle is gone and what was taken has been answered.
    pub fn spawn<F, Fut>(queue_max: usize, batch_max: usize, run: F) -> Self
    where
        F: Fn(Vec<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<A>, StoreError>> + Send + 'static,
    {
        let (queue, mut waiting) = mpsc::channel::<QueuedCall<C, A>>(queue_max);
        let run = Arc::new(run);
        let places = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
        tokio::spawn(async move {
            loop {
                let Ok(place) = places.clone().acquire_owned().await else {
                    return;
                };
                let mut batch = Vec::with_capacity(batch_max.min(waiting.len()).max(1));
                if waiting.recv_many(&mut batch, batch_max).await == 0 {
                    return;
                }
                let run = run.clone();
                tokio::spawn(async move {
                    run_batch(batch, run.as_ref()).await;
                    drop(place);
                });
            }
        });
        Self { queue }
    }

    /// Returns how many commands wait, and how many may.
    pub fn queue_level(&self) -> (usize, usize) {
        let most = self.queue.max_capacity();
        (most - self.queue.capacity(), most)
    }

    /// Returns the answer to one command.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`] at once when too many wait; else what the script call ended in.
    pub async fn call(&self, command: C) -> Result<A, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.queue
            .try_send((command, sender))
            .map_err(|_| StoreError::QueueFull)?;
        receiver
            .await
            .unwrap_or_else(|_| Err(StoreError::OutcomeUnknown("the call was given up".to_owned())))
    }
}

async fn run_batch<C, A, F, Fut>(batch: Vec<QueuedCall<C, A>>, run: &F)
where
    F: Fn(Vec<C>) -> Fut,
    Fut: Future<Output = Result<Vec<A>, StoreError>>,
{
    let (commands, callers): (Vec<C>, Vec<_>) = batch.into_iter().unzip();
    let expected = commands.len();
    let answers = run(commands).await.and_then(|answers| {
        let got = answers.len();
        (got == expected)
            .then_some(answers)
            .ok_or_else(|| StoreError::Corrupt(format!("a script answered {got} of {expected} commands")))
    });
    match answers {
        Ok(answers) => {
            for (caller, answer) in callers.into_iter().zip(answers) {
                // A caller that stopped waiting needs no answer.
                let _ = caller.send(Ok(answer));
            }
        }
        Err(error) => {
            for caller in callers {
                let _ = caller.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn calls_that_wait_travel_together_and_a_full_queue_answers_at_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (count, open) = (calls.clone(), gate.clone());
        let batcher = ScriptBatcher::spawn(8, 4, move |commands: Vec<usize>| {
            count.fetch_add(1, Ordering::SeqCst);
            let open = open.clone();
            async move {
                open.acquire().await.unwrap().forget();
                Ok(commands.iter().map(|n| n * 2).collect())
            }
        });
        let ask = |n: usize| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.call(n).await })
        };
        let mut waiting = Vec::new();
        for n in 0..MAX_BATCHES_IN_FLIGHT {
            waiting.push(ask(n));
            while calls.load(Ordering::SeqCst) <= n {
                tokio::task::yield_now().await;
            }
        }
        for n in 0..8 {
            waiting.push(ask(n));
        }
        while batcher.queue.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(batcher.call(0).await, Err(StoreError::QueueFull));
        gate.add_permits(100);
        for (n, answer) in waiting.into_iter().enumerate() {
            let n = if n < MAX_BATCHES_IN_FLIGHT {
                n
            } else {
                n - MAX_BATCHES_IN_FLIGHT
            };
            assert_eq!(answer.await.unwrap(), Ok(n * 2));
        }
        assert_eq!(calls.load(Ordering::SeqCst), MAX_BATCHES_IN_FLIGHT + 2);
    }
}
