//! The consumers of the work queue: one per broker, so that a slow broker does not delay another.

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;

use crate::bus::connection::{Bus, with_timeout};
use crate::bus::subjects;
use crate::bus::topology::{ReconcileMode, ReconcileOutcome, ReconciledResource, TopologyError, refused_error};
use crate::config::doors::DoorSettings;
use crate::domain::id::BrokerId;

/// The maximum number of unacknowledged intents of one broker, over all workers.
const MAX_ACK_PENDING: i64 = 65_536;

fn desired_consumer(doors: &DoorSettings, broker: &BrokerId) -> pull::Config {
    pull::Config {
        durable_name: Some(subjects::intents_consumer(broker)),
        filter_subject: subjects::broker_intents_wildcard(broker),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: doors.durable_ack_wait(),
        // The durable door counts deliveries: beyond a maximum of the server, a message would stay in the queue undelivered.
        max_deliver: -1,
        max_ack_pending: MAX_ACK_PENDING,
        ..pull::Config::default()
    }
}

/// Creates a broker's consumer or updates its limits.
///
/// # Errors
/// When a consumer of that name cannot be changed to what is required, or the server refuses.
pub(crate) async fn ensure_consumer(
    bus: &Bus,
    doors: &DoorSettings,
    broker: &BrokerId,
    mode: ReconcileMode,
) -> Result<ReconciledResource, TopologyError> {
    let wanted = desired_consumer(doors, broker);
    let consumer_name = subjects::intents_consumer(broker);
    let name = format!("{}/{consumer_name}", subjects::STREAM_INTENTS);
    let found = find_consumer(bus, &consumer_name).await?;
    let outcome = match (found, mode) {
        (None, ReconcileMode::Check) => ReconcileOutcome::Missing,
        (None, _) => create_or_update_consumer(bus, wanted, &name)
            .await
            .map(|()| ReconcileOutcome::Created)?,
        (Some(_), ReconcileMode::Recreate) => ReconcileOutcome::Unchanged,
        (Some(found), intent) => {
            check_compatible_consumer(&name, &found, &wanted)?;
            let same = found.ack_wait == wanted.ack_wait
                && found.max_deliver == wanted.max_deliver
                && found.max_ack_pending == wanted.max_ack_pending
                && found.filter_subject == wanted.filter_subject;
            match intent {
                _ if same => ReconcileOutcome::Unchanged,
                ReconcileMode::Check => ReconcileOutcome::Differs,
                _ => create_or_update_consumer(bus, wanted, &name)
                    .await
                    .map(|()| ReconcileOutcome::Updated)?,
            }
        }
    };
    Ok(ReconciledResource { name, outcome })
}

fn check_compatible_consumer(name: &str, found: &consumer::Config, wanted: &pull::Config) -> Result<(), TopologyError> {
    let filters = || {
        let several = found.filter_subjects.join(", ");
        if several.is_empty() {
            found.filter_subject.clone()
        } else {
            several
        }
    };
    let settings = [
        ("delivery", format!("{:?}", found.deliver_subject), "None".to_owned()),
        (
            "acknowledgement",
            format!("{:?}", found.ack_policy),
            format!("{:?}", wanted.ack_policy),
        ),
        (
            "the start",
            format!("{:?}", found.deliver_policy),
            format!("{:?}", wanted.deliver_policy),
        ),
        ("the filter", filters(), wanted.filter_subject.clone()),
    ];
    for (what, found, needed) in settings {
        if found != needed {
            return Err(TopologyError::Conflict {
                name: name.to_owned(),
                what,
                found,
                wanted: needed,
                remedy: "delete the consumer (the stream keeps the messages) and apply the topology again",
            });
        }
    }
    Ok(())
}

async fn find_consumer(bus: &Bus, consumer_name: &str) -> Result<Option<consumer::Config>, TopologyError> {
    let read = async {
        let stream = bus.jetstream.get_stream_no_info(subjects::STREAM_INTENTS).await;
        match stream
            .map_err(|error| error.to_string())?
            .consumer_info(consumer_name)
            .await
        {
            Ok(info) => Ok(Some(info.config)),
            Err(error) => match error.kind() {
                ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound => Ok(None),
                _ => Err(error.to_string()),
            },
        }
    };
    Ok(with_timeout(bus.request_timeout() * 2, "reading a consumer", read).await?)
}

async fn create_or_update_consumer(bus: &Bus, wanted: pull::Config, name: &str) -> Result<(), TopologyError> {
    let created = async {
        let created = bus
            .jetstream
            .create_consumer_on_stream(wanted, subjects::STREAM_INTENTS);
        Ok::<_, String>(created.await.map(drop).map_err(|error| refused_error(name, &error)))
    };
    with_timeout(bus.request_timeout() * 2, "creating a consumer", created).await?
}
