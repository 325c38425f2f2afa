//! Streams and consumers: creating them, checking them, and refusing to touch what somebody else made differently.

pub(crate) mod consumers;
mod streams;

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::{ErrorCode, stream};
use tokio::time::sleep;

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::config::doors::DoorSettings;
use crate::config::nats::NatsSettings;
use crate::domain::id::BrokerId;

/// Rounds of looking and acting on one stream: another process may do the same at the same moment.
const MAX_ATTEMPTS: u32 = 5;
/// The pause between two rounds.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// What was done about a stream or consumer, or would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileOutcome {
    /// It was not there and is now.
    Created,
    /// It was as wanted.
    Unchanged,
    /// Its limits were others and are now as wanted.
    Updated,
    /// It is not there; only a check says so.
    Missing,
    /// Its limits are others; only a check says so.
    Differs,
}

/// One stream or consumer and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciledResource {
    /// The stream's name, or `stream/consumer`.
    pub name: String,
    /// What was done.
    pub outcome: ReconcileOutcome,
}

/// Why the topology is not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Something of that name stands there and cannot become what is wanted.
    #[error("{name}: {what} is {found}, but {wanted} is needed; {remedy}")]
    Conflict {
        /// The stream's name, or `stream/consumer`.
        name: String,
        /// The setting that conflicts.
        what: &'static str,
        /// What stands there.
        found: String,
        /// What is wanted.
        wanted: String,
        /// What a person can do.
        remedy: &'static str,
    },
    /// The server refused a change.
    #[error("{name}: {reason}")]
    Refused {
        /// The stream's name, or `stream/consumer`.
        name: String,
        /// The server's words.
        reason: String,
    },
    /// The exchange with the server failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Whether to change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReconcileMode {
    Apply,
    Check,
}

/// Creates what is missing and updates changed limits; tells what it did.
///
/// # Errors
/// When a stream or consumer stands there that cannot become what is wanted, or the server refuses.
pub async fn apply(
    bus: &Bus,
    settings: &NatsSettings,
    doors: &DoorSettings,
    brokers: &[BrokerId],
) -> Result<Vec<ReconciledResource>, TopologyError> {
    reconcile(bus, settings, doors, brokers, ReconcileMode::Apply).await
}

/// Tells what [`apply`] would do, and changes nothing.
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
            None if mode == ReconcileMode::Check => return Ok(ReconcileOutcome::Missing),
            None => create_stream(bus, wanted).await?,
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
    let looked = async {
        match bus.jetstream.get_stream(name).await {
            Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                _ => Err(error),
            },
        }
    };
    Ok(with_timeout(bus.request_timeout() * 2, "looking for a stream", looked).await?)
}

/// Somebody else may have been faster: only another look tells. Holds the server's words.
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
