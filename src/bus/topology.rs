//! Streams and consumers: creates and checks them, and refuses to change those that were made for another purpose.

pub(crate) mod consumers;
mod streams;

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::{ErrorCode, stream};
use tokio::time::sleep;

use crate::bus::connection::{AwaitedSubjects, Bus, BusError, with_timeout};
use crate::bus::subjects;
use crate::config::doors::DoorSettings;
use crate::config::nats::NatsSettings;
use crate::domain::id::BrokerId;

/// The maximum number of rounds of reading and changing one stream: another process may change it at the same time.
const MAX_ATTEMPTS: u32 = 5;
/// The pause between two rounds.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// What was done to a stream or consumer, or would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileOutcome {
    /// It did not exist and does now.
    Created,
    /// It was as required.
    Unchanged,
    /// Its limits differed and are now as required.
    Updated,
    /// It does not exist and was not created.
    Missing,
    /// Its limits differ and were not changed.
    Differs,
}

/// One stream or consumer, and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciledResource {
    /// The stream's name, or `stream/consumer`.
    pub name: String,
    /// What was done.
    pub outcome: ReconcileOutcome,
}

/// Why the topology is not as required.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// A stream or consumer of that name exists and cannot be changed to what is required.
    #[error("{name}: {what} is {found}, but {wanted} is needed; {remedy}")]
    Conflict {
        /// The stream's name, or `stream/consumer`.
        name: String,
        /// The setting that conflicts.
        what: &'static str,
        /// The present value.
        found: String,
        /// The required value.
        wanted: String,
        /// What an operator can do.
        remedy: &'static str,
    },
    /// The journal does not exist although the router has had one.
    #[error(
        "{}: the stream does not exist, but the router has had a journal. No order is accepted. Restore the stream from \
         its newest copy or, if the loss is accepted, create an empty one with `order-router topology` and empty Redis; \
         then restart the workers",
        subjects::STREAM_REPORTS
    )]
    JournalMissing,
    /// The server refused a change.
    #[error("{name}: {reason}")]
    Refused {
        /// The stream's name, or `stream/consumer`.
        name: String,
        /// The server's error.
        reason: String,
    },
    /// The exchange with the server failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// What is done about differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReconcileMode {
    /// Streams and consumers are created and updated.
    Apply,
    /// Streams are created except the journal's archive, consumers are created and updated.
    Create(JournalHistory),
    /// Streams and consumers are created, except the journal and its archive; what exists is not compared.
    Recreate,
    /// Nothing.
    Check,
}

/// Whether the router has had a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalHistory {
    /// The shared state knows of none.
    Unknown,
    /// The shared state knows of one.
    Known,
}

/// Creates missing streams and consumers, updates changed limits, and returns what was done.
///
/// # Errors
/// When a stream or consumer exists that cannot be changed to what is required, or the server refuses.
pub async fn apply(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
) -> Result<Vec<ReconciledResource>, TopologyError> {
    reconcile(bus, settings, doors, brokers, ReconcileMode::Apply).await
}

/// Returns what [`apply`] would do, and changes nothing.
///
/// # Errors
/// As [`apply`].
pub async fn check(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
) -> Result<Vec<ReconciledResource>, TopologyError> {
    reconcile(bus, settings, doors, brokers, ReconcileMode::Check).await
}

/// Creates missing streams and consumers, updates changed limits of consumers, and returns what was done. It updates no
/// stream, and creates no journal where there has been one: a worker needs no permission for either.
///
/// # Errors
/// As [`apply`]; also when the journal is missing, or the work queue lacks a broker.
pub async fn create_missing(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
    history: JournalHistory,
) -> Result<Vec<ReconciledResource>, TopologyError> {
    let resources = reconcile(bus, settings, doors, brokers, ReconcileMode::Create(history)).await?;
    for resource in resources
        .iter()
        .filter(|resource| resource.outcome == ReconcileOutcome::Differs)
    {
        tracing::warn!(
            stream = resource.name,
            "the stream's limits differ from the settings: apply them with `order-router topology`"
        );
    }
    Ok(resources)
}

/// Creates streams and consumers that were deleted, except the journal and its archive, and returns what was done. What exists stays as it
/// is.
///
/// # Errors
/// When the server refuses or does not reply.
pub async fn recreate_missing(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
) -> Result<Vec<ReconciledResource>, TopologyError> {
    reconcile(bus, settings, doors, brokers, ReconcileMode::Recreate).await
}

async fn reconcile(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
    mode: ReconcileMode,
) -> Result<Vec<ReconciledResource>, TopologyError> {
    if let ReconcileMode::Create(history) = mode {
        ensure_journal_not_lost(bus, history).await?;
    }
    let reconciled = async {
        let mut applied = Vec::new();
        for wanted in streams::desired_streams(settings, brokers, bus.server_version()) {
            // An archive that was lost must not be replaced by an empty one. Without an archive a worker has nothing to read.
            if wanted.name == subjects::STREAM_ARCHIVE
                && matches!(mode, ReconcileMode::Create(_) | ReconcileMode::Recreate)
            {
                continue;
            }
            let outcome = reconcile_stream(bus, &wanted, mode).await?;
            applied.push(ReconciledResource {
                name: wanted.name,
                outcome,
            });
        }
        for broker in brokers {
            applied.push(consumers::ensure_consumer(bus, doors, broker, mode).await?);
        }
        Ok(applied)
    };
    let requests = AwaitedSubjects::Below(subjects::SERVER_API_PREFIX);
    // Boxed, as its caller's stack is that of a starting worker, which holds every step of the start.
    bus.unless_denied(requests, Box::pin(reconciled)).await
}

