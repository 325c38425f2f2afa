//! The user data stream: orders' events over the WebSocket API (`web-socket-api.md`, "User data stream").
//!
//! The venue replays nothing: whenever a connection begins, or an event could not be read or settled, the reconciliation is
//! woken and reads the same facts from the REST API.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::brokers::binance::delivery::deliver;
use crate::brokers::binance::messages::execution_report::ExecutionReport;
use crate::brokers::binance::messages::stream_message::{RequestReply, StreamMessage};
use crate::brokers::binance::parameters::Parameters;
use crate::brokers::binance::reports::execution_notice;
use crate::brokers::binance::request_budget::{RequestPurpose, weight};
use crate::brokers::binance::retry_delay::RetryDelay;
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::settings::MAX_RECV_WINDOW_MS;
use crate::brokers::binance::verdicts::{Consequence, verdicts_of};
use crate::brokers::binance::websocket::{ConnectionEnd, VenueWebSocket};
use crate::brokers::port::{LimitLedger, VenueInbox};
use crate::domain::time::Timestamp;

/// How long a connection is used. The venue closes it after 24 hours; it is renewed before.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(23 * 3_600);
/// How long the venue may take to reply to the subscription.
const SUBSCRIPTION_TIME_LIMIT: Duration = Duration::from_secs(10);
/// The delays between connections: the venue allows 300 in five minutes, for all processes of one address.
const RECONNECT_DELAY: RetryDelay = RetryDelay::new(Duration::from_secs(1), Duration::from_secs(60));

/// Why a subscription ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum StreamEnd {
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionEnd),
    /// The subscription was refused; the text says why.
    #[error("the subscription was refused: {0}")]
    Refused(String),
    /// The venue ended the subscription.
    #[error("the venue ended the subscription")]
    Terminated,
    /// The venue's server shuts down.
    #[error("the venue's server shuts down")]
    ServerShutdown,
    /// The connection is a day old.
    #[error("the connection is renewed before the venue closes it")]
    Renewed,
}

/// Follows the user data stream until the worker stops.
pub async fn run<L: LimitLedger, I: VenueInbox>(session: Arc<VenueSession<L, I>>, stop: CancellationToken) {
    let mut delay = RECONNECT_DELAY;
    let follow_for_ever = async {
        loop {
            let Err(end) = follow(&session, &mut delay).await;
            session.reports.end_connection();
            tracing::warn!(%end, "the user data stream ended; it is opened again");
            sleep(delay.next_delay()).await;
        }
    };
    // A report whose settlement is dropped here is read from the venue again after the next start.
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow_for_ever => {}
    }
}

/// Follows one connection to its end.
async fn follow<L, I>(
    session: &VenueSession<L, I>,
    delay: &mut RetryDelay,
) -> Result<std::convert::Infallible, StreamEnd>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let mut socket = VenueWebSocket::open(&session.websocket_api, "").await?;
    subscribe(session, &mut socket).await?;
    delay.reset();
    tracing::info!("the user data stream is open");
    // Events since the last connection are lost.
    session.reports.begin_connection();
    session.transfers.wake();
    session.reconciliation_due.notify_one();
    let renewal = sleep(MAX_CONNECTION_AGE);
    tokio::pin!(renewal);
    loop {
        let text = tokio::select! {
            () = &mut renewal => return Err(StreamEnd::Renewed),
            text = socket.next_text() => text?,
        };
        handle(session, &text).await?;
    }
}

async fn subscribe<L, I>(session: &VenueSession<L, I>, socket: &mut VenueWebSocket) -> Result<(), StreamEnd>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let client = &session.client;
    let unknown = || StreamEnd::Refused("the offset of the venue's clock is not known".to_owned());
    let now = client.clock.now().ok_or_else(unknown)?;
    let acquired = client
        .budget
        .acquire(RequestPurpose::Read, weight::SUBSCRIBE, now)
        .await;
    acquired.map_err(StreamEnd::Refused)?;
    let id = Uuid::now_v7().to_string();
    let timestamp = now.as_milliseconds();
    let parameters = Parameters::new()
        .with("apiKey", client.credentials().api_key())
        .with("recvWindow", MAX_RECV_WINDOW_MS)
        .with("timestamp", timestamp);
    let request = serde_json::json!({
        "id": id,
        "method": "userDataStream.subscribe.signature",
        "params": {
            "apiKey": client.credentials().api_key(),
            "recvWindow": MAX_RECV_WINDOW_MS,
            "timestamp": timestamp,
            "signature": client.credentials().signer().sign(&parameters.to_sorted_query()),
        },
    });
    socket.send(request.to_string()).await?;
    let reply = timeout(SUBSCRIPTION_TIME_LIMIT, wait_for_reply(session, socket, &id)).await;
    let reply = reply.map_err(|_| StreamEnd::Refused("no reply in time".to_owned()))??;
    if reply.status == 200 {
        return Ok(());
    }
    apply_refusal(session, &reply).await;
    let shown = reply
        .error
        .map_or_else(String::new, |error| error.venue_error().shown());
    Err(StreamEnd::Refused(format!("{} {shown}", reply.status)))
}

