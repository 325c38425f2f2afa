//! Submits orders through either door and waits for the reply.

use bytes::Bytes;

use crate::bus::connection::BusError;
use crate::bus::reply::BusReply;
use crate::bus::router_client::{REPLY_GRACE, RequestError, RouterClient};
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;

/// A client of the request door or of the durable door.
#[derive(Debug)]
pub enum SubmissionClient {
    /// Sends each intent as a request.
    Request(RouterClient),
    /// Appends each intent to the work queue; the replies arrive in the client's inbox.
    Durable(RouterClient),
}

impl SubmissionClient {
    /// Returns a client of the durable door if `is_durable`, else of the request door.
    ///
    /// # Errors
    /// When the inbox for the durable door's replies cannot be opened.
    pub async fn open(client: &RouterClient, is_durable: bool) -> Result<Self, BusError> {
        if is_durable {
            client.reply_inbox().await?;
            Ok(Self::Durable(client.clone()))
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
            Self::Durable(client) => submit_durable(client, broker, account, body, deadline).await,
        }
    }
}

/// Publishes an intent to the durable door and waits for its reply until shortly after the deadline.
async fn submit_durable(
    client: &RouterClient,
    broker: &BrokerId,
    account: &AccountId,
    body: Bytes,
    deadline: Timestamp,
) -> Result<BusReply, RequestError> {
    let mut awaited = client.reply_inbox().await?.expect_reply()?;
    let published = client
        .publish_intent(broker, account, body, Some(deadline), Some(&awaited.reply_to))
        .await;
    match published {
        // Without an acknowledgement the intent may still be stored: its reply shows it.
        Ok(_) | Err(RequestError::Timeout) => {}
        Err(refused) => return Err(refused),
    }
    let limit = deadline.saturating_duration_since(Timestamp::now()) + REPLY_GRACE;
    match awaited.wait(limit).await {
        Some(reply) => Ok(reply?),
        None => Err(RequestError::Timeout),
    }
}
