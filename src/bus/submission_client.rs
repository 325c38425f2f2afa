//! Submits orders through either door and waits for the reply.

use bytes::Bytes;

use crate::bus::connection::BusError;
use crate::bus::reply_inbox::ReplyInbox;
use crate::bus::request::BusReply;
use crate::bus::router_client::{RequestError, RouterClient};
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;

/// A client of the request door or of the durable door.
#[derive(Debug)]
pub enum SubmissionClient {
    /// Sends each intent as a request.
    Request(RouterClient),
    /// Appends each intent to the work queue; the replies arrive in the inbox.
    Durable(ReplyInbox),
}

impl SubmissionClient {
    /// Returns a client of the durable door if `is_durable`, else of the request door.
    ///
    /// # Errors
    /// When the inbox for the durable door's replies cannot be opened.
    pub async fn open(client: &RouterClient, is_durable: bool) -> Result<Self, BusError> {
        if is_durable {
            Ok(Self::Durable(ReplyInbox::open(client).await?))
        } else {
            Ok(Self::Request(client.clone()))
        }
    }

    /// Submits an intent and returns the reply.
    ///
    /// # Errors
    /// A refusal, or [`RequestError::Timeout`] after the deadline. A durable intent may still be executed then, before
    /// its deadline.
    pub async fn submit(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        body: Bytes,
        deadline: Timestamp,
    ) -> Result<BusReply, RequestError> {
        match self {
            Self::Request(client) => client.request(&subjects::submit(broker, account), body, deadline).await,
            Self::Durable(inbox) => inbox.submit_and_wait(broker, account, body, deadline).await,
        }
    }
}
