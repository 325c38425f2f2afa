//! The doors of a load. The lanes share one connection to the bus; over REST each has a connection of its own.

use std::sync::Arc;

use bytes::Bytes;

use crate::bench::outcome::{NO_ANSWER, check_outcome};
use crate::bench::profile::{LoadDoor, LoadProfile, RestTarget};
use crate::bench::rest::RestConnection;
use crate::bus::connection::BusError;
use crate::bus::router_client::{RequestError, RouterClient};
use crate::bus::submission_client::SubmissionClient;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;

/// Where the lanes of a load send.
pub(super) enum LoadDoors {
    Bus(Arc<SubmissionClient>),
    Rest(Arc<RestTarget>),
}

/// Where one lane sends.
pub(super) enum LaneDoor {
    Bus(Arc<SubmissionClient>),
    Rest(RestConnection),
}

impl LoadDoors {
    /// Returns the doors of a load.
    ///
    /// # Errors
    /// When the reply inbox of the durable door cannot be opened.
    pub(super) async fn open(caller: &RouterClient, load: &LoadProfile) -> Result<Self, BusError> {
        Ok(match load.door {
            LoadDoor::Rest => Self::Rest(Arc::new(load.rest.clone())),
            door => Self::Bus(Arc::new(
                SubmissionClient::open(caller, door == LoadDoor::Durable).await?,
            )),
        })
    }

    /// Returns a lane's door.
    pub(super) fn for_lane(&self) -> LaneDoor {
        match self {
            Self::Bus(client) => LaneDoor::Bus(Arc::clone(client)),
            Self::Rest(target) => LaneDoor::Rest(RestConnection::new(Arc::clone(target))),
        }
    }
}

impl LaneDoor {
    /// Submits an intent and waits for its report.
    ///
    /// # Errors
    /// The code of a refusal, [`NO_ANSWER`] or that the outcome is unknown.
    pub(super) async fn submit(
        &mut self,
        broker: &BrokerId,
        account: &AccountId,
        body: Bytes,
        deadline: Timestamp,
    ) -> Result<(), &'static str> {
        match self {
            Self::Bus(client) => match client.submit(broker, account, body, deadline).await {
                Ok(reply) => check_outcome(&reply.body),
                Err(RequestError::Fault(fault)) => Err(fault.code.as_str()),
                Err(RequestError::Timeout) => Err(NO_ANSWER),
            },
            Self::Rest(connection) => connection.submit(body, deadline).await,
        }
    }
}
