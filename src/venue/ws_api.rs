//! A connection of the WebSocket API: requests in, answers and events of subscriptions out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::{Response, Uri};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::venue::clock::now_ms;
use crate::venue::error::VenueError;
use crate::venue::hub::UserMessage;
use crate::venue::parameters::Parameters;
use crate::venue::server::Peer;
use crate::venue::service::request::{Answer, Identity, Reply, Request};
use crate::venue::service::state::Service;
use crate::venue::ws_method::{MethodRequest, SessionStep, answer_frame};

/// The greatest message of a client, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1_024;
/// The requests of a connection that are handled at a time; further ones wait in its socket.
const MAX_IN_FLIGHT: usize = 64;
/// The maximum time to write one message.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The pings that a client may leave unanswered: with one every 20 seconds, a minute.
const MAX_UNANSWERED_PINGS: u32 = 3;
/// The weight of a connection.
const CONNECTION_WEIGHT: u32 = 2;
/// The longest life of a connection.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Upgrades a connection.
pub async fn upgrade(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    socket: WebSocketUpgrade,
) -> Response<Body> {
    if let Err(error) = service.limits.charge(peer.address.ip(), CONNECTION_WEIGHT, now_ms()) {
        return crate::venue::rest::error_response(&error);
    }
    let query = uri.query().unwrap_or_default();
    let shows_limits = !query.split('&').any(|part| part == "returnRateLimits=false");
    let task = service.tasks.token();
    let upgrade = socket.max_message_size(MAX_MESSAGE_BYTES);
    upgrade.on_upgrade(move |socket| async move {
        let session = Session::new(service, peer, shows_limits);
        session.run(socket).await;
        drop(task);
    })
}

/// What came of a request.
struct Completion {
    id: Value,
    step: SessionStep,
    shows_limits: bool,
    /// The subscription that is to end.
    subscription: Option<u64>,
    reply: Reply,
}

/// Why a connection ends.
enum End {
    /// The client has closed it, or it is too slow.
    Closed,
    /// A fault resets it.
    Reset,
}

struct Session {
    service: Arc<Service>,
    peer: Peer,
    shows_limits: bool,
    connected_since: u64,
    /// Who the session is authenticated as, and since when.
    identity: Option<(Identity, u64)>,
    /// The account of each subscription, and whether it rests on the session's authentication.
    subscriptions: BTreeMap<u64, (String, bool)>,
    next_subscription: u64,
    unanswered_pings: u32,
}

impl Session {
    fn new(service: Arc<Service>, peer: Peer, shows_limits: bool) -> Self {
        Self {
            service,
            peer,
            shows_limits,
            connected_since: now_ms(),
            identity: None,
            subscriptions: BTreeMap::new(),
            next_subscription: 0,
            unanswered_pings: 0,
        }
    }

    async fn run(mut self, mut socket: WebSocket) {
        let mut events = self.service.hub.subscribe_user();
        let end = tokio::time::timeout(MAX_LIFE, self.serve(&mut socket, &mut events)).await;
        match end {
            Ok(Err(End::Reset)) => self.peer.reset_when_dropped(),
            // A client that has gone needs no farewell.
            _ => drop(timeout(SEND_TIMEOUT, socket.send(Message::Close(None))).await),
        }
    }

    async fn serve(
        &mut self,
        socket: &mut WebSocket,
        events: &mut broadcast::Receiver<UserMessage>,
    ) -> Result<(), End> {
        let mut in_flight: FuturesUnordered<BoxFuture<'static, Completion>> = FuturesUnordered::new();
        let mut pings = tokio::time::interval(self.service.settings.ping_interval);
        pings.reset();
        let shutdown = self.service.shutdown.clone();
        loop {
            tokio::select! {
                received = socket.recv(), if in_flight.len() < MAX_IN_FLIGHT => {
                    match received.and_then(Result::ok) {
                        None | Some(Message::Close(_)) => return Ok(()),
                        Some(Message::Pong(_)) => self.unanswered_pings = 0,
                        Some(Message::Ping(_)) => {}
                        Some(Message::Text(text)) => match MethodRequest::parse(&text) {
                            Ok(request) => in_flight.push(self.handle(request)),
                            Err((id, error)) => self.answer(socket, &id, error_answer(error), true).await?,
                        },
                        Some(Message::Binary(_)) => {
                            let error = VenueError::new(-1135, "Invalid JSON Request");
                            self.answer(socket, &Value::Null, error_answer(error), true).await?;
                        }
                    }
                }
                Some(completion) = in_flight.next() => self.complete(socket, completion).await?,
                event = events.recv() => self.forward(socket, event).await?,
                _ = pings.tick() => {
                    self.unanswered_pings += 1;
                    if self.unanswered_pings > MAX_UNANSWERED_PINGS {
                        return Ok(());
                    }
                    let payload = now_ms().to_string();
                    send(socket, Message::Ping(payload.into_bytes().into())).await?;
                }
                () = shutdown.cancelled() => {
                    let event = json!({"event": {"e": "serverShutdown", "E": now_ms()}});
                    return send(socket, Message::Text(event.to_string().into())).await;
                }
            }
        }
    }

