//! The market streams: the best prices of symbols (binance-spot-api-docs, web-socket-streams.md).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{Response, Uri};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::venue::clock::now_ms;
use crate::venue::hub::{TickerMessage, ticker};
use crate::venue::service::state::Service;
use crate::venue::ws_api::{MAX_MESSAGE_BYTES, SEND_TIMEOUT};

/// The most streams of a connection.
const MAX_STREAMS: usize = 1_024;
/// The end of a stream's name.
const SUFFIX: &str = "@bookTicker";

/// A connection that the client has ended, or that cannot be written.
struct Ended;

/// A client's change of its streams.
#[derive(Debug, serde::Deserialize)]
struct StreamRequest {
    method: String,
    #[serde(default)]
    params: Vec<String>,
    id: Value,
}

/// Upgrades `/ws/<streams>`: the events themselves.
pub async fn upgrade_raw(
    State(service): State<Arc<Service>>,
    streams: Option<Path<String>>,
    socket: WebSocketUpgrade,
) -> Response<Body> {
    let names = streams.map(|Path(names)| names).unwrap_or_default();
    upgrade(service, &names, false, socket)
}

/// Upgrades `/stream?streams=<streams>`: the events with the names of their streams.
pub async fn upgrade_combined(
    State(service): State<Arc<Service>>,
    uri: Uri,
    socket: WebSocketUpgrade,
) -> Response<Body> {
    let query = uri.query().unwrap_or_default();
    let names = query.split('&').find_map(|part| part.strip_prefix("streams="));
    // The client may encode the separator and the sign before the stream's kind.
    let names = names
        .unwrap_or_default()
        .replace("%40", "@")
        .replace("%2F", "/")
        .replace("%2f", "/");
    upgrade(service, &names, true, socket)
}

fn upgrade(service: Arc<Service>, names: &str, is_combined: bool, socket: WebSocketUpgrade) -> Response<Body> {
    let names = names.split('/').filter(|name| !name.is_empty()).take(MAX_STREAMS);
    let streams: BTreeSet<String> = names.map(str::to_owned).collect();
    let task = service.tasks.token();
    socket
        .max_message_size(MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| async move {
            let stream = MarketStream {
                service,
                streams,
                is_combined,
            };
            stream.run(socket).await;
            drop(task);
        })
}

struct MarketStream {
    service: Arc<Service>,
    streams: BTreeSet<String>,
    is_combined: bool,
}

impl MarketStream {
    async fn run(mut self, mut socket: WebSocket) {
        let mut tickers = self.service.hub.subscribe_tickers();
        // A client that has gone needs no farewell.
        if self.serve(&mut socket, &mut tickers).await.is_ok() {
            let _ = timeout(SEND_TIMEOUT, socket.send(Message::Close(None))).await;
        }
    }

    async fn serve(
        &mut self,
        socket: &mut WebSocket,
        tickers: &mut broadcast::Receiver<TickerMessage>,
    ) -> Result<(), Ended> {
        let mut pings = tokio::time::interval(self.service.settings.ping_interval);
        pings.reset();
        let shutdown = self.service.shutdown.clone();
        let first: Vec<String> = self.streams.iter().cloned().collect();
        self.send_current(socket, &first).await?;
        loop {
            tokio::select! {
                received = socket.recv() => match received.and_then(Result::ok) {
                    None | Some(Message::Close(_)) => return Ok(()),
                    Some(Message::Text(text)) => self.change(socket, &text).await?,
                    Some(_) => {}
                },
                ticker = tickers.recv() => match ticker {
                    // Each ticker replaces the one before: what a slow client has missed does not matter.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                    Ok(message) => {
                        let name = format!("{}{SUFFIX}", message.symbol.to_lowercase());
                        if self.streams.contains(&name) {
                            self.send_event(socket, &name, &message.ticker).await?;
                        }
                    }
                },
                _ = pings.tick() => {
                    let payload = now_ms().to_string();
                    send(socket, Message::Ping(payload.into_bytes().into())).await?;
                }
                () = shutdown.cancelled() => {
                    let event = json!({"e": "serverShutdown", "E": now_ms()});
                    return self.send_event(socket, "!serverShutdown", &event).await;
                }
            }
        }
    }

    /// Sends the current prices of streams, so that a client of a quiet book has some.
    async fn send_current(&self, socket: &mut WebSocket, names: &[String]) -> Result<(), Ended> {
        for name in names {
            let Some(symbol) = name.strip_suffix(SUFFIX).map(str::to_uppercase) else {
                continue;
            };
            let current = self.service.read(|exchange| ticker(exchange, &symbol));
            if let Ok(Some(current)) = current {
                self.send_event(socket, name, &current).await?;
            }
        }
        Ok(())
    }

    /// Subscribes, unsubscribes or lists.
    async fn change(&mut self, socket: &mut WebSocket, text: &str) -> Result<(), Ended> {
        let Ok(request) = serde_json::from_str::<StreamRequest>(text) else {
            let error = json!({"error": {"code": 3, "msg": "Invalid JSON"}});
            return send(socket, Message::Text(error.to_string().into())).await;
        };
        let answer = match request.method.as_str() {
            "SUBSCRIBE" if self.streams.len() + request.params.len() <= MAX_STREAMS => {
                self.streams.extend(request.params.iter().cloned());
                json!({"result": null, "id": request.id})
            }
            "UNSUBSCRIBE" => {
                self.streams.retain(|name| !request.params.contains(name));
                json!({"result": null, "id": request.id})
            }
            "LIST_SUBSCRIPTIONS" => json!({"result": self.streams, "id": request.id}),
            _ => json!({"error": {"code": 2, "msg": "Invalid request"}, "id": request.id}),
        };
        send(socket, Message::Text(answer.to_string().into())).await?;
        match request.method.as_str() {
            "SUBSCRIBE" => self.send_current(socket, &request.params).await,
            _ => Ok(()),
        }
    }

    async fn send_event(&self, socket: &mut WebSocket, name: &str, event: &Value) -> Result<(), Ended> {
        let text = match self.is_combined {
            true => json!({"stream": name, "data": event}).to_string(),
            false => event.to_string(),
        };
        send(socket, Message::Text(text.into())).await
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Ended> {
    match timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Ended),
    }
}
