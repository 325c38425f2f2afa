//! Streams and consumers: creates and checks them, and refuses to change those that were made for another purpose.

pub(crate) mod consumers;
mod streams;

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::{ErrorCode, stream};
use tokio::time::sleep;

use crate::bus::connection::{Bus, BusError, with_timeout};
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
    /// It does not exist. Only a check returns this, and a change that leaves the journal out.
    Missing,
    /// Its limits differ. Only a check returns this.
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

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReconcileMode {
    /// What is missing is created, and limits are updated.
    Apply,
    /// As `Apply`, but for a missing journal: it had entries, and an empty one would hide that they are lost.
    ApplyExceptJournal,
    /// What is missing is created, except the journal. What exists is not compared.
    CreateMissing,
    /// Nothing.
    Check,
}

impl ReconcileMode {
    fn creates_stream(self, name: &str) -> bool {
        match self {
            Self::Apply => true,
            Self::ApplyExceptJournal | Self::CreateMissing => name != subjects::STREAM_REPORTS,
            Self::Check => false,
        }
    }
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

/// As [`apply`], for a router whose journal has been in use: a missing journal is returned as `Missing` and not created.
///
/// # Errors
/// As [`apply`].
pub async fn apply_except_journal(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
) -> Result<Vec<ReconciledResource>, TopologyError> {
    reconcile(bus, settings, doors, brokers, ReconcileMode::ApplyExceptJournal).await
}

/// Creates streams and consumers that were deleted, except the journal. What exists stays as it is.
///
/// # Errors
/// When the server refuses or does not reply.
pub async fn create_missing(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
) -> Result<Vec<ReconciledResource>, TopologyError> {
    reconcile(bus, settings, doors, brokers, ReconcileMode::CreateMissing).await
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

async fn reconcile(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
    mode: ReconcileMode,
) -> Result<Vec<ReconciledResource>, TopologyError> {
    let mut applied = Vec::new();
    for wanted in streams::desired_streams(settings, brokers, bus.server_version()) {
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
            None if !mode.creates_stream(&wanted.name) => return Ok(ReconcileOutcome::Missing),
            None => create_stream(bus, wanted).await?,
            Some(_) if mode == ReconcileMode::CreateMissing => return Ok(ReconcileOutcome::Unchanged),
            Some(found) => {
                streams::check_compatible_stream(&found, wanted)?;
                let merged = streams::merge_limits(&found, wanted);
                if merged == found {
                    return Ok(ReconcileOutcome::Unchanged);
                }
                if mode == ReconcileMode::Check {
                    return Ok(ReconcileOutcome::Differs);
                }
                update_stream(bus, merged).await?
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
