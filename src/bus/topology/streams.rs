//! The required streams, and the comparison with those that exist.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::bus::connection::ServerVersion;
use crate::bus::subjects;
use crate::bus::topology::TopologyError;
use crate::config::nats::NatsSettings;
use crate::domain::id::BrokerId;

/// The duplicate window of the work queue, the server's minimum: the router detects repeated ids, not the stream.
const INTENTS_DUPLICATE_WINDOW: Duration = Duration::from_millis(100);
/// The duplicate window of streams without retries: the server's default.
const OTHER_DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
const SECONDS_PER_HOUR: u64 = 3_600;
const UNLIMITED: i64 = -1;

/// Returns the streams.
pub(super) fn desired_streams(settings: &NatsSettings, brokers: &[BrokerId], version: ServerVersion) -> Vec<Config> {
    let stream = |name: &str, subjects: Vec<String>| Config {
        name: name.to_owned(),
        subjects,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        discard: DiscardPolicy::New,
        retention: RetentionPolicy::Limits,
        max_bytes: UNLIMITED,
        max_messages: UNLIMITED,
        max_messages_per_subject: UNLIMITED,
        max_message_size: -1,
        max_consumers: -1,
        duplicate_window: OTHER_DUPLICATE_WINDOW,
        allow_direct: true,
        ..Config::default()
    };
    let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(SECONDS_PER_HOUR));
    let all = |subjects: &[&str]| subjects.iter().map(|&subject| subject.to_owned()).collect();
    vec![
        // The first, so that a work queue without a journal means that the journal was lost.
        Config {
            max_bytes: settings.reports_max_bytes,
            duplicate_window: Duration::from_secs(settings.duplicate_window_s),
            allow_atomic_publish: version >= ServerVersion::ATOMIC_BATCHES,
            ..stream(
                subjects::STREAM_REPORTS,
                all(&[subjects::REPORTS_WILDCARD, subjects::EVENTS_WILDCARD]),
            )
        },
        Config {
            retention: RetentionPolicy::WorkQueue,
            max_bytes: settings.intents_max_bytes,
            duplicate_window: INTENTS_DUPLICATE_WINDOW,
            allow_direct: false,
            ..stream(
                subjects::STREAM_INTENTS,
                brokers.iter().map(subjects::broker_intents_wildcard).collect(),
            )
        },
        Config {
            max_age: hours(settings.dead_max_age_h),
            ..stream(subjects::STREAM_DEAD_LETTERS, all(&[subjects::DEAD_LETTERS_WILDCARD]))
        },
        Config {
            max_age: hours(settings.alerts_max_age_h),
            ..stream(subjects::STREAM_ALERTS, all(&[subjects::ALERTS_WILDCARD]))
        },
        stream(subjects::STREAM_ARCHIVE, all(&[subjects::ARCHIVE_SEGMENTS])),
        Config {
            // A newer part or manifest replaces the one of its subject.
            max_messages_per_subject: 1,
            ..stream(subjects::STREAM_SNAPSHOTS, all(&[subjects::SNAPSHOTS_WILDCARD]))
        },
    ]
}

/// Refuses a stream that was made for another purpose: changing it could lose its messages.
///
/// # Errors
/// The error names the stream, the setting, its present and its required value, and what to do.
pub(super) fn check_compatible_stream(found: &Config, wanted: &Config) -> Result<(), TopologyError> {
    const RECREATE: &str = "move its messages elsewhere, delete the stream and apply the topology again, \
                            or use another NATS account";
    const EDIT: &str = "change it with an administrator's tools, or use another NATS account";
    let settings = [
        (
            "retention",
            format!("{:?}", found.retention),
            format!("{:?}", wanted.retention),
            RECREATE,
        ),
        (
            "storage",
            format!("{:?}", found.storage),
            format!("{:?}", wanted.storage),
            RECREATE,
        ),
        (
            "the discard policy",
            format!("{:?}", found.discard),
            format!("{:?}", wanted.discard),
            EDIT,
        ),
    ];
    for (what, found, needed, remedy) in settings {
        if found != needed {
            return Err(conflict_error(wanted, what, found, needed, remedy));
        }
    }
    if found.mirror.is_some() || found.sources.as_ref().is_some_and(|sources| !sources.is_empty()) {
        let (found, needed) = ("a copy of another stream".to_owned(), "a stream of its own".to_owned());
        return Err(conflict_error(wanted, "its origin", found, needed, RECREATE));
    }
    if !has_compatible_subjects(found, wanted) {
        let (found, needed) = (found.subjects.join(", "), wanted.subjects.join(", "));
        return Err(conflict_error(wanted, "the set of subjects", found, needed, EDIT));
    }
    Ok(())
}

