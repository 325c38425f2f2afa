//! The subjects that a role has to publish to.

use clap::ValueEnum;

use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};

/// The reason of a dead letter in a probe; nothing is stored.
const PROBED_REASON: &str = "check";
/// The level of an alert in a probe; nothing is stored.
const PROBED_LEVEL: &str = "alert";

/// The number of a snapshot's part in a probe; nothing is stored.
const PROBED_SLOT: u32 = 0;

/// What the settings are checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// A worker and the sidecar in one process.
    Run,
    /// A worker.
    Worker,
    /// The sidecar.
    Sidecar,
    /// `order-router topology`.
    Topology,
    /// Commands about orders.
    Client,
    /// Commands that change state, locks and positions.
    Operator,
}

impl Role {
    /// Reports whether the role connects to Redis.
    pub(super) fn uses_redis(self) -> bool {
        matches!(self, Self::Run | Self::Worker)
    }

    /// Reports whether the role enforces limits, or changes them.
    pub(super) fn knows_limits(self) -> bool {
        matches!(self, Self::Run | Self::Worker | Self::Operator)
    }

    /// Reports whether the role sends orders to venues.
    pub(super) fn places_orders(self) -> bool {
        matches!(self, Self::Run | Self::Worker)
    }

    /// Reports whether the role serves REST.
    pub(super) fn serves_rest(self) -> bool {
        matches!(self, Self::Run | Self::Sidecar)
    }

    /// Reports whether the role may read the streams' settings.
    pub(super) fn reads_streams(self) -> bool {
        matches!(self, Self::Run | Self::Worker | Self::Topology | Self::Operator)
    }

    /// Returns the subjects that the role has to publish to; those of orders with this broker and account.
    pub(super) fn required_subjects(self, broker: &BrokerId, account: &AccountId) -> Vec<String> {
        let orders = || {
            vec![
                subjects::submit(broker, account),
                subjects::get(broker, Some(account)),
                subjects::cancel(broker, Some(account)),
                subjects::replace(broker, Some(account)),
                subjects::cancel_all(broker, account),
                subjects::heartbeat(account),
            ]
        };
        let state_event = || subjects::event(subjects::STATE_EVENT_KIND, None);
        let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
        match self {
            Self::Worker => vec![
                subjects::report(broker, account),
                state_event(),
                subjects::dead_letter(PROBED_REASON),
                subjects::alert(PROBED_LEVEL, None),
                subjects::snapshot_part(PROBED_SLOT),
                subjects::server_request("STREAM.INFO", subjects::STREAM_REPORTS),
                subjects::server_request("CONSUMER.CREATE", subjects::STREAM_REPORTS),
                subjects::server_request("CONSUMER.CREATE", subjects::STREAM_INTENTS),
            ],
            Self::Sidecar => {
                let router = [
                    subjects::STATE_GET,
                    subjects::STATE_SET,
                    subjects::LOCKS_LIST,
                    subjects::LOCKS_LIFT,
                    subjects::BROKERS,
                ];
                let streams = [subjects::STREAM_REPORTS, subjects::STREAM_ALERTS]
                    .map(|stream| subjects::server_request("CONSUMER.CREATE", stream));
                let note = vec![subjects::note(broker, account)];
                [orders(), note, owned(&router), streams.into()].concat()
            }
            Self::Run => [Self::Worker, Self::Sidecar]
                .map(|role| role.required_subjects(broker, account))
                .concat(),
            Self::Topology => [
                subjects::STREAM_REPORTS,
                subjects::STREAM_INTENTS,
                subjects::STREAM_DEAD_LETTERS,
                subjects::STREAM_ALERTS,
                subjects::STREAM_SNAPSHOTS,
            ]
            .into_iter()
            .flat_map(|stream| ["STREAM.CREATE", "STREAM.UPDATE"].map(|verb| subjects::server_request(verb, stream)))
            .collect(),
            Self::Client => [orders(), vec![subjects::intent(broker, account)]].concat(),
            Self::Operator => {
                let router = [
                    subjects::STATE_SET,
                    subjects::LIMITS_SET,
                    subjects::LOCKS_SET,
                    subjects::LOCKS_LIFT,
                    subjects::ADJUST,
                ];
                [owned(&router), vec![state_event()]].concat()
            }
        }
    }
}