    /// Begins to handle a request.
    fn handle(&self, request: MethodRequest) -> BoxFuture<'static, Completion> {
        let MethodRequest {
            id,
            operation,
            step,
            parameters,
            shows_limits,
        } = request;
        let subscription = parameters.number::<u64>("subscriptionId").ok().flatten();
        let request = Request {
            operation,
            address: self.peer.address.ip(),
            key: key_of(&parameters),
            payload: parameters.sorted_payload(),
            session: self.identity.as_ref().map(|(identity, _)| identity.clone()),
            parameters,
        };
        let service = self.service.clone();
        let shows_limits = shows_limits.unwrap_or(self.shows_limits);
        Box::pin(async move {
            Completion {
                id,
                step,
                shows_limits,
                subscription,
                reply: service.handle(request).await,
            }
        })
    }

    /// Takes the step of a session and sends the answer.
    async fn complete(&mut self, socket: &mut WebSocket, completion: Completion) -> Result<(), End> {
        let Reply::Answer(mut answer) = completion.reply else {
            return Err(End::Reset);
        };
        let mut ended = Vec::new();
        if answer.result.is_ok() && completion.step != SessionStep::None {
            answer.result = self.step(completion.step, &answer, completion.subscription, &mut ended);
        }
        self.answer(socket, &completion.id, *answer, completion.shows_limits)
            .await?;
        for subscription in ended {
            let event = json!({"e": "eventStreamTerminated", "E": now_ms()});
            send_event(socket, subscription, &event).await?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: SessionStep,
        answer: &Answer,
        subscription: Option<u64>,
        ended: &mut Vec<u64>,
    ) -> Result<Value, VenueError> {
        match step {
            SessionStep::None => answer.result.clone(),
            SessionStep::Logon => {
                let identity = answer.identity.clone().ok_or_else(VenueError::unknown_key)?;
                if !identity.is_ed25519 {
                    return Err(VenueError::new(-4056, "HMAC_SHA256 API key is not supported."));
                }
                self.identity = Some((identity, answer.server_time));
                Ok(self.status(answer.server_time))
            }
            SessionStep::Status => Ok(self.status(answer.server_time)),
            SessionStep::Logout => {
                self.identity = None;
                ended.extend(self.end_subscriptions(|_, by_session| by_session));
                Ok(self.status(answer.server_time))
            }
            SessionStep::Subscribe => {
                let not_authorized =
                    || VenueError::new(-1002, "You are not authorized to execute this request.").with_status(401);
                let (identity, _) = self.identity.as_ref().ok_or_else(not_authorized)?;
                let account = identity.account.clone();
                self.subscribe(account, true)
            }
            SessionStep::SubscribeSigned => {
                let identity = answer.identity.as_ref().ok_or_else(VenueError::unknown_key)?;
                self.subscribe(identity.account.clone(), false)
            }
            SessionStep::Unsubscribe => {
                ended.extend(self.end_subscriptions(|id, _| subscription.is_none_or(|wanted| wanted == id)));
                match ended.is_empty() {
                    true => Err(VenueError::new(-2036, "User Data Stream subscription not active.")),
                    false => Ok(json!({})),
                }
            }
            SessionStep::Subscriptions => {
                let ids = self.subscriptions.keys();
                Ok(ids.map(|id| json!({"subscriptionId": id})).collect())
            }
        }
    }

    /// Ends the subscriptions for which the condition on their id, and on whether they rest on the session, holds.
    fn end_subscriptions(&mut self, is_meant: impl Fn(u64, bool) -> bool) -> Vec<u64> {
        let meant = self
            .subscriptions
            .iter()
            .filter(|(id, (_, by_session))| is_meant(**id, *by_session));
        let ids: Vec<u64> = meant.map(|(id, _)| *id).collect();
        self.subscriptions.retain(|id, _| !ids.contains(id));
        ids
    }

    fn subscribe(&mut self, account: String, by_session: bool) -> Result<Value, VenueError> {
        if self.subscriptions.values().any(|(known, _)| *known == account) {
            return Err(VenueError::new(-2035, "User Data Stream subscription already active."));
        }
        let id = self.next_subscription;
        self.next_subscription += 1;
        self.subscriptions.insert(id, (account, by_session));
        Ok(json!({"subscriptionId": id}))
    }

    fn status(&self, server_time: u64) -> Value {
        json!({
            "apiKey": self.identity.as_ref().map(|(identity, _)| &identity.key),
            "authorizedSince": self.identity.as_ref().map(|(_, since)| since),
            "connectedSince": self.connected_since,
            "returnRateLimits": self.shows_limits,
            "serverTime": server_time,
            "userDataStream": !self.subscriptions.is_empty(),
        })
    }

    /// Sends an event to the subscriptions of its account.
    async fn forward(
        &mut self,
        socket: &mut WebSocket,
        event: Result<UserMessage, broadcast::error::RecvError>,
    ) -> Result<(), End> {
        match event {
            // A client that reads too slowly has missed events: it must reconnect and reconcile.
            Err(_) => Err(End::Closed),
            Ok(UserMessage::Cut(account)) => {
                let is_struck = self.subscriptions.values().any(|(own, _)| **own == *account);
                if is_struck { Err(End::Reset) } else { Ok(()) }
            }
            Ok(UserMessage::Event(event)) => {
                let own = self
                    .subscriptions
                    .iter()
                    .filter(|(_, (account, _))| *account == event.account);
                for (id, _) in own {
                    send_event(socket, *id, &event.event).await?;
                }
                Ok(())
            }
        }
    }

    async fn answer(&self, socket: &mut WebSocket, id: &Value, answer: Answer, shows_limits: bool) -> Result<(), End> {
        let frame = answer_frame(id, &answer, &self.service.limits, shows_limits);
        send(socket, Message::Text(frame.into())).await
    }
}

fn key_of(parameters: &Parameters) -> Option<String> {
    parameters.get("apiKey").map(str::to_owned)
}

fn error_answer(error: VenueError) -> Answer {
    Answer {
        result: Err(error),
        used_weight: 0,
        orders: None,
        server_time: now_ms(),
        identity: None,
    }
}

async fn send_event(socket: &mut WebSocket, subscription: u64, event: &Value) -> Result<(), End> {
    let frame = json!({"subscriptionId": subscription, "event": event});
    send(socket, Message::Text(frame.to_string().into())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(End::Closed),
    }
}