/// Refuses a work queue that lacks the subjects of a broker.
///
/// # Errors
/// The error names the subjects and what to do.
pub(super) fn check_subjects_included(found: &Config, wanted: &Config) -> Result<(), TopologyError> {
    const APPLY: &str = "apply the topology with `order-router topology`, as a user who may update streams";
    if subject_set(found).is_superset(&subject_set(wanted)) {
        return Ok(());
    }
    let (found, needed) = (found.subjects.join(", "), wanted.subjects.join(", "));
    Err(conflict_error(wanted, "the set of subjects", found, needed, APPLY))
}

fn conflict_error(
    wanted: &Config,
    what: &'static str,
    found: String,
    needed: String,
    remedy: &'static str,
) -> TopologyError {
    TopologyError::Conflict {
        name: wanted.name.clone(),
        what,
        found,
        wanted: needed,
        remedy,
    }
}

/// Reports whether the subjects are the required ones. The work queue may have those of other brokers: brokers are added
/// and removed.
fn has_compatible_subjects(found: &Config, wanted: &Config) -> bool {
    if wanted.name == subjects::STREAM_INTENTS {
        return found
            .subjects
            .iter()
            .all(|subject| subjects::parse_broker_intents_wildcard(subject).is_some());
    }
    subject_set(found) == subject_set(wanted)
}

fn subject_set(config: &Config) -> BTreeSet<&str> {
    config.subjects.iter().map(String::as_str).collect()
}

/// Returns the present configuration with the required limits. Other settings of an administrator stay.
pub(super) fn merge_limits(found: &Config, wanted: &Config) -> Config {
    let same_subjects = subject_set(found) == subject_set(wanted);
    Config {
        // The order of subjects has no meaning and must not cause an update.
        subjects: if same_subjects {
            found.subjects.clone()
        } else {
            wanted.subjects.clone()
        },
        num_replicas: wanted.num_replicas,
        max_bytes: wanted.max_bytes,
        max_age: wanted.max_age,
        duplicate_window: wanted.duplicate_window,
        allow_direct: wanted.allow_direct,
        allow_atomic_publish: wanted.allow_atomic_publish,
        ..found.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intents(subjects: &[&str]) -> Config {
        let brokers = [BrokerId::new("binance").unwrap()];
        let mut all = desired_streams(&NatsSettings::default(), &brokers, ServerVersion::SUPPORTED);
        Config {
            subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
            ..all.remove(1)
        }
    }

    #[test]
    fn other_brokers_subjects_are_compatible_and_any_other_subject_conflicts() {
        let wanted = intents(&["orders.intents.binance.*"]);
        for (found, fits) in [
            (intents(&["orders.intents.binance.*"]), true),
            (intents(&["orders.intents.ibkr.*"]), true),
            (intents(&["orders.intents.ibkr.*", "orders.intents.binance.*"]), true),
            (intents(&["orders.intents.>"]), false),
            (intents(&["orders.intents.binance.*", "other"]), false),
        ] {
            assert_eq!(
                check_compatible_stream(&found, &wanted).is_ok(),
                fits,
                "{:?}",
                found.subjects
            );
        }
    }
}