/// Waits for the reply to a request. Events may come before it.
async fn wait_for_reply<L, I>(
    session: &VenueSession<L, I>,
    socket: &mut VenueWebSocket,
    id: &str,
) -> Result<RequestReply, StreamEnd>
where
    L: LimitLedger,
    I: VenueInbox,
{
    loop {
        let text = socket.next_text().await?;
        match StreamMessage::read(&text) {
            // A request that the venue could not read is answered without its id; there is no other request.
            Ok(StreamMessage::Reply(reply)) if reply.id.as_deref().is_none_or(|of| of == id) => return Ok(reply),
            _ => handle(session, &text).await?,
        }
    }
}

/// Does what a refused subscription asks for. Here the time to wait is a point in time.
async fn apply_refusal<L: LimitLedger, I: VenueInbox>(session: &VenueSession<L, I>, reply: &RequestReply) {
    let client = &session.client;
    let error = reply.error.as_ref().map(|error| error.venue_error());
    let consequence = verdicts_of(reply.status, error.as_ref()).consequence;
    let data = reply.error.as_ref().and_then(|error| error.data.as_ref());
    match (consequence, data.and_then(|data| data.retry_after)) {
        (Consequence::StopRequests, Some(until_ms)) => {
            let until = Timestamp::from_milliseconds(until_ms);
            client
                .budget
                .stop_requests_until(until, client.clock.now_or_local())
                .await;
        }
        (consequence, _) => client.apply(consequence, &hyper::HeaderMap::new()).await,
    }
}

/// Handles one message.
///
/// # Errors
/// When the message ends the subscription.
async fn handle<L, I>(session: &VenueSession<L, I>, text: &str) -> Result<(), StreamEnd>
where
    L: LimitLedger,
    I: VenueInbox,
{
    match StreamMessage::read(text) {
        Ok(StreamMessage::ExecutionReport(event)) => handle_execution(session, &event).await,
        Ok(StreamMessage::SubscriptionTerminated) => return Err(StreamEnd::Terminated),
        Ok(StreamMessage::ServerShutdown) => return Err(StreamEnd::ServerShutdown),
        Ok(StreamMessage::BalanceUpdate(update)) => session.transfers.push(update),
        // Positions derive from fills alone; balances are the venue's own sum of them, and compared as such. What an external
        // system locks (`externalLockUpdate`) stays part of them.
        Ok(StreamMessage::AccountPosition(_) | StreamMessage::Reply(_) | StreamMessage::Other(_)) => {}
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            tracing::error!(
                line,
                column,
                "a message of the venue cannot be read; its orders are reconciled"
            );
            session.reconciliation_due.notify_one();
        }
    }
    Ok(())
}

async fn handle_execution<L, I>(session: &VenueSession<L, I>, event: &ExecutionReport)
where
    L: LimitLedger,
    I: VenueInbox,
{
    let quote_asset = session.rules.quote_asset(&event.symbol);
    // Only a fee of nothing takes this name.
    let quote_asset = quote_asset.as_deref().unwrap_or(&event.symbol);
    let delivered = match execution_notice(event, quote_asset) {
        Ok(notice) => deliver(session, notice).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = delivered {
        tracing::error!(
            error,
            client_order_id = event.placed_client_order_id(),
            venue_order_id = event.order_id,
            "an event of the venue is not settled; its order is reconciled"
        );
        session.reconciliation_due.notify_one();
    }
}

#[cfg(test)]
#[path = "user_stream_tests.rs"]
mod tests;
