//! A stream of events: every entry once, in order, from a sequence on, through lost connections.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::bus::connection::{Bus, BusError};
use crate::bus::stream_entry::StoredEntry;
use crate::client::stream_error::StreamError;
use crate::client::stream_reader::{ReadStep, StreamReader};

/// Returns the event of an entry; `None` for an entry to leave out.
type Convert<T> = Box<dyn FnMut(StoredEntry) -> Result<Option<T>, serde_json::Error> + Send>;

/// A stream of events, which never ends by itself. [`crate::RouterClient::reports`], [`crate::RouterClient::alerts`] and
/// [`crate::RouterClient::journal`] return one.
///
/// A task of its own reads ahead of the caller, by at most two batches of 256 entries, so that a caller may stop waiting at
/// any time. It ends with the stream.
pub struct EventStream<T> {
    /// Until the first call of the caller starts the task.
    reader: Option<Box<StreamReader>>,
    task: Option<ReadingTask>,
    convert: Convert<T>,
    position: Option<u64>,
}

/// The task that reads; dropping it ends it.
struct ReadingTask {
    steps: mpsc::Receiver<Result<ReadStep, StreamError>>,
    task: AbortHandle,
}

impl Drop for ReadingTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T> std::fmt::Debug for EventStream<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EventStream")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl<T> EventStream<T> {
    pub(crate) fn new(
        bus: Bus,
        stream: &'static str,
        filters: Vec<String>,
        after: Option<u64>,
        convert: Convert<T>,
    ) -> Self {
        let reader = StreamReader::new(bus, stream, filters, after);
        Self {
            reader: Some(Box::new(reader)),
            task: None,
            convert,
            position: None,
        }
    }

    /// Returns the stream with another time that an outage may last before [`Self::next`] returns an error; the default is
    /// a minute. It has no effect on a stream that has begun.
    #[must_use]
    pub fn with_outage_timeout(mut self, outage_timeout: Duration) -> Self {
        if let Some(reader) = &mut self.reader {
            reader.outage_timeout = outage_timeout;
        }
        self
    }

    /// Returns the sequence of the last entry that was read, or where the stream began: `after` of a stream that is to
    /// continue here. `None` before the first call of [`Self::next`] or [`Self::begin`] has fixed the place.
    pub fn sequence(&self) -> Option<u64> {
        self.position
    }

    /// Fixes the place at which the stream begins: what happens from now on is returned. Without it, the first call of
    /// [`Self::next`] does.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub async fn begin(&mut self) -> Result<(), StreamError> {
        while self.position.is_none() {
            // The place comes before the first entry.
            self.step().await?;
        }
        Ok(())
    }

    /// Waits for the next event. A caller may stop waiting at any time: nothing is lost.
    ///
    /// # Errors
    /// See [`StreamError`]. After every one the next call continues.
    pub async fn next(&mut self) -> Result<T, StreamError> {
        loop {
            let Some(entry) = self.step().await? else { continue };
            let sequence = entry.sequence;
            match (self.convert)(entry) {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) => {
                    let reason = error.to_string();
                    return Err(StreamError::Undecodable { sequence, reason });
                }
            }
        }
    }

    /// Waits for the task's next step and returns its entry, if it has one.
    async fn step(&mut self) -> Result<Option<StoredEntry>, StreamError> {
        if let Some(reader) = self.reader.take() {
            let (sender, steps) = mpsc::channel(1);
            let task = tokio::spawn(reader.run(sender)).abort_handle();
            self.task = Some(ReadingTask { steps, task });
        }
        let step = match &mut self.task {
            Some(reading) => reading.steps.recv().await,
            None => None,
        };
        // Only the end of the runtime ends the task.
        let ended = || BusError::Refused("the task that reads the stream has ended".to_owned());
        let step = step.ok_or_else(|| StreamError::Unavailable(ended()))?;
        match step {
            Ok(ReadStep::Entry(entry)) => {
                self.position = Some(entry.sequence);
                Ok(Some(entry))
            }
            Ok(ReadStep::Begun(position)) => {
                self.position = Some(position);
                Ok(None)
            }
            Err(error) => {
                if let StreamError::Gap { next_sequence } = error {
                    self.position = Some(next_sequence.saturating_sub(1));
                }
                Err(error)
            }
        }
    }
}
