//! A small WebSocket server for tests: each connection runs the test's script.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_util::sync::CancellationToken;

use crate::brokers::binance::scripted_server::TEST_TIMEOUT;

/// One connection, as the server has it.
pub struct ServerSocket {
    /// The path and the query that the client asked for.
    pub target: String,
    /// The number of the connection, from 0.
    pub number: usize,
    socket: WebSocketStream<TcpStream>,
}

type Script = dyn Fn(ServerSocket) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The server. It stops when it is dropped.
pub struct ScriptedStream {
    /// The address, without a path.
    pub url: String,
    stop: CancellationToken,
}

impl ScriptedStream {
    /// Starts a server that runs the script for each connection.
    pub async fn start<F>(script: impl Fn(ServerSocket) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let script: Arc<Script> = Arc::new(move |socket| Box::pin(script(socket)));
        tokio::spawn(accept(listener, script, stop.clone()));
        Self { url, stop }
    }
}

impl Drop for ScriptedStream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>, stop: CancellationToken) {
    let mut number = 0;
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (script, stop) = (Arc::clone(&script), stop.clone());
        tokio::spawn(async move {
            let mut target = String::new();
            let read_target = |request: &Request, response: Response| {
                target = request.uri().to_string();
                Ok(response)
            };
            let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, read_target).await else {
                return;
            };
            let socket = ServerSocket { target, number, socket };
            tokio::select! {
                () = stop.cancelled() => {}
                () = script(socket) => {}
            }
        });
        number += 1;
    }
}

impl ServerSocket {
    /// Sends a text.
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Waits for the next text as JSON.
    pub async fn receive(&mut self) -> serde_json::Value {
        loop {
            if let Message::Text(text) = self.receive_message().await {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Sends a ping and returns the payload of the pong.
    pub async fn ping(&mut self, payload: &'static str) -> String {
        self.socket.send(Message::Ping(payload.into())).await.unwrap();
        loop {
            if let Message::Pong(payload) = self.receive_message().await {
                return String::from_utf8(payload.to_vec()).unwrap();
            }
        }
    }

    /// Keeps the connection until the client closes it.
    pub async fn stay(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    async fn receive_message(&mut self) -> Message {
        let next = tokio::time::timeout(TEST_TIMEOUT, self.socket.next());
        next.await.unwrap().unwrap().unwrap()
    }
}