/// Checks that the journal exists if the router has had one: the shared state knows of it, or the work queue exists,
/// which is created after it.
async fn ensure_journal_not_lost(bus: &Bus, history: JournalHistory) -> Result<(), TopologyError> {
    // The order matters: another process may be creating both.
    let has_had_one = history == JournalHistory::Known || find_stream(bus, subjects::STREAM_INTENTS).await?.is_some();
    if has_had_one && find_stream(bus, subjects::STREAM_REPORTS).await?.is_none() {
        return Err(TopologyError::JournalMissing);
    }
    Ok(())
}

async fn reconcile_stream(
    bus: &Bus,
    wanted: &stream::Config,
    mode: ReconcileMode,
) -> Result<ReconcileOutcome, TopologyError> {
    let mut reason = String::new();
    for round in 0..MAX_ATTEMPTS {
        if round > 0 {
            sleep(RETRY_DELAY).await;
        }
        let done = match find_stream(bus, &wanted.name).await? {
            None if mode == ReconcileMode::Check => return Ok(ReconcileOutcome::Missing),
            None if mode == ReconcileMode::Recreate && wanted.name == subjects::STREAM_REPORTS => {
                return Ok(ReconcileOutcome::Missing);
            }
            None => create_stream(bus, wanted).await?,
            Some(_) if mode == ReconcileMode::Recreate => return Ok(ReconcileOutcome::Unchanged),
            Some(found) => {
                streams::check_compatible_stream(&found, wanted)?;
                let merged = streams::merge_limits(&found, wanted);
                if merged == found {
                    return Ok(ReconcileOutcome::Unchanged);
                }
                match mode {
                    ReconcileMode::Apply => update_stream(bus, merged).await?,
                    ReconcileMode::Check => return Ok(ReconcileOutcome::Differs),
                    ReconcileMode::Create(_) | ReconcileMode::Recreate => {
                        streams::check_subjects_included(&found, wanted)?;
                        return Ok(ReconcileOutcome::Differs);
                    }
                }
            }
        };
        match done {
            Ok(outcome) => return Ok(outcome),
            Err(ConcurrentChange(why)) => reason = why,
        }
    }
    Err(refused_error(&wanted.name, &reason))
}

async fn find_stream(bus: &Bus, name: &str) -> Result<Option<stream::Config>, TopologyError> {
    let read = async {
        match bus.jetstream.get_stream(name).await {
            Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                _ => Err(error),
            },
        }
    };
    Ok(with_timeout(bus.request_timeout() * 2, "reading a stream", read).await?)
}

/// Another process may have changed the stream first: it has to be read again. Holds the server's error.
struct ConcurrentChange(String);

async fn create_stream(
    bus: &Bus,
    wanted: &stream::Config,
) -> Result<Result<ReconcileOutcome, ConcurrentChange>, TopologyError> {
    let created = async {
        match bus.jetstream.create_stream(wanted.clone()).await {
            Ok(_) => Ok(Ok(Ok(ReconcileOutcome::Created))),
            Err(error) => match error.kind() {
                CreateStreamErrorKind::JetStream(error)
                    if [ErrorCode::STREAM_NAME_EXIST, ErrorCode::STREAM_SUBJECT_OVERLAP]
                        .contains(&error.error_code()) =>
                {
                    Ok(Ok(Err(ConcurrentChange(error.to_string()))))
                }
                CreateStreamErrorKind::JetStream(error) => Ok(Err(refused_error(&wanted.name, &error))),
                _ => Err(error),
            },
        }
    };
    with_timeout(bus.request_timeout() * 2, "creating a stream", created).await?
}

async fn update_stream(
    bus: &Bus,
    merged: stream::Config,
) -> Result<Result<ReconcileOutcome, ConcurrentChange>, TopologyError> {
    let name = merged.name.clone();
    let updated = async {
        match bus.jetstream.update_stream(merged).await {
            Ok(_) => Ok(Ok(Ok(ReconcileOutcome::Updated))),
            Err(error) => match error.kind() {
                CreateStreamErrorKind::NotFound => Ok(Ok(Err(ConcurrentChange(error.to_string())))),
                CreateStreamErrorKind::JetStream(error) => Ok(Err(refused_error(&name, &error))),
                _ => Err(error),
            },
        }
    };
    with_timeout(bus.request_timeout() * 2, "updating a stream", updated).await?
}

fn refused_error(name: &str, reason: &impl std::fmt::Display) -> TopologyError {
    TopologyError::Refused {
        name: name.to_owned(),
        reason: reason.to_string(),
    }
}
